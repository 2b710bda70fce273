"""Fixtures of the stream tests: one scenario for both colours."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aicached import flight
from aicached.runtime import drive
from tests.behaviour.conftest import any_cache, cache, clock, run_script, store, waits, warned

__all__ = ["any_cache", "cache", "clock", "run_script", "store", "waits", "warned"]

#: What a step gives where the stream is over.
END = "the end"


class Reader:
    """Read streams of one colour; a scenario awaits each method, in both colours."""

    def __init__(self, colour: str) -> None:
        self.colour = colour

    def play(self, scenario: Callable[[], Any]) -> Any:
        """Run a scenario: in an event loop, or without one."""
        return asyncio.run(scenario()) if self.colour == "async" else drive(scenario())

    async def step(self, stream: Any) -> Any:
        try:
            return await stream.__anext__() if self.colour == "async" else next(stream)
        except (StopIteration, StopAsyncIteration):
            return END

    async def some(self, stream: Any, count: int) -> list[Any]:
        return [await self.step(stream) for _ in range(count)]

    async def whole(self, stream: Any) -> list[Any]:
        return [chunk async for chunk in stream] if self.colour == "async" else list(stream)

    async def close(self, stream: Any) -> None:
        await (stream.aclose() if self.colour == "async" else self.value(stream.close()))

    async def value(self, value: Any) -> Any:
        return await value if inspect.isawaitable(value) else value

    async def sleep(self, seconds: float) -> None:
        await (asyncio.sleep(seconds) if self.colour == "async" else self.value(time.sleep(seconds)))


@pytest.fixture
def reader(colour: str) -> Reader:
    return Reader(colour)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Leave no flight behind."""
    yield
    assert {} == flight._table
