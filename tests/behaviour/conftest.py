"""Fixtures of the behaviour tests: a cache of their own, waits that take no time, what was warned of, scripts."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from aicached import Cache
from aicached.lease import PASS
from aicached.renewal import RENEWALS
from aicached.runtime import ASYNCIO, BLOCKING
from aicached.stores import Store
from aicached.stores.memory import MemoryStore
from aicached.stores.redis import RedisStore
from aicached.stores.sqlite import SQLiteStore
from aicached.testing import FakeClock

ROOT = Path(__file__).parents[2]

# A machine may be busy: how long an example takes says nothing here.
settings.register_profile("behaviour", deadline=None)
settings.load_profile("behaviour")


@pytest.fixture
def cache() -> Cache:
    """Give a cache in memory that nobody else uses."""
    return Cache("memory://")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite", "redis"])
def store(request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path) -> Iterator[Store]:
    """Give each store, with a clock that stands still."""
    made: Store
    if request.param == "memory":
        made = MemoryStore(clock=clock)
    elif request.param == "sqlite":
        made = SQLiteStore(tmp_path / "answers.db", timeout=5, clock=clock)
    else:
        made = RedisStore(request.getfixturevalue("redis_url"), timeout=5, clock=clock)
    yield made
    made.close()


@pytest.fixture
def any_cache(store: Store) -> Cache:
    return Cache(store)


@pytest.fixture
def waits(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let retries wait in no time, and give the seconds that they would have waited."""
    monkeypatch.setattr(BLOCKING, "sleep", clock.sleep)
    monkeypatch.setattr(ASYNCIO, "sleep", clock.asleep)
    return clock.slept


@pytest.fixture(autouse=True)
def leases_are_settled() -> Iterator[None]:
    """See to it that what the thread of the leases says of a server that is gone is not said in the next test."""
    yield
    until = time.monotonic() + 2
    while RENEWALS._thread and not RENEWALS._given_up.empty() and time.monotonic() < until:
        time.sleep(0.02)
    for *_, lease in list(RENEWALS._missed):
        lease.word = PASS  # nothing to give back


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Give what tells the warnings of aicached so far."""
    caplog.set_level(logging.INFO, "aicached")

    return lambda: [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.fixture
def run_script(tmp_path: Path) -> Callable[..., str]:
    """Give what writes a script into a file, runs it in a process of its own, and returns what it printed."""

    def run_script(source: str, name: str = "script.py", **environment: str) -> str:
        path = tmp_path / name
        path.write_text(textwrap.dedent(source))
        done = subprocess.run(
            [sys.executable, "-W", "error", str(path)],
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run_script
