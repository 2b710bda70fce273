"""What tasks of one loop ask for in one tick travels together."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from aicached import Cache, ai_cached
from aicached.errors import StoreUnavailable
from aicached.stores import redis_server
from aicached.stores.redis import RedisStore
from tests.servers import RedisServer

TIMEOUT = 0.3


def value(name: int) -> bytes:
    return b"v" + random.Random(name).randbytes(32)


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url, protocol=2, **redis_server._NO_GREETING) as client:
        client.config_resetstat()
        yield client


def reads(client: Any) -> int:
    """Return how many commands have read values."""
    stats = client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("get", "mget"))


def filled(url: str, count: int, timeout: float = 5) -> RedisStore:
    store = RedisStore(url, timeout=timeout)
    for number in range(count):
        store.set(value(number), b"%d" % number, None)
    return store


def test_whoever_is_alone_asks_at_once(redis_url, client):
    store = filled(redis_url, 1)

    async def alone():
        for _ in range(5):
            assert [b"0"] == await store.aget_many([value(0)])
            loop = asyncio.get_running_loop()
            assert 1 == len(asyncio.all_tasks(loop))

    asyncio.run(alone())
    assert 5 == reads(client)
    store.close()


def test_a_hundred_who_ask_at_once_are_two_commands(redis_url, client):
    store, stamps = filled(redis_url, 100), [b"t" + bytes(32), b"t" + bytes([1]) * 32]
    minted = store.stamps(stamps)
    client.config_resetstat()

    async def together():
        return await asyncio.gather(*(store.aget_many([value(n), *stamps]) for n in (*range(100), 7, 7)))

    found = asyncio.run(together())
    assert [[b"%d" % n, *minted] for n in (*range(100), 7, 7)] == found
    assert 2 == reads(client)
    store.close()


def test_a_thousand_are_a_handful(redis_url, client):
    store = filled(redis_url, 1000)

    async def together():
        return await asyncio.gather(*(store.aget_many([value(n)]) for n in range(1000)))

    assert [[b"%d" % n] for n in range(1000)] == asyncio.run(together())
    assert reads(client) <= 10
    store.close()


@pytest.mark.parametrize("keys", [1, 200])
def test_two_hundred_hits_at_once_are_few_commands(keys, redis_url, client):
    cache, asked = Cache(redis_url, timeout=5), []

    @ai_cached(cache=cache)
    async def ask(prompt: int) -> int:
        asked.append(prompt)
        return prompt

    async def rounds():
        await asyncio.gather(*(ask(n) for n in range(keys)))
        client.config_resetstat()
        answers = await asyncio.gather(*(ask(n % keys) for n in range(200)))
        assert [n % keys for n in range(200)] == answers
        assert 1 <= reads(client) <= 60
        await cache.aclose()

    asyncio.run(rounds())
    assert keys == len(asked)
    assert (200, keys) == ask.cache_info()[:2]


def test_who_is_cancelled_takes_nobody_along_and_nobody_gets_anothers_answer(redis_url):
    store = filled(redis_url, 50)
    chance = random.Random(4)

    async def impatient(number: int) -> Any:
        try:
            return await asyncio.wait_for(store.aget_many([value(number)]), chance.uniform(0, 0.004))
        except asyncio.TimeoutError:
            return None

    async def storm():
        outcomes = await asyncio.gather(*(impatient(n % 50) for n in range(1500)))
        assert all(found in (None, [b"%d" % (n % 50)]) for n, found in enumerate(outcomes))
        assert any(found is None for found in outcomes)
        assert [b"3"] == await store.aget_many([value(3)])
        senders = asyncio.all_tasks() - {asyncio.current_task()}
        assert not senders or not (await asyncio.wait(senders, timeout=5))[1]

    asyncio.run(storm())
    store.close()
    gc.collect()


def test_a_server_that_hangs_fails_all_within_the_time_out_each_with_an_error_of_his_own(own_redis):
    store = filled(own_redis.url, 20, TIMEOUT)

    async def hang():
        await store.aget(value(0))
        own_redis.pause()
        began = time.monotonic()
        waiting = (store.aget_many([value(n)]) for n in range(20))
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert {StoreUnavailable} == {type(outcome) for outcome in outcomes}
        assert 20 == len({id(outcome) for outcome in outcomes})
        assert time.monotonic() - began < 3 * TIMEOUT
        own_redis.resume()
        assert [[b"%d" % n] for n in range(20)] == await asyncio.gather(
            *(store.aget_many([value(n)]) for n in range(20))
        )

    asyncio.run(hang())
    store.close()
    gc.collect()


def test_a_server_that_is_gone_fails_all_at_once_and_is_used_when_it_is_back():
    with RedisServer() as server:
        store = filled(server.url, 20, 30)

        async def come_and_go():
            await store.aget(value(0))
            server.kill()
            began = time.monotonic()
            waiting = (store.aget_many([value(n)]) for n in range(20))
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
            assert {StoreUnavailable} == {type(outcome) for outcome in outcomes}
            assert time.monotonic() - began < 10
            server.restart()
            assert [[None]] * 20 == await asyncio.gather(*(store.aget_many([value(n)]) for n in range(20)))

        asyncio.run(come_and_go())
        store.close()
        gc.collect()


def test_a_loop_that_ends_in_the_middle_leaves_nothing_open(redis_url):
    store = filled(redis_url, 20)

    async def leave():
        waiting = [asyncio.ensure_future(store.aget_many([value(n)])) for n in range(20)]
        await asyncio.sleep(0)
        return waiting

    asyncio.run(leave())
    store.close()
    gc.collect()
