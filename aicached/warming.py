"""
Many inputs at a time: fill the cache before it is asked, or map a function over a list.

Law: each input is an ordinary call of the decorated function, in a copy of the caller's context, so all rules hold for
it; an interrupted run leaves what is done, and the next one finds it. No more calls are under way than were asked for,
and no more inputs are taken from an iterator.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from operator import length_hint
from typing import Any, NamedTuple

from .context import trace
from .errors import ConfigurationError
from .progress import Progress
from .runtime import Outcome, Runtime
from .status import CacheStatus

__all__ = ["Args", "Warmed", "args", "map_over", "warm"]


class Args(NamedTuple):
    """Hold the arguments of one call; made by `args`."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


def args(*args: Any, **kwargs: Any) -> Args:
    """Be one input of ``cache_warm`` and ``cache_map`` that is more than a value for the first parameter."""
    return Args(args, kwargs)


class Warmed(NamedTuple):
    """
    Say what became of the inputs.

    Args:
        kept: how many answers were computed and stored.
        hits: how many were there, or on their way, already.
        failed: the inputs that failed, each with its exception.
        refused: how many answers were computed and not stored: cut off, refused by the rules, or with the store down.
    """

    kept: int
    hits: int
    failed: list[tuple[Any, BaseException]]
    refused: int = 0

    def __str__(self) -> str:
        text = f"{self.kept} kept, {self.hits} hits, {len(self.failed)} failed"
        return f"{text}, {self.refused} not kept" if self.refused else text


class _Tally:
    """Count while it runs; shows how far it is."""

    def __init__(self, inputs: Iterable[Any], show: bool | None) -> None:
        self.kept = self.hits = self.refused = 0
        self.failed: list[tuple[Any, BaseException]] = []
        self.progress = Progress(length_hint(inputs) or None, show)

    def note(self, given: Any, outcome: Outcome, calls: list[CacheStatus]) -> None:
        ok, value = outcome
        if not ok:
            self.failed.append((given, value))
        elif not calls or not (calls[-1].hit or calls[-1].collapsed or calls[-1].stored):
            self.refused += 1
        elif calls[-1].stored:
            self.kept += 1
        else:
            self.hits += 1
        self.progress.show(self.kept + self.hits + self.refused + len(self.failed), str(self.report()))

    def report(self) -> Warmed:
        return Warmed(self.kept, self.hits, self.failed, self.refused)


async def warm(rt: Runtime, function: Any, inputs: Iterable[Any], concurrency: int, progress: bool | None) -> Warmed:
    """Call *function* with each of *inputs*; a failure does not stop the rest."""
    _check(inputs, concurrency, "cache_warm()")
    if progress is not None and not isinstance(progress, bool):
        raise ConfigurationError(f"cache_warm(): progress takes None, True or False, not {progress!r}")
    tally = _Tally(inputs, progress)

    def done(_index: int, given: Any, result: Any) -> None:
        tally.note(given, *result)

    with tally.progress:
        await rt.spread(lambda given: _call(rt, function, given), inputs, concurrency, done)
    return tally.report()


async def map_over(rt: Runtime, function: Any, inputs: Iterable[Any], concurrency: int, on_error: str) -> Outcome:
    """Call *function* with each of *inputs*: the values in their order, or the first failure."""
    _check(inputs, concurrency, "cache_map()")
    if on_error not in ("raise", "return"):
        raise ConfigurationError(f'cache_map(): on_error takes "raise" or "return", not {on_error!r}')
    values: dict[int, Any] = {}

    def done(index: int, _given: Any, result: Any) -> None:
        (ok, value), _ = result
        if not ok and on_error == "raise":
            raise _Stop(value)
        values[index] = value

    try:
        await rt.spread(lambda given: _call(rt, function, given), inputs, concurrency, done)
    except _Stop as stop:
        return False, stop.args[0]
    return True, [values[index] for index in range(len(values))]


class _Stop(Exception):
    pass


def _check(inputs: Any, concurrency: Any, where: str) -> None:
    if isinstance(inputs, (str, bytes, Mapping)) or not isinstance(inputs, Iterable):
        raise ConfigurationError(f"{where}: it takes a list or another iterable of inputs, not a {_kind(inputs)}")
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
        raise ConfigurationError(f"{where}: concurrency takes a whole number, 1 or more, not {concurrency!r}")


def _kind(value: Any) -> str:
    return type(value).__name__


async def _call(rt: Runtime, function: Callable[..., Any], given: Any) -> tuple[Outcome, list[CacheStatus]]:
    made = given if isinstance(given, Args) else Args((given,), {})
    with trace() as calls:
        outcome = await rt.call(function, made.args, made.kwargs)
        if outcome[0]:
            outcome = await rt.call(_all_of, (outcome[1],), {})
    return outcome, calls


def _all_of(value: Any) -> Any:
    """Return a value; of a stream, which is kept only when it was read to its end, the list of its chunks."""
    if isinstance(value, AsyncIterator):
        return _all_of_async(value)
    return list(value) if isinstance(value, Iterator) else value


async def _all_of_async(stream: AsyncIterator[Any]) -> list[Any]:
    return [chunk async for chunk in stream]
