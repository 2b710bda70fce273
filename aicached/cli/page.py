"""
What the demo prints: 80 columns, plain text, a little bold where a terminal reads it.

Law: figures come in, text goes out; nothing is measured here.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..testing.server import ModelServer

__all__ = ["Figures", "Outcome", "closing", "note", "opening", "table"]


@dataclass(frozen=True)
class Figures:
    """Hold what one way of making the calls took; failures that the caller saw are `calls_failed`."""

    seconds: float
    model_calls: int
    tokens: int
    money: float
    retries_survived: int
    calls_failed: int


@dataclass(frozen=True)
class Outcome:
    """Hold the figures of the four ways, and how many entries an earlier run had left."""

    plain_raw: Figures
    plain_decorated: Figures
    async_raw: Figures
    async_decorated: Figures
    kept_from_an_earlier_run: int


_ROWS: tuple[tuple[str, Callable[[Figures], str]], ...] = (
    ("seconds", lambda figures: f"{figures.seconds:.3f}"),
    ("model calls", lambda figures: str(figures.model_calls)),
    ("tokens", lambda figures: f"{figures.tokens:,}"),
    ("money", lambda figures: f"${figures.money:.4f}"),
    ("retries survived", lambda figures: str(figures.retries_survived)),
    ("calls failed", lambda figures: str(figures.calls_failed)),
)


def opening(server: ModelServer, calls: int, questions: int, at_once: int) -> str:
    """Say what is about to happen."""
    low, high = server.latency if isinstance(server.latency, tuple) else (server.latency, server.latency)
    story = (
        f"A model on this machine, spoken to over HTTP through openai's client. It answers in {low:g} to {high:g} s, "
        f"and turns every {server.fail_every}th request away with a 429 and Retry-After. {calls} calls ask "
        f"{questions} questions: by a plain function one after the other, by an async one {at_once} at a time; "
        f"first raw, then decorated with @ai_cached."
    )
    return f"{_bold('aicached demo')}\n\n{textwrap.fill(story, 78)}\n"


def table(outcome: Outcome) -> str:
    """Lay the figures out, raw against decorated."""
    ways = (outcome.plain_raw, outcome.plain_decorated, outcome.async_raw, outcome.async_decorated)
    rule = "-" * 25
    lines = [
        _bold(f"{'':20}{'plain function':^25}    {'async function':^25}".rstrip()),
        _line("", ("raw", "decorated", "raw", "decorated")),
        f"{'':20}{rule}    {rule}",
        *(_line(label, [show(figures) for figures in ways]) for label, show in _ROWS),
    ]
    return "\n".join(lines)


def closing(outcome: Outcome, prices: Mapping[str, tuple[float, float]]) -> str:
    """Say what was there before, what the money is, and what to try next."""
    rates = ", ".join(f"{model}: ${low:g} in, ${high:g} out" for model, (low, high) in prices.items())
    kept = outcome.kept_from_an_earlier_run
    again = "the answers are still there" if kept == 0 else "the answers stay for a day"
    lines = [
        _bold(f"kept from an earlier run: {kept}"),
        f"money: made-up prices per million tokens ({rates})",
        "",
        _bold("What next"),
        f"  run it again                        {again}",
        "  aicached demo --url redis://HOST    the same in a Redis, shared by machines",
        "  aicached/cli/example.py             the two functions, ready to be copied",
    ]
    return "\n".join(lines)


def note(text: str) -> None:
    """Say on a terminal's error stream what is going on; an empty *text* takes that away."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _line(label: str, cells: Sequence[str]) -> str:
    first, second, third, fourth = cells
    return f"  {label:18}{first:>11}{second:>14}    {third:>11}{fourth:>14}"


def _bold(text: str) -> str:
    return f"\033[1m{text}\033[0m" if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else text
