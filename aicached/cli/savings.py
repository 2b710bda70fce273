"""``aicached savings``: what hits saved, as measured; or what they would save, as calculated."""

from __future__ import annotations

from typing import Annotated

import typer

from ..counters import saved, sum_of
from ..errors import ConfigurationError
from ..savings import Savings, calculate_savings
from .shared import JsonOption, NamespaceOption, UrlOption, cache_of, print_json, print_table

__all__ = ["run"]


def run(
    url: UrlOption = None,
    namespace: NamespaceOption = "default",
    as_json: JsonOption = False,
    since: Annotated[str | None, typer.Option(help="How far back, as 30d; default: all there was.")] = None,
    requests_per_day: Annotated[int | None, typer.Option(help="Calculate instead: calls per day.")] = None,
    hit_rate: Annotated[float, typer.Option(help="For the calculation: share of hits, 0 to 1.")] = 0.7,
    cost_per_1k_tokens: Annotated[float, typer.Option(help="For the calculation: dollars.")] = 0.003,
    tokens_per_request: Annotated[float, typer.Option(help="For the calculation: in and out.")] = 500,
) -> int:
    """Show what hits saved, or would save.

    With --requests-per-day it is calculated, without any measurement.
    """
    if requests_per_day is not None:
        return _calculated(requests_per_day, hit_rate, cost_per_1k_tokens, tokens_per_request, as_json)
    with cache_of(url, namespace) as cache:
        total = cache.savings(since)
        days = [(day, saved(figures)) for day, figures in cache.ledger.days(14).items()]
    if as_json:
        by_day = {day.isoformat(): each._asdict() for day, each in days}
        print_json({"since": since, **total._asdict(), "days": by_day})
        return 0
    columns = ("", ">calls", ">tokens in", ">tokens out", ">dollars", ">seconds")
    rows = [_row(day.isoformat(), each) for day, each in days if each.calls]
    recent = sum_of([each for _, each in days])
    rows.append(_row("last 14 days", recent))
    print_table(columns, rows, _row("all" if since is None else f"since {since}", total))
    return 0


def _row(name: str, each: Savings) -> list[str]:
    figures = (f"{each.calls:,}", f"{each.tokens_in:,}", f"{each.tokens_out:,}", f"${each.cost:,.4f}")
    return [name, *figures, f"{each.seconds:,.1f}"]


def _calculated(requests: int, rate: float, cost: float, tokens: float, as_json: bool) -> int:
    try:
        figures = calculate_savings(requests, rate, cost, tokens)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    if as_json:
        print_json(figures)
        return 0
    print_table(("", ">"), [(name.replace("_", " "), str(figure)) for name, figure in figures.items()])
    return 0
