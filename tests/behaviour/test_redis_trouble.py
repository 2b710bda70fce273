"""Redis that hangs, dies, is full, loading, read-only or forbidding: calls go on, and the log says what to do."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from aicached import Cache, ai_cached
from aicached.stores.memory import MemoryStore
from aicached.stores.redis import RedisStore
from aicached.testing import FlakyStore
from tests.servers import RedisServer


def until(happens: Callable[[], Any], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def echoing(cache: Cache, colour: str, **options: Any) -> Any:
    async def aecho(prompt):
        return prompt

    return ai_cached(aecho if colour == "async" else lambda prompt: prompt, cache=cache, version=1, **options)


@pytest.fixture
def client(own_redis: RedisServer) -> Iterator[Any]:
    with redis.Redis.from_url(own_redis.url) as client:
        yield client


@pytest.fixture
def told(caplog) -> Callable[[], list[str]]:
    return lambda: [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("near", [False, True])
def test_a_server_that_hangs_costs_little_then_nothing_and_is_used_again(near, own_redis, colour, run):
    cache = Cache(own_redis.url, near=near)
    ask = echoing(cache, colour)

    async def hang() -> None:
        call = ask if colour == "async" else lambda n: asyncio.to_thread(ask, n)
        await call(0)
        own_redis.pause()
        began = time.monotonic()
        assert list(range(1, 21)) == [await call(n) for n in range(1, 21)]
        assert time.monotonic() - began < 3
        while cache.engine.store.kept.keys() if near else False:
            await asyncio.sleep(0.05)  # until the near tier believes nothing any more
        await call(21)
        began = time.monotonic()
        for n in range(50):
            await call(100 + n)
        assert time.monotonic() - began < 0.9
        own_redis.resume()
        began, n = time.monotonic(), 1000
        while ask.cache_info().stored < 2:
            await call(n)
            n += 1
            assert time.monotonic() - began < 5
            await asyncio.sleep(0.05)
        await cache.aclose()

    asyncio.run(hang())
    cache.close()


def test_a_server_that_dies_and_comes_back_empty(own_redis, colour, run, told):
    cache = Cache(own_redis.url)
    ask = echoing(cache, colour)
    assert ["a", "a"] == [run(ask("a")), run(ask("a"))]
    own_redis.kill()
    assert [str(n) for n in range(20)] == [run(ask(str(n))) for n in range(20)]
    own_redis.restart()
    until(lambda: run(ask("b")) and run(ask.cache_contains("b")), 8)
    assert "a" == run(ask("a"))
    assert ["unavailable" in text for text in told()] == [True, False]
    run(cache.aclose()) if colour == "async" else cache.close()


def test_a_small_server_under_load_evicts_and_nobody_notices():
    with RedisServer("--maxmemory", "5mb", "--maxmemory-policy", "allkeys-lru") as server:
        cache = Cache(server.url, timeout=2, compression=None)
        wrong: list[Any] = []

        def answer(n):
            return f"{n}:" + "x" * 20_000

        ask = ai_cached(answer, cache=cache, version=1, tags="all")

        def load(seed: int) -> None:
            chance = random.Random(seed)
            try:
                for _ in range(400):
                    n = chance.randrange(600)
                    if ask(n) != answer(n):
                        wrong.append(n)
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=load, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [] == wrong
        info = ask.cache_info()
        assert info.hits > 0
        with redis.Redis.from_url(server.url) as client:
            assert client.info("stats")["evicted_keys"] > 0
        cache.close()


def test_a_server_that_is_loading_is_waited_for_by_nobody(own_redis, client, colour, run, told):
    cache = Cache(own_redis.url)
    ask = echoing(cache, colour)
    run(ask("hi"))
    for n in range(80):  # it answers while it loads, with LOADING, once in 2 MB
        client.set(f"other:{n}", random.randbytes(200_000))
    client.config_set("key-load-delay", 15_000)
    loading = threading.Thread(target=lambda: client.execute_command("DEBUG RELOAD"))
    loading.start()
    until(lambda: any("LOADING" in text or "loading" in text for text in told()) or run(ask("hi")) != "hi", 20)
    began = time.monotonic()
    assert [str(n) for n in range(20)] == [run(ask(str(n))) for n in range(20)]
    assert time.monotonic() - began < 2
    loading.join()
    until(lambda: run(ask("b")) and run(ask.cache_contains("b")), 8)
    assert "hi" == run(ask("hi"))
    run(cache.aclose()) if colour == "async" else cache.close()


def refusing(client: Any, what: str) -> str:
    """Put a server in trouble, and return what the log should say."""
    if what == "full":
        client.config_set("maxmemory", 1)
        return "allkeys-lru"
    if what == "read-only":
        client.replicaof("127.0.0.1", "1")
        return "leads to a replica"
    if what == "forbidding":
        client.execute_command("ACL SETUSER default -mget -get")
        return "docs/redis.md"
    client.config_set("requirepass", "secret")
    client.execute_command("AUTH", "secret")
    client.execute_command("CLIENT KILL TYPE normal SKIPME yes")
    return "user:password@host"


@pytest.mark.parametrize("what", ["full", "read-only", "forbidding", "locked"])
def test_a_server_that_refuses_says_why_once_and_breaks_no_call(what, own_redis, client, colour, run, told):
    cache = Cache(own_redis.url)
    ask = echoing(cache, colour)
    assert "hi" == run(ask("hi"))
    says = refusing(client, what)
    assert [str(n) for n in range(5)] == [run(ask(str(n))) for n in range(5)]
    if what in ("full", "read-only"):
        assert run(ask.cache_contains("hi")) is True, "what is there is still read"
    (line,) = told()
    assert says in line
    assert "secret" not in line
    run(cache.aclose()) if colour == "async" else cache.close()


def test_a_name_that_something_else_has_taken_is_a_miss_that_is_told(own_redis, client, colour, run, told):
    cache = Cache(own_redis.url)
    ask = echoing(cache, colour)
    client.lpush("ac1:v:{" + ask.cache_key("hi") + "}", "x")
    assert ["hi", "hi"] == [run(ask("hi")), run(ask("hi"))]
    for name in client.keys("ac1:v:*"):
        client.delete(name)
    assert "there" == run(ask("there"))
    run(cache.aclose()) if colour == "async" else cache.close()


@pytest.mark.slow
@pytest.mark.parametrize("far", ["memory", "redis"])
def test_a_minute_of_chaos(far, request):
    """30 % of all operations fail, all are late by up to 0.2 s, and 50 callers go on asking and invalidating."""
    inner = MemoryStore() if far == "memory" else RedisStore(request.getfixturevalue("redis_url"))
    cache = Cache(FlakyStore(inner, fail=0.3, delay=(0.0, 0.2), seed=6))
    threads = threading.active_count()

    async def answer(n):
        await asyncio.sleep(0.001)
        return [n, "x" * n]

    ask = ai_cached(answer, cache=cache, version=1, tags=lambda n: [f"t{n % 7}"])

    async def caller(seed: int, ends: float) -> int:
        chance, count = random.Random(seed), 0
        while time.monotonic() < ends:
            n = chance.randrange(40)
            assert [n, "x" * n] == await ask(n)
            count += 1
            if chance.random() < 0.05:
                await (ask.cache_invalidate(n) if chance.random() < 0.5 else cache.ainvalidate_tags(f"t{n % 7}"))
        return count

    async def chaos() -> int:
        counts = await asyncio.gather(*(caller(seed, time.monotonic() + 60) for seed in range(50)))
        cache.store.heal()
        await asyncio.sleep(6)
        assert [1, "x"] == await ask(1)
        assert [asyncio.current_task()] == list(asyncio.all_tasks())
        await cache.aclose()
        return sum(counts)

    assert asyncio.run(chaos()) > 1000
    until(lambda: not cache.engine.store.owed.debts, 10)
    cache.close()
    until(lambda: threading.active_count() <= threads + 1, 20)  # a lease may be given back until it has run out


def test_a_full_server_still_explains(own_redis, client, colour, run):
    cache = Cache(own_redis.url)
    ask = echoing(cache, colour)
    run(ask("hi"))
    run(ask.cache_explain("hi"))
    run(ask("ho"))
    client.config_set("maxmemory", 1)
    assert "differs from" in str(run(ask.cache_explain("there")))
    client.config_set("maxmemory", 0)
    run(cache.aclose()) if colour == "async" else cache.close()
