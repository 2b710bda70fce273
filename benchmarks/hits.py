"""How long a hit takes, beside what one would write by hand: `python benchmarks/hits.py [--quick]`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import cachetools
import diskcache
from measure import Bench, afresh, answer, by_cashews, chat, json_key

from aicached import Cache, ai_cached

ANSWER = answer()
CALLS: list[str] = []


def ask(model: str, messages: list[dict[str, str]], temperature: float) -> dict[str, Any]:
    CALLS.append(model)
    return ANSWER


async def aask(model: str, messages: list[dict[str, str]], temperature: float) -> dict[str, Any]:
    CALLS.append(model)
    return ANSWER


def by_hand(get: Callable[[str], Any], put: Callable[[str, Any], Any]) -> Callable[..., Any]:
    def call(**chat: Any) -> Any:
        key = json_key(chat)
        if (found := get(key)) is None:
            put(key, found := ask(**chat))
        return found

    return call


def by_hand_async(get: Callable[[str], Any], put: Callable[[str, Any], Any]) -> Callable[..., Any]:
    async def call(**chat: Any) -> Any:
        key = json_key(chat)
        if (found := await get(key)) is None:
            await put(key, found := await aask(**chat))
        return found

    return call


def by_aiocache() -> Callable[..., Any]:
    import aiocache

    return aiocache.cached(ttl=86400, key_builder=lambda _, **chat: json_key(chat))(aask)  # type: ignore[no-any-return]


class Hits(Bench):
    """Comparisons in which every call is a hit."""

    def __init__(self) -> None:
        super().__init__()
        self.chats = [chat(number) for number in range(5 if self.quick else 100)]

    def fill(self, call: Callable[..., Any]) -> None:
        # The first one twice: a function that never hits is warned about.
        self._time(call, [self.chats[0], *self.chats])

    def race(self, title: str, contenders: dict[str, Callable[..., Any]]) -> None:
        for call in contenders.values():
            self.fill(call)
        before = len(CALLS)
        self.compare(title, contenders, afresh(self.chats))
        if len(CALLS) != before:
            raise SystemExit(f"{title}: {len(CALLS) - before} calls were no hits")

    def bare(self, cache: Cache) -> None:
        """Show what the decoration itself costs; here the calls without a cache are meant."""
        contenders = {
            "decorated, a hit": ai_cached(ask, cache=cache, ttl="1d"),
            "decorated, mode off": ai_cached(ask, cache=cache, mode="off"),
            "raw function, no model behind it": ask,
        }
        self.fill(contenders["decorated, a hit"])
        self.compare("the decoration", contenders, afresh(self.chats))

    def memory(self, cache: Cache) -> None:
        kept: cachetools.LRUCache[str, Any] = cachetools.LRUCache(1000)

        async def get(key: str) -> Any:
            return kept.get(key)

        async def put(key: str, value: Any) -> None:
            kept[key] = value

        self.race(
            "memory, sync",
            {
                "aicached": ai_cached(ask, cache=cache, ttl="1d"),
                "cachetools + json/sha256 (shares the object)": by_hand(kept.get, kept.__setitem__),
            },
        )
        self.race(
            "memory, async",
            {
                "aicached": ai_cached(aask, cache=cache, ttl="1d"),
                "cachetools + json/sha256 (shares the object)": by_hand_async(get, put),
                "aiocache + json/sha256 (shares the object)": by_aiocache(),
                "cashews": by_cashews(aask, "mem://")[1],
            },
        )

    def sqlite(self, cache: Cache, folder: str) -> None:
        with diskcache.Cache(folder) as disk:
            inline = by_hand(disk.get, disk.set)
            self.race("SQLite, sync", {"aicached": ai_cached(ask, cache=cache, ttl="1d"), "diskcache": inline})
            self.race(
                "SQLite, async", {"aicached": ai_cached(aask, cache=cache, ttl="1d"), "diskcache, inline": inline}
            )


def main() -> None:
    bench = Hits()
    with tempfile.TemporaryDirectory() as folder:
        with Cache("memory://") as cache:
            bench.bare(cache)
            bench.memory(cache)
        with Cache(f"sqlite:///{folder}/hits.db") as cache:
            bench.sqlite(cache, f"{folder}/diskcache")
    bench.loop.close()


if __name__ == "__main__":
    main()
