"""``aicached semantic report`` and ``aicached semantic eval``: is it worth it to serve near matches, and how near."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ConfigurationError
from .shared import JsonOption, NamespaceOption, UrlOption, cache_of, print_json, target

__all__ = ["app"]

app = typer.Typer(help="Is it worth it to serve near matches, and how near?", rich_markup_mode=None)


@app.command("report")
def run_report(
    function: Annotated[str, typer.Argument(help="module:function, as `aicached stats` shows it")],
    url: UrlOption = None,
    namespace: NamespaceOption = "default",
    as_json: JsonOption = False,
    max_wrong: Annotated[float, typer.Option(help="Share of matches that may be wrong.")] = 0.02,
) -> int:
    """Show what Semantic(..., mode="shadow") has seen, and the threshold that it speaks for."""
    from .semantic import render_report, reported

    with cache_of(url, namespace) as cache:
        seen = reported(cache, function, max_wrong)
    if as_json:
        print_json(_plain(seen))
    else:
        print(render_report(seen))
    return 0


@app.command("eval")
def run_eval(
    function: Annotated[str, typer.Argument(help="module:function or file.py:function, with semantic=")],
    pairs: Annotated[Path, typer.Argument(help='JSON lines of {"a": text, "b": text, "label": 0 or 1}')],
    url: UrlOption = None,
    namespace: NamespaceOption = "default",
    as_json: JsonOption = False,
) -> int:
    """Try a function's semantic= on pairs of texts of which it is known whether they ask the same."""
    from .semantic import evaluated, pairs_of, render_evaluation

    labelled = pairs_of(pairs)
    semantic = target(function, url, namespace)._self_site.plan().policy.semantic
    if semantic is None:
        raise ConfigurationError(f"{function} has no semantic=")
    found = evaluated(labelled, semantic)
    if as_json:
        print_json({"guards alone" if key is None else f"{key:.2f}": _plain(each) for key, each in found.items()})
    else:
        print(render_evaluation(found))
    return 0


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, (list, tuple)) and not hasattr(value, "_asdict"):
        return [_plain(item) for item in value]
    return {name: _plain(item) for name, item in value._asdict().items()} if hasattr(value, "_asdict") else value
