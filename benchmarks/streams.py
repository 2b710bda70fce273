"""What a stream's chunks cost, recorded and replayed, beside the bare source: `python benchmarks/streams.py`."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from measure import Bench
from openai.types.chat import ChatCompletionChunk

from aicached import Cache, ai_cached

TEXT = 20_000
OBJECTS = 1_000


def sdk_chunk(number: int) -> ChatCompletionChunk:
    ended = number == OBJECTS - 1
    return ChatCompletionChunk.construct(
        id="chatcmpl-1",
        object="chat.completion.chunk",
        created=1_700_000_000,
        model="small",
        choices=[{"index": 0, "delta": {"content": f"word{number} "}, "finish_reason": "stop" if ended else None}],
    )


WORDS = [f"word{number} " for number in range(TEXT)]
CHUNKS = [sdk_chunk(number) for number in range(OBJECTS)]


def words(prompt: str) -> Iterator[str]:
    yield from WORDS


async def awords(prompt: str) -> AsyncIterator[str]:
    for word in WORDS:
        yield word


async def suspended_words(prompt: str) -> AsyncIterator[str]:
    for word in WORDS:
        await asyncio.sleep(0)
        yield word


def objects(prompt: str) -> Iterator[ChatCompletionChunk]:
    yield from CHUNKS


async def aobjects(prompt: str) -> AsyncIterator[ChatCompletionChunk]:
    for chunk in CHUNKS:
        yield chunk


class Streams(Bench):
    """Comparisons of whole streams, per chunk; each recorded one is a miss of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.rounds = 2 if self.quick else 12
        self.cache = Cache("memory://", max_bytes=2**28)

    def row(self, title: str, function: Callable[..., Any], count: int) -> None:
        """Print what a chunk takes: bare, recorded, replayed."""
        cached = ai_cached(function, cache=self.cache, version=1)
        self._read(cached, "hit")
        best = {"bare": float("inf"), "recorded": float("inf"), "replayed": float("inf")}
        for number in range(self.rounds):
            best["bare"] = min(best["bare"], self._read(function, "any"))
            best["recorded"] = min(best["recorded"], self._read(cached, f"miss {number}"))
            best["replayed"] = min(best["replayed"], self._read(cached, "hit"))
        bare, recorded, replayed = (best[name] / count * 1e6 for name in ("bare", "recorded", "replayed"))
        print(
            f"  {title:<44}{bare:9.2f}{recorded:10.2f}{recorded - bare:9.2f}{replayed:10.2f}{1 / replayed * 1e6:14,.0f}"
        )

    def _read(self, function: Callable[..., Any], prompt: str) -> float:
        gc.collect()
        gc.disable()
        try:
            stream = function(prompt)
            return self.loop.run_until_complete(_aread(stream)) if hasattr(stream, "__anext__") else _read(stream)
        finally:
            gc.enable()


def _read(stream: Iterator[Any]) -> float:
    start = time.perf_counter()
    for _ in stream:
        pass
    return time.perf_counter() - start


async def _aread(stream: AsyncIterator[Any]) -> float:
    start = time.perf_counter()
    async for _ in stream:
        pass
    return time.perf_counter() - start


def main() -> None:
    bench = Streams()
    print(f"\n{'aicached, µs per chunk':<46}{'bare':>9}{'recorded':>10}{'more':>9}{'replayed':>10}{'replayed/s':>14}")
    bench.row("text, sync", words, TEXT)
    bench.row("text, async", awords, TEXT)
    bench.row("text, async, suspended at each chunk", suspended_words, TEXT)
    bench.row("chunk of an SDK, sync", objects, OBJECTS)
    bench.row("chunk of an SDK, async", aobjects, OBJECTS)


if __name__ == "__main__":
    main()
