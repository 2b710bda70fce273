"""How long a hit on Redis takes, beside what one would use instead: `python benchmarks/redis_hits.py [--quick]`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import cashews
import msgpack
import redis
import redis.asyncio
from dogpile.cache import make_region
from measure import Bench, Chat, afresh, answer, chat, json_key, one_cpu

from aicached import Cache, ai_cached
from tests.servers import RedisServer

ANSWER = answer()
CALLS: list[str] = []
DAY = 86400


def ask(model: str, messages: list[dict[str, str]], temperature: float) -> dict[str, Any]:
    CALLS.append(model)
    return ANSWER


async def aask(model: str, messages: list[dict[str, str]], temperature: float) -> dict[str, Any]:
    CALLS.append(model)
    return ANSWER


def by_hand(client: redis.Redis) -> Callable[..., Any]:
    def call(**chat: Any) -> Any:
        key = json_key(chat)
        if (data := client.get(key)) is not None:
            return msgpack.unpackb(data)
        found = ask(**chat)
        client.set(key, msgpack.packb(found), ex=DAY)
        return found

    return call


def by_hand_async(client: redis.asyncio.Redis) -> Callable[..., Any]:
    async def call(**chat: Any) -> Any:
        key = json_key(chat)
        if (data := await client.get(key)) is not None:
            return msgpack.unpackb(data)
        found = await aask(**chat)
        await client.set(key, msgpack.packb(found), ex=DAY)
        return found

    return call


def by_dogpile(url: str) -> Callable[..., Any]:
    region = make_region().configure("dogpile.cache.redis", expiration_time=DAY, arguments={"url": url})
    return lambda **chat: region.get_or_create("dogpile " + json_key(chat), lambda: ask(**chat))


def by_cashews(url: str, **options: Any) -> tuple[Any, Callable[..., Any]]:
    cache = cashews.Cache()
    cache.setup(url, **options)

    @cache(ttl=DAY, key="chat:{model}:{messages:hash}:{temperature}")
    async def call(model: str, messages: list[dict[str, str]], temperature: float) -> Any:
        return await aask(model, messages, temperature)

    return cache, call


class RedisHits(Bench):
    """Comparisons on one server."""

    def __init__(self) -> None:
        super().__init__()
        self.chats = [chat(number) for number in range(5 if self.quick else 100)]
        self.at_once = False

    def race(self, title: str, contenders: dict[str, Callable[..., Any]]) -> None:
        for call in contenders.values():
            for _ in range(2):  # the second time, near tiers are filled too
                self._time(call, [self.chats[0], *self.chats])
                time.sleep(0.05)
        before = len(CALLS)
        self.compare(title, contenders, afresh(self.chats))
        if len(CALLS) != before:
            raise SystemExit(f"{title}: {len(CALLS) - before} calls were no hits")

    def _time_async(self, call: Callable[..., Any], chats: list[Chat]) -> float:
        if not self.at_once:
            return super()._time_async(call, chats)

        async def timed() -> float:
            start = time.perf_counter()
            await asyncio.gather(*[call(**chat) for chat in chats])
            return time.perf_counter() - start

        return self.loop.run_until_complete(timed())


def sync_rows(bench: RedisHits, url: str) -> None:
    with Cache(url) as cache, redis.Redis.from_url(url) as client:
        cached = ai_cached(ask, cache=cache, ttl="1d")
        ours = {"aicached": cached, "dogpile": by_dogpile(url), "redis-py GET, by hand": by_hand(client)}
        bench.race("Redis, sync", ours)


def async_rows(bench: RedisHits, url: str) -> None:
    run = bench.loop.run_until_complete
    client, cache, near = redis.asyncio.Redis.from_url(url, max_connections=1000), Cache(url), Cache(url, near=True)
    theirs, cached = by_cashews(url)
    hand, ours = by_hand_async(client), ai_cached(aask, cache=cache, ttl="1d")
    bench.race("Redis, async, alone", {"aicached": ours, "cashews": cached, "redis.asyncio GET, by hand": hand})
    bench.at_once = True
    bench.race(
        "Redis, async, all at once, per call",
        {"aicached": ours, "cashews": cached, "redis.asyncio GET, by hand": hand},
    )
    bench.at_once = False
    side, beside = by_cashews(url, client_side=True)
    bench.race(
        "near tier over Redis, async",
        {"aicached, near=True": ai_cached(aask, cache=near, ttl="1d"), "cashews, client side": beside},
    )
    for each in (theirs, side):
        run(each.close())
    run(client.aclose())
    run(cache.aclose())
    run(near.aclose())


def main() -> None:
    bench = RedisHits()
    with RedisServer() as server, one_cpu(server.pid):
        sync_rows(bench, server.url)
        async_rows(bench, server.url)
    bench.loop.close()


if __name__ == "__main__":
    main()
