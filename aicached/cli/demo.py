"""
Show what one line saves: the same calls, raw and decorated, side by side.

Law: nothing is simulated but the model. Real HTTP, openai's real client, the configured cache; every figure is
measured in this run, and the raw function is the decorated one without its decorator.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .page import Figures, Outcome, closing, note, opening, table

if TYPE_CHECKING:
    from ..status import CacheInfo, CacheStatus
    from ..testing.server import ModelServer

__all__ = ["run"]

#: Made up, in dollars per million tokens, in and out; the page says so.
PRICES = {"small": (3.0, 15.0)}
AT_ONCE = 3

_QUESTIONS = (
    "Why is the second call of a cached function free?",
    "How long should an answer be kept?",
    "What happens when the cache is down?",
    "Who pays for a cache miss?",
)
#: A few questions, again and again, as people ask: six of these ten calls are repeats.
CALLS = [_QUESTIONS[index] for index in (0, 1, 0, 2, 1, 0, 3, 2, 0, 1)]


def run(*, url: str | None, as_json: bool) -> int:
    """Make all the calls, print what they took, and return the exit code. *url* None: the configured cache."""
    try:
        from . import example, model
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "openai":
            raise
        print("The demo calls its model through openai's client: pip install 'aicached[demo]'", file=sys.stderr)
        return 1
    cache = _configure(url)
    if not as_json:
        print(opening(model.server, len(CALLS), len(_QUESTIONS), AT_ONCE), flush=True)
    with model.server:
        outcome = _measure_all(example, model)
    cache.close()
    print(json.dumps(asdict(outcome), indent=2) if as_json else f"{table(outcome)}\n\n{closing(outcome, PRICES)}")
    return 0


def _configure(url: str | None) -> Any:
    from .. import configure

    return configure(url, prices=PRICES)


def _measure_all(example: Any, model: Any) -> Outcome:
    from .. import trace

    with trace() as statuses:
        plain = _measure_plain(model.server, example.ask)
        model.client.close()
        concurrent = asyncio.run(_measure_async(model, example.aask))
    note("")
    return Outcome(*plain, *concurrent, kept_from_an_earlier_run=_kept(statuses))


def _measure_plain(server: ModelServer, ask: Any) -> tuple[Figures, Figures]:
    note("plain functions, raw")
    with _Watch(server) as watch:
        answers = [_attempt(ask.__wrapped__, prompt) for prompt in CALLS]
    raw = watch.figures(answers, *_bill(answers))
    note("plain functions, decorated")
    before = ask.cache_info()
    with _Watch(server) as watch:
        answers = [_attempt(ask, prompt) for prompt in CALLS]
    return raw, watch.figures(answers, *_spent(before, ask.cache_info()))


async def _measure_async(model: Any, aask: Any) -> tuple[Figures, Figures]:
    async with model.async_client:
        note("async functions, raw")
        with _Watch(model.server) as watch:
            answers = await _gather(aask.__wrapped__)
        raw = watch.figures(answers, *_bill(answers))
        note("async functions, decorated")
        before = aask.cache_info()
        with _Watch(model.server) as watch:
            answers = await _gather(aask)
        return raw, watch.figures(answers, *_spent(before, aask.cache_info()))


def _attempt(function: Callable[[str], object], prompt: str) -> object:
    """Return the answer, or the exception in its place: a caller in a hurry would have to deal with it."""
    try:
        return function(prompt)
    except Exception as error:
        return error


async def _gather(function: Callable[[str], Any]) -> list[object]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(prompt: str) -> object:
        async with gate:
            return await function(prompt)

    return await asyncio.gather(*map(one, CALLS), return_exceptions=True)


def _bill(answers: Sequence[Any]) -> tuple[int, float]:
    """Add up the tokens of raw *answers*, and what they cost in dollars."""
    usages = [answer.usage for answer in answers if not isinstance(answer, Exception)]
    spent_in, spent_out = sum(usage.prompt_tokens for usage in usages), sum(usage.completion_tokens for usage in usages)
    price_in, price_out = PRICES["small"]
    return spent_in + spent_out, (spent_in * price_in + spent_out * price_out) / 1e6


def _spent(before: CacheInfo, after: CacheInfo) -> tuple[int, float]:
    """Return what a decorated function says that it spent meanwhile: tokens and dollars."""
    return after.tokens_spent - before.tokens_spent, after.cost_spent - before.cost_spent


def _kept(statuses: Iterable[CacheStatus]) -> int:
    """Count the entries that were there before: those that hit in this run, and that nobody stored in it."""
    seen = list(statuses)
    return len({status.key for status in seen if status.hit} - {status.key for status in seen if status.stored})


class _Watch:
    """Take the time, and the model's own count of its calls, from entering to leaving."""

    def __init__(self, server: ModelServer) -> None:
        self.server = server

    def __enter__(self) -> _Watch:
        self.calls, self.failures, self.seconds = self.server.calls, self.server.failures, time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self.seconds
        self.calls, self.failures = self.server.calls - self.calls, self.server.failures - self.failures

    def figures(self, answers: Sequence[object], tokens: int, money: float) -> Figures:
        """Put together what was watched; a failure that no caller saw was survived."""
        failed = sum(isinstance(answer, BaseException) for answer in answers)
        return Figures(self.seconds, self.calls, tokens, money, self.failures - failed, failed)
