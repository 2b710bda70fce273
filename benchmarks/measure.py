"""Measure contenders side by side in one process, and print a table."""

from __future__ import annotations

import argparse
import asyncio
import gc
import hashlib
import inspect
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# The servers of the tests are those of the benchmarks.
sys.path.append(str(Path(__file__).parents[1]))

Chat = dict[str, Any]
"""The arguments of one call."""

PROSE = "The cache answers what was asked before, and only that; what is new goes to the model. "


def chat(number: int, *, messages: int = 2, characters: int = 800) -> Chat:
    """Make a conversation like no other; by default its JSON has 1.7 KB."""
    text = (PROSE * (characters // len(PROSE) + 1))[:characters]
    roles = ("system", *("user", "assistant") * messages)
    told = [{"role": role, "content": f"{number}.{i} {text}"} for i, role in enumerate(roles[:messages])]
    return {"model": "small", "messages": told, "temperature": 0.0}


def answer() -> dict[str, Any]:
    """Make what a model would answer: 1.6 KB as JSON."""
    message = {"role": "assistant", "content": PROSE * 16}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "small",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 350, "completion_tokens": 300, "total_tokens": 650},
    }


def json_key(chat: Chat) -> str:
    """Make the key that most people write by hand."""
    return hashlib.sha256(json.dumps(chat, sort_keys=True).encode()).hexdigest()


def by_cashews(origin: Callable[..., Any], url: str, **options: Any) -> tuple[Any, Callable[..., Any]]:
    """Return a cache of cashews, and an async function decorated by it."""
    import cashews

    cache = cashews.Cache()
    cache.setup(url, **options)

    @cache(ttl=86400, key="chat:{model}:{messages:hash}:{temperature}")
    async def call(model: str, messages: list[dict[str, str]], temperature: float) -> Any:
        return await origin(model, messages, temperature)

    return cache, call


class Bench:
    """A run of comparisons."""

    def __init__(self) -> None:
        parser = argparse.ArgumentParser()
        parser.add_argument(
            "--quick", action="store_true", help="a few rounds only: shows that it runs, measures nothing"
        )
        self.quick: bool = parser.parse_args().quick
        self.rounds = 2 if self.quick else 150
        self.loop = asyncio.new_event_loop()
        print(f"CPython {platform.python_version()}, {os.cpu_count()} CPUs, {platform.system()} {platform.machine()}")

    def compare(self, title: str, contenders: dict[str, Callable[..., Any]], batches: Iterator[list[Chat]]) -> None:
        """Print the time per call of each contender, and how it relates to that of the last one."""
        best = dict.fromkeys(contenders, float("inf"))
        names = list(contenders)
        for _ in range(self.rounds):
            names.append(names.pop(0))
            for name in names:
                best[name] = min(best[name], self._time(contenders[name], next(batches)))
        print(f"\n{title:<50}{'µs':>9}{'ratio':>9}")
        yardstick = best[list(contenders)[-1]]
        for name, seconds in best.items():
            print(f"  {name:<48}{seconds * 1e6:9.2f}{seconds / yardstick:9.2f}")

    def _time(self, call: Callable[..., Any], chats: list[Chat]) -> float:
        gc.collect()
        gc.disable()
        try:
            seconds = self._time_async(call, chats) if inspect.iscoroutinefunction(call) else _time_sync(call, chats)
        finally:
            gc.enable()
        return seconds / len(chats)

    def _time_async(self, call: Callable[..., Any], chats: list[Chat]) -> float:
        async def timed() -> float:
            start = time.perf_counter()
            for chat in chats:
                await call(**chat)
            return time.perf_counter() - start

        return self.loop.run_until_complete(timed())


def _time_sync(call: Callable[..., Any], chats: list[Chat]) -> float:
    start = time.perf_counter()
    for chat in chats:
        call(**chat)
    return time.perf_counter() - start


def afresh(chats: list[Chat]) -> Iterator[list[Chat]]:
    """Give the same chats again and again, parsed anew, so that no object is one that was seen before."""
    text = json.dumps(chats)
    while True:
        yield json.loads(text)


@contextmanager
def one_cpu(pid: int) -> Iterator[None]:
    """Put this process and *pid* on one CPU: between two, a wake-up costs more than what is measured."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(ours)})
    os.sched_setaffinity(pid, {min(ours)})
    yield
    os.sched_setaffinity(0, ours)
