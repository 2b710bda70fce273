"""
One process of a test: it calls a cached function, and says what came of it.

It reads one line of JSON from standard input, see `tests.processes.fleet.Worker`, and writes one line of JSON for each
thing that happens. Origin calls go into a file that all processes share, a line each.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections import Counter

job = json.loads(sys.stdin.readline())

from aicached import Cache, ai_cached, lease  # noqa: E402

lease.SECONDS = lease.WORD_SECONDS = job["lease"]


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


def begun() -> None:
    """Note an origin call."""
    with open(job["calls"], "ab", buffering=0) as file:
        file.write(f"{os.getpid()}\n".encode())
    say(event="computing")


def answer(prompt: str) -> object:
    """Answer as the job says: a value that names this process, a failure, or what is not kept."""
    if job["answers"] == "fail":
        raise ValueError("no")
    if job["answers"] == "truncated":
        return {"text": prompt, "finish": "length"}
    return {"text": prompt, "finish": "stop", "by": os.getpid()}


def seconds() -> float:
    return float(job["origin"])


def sync_origin(prompt: str) -> object:
    begun()
    time.sleep(seconds())
    return answer(prompt)


async def async_origin(prompt: str) -> object:
    begun()
    if job["blocks"]:
        time.sleep(seconds())
    else:
        await asyncio.sleep(seconds())
    return answer(prompt)


# One key for all processes, and for both colours.
for function in (sync_origin, async_origin):
    function.__module__, function.__qualname__ = "fleet", "ask"

cache = Cache(job["url"], timeout=job["timeout"])
options = {
    "ttl": "1h",
    "version": 1,
    "retry": False,
    "cache_if": lambda value: value["finish"] == "stop",
    **job["options"],
}
origin = sync_origin if job["colour"] == "sync" else async_origin
ask = ai_cached(origin, cache=cache, **options)


def outcome(call: object) -> str:
    try:
        return json.dumps(call())  # type: ignore[operator]
    except Exception as error:
        return type(error).__name__


async def aoutcome(prompt: str) -> str:
    try:
        return json.dumps(await ask(prompt))
    except Exception as error:
        return type(error).__name__


def in_threads(count: int) -> list[str]:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(outcome(lambda: ask(job["prompt"])))) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


async def in_tasks(count: int) -> list[str]:
    return list(await asyncio.gather(*(aoutcome(job["prompt"]) for _ in range(count))))


say(event="ready")
sys.stdin.readline()
start = time.monotonic()
found = in_threads(job["callers"]) if job["colour"] == "sync" else asyncio.run(in_tasks(job["callers"]))
seconds_taken = time.monotonic() - start
info = ask.cache_info()
say(
    event="done",
    answers=Counter(found),
    seconds=seconds_taken,
    errors=info.errors,
    stored=info.stored,
    refused=info.refused,
    collapsed=info.collapsed,
)
cache.close()
