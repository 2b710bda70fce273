"""Fixtures of all tests: an environment of their own, real redis-servers, both colours."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
import redis

from aicached import counters
from aicached.testing import ModelServer
from tests.certificates import Authority
from tests.servers import RedisServer

# Tests count what is sent to a store: here the thread that adds up what was counted never comes to it.
counters.PERIOD = 3600.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests of whole programs: at the end, one process would be busy with them, and the others idle."""
    items.sort(key=lambda item: item.path.parent != Path(__file__).parent)


def pytest_collection_finish() -> None:
    """Spare the garbage collector what lives as long as the run: modules, and thousands of tests.

    Tests collect garbage to see what it warns of; each time took longer than the test.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Trust one authority, that signs nothing: no test leaves this machine, and reading all of a system's takes 20 ms.

    Each client of an SDK reads them, and tests make thousands of clients.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", Authority(tmp_path_factory.mktemp("authority")).path)
        yield


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give each test a cache folder and a default cache of its own, and none of the user's settings."""
    for name in [name for name in os.environ if name.startswith("AICACHED_") or name == "REDIS_URL"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg-cache"))
    yield
    if (cache := sys.modules.get("aicached.cache")) is not None:
        cache.forget_default()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """Give the server that all tests share; who pauses or kills it takes `own_redis`."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """Give the address of the shared server, emptied."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """Give a server that this test may pause, kill and restart."""
    with RedisServer() as server:
        yield server


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    """Run the test once per colour."""
    return str(request.param)


def finish(value: Any) -> Any:
    """Give *value*, or what it results in if it is awaitable: one scenario for both colours."""

    async def wait(awaitable: Awaitable[Any]) -> Any:
        return await awaitable

    return asyncio.run(wait(value)) if inspect.isawaitable(value) else value


@pytest.fixture
def run() -> Callable[[Any], Any]:
    """Give `finish`: `run(ask("hi"))` is the answer in both colours."""
    return finish


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
