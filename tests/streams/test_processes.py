"""Streams that several processes want: nobody waits for long, who ends first commits, who is killed keeps nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aicached import Cache, ai_cached

ROOT = Path(__file__).parents[2]

SCRIPT = """
import asyncio, json, sys, time
from aicached import Cache, ai_cached

url, name, pace, wait, colour = sys.argv[1:]
count = 8

def chunks(prompt):
    for number in range(count):
        time.sleep(float(pace))
        yield f"{name} {number}"

async def achunks(prompt):
    for number in range(count):
        await asyncio.sleep(float(pace))
        yield f"{name} {number}"

chunks.__qualname__ = achunks.__qualname__ = "chunks"
chunks.__module__ = achunks.__module__ = "shared"
origin, cache = chunks if colour == "sync" else achunks, Cache(url, timeout=5)
ask = ai_cached(origin, cache=cache, version=1, stream_wait=float(wait))

def say(chunk):
    print(json.dumps([chunk, time.time()]), flush=True)

if colour == "sync":
    for chunk in ask("hi"):
        say(chunk)
else:
    async def main():
        async for chunk in ask("hi"):
            say(chunk)
    asyncio.run(main())
"""


class Run:
    def __init__(self, url, name, colour, *, pace, wait=0.3):
        self.began = time.time()
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, url, name, str(pace), str(wait), colour],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self):
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def rest(self):
        assert self.process.stdout is not None
        chunks = [json.loads(line)[0] for line in self.process.stdout]
        self.end()
        return chunks

    def end(self):
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


SLOW = pytest.mark.slow
PAIRS = [("sqlite", "sync"), ("redis", "async")]
PAIRS_TOO = [pytest.param("sqlite", "async", marks=SLOW), pytest.param("redis", "sync", marks=SLOW)]


@pytest.fixture
def url(kind, request, tmp_path):
    return f"sqlite:///{tmp_path}/a.db" if kind == "sqlite" else request.getfixturevalue("redis_url")


def stored(url):
    """Return what another process finds, without an origin to ask."""

    def chunks(prompt):
        yield "called"

    chunks.__qualname__, chunks.__module__ = "chunks", "shared"
    with Cache(url, timeout=5) as cache:
        return list(ai_cached(chunks, cache=cache, version=1)("hi"))


def expected(name):
    return [f"{name} {number}" for number in range(8)]


@pytest.mark.parametrize(("kind", "colour"), [*PAIRS, *PAIRS_TOO])
def test_who_waits_too_long_streams_for_himself_and_who_ends_first_commits(url, colour):
    slow = Run(url, "slow", colour, pace=0.4)
    assert "slow 0" == slow.line()[0]
    quick = Run(url, "quick", colour, pace=0.01)
    try:
        assert expected("quick") == quick.rest()  # begun after stream_wait, long before the other has ended
        assert slow.process.poll() is None
        assert expected("slow")[1:] == slow.rest()  # one run from the first chunk to the last
    finally:
        slow.end()
        quick.end()
    assert expected("quick") == stored(url)


@pytest.mark.parametrize(("kind", "colour"), [*PAIRS, *PAIRS_TOO])
def test_who_waits_gets_what_is_stored_meanwhile(url, colour):
    first = Run(url, "first", colour, pace=0.1)
    assert "first 0" == first.line()[0]
    second = Run(url, "second", colour, pace=0.01, wait=20)
    try:
        assert expected("first") == second.rest()
        assert expected("first")[1:] == first.rest()
    finally:
        first.end()
        second.end()


@pytest.mark.parametrize(("kind", "colour"), [*PAIRS, *PAIRS_TOO])
def test_a_process_that_is_killed_keeps_nothing_and_the_next_is_whole(url, colour):
    killed = Run(url, "killed", colour, pace=0.05)
    assert ["killed 0", "killed 1"] == [killed.line()[0], killed.line()[0]]
    killed.end()
    following = Run(url, "next", colour, pace=0.01)
    try:
        assert expected("next") == following.rest()
    finally:
        following.end()
    assert expected("next") == stored(url)
