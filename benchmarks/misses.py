"""How long a miss takes, with a model that takes no time, beside get and set by hand: `python benchmarks/misses.py`."""

from __future__ import annotations

import itertools
import logging
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import diskcache
import msgpack
import redis
from hits import ask, by_hand
from measure import Bench, Chat, chat, one_cpu

from aicached import Cache, ai_cached
from tests.servers import RedisServer


def never_seen(size: int) -> Iterator[list[Chat]]:
    """Make batches of conversations, all of them new."""
    numbers = itertools.count()
    while True:
        yield [chat(next(numbers)) for _ in range(size)]


class Misses(Bench):
    """Comparisons in which no call is a hit."""

    def race(self, title: str, contenders: dict[str, Callable[..., Any]]) -> None:
        self.compare(title, contenders, never_seen(5 if self.quick else 40))

    def sqlite(self, cache: Cache, folder: str) -> None:
        with diskcache.Cache(folder) as disk:
            contenders = {
                "aicached": ai_cached(ask, cache=cache, ttl="1d"),
                "aicached, coalesce=False": ai_cached(ask, cache=cache, ttl="1d", coalesce=False),
                "diskcache get + set": by_hand(disk.get, lambda key, value: disk.set(key, value, expire=86400)),
            }
            self.race("SQLite, a miss", contenders)

    def redis(self, cache: Cache, url: str) -> None:
        with redis.Redis.from_url(url) as client:

            def put(key: str, value: Any) -> None:
                client.set(key, msgpack.packb(value), ex=86400)

            contenders = {
                "aicached": ai_cached(ask, cache=cache, ttl="1d"),
                "aicached, coalesce=False": ai_cached(ask, cache=cache, ttl="1d", coalesce=False),
                "redis-py GET + SET, by hand": by_hand(client.get, put),
            }
            self.race("Redis, a miss", contenders)


def main() -> None:
    logging.disable()  # that nothing ever hits is what they would warn of
    bench = Misses()
    with tempfile.TemporaryDirectory() as folder, Cache(f"sqlite:///{folder}/misses.db") as cache:
        bench.sqlite(cache, f"{folder}/diskcache")
    with RedisServer() as server, one_cpu(server.pid), Cache(server.url) as cache:
        bench.redis(cache, server.url)
    bench.loop.close()


if __name__ == "__main__":
    main()
