"""Bounds of a namespace on a Redis server: least recently used goes first, at no round trip of its own."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from aicached import Cache, ai_cached
from aicached.stores import redis_bounds, redis_server
from aicached.stores.redis import RedisStore
from aicached.testing.conformance import StoreConformance


def value(name: int) -> bytes:
    return b"v" + random.Random(name).randbytes(32)


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url, protocol=2, **redis_server._NO_GREETING) as client:
        yield client


def names(client: Any) -> list[bytes]:
    return list(client.scan_iter(match="ac1:v:*", count=1000))


def held(store: RedisStore, many: range) -> list[int]:
    """Return which are there, without using them."""
    with redis.Redis.from_url("redis" + store.address[5:]) as client:
        return [n for n in many if client.exists("ac1:v:{" + value(n)[1:].hex() + "}")]


class TestBoundedRedisStore(StoreConformance):
    @pytest.fixture(autouse=True)
    def places(self, redis_url: str) -> None:
        self.url = redis_url

    def make_store(self) -> RedisStore:
        return RedisStore(self.url, timeout=5, max_entries=100_000, max_bytes=2**30)

    def teardown_method(self) -> None:
        super().teardown_method()
        gc.collect()


class Colour:
    """Ask a store in one colour, in one loop."""

    def __init__(self, store: RedisStore, colour: str) -> None:
        self.store, self.colour, self.loop = store, colour, asyncio.new_event_loop()

    def __getattr__(self, verb: str) -> Any:
        if self.colour == "sync":
            return getattr(self.store, verb)
        return lambda *args: self.loop.run_until_complete(getattr(self.store, "a" + verb)(*args))

    def close(self) -> None:
        self.loop.run_until_complete(self.store.aclose())
        self.loop.close()
        self.store.close()


@pytest.fixture
def bounded(redis_url: str, colour: str) -> Iterator[Any]:
    made: list[Colour] = []

    def make(**bounds: int) -> Colour:
        made.append(Colour(RedisStore(redis_url, timeout=5, **bounds), colour))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_as_many_stay_as_may(bounded, client):
    store = bounded(max_entries=50)
    for n in range(200):
        store.set(value(n), b"x", 60)
    assert list(range(150, 200)) == held(store.store, range(200))


def test_as_many_bytes_stay_as_may(bounded, client):
    store = bounded(max_bytes=10_000)
    for n in range(200):
        store.set(value(n), bytes(90 + n % 20), None)
    size = sum(client.strlen(name) for name in names(client))
    assert 9_500 <= size <= 10_000
    store.set(value(0), bytes(20_000), None)
    assert size == sum(client.strlen(name) for name in names(client)), "one that is too large takes no other's place"


@pytest.mark.parametrize("read", ["get", "get_many"])
def test_what_was_used_stays(read, bounded):
    store = bounded(max_entries=3)
    for n in range(3):
        store.set(value(n), b"x", None)
    store.get_many([value(0)]) if read == "get_many" else store.get(value(0))
    store.set(value(3), b"x", None)
    assert [0, 2, 3] == held(store.store, range(4))


def test_what_is_listed_is_not_used(bounded):
    store = bounded(max_entries=3)
    for n in range(3):
        store.set(value(n), b"x", None)
    store.get_many([value(0), value(1)])
    store.set(value(3), b"x", None)
    assert [1, 2, 3] == held(store.store, range(4))


def test_the_first_hit_after_a_write_is_always_noted(bounded):
    store = bounded(max_entries=3)
    for n in range(3):
        store.set(value(n), b"x", None)
    for _ in range(2):
        store.get_many([value(0)])
        store.set(value(0), b"y", None)
        for n in (1, 2):
            store.set(value(n), b"y", None)
        store.get_many([value(0)])
    store.set(value(3), b"x", None)
    assert [0, 2, 3] == held(store.store, range(4))


def test_what_another_process_uses_stays(bounded, redis_url):
    store, other = bounded(max_entries=3), RedisStore(redis_url, timeout=5, max_entries=3)
    for n in range(3):
        store.set(value(n), b"x", None)
    other.get_many([value(0)])
    store.set(value(3), b"x", None)
    assert [0, 2, 3] == held(store.store, range(4))
    other.close()


def test_hits_are_one_packet_and_noted_once_a_second(bounded, client, monkeypatch):
    store = bounded(max_entries=100)
    store.set(value(0), b"x", None)
    client.config_resetstat()
    for _ in range(20):
        assert [b"x"] == store.get_many([value(0)])
    stats = client.info("commandstats")
    assert (20, 1) == (stats["cmdstat_mget"]["calls"], stats["cmdstat_zadd"]["calls"])
    monkeypatch.setattr(redis_bounds, "_AGAIN", 0.0)
    store.get_many([value(0)])
    assert 2 == client.info("commandstats")["cmdstat_zadd"]["calls"]


def test_batches_note_all_their_hits(redis_url, client):
    async def batch():
        store = RedisStore(redis_url, timeout=5, max_entries=30)
        for n in range(30):
            await store.aset(value(n), b"x", None)
        client.config_resetstat()
        assert [[b"x"]] * 20 == await asyncio.gather(*(store.aget_many([value(n)]) for n in range(20)))
        assert 2 == client.info("commandstats")["cmdstat_mget"]["calls"]
        for n in range(30, 40):
            await store.aset(value(n), b"x", None)
        assert [*range(20), *range(30, 40)] == held(store, range(40))
        await store.aclose()

    asyncio.run(batch())


def test_what_has_expired_or_was_deleted_takes_no_place(bounded, client):
    store = bounded(max_entries=10, max_bytes=1000)
    for n in range(5):
        store.set(value(n), bytes(50), 0.02)
    for n in range(5, 10):
        store.set(value(n), bytes(50), None)
    store.delete(value(5))
    threading.Event().wait(0.05)
    for n in range(10, 16):
        store.set(value(n), bytes(50), None)
    assert [6, 7, 8, 9, *range(10, 16)] == held(store.store, range(16))


def test_a_miss_that_is_noted_takes_no_place(bounded, client):
    store = bounded(max_entries=3)
    for n in range(10):
        store.get_many([value(n)])
    assert 0 == client.dbsize()


def test_each_namespace_has_bounds_of_its_own(redis_url, client):
    caches = [Cache(redis_url, namespace=name, max_entries=bound, timeout=5) for name, bound in (("a", 5), ("b", None))]
    asks = [ai_cached(lambda n: n, cache=cache, version=1) for cache in caches]
    for n in range(20):
        for ask in asks:
            ask(n)
    there = [[n for n in range(20) if ask.cache_contains(n)] for ask in asks]
    assert [list(range(15, 20)), list(range(20))] == there
    for cache in caches:
        cache.close()


@pytest.mark.parametrize("bound", [{"max_entries": 100}, {"max_bytes": 100_000}])
def test_a_cache_is_within_five_percent_of_its_bound(bound, redis_url, client, colour, run):
    cache = Cache(redis_url, timeout=5, **bound)

    def answer(n):
        return bytes(1000)

    async def aanswer(n):
        return bytes(1000)

    ask = ai_cached(aanswer if colour == "async" else answer, cache=cache, version=1)

    async def fill():
        for n in range(300):
            await ask(n)
        await cache.aclose()

    run(fill()) if colour == "async" else [ask(n) for n in range(300)]
    found = names(client)
    measured = len(found) if "max_entries" in bound else sum(client.strlen(name) for name in found)
    (most,) = bound.values()
    assert 0.95 * most <= measured <= most
    cache.close()


def test_near_hits_keep_an_entry_in_the_far_store(redis_url, client):
    cache = Cache(redis_url, near=True, max_entries=3, timeout=5)
    ask = ai_cached(lambda n: n, cache=cache, version=1)
    for _ in range(2):
        for n in range(3):
            ask(n)
    cache.store._bounds._noted.clear()
    client.config_resetstat()
    ask(0)
    assert "cmdstat_zadd" not in client.info("commandstats")
    ask(3)
    deadline = time.monotonic() + 5
    while ask.cache_contains(1) and time.monotonic() < deadline:  # until the near tier has heard of it
        time.sleep(0.01)
    assert [True, False, True, True] == [ask.cache_contains(n) for n in range(4)]
    cache.close()


def test_a_server_that_does_not_let_it_count_breaks_no_call(own_redis, colour, run):
    with redis.Redis.from_url(own_redis.url) as client:
        client.execute_command("ACL SETUSER default -zadd -zrange")
    cache = Cache(own_redis.url, max_entries=2, timeout=5)

    async def aask(n):
        return n

    ask = ai_cached(aask if colour == "async" else lambda n: n, cache=cache, version=1)
    assert [1, 1, 2, 2] == [run(ask(n)) for n in (1, 1, 2, 2)]
    assert (2, 2) == ask.cache_info()[:2]
    cache.close()
