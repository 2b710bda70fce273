"""
A store in trouble, on demand.

Law: an operation of the inner store either happens as it is or not at all; all trouble is a `StoreUnavailable`.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import StoreUnavailable
from ..stores.base import Head, Puts, Store

__all__ = ["FlakyStore"]


class FlakyStore(Store):
    """
    Pass everything on to *store*, late or not at all.

    How often each operation was asked for is in `operations`, how many of them failed in `failures`.

    Args:
        store: the store that does the work.
        fail: the share of operations that raise `StoreUnavailable`, 0 to 1.
        delay: seconds that an operation takes beforehand: from, to.
        seed: the same seed makes the same operations fail.
    """

    def __init__(
        self, store: Store, *, fail: float = 0.0, delay: tuple[float, float] = (0.0, 0.0), seed: int = 0
    ) -> None:
        super().__init__(clock=store.now)
        self.store = store
        self.fail = fail
        self.delay = delay
        self.blocking = store.blocking or delay[1] > 0
        self.opened = store.opened
        self.swaps, self.forgets, self.poll = store.swaps, store.forgets, store.poll
        self.reserves = store.reserves
        self.operations: Counter[str] = Counter()
        self.failures = 0
        self._random = random.Random(seed)

    @property
    def address(self) -> str:
        return self.store.address

    def always_fail(self) -> None:
        """Fail every operation from now on."""
        self.fail = 1.0

    def heal(self) -> None:
        """Neither fail nor wait from now on."""
        self.fail, self.delay = 0.0, (0.0, 0.0)

    def get(self, key: bytes) -> Any:
        self._suffer("get")
        return self.store.get(key)

    def set(self, key: bytes, data: Any, lifetime: float | None) -> None:
        self._suffer("set")
        self.store.set(key, data, lifetime)

    def delete(self, key: bytes) -> None:
        self._suffer("delete")
        self.store.delete(key)

    def get_many(self, keys: Sequence[bytes]) -> list[Any]:
        self._suffer("get_many")
        return self.store.get_many(keys)

    def stamps(self, keys: Sequence[bytes]) -> list[bytes]:
        self._suffer("stamps")
        return self.store.stamps(keys)

    def renew(self, key: bytes) -> None:
        self._suffer("renew")
        self.store.renew(key)

    def append(self, log: bytes, data: Any, lifetime: float | None, limit: int) -> None:
        self._suffer("append")
        self.store.append(log, data, lifetime, limit)

    def read(self, log: bytes, since: int, count: int) -> tuple[int, int, list[Any]]:
        self._suffer("read")
        return self.store.read(log, since, count)

    def keys(self) -> list[bytes]:
        self._suffer("keys")
        return self.store.keys()

    def add(self, key: bytes, amounts: Mapping[str, int], lifetime: float | None) -> None:
        self._suffer("add")
        self.store.add(key, amounts, lifetime)

    def sums(self, key: bytes) -> dict[str, int]:
        self._suffer("sums")
        return self.store.sums(key)

    def swap(self, expected: Mapping[bytes, bytes | None], puts: Puts, news: bytes = b"") -> list[Head] | None:
        self._suffer("swap")
        return self.store.swap(expected, puts, news)

    def reserve(self, keys: Sequence[bytes], puts: Mapping[bytes, tuple[bytes, float]]) -> tuple[list[Any], bool]:
        self._suffer("reserve")
        return self.store.reserve(keys, puts)

    def watch(self, key: bytes, wake: Callable[[], None]) -> bool:
        return self.store.watch(key, wake)

    def unwatch(self, key: bytes, wake: Callable[[], None]) -> None:
        self.store.unwatch(key, wake)

    def close(self) -> None:
        self.store.close()

    async def aget(self, key: bytes) -> Any:
        await self._asuffer("get")
        return await self.store.aget(key)

    async def aset(self, key: bytes, data: Any, lifetime: float | None) -> None:
        await self._asuffer("set")
        await self.store.aset(key, data, lifetime)

    async def adelete(self, key: bytes) -> None:
        await self._asuffer("delete")
        await self.store.adelete(key)

    async def aget_many(self, keys: Sequence[bytes]) -> list[Any]:
        await self._asuffer("get_many")
        return await self.store.aget_many(keys)

    async def astamps(self, keys: Sequence[bytes]) -> list[bytes]:
        await self._asuffer("stamps")
        return await self.store.astamps(keys)

    async def arenew(self, key: bytes) -> None:
        await self._asuffer("renew")
        await self.store.arenew(key)

    async def aappend(self, log: bytes, data: Any, lifetime: float | None, limit: int) -> None:
        await self._asuffer("append")
        await self.store.aappend(log, data, lifetime, limit)

    async def aread(self, log: bytes, since: int, count: int) -> tuple[int, int, list[Any]]:
        await self._asuffer("read")
        return await self.store.aread(log, since, count)

    async def akeys(self) -> list[bytes]:
        await self._asuffer("keys")
        return await self.store.akeys()

    async def aadd(self, key: bytes, amounts: Mapping[str, int], lifetime: float | None) -> None:
        await self._asuffer("add")
        await self.store.aadd(key, amounts, lifetime)

    async def asums(self, key: bytes) -> dict[str, int]:
        await self._asuffer("sums")
        return await self.store.asums(key)

    async def aswap(self, expected: Mapping[bytes, bytes | None], puts: Puts, news: bytes = b"") -> list[Head] | None:
        await self._asuffer("swap")
        return await self.store.aswap(expected, puts, news)

    async def areserve(
        self, keys: Sequence[bytes], puts: Mapping[bytes, tuple[bytes, float]]
    ) -> tuple[list[Any], bool]:
        await self._asuffer("reserve")
        return await self.store.areserve(keys, puts)

    async def aclose(self) -> None:
        await self.store.aclose()

    def __getattr__(self, name: str) -> Any:
        # What a store can do beyond the contract (scan) is in trouble too. Before `__init__` has run, as in
        # a copy, there is no inner store to ask.
        if name == "store":
            raise AttributeError(name)
        inner = getattr(self.store, name)
        if not callable(inner):
            return inner
        return self._acover(name, inner) if inspect.iscoroutinefunction(inner) else self._cover(name, inner)

    def _cover(self, name: str, inner: Any) -> Any:
        @functools.wraps(inner)
        def covered(*args: Any, **kwargs: Any) -> Any:
            self._suffer(name)
            return inner(*args, **kwargs)

        return covered

    def _acover(self, name: str, inner: Any) -> Any:
        @functools.wraps(inner)
        async def covered(*args: Any, **kwargs: Any) -> Any:
            await self._asuffer(name.removeprefix("a"))
            return await inner(*args, **kwargs)

        return covered

    def _suffer(self, name: str) -> None:
        if seconds := self._wait(name):
            time.sleep(seconds)
        self._roll(name)

    async def _asuffer(self, name: str) -> None:
        if seconds := self._wait(name):
            await asyncio.sleep(seconds)
        self._roll(name)

    def _wait(self, name: str) -> float:
        self.operations[name] += 1
        return self._random.uniform(*self.delay) if self.delay[1] else 0.0

    def _roll(self, name: str) -> None:
        if self.fail and self._random.random() < self.fail:
            self.failures += 1
            raise StoreUnavailable(f"{name}: made to fail by FlakyStore")
