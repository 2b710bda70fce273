"""Fixtures of the behaviour tests: a cache of their own, waits that take no time, what was warned of, scripts."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import anthropic
import openai
import pytest
from hypothesis import settings

from aicached import Cache
from aicached.runtime import ASYNCIO, BLOCKING
from aicached.testing import FakeClock, ModelServer

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


@pytest.fixture
def waits(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let retries wait in no time, and give the seconds that they would have waited."""
    monkeypatch.setattr(BLOCKING, "sleep", clock.sleep)
    monkeypatch.setattr(ASYNCIO, "sleep", clock.asleep)
    return clock.slept


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


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def client(server: ModelServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url, api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
def claude(server: ModelServer) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=server.root, api_key="any", max_retries=0) as claude:
        yield claude
