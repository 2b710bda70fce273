"""How long a hit on Redis takes, beside what one would use instead: `python benchmarks/redis_hits.py [--quick]`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import msgpack
import redis
import redis.asyncio
from measure import Bench, Chat, afresh, answer, by_cashews, chat, json_key, one_cpu

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
    from dogpile.cache import make_region

    region = make_region().configure("dogpile.cache.redis", expiration_time=DAY, arguments={"url": url})
    return lambda **chat: region.get_or_create("dogpile " + json_key(chat), lambda: ask(**chat))


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
        theirs = {"dogpile": by_dogpile(url)} if find_spec("dogpile") else {}
        hand = {"redis-py GET, by hand": by_hand(client)}
        bench.race("Redis, sync", {"aicached": ai_cached(ask, cache=cache, ttl="1d"), **theirs, **hand})


def async_rows(bench: RedisHits, url: str) -> None:
    run = bench.loop.run_until_complete
    client, cache, near = redis.asyncio.Redis.from_url(url, max_connections=1000), Cache(url), Cache(url, near=True)
    closing = [client.aclose, cache.aclose, near.aclose]
    theirs, beside = dict[str, Any](), dict[str, Any]()
    if find_spec("cashews"):
        for found, name, options in ((theirs, "cashews", {}), (beside, "cashews, client side", {"client_side": True})):
            made, found[name] = by_cashews(aask, url, **options)
            closing.append(made.close)
    ours, hand = ai_cached(aask, cache=cache, ttl="1d"), by_hand_async(client)
    contenders = {"aicached": ours, **theirs, "redis.asyncio GET, by hand": hand}
    bench.race("Redis, async, alone", contenders)
    bench.at_once = True
    bench.race("Redis, async, all at once, per call", contenders)
    bench.at_once = False
    bench.race("near tier over Redis, async", {"aicached, near=True": ai_cached(aask, cache=near, ttl="1d"), **beside})
    for close in closing:
        run(close())


def main() -> None:
    bench = RedisHits()
    with RedisServer() as server, one_cpu(server.pid):
        sync_rows(bench, server.url)
        async_rows(bench, server.url)
    bench.loop.close()


if __name__ == "__main__":
    main()
