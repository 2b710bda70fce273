"""
Entries of a Redis server kept in this process too, opened, and kept right by the server's own messages.

Law: nothing is served that the server may have changed more than two seconds ago (`redis_listener.BOUND`), and on a
link that works nothing older than the way of a message, a fraction of a millisecond. What was asked for before a
message came is not kept after it:

    reader asks, server reads A | writer puts B, server tells | we hear: drop | reader's A comes: it would stay for good

So each message has a number, and an answer is kept only where none about its key came since it was asked for.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from ..errors import ConfigurationError
from .base import Head, Puts, Store
from .memory import MemoryStore

__all__ = ["Near", "NearStore"]

_REMEMBERED = 4096  # changes, by key
_MARKS = 10_000
_TOLD = b"vt"  # kinds of keys that the server tells of
_PATIENCE, _ECHO = 0.25, 0.02  # seconds that a reader waits for the listener, and for a message that must come
_STEP = 0.0005


class Near(NamedTuple):
    """
    Bound what is kept in the process.

    Args:
        entries: how many at most.
        bytes: how much they may take together, about.
    """

    entries: int = 1000
    bytes: int = 64 * 2**20


def near_of(option: Any) -> Near:
    """Return what ``near=`` means, where it is not off."""
    near = Near() if option is True else option
    if not isinstance(near, Near) or not all(type(bound) is int and bound > 0 for bound in near):
        raise ConfigurationError("near: it takes True, False, or Near(entries=, bytes=) with whole numbers, 1 or more")
    return near


class _Kept(MemoryStore):
    """Answer in place, as long as the link is known to be whole: an entry and its stamps, or nothing."""

    def __init__(self, near: Near) -> None:
        super().__init__(near.entries, near.bytes)
        self.listener: Any = None
        #: Where hits are noted, so that the store does not take for unused what is used here alone.
        self.note: Callable[[bytes], None] | None = None

    def get_many(self, keys: Sequence[bytes]) -> list[Any]:
        listener = self.listener
        if listener is None or self.clock() >= listener.sure:
            return [None] * len(keys)
        key = keys[0]
        try:
            value = self._values[key]
            self._values.move_to_end(key)
            # None has a lifetime: what ends is told by the server, or seen by whoever opens it.
            found = [value.data, *[self._marks[stamp].data for stamp in keys[1:]]]
        except KeyError:
            return [None] * len(keys)
        if self.note is not None:
            self.note(key)
        return found

    def forget(self) -> None:
        with self._lock:
            self._values.clear()
            self._marks.clear()
            self._bytes = 0


class NearStore(Store):
    """
    Stand before *store*, which is a Redis server, and keep opened what is read of it.

    Whoever asks this store asks the server; what is kept is asked through `kept`, and is good for hits alone: before a
    call is taken for a miss, the server is asked, which may know of an answer that we are about to hear of.

    Args:
        store: the store, guarded.
        listen: returns the `Listener` to its server.
        unseal: (bytes, digest) -> entry, or None.
        near: the bounds.
    """

    def __init__(
        self,
        store: Store,
        listen: Callable[[], Any],
        unseal: Callable[[bytes, bytes], Any],
        near: Near,
    ) -> None:
        super().__init__(clock=store.now)
        self.store = store
        self.kept = _Kept(near)
        self._listen, self._unseal = listen, unseal
        self.swaps, self.poll, self.forgets = store.swaps, store.poll, store.forgets
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._number = 0  # of the last change
        self._changed: OrderedDict[bytes, int] = OrderedDict()  # the last changes by key
        self._floor = 0  # of changes up to this one the key is not known any more
        self._echoes: dict[bytes, float] = {}  # own writes whose message has not come yet
        self.kept.listener = None

    @property
    def address(self) -> str:
        return self.store.address

    # Reading -----------------------------------------------------------------------------------------------------

    def get(self, key: bytes) -> Any:
        return self.get_many((key,))[0]

    def get_many(self, keys: Sequence[bytes]) -> list[Any]:
        deadline = self._ready(keys)
        while deadline is not None and not self._settled(keys, deadline):
            time.sleep(_STEP)
        number = self._number
        return self._keep(keys, self.store.get_many(keys), number)

    async def aget(self, key: bytes) -> Any:
        return (await self.aget_many((key,)))[0]

    async def aget_many(self, keys: Sequence[bytes]) -> list[Any]:
        deadline = self._ready(keys)
        while deadline is not None and not self._settled(keys, deadline):  # noqa: ASYNC110
            await asyncio.sleep(_STEP)  # polled, since it is a thread that is waited for, and not for long
        number = self._number
        return self._keep(keys, await self.store.aget_many(keys), number)

    def _ready(self, keys: Sequence[bytes]) -> float | None:
        """
        Return until when to wait before asking the server, None where there is nothing to wait for.

        It is waited for, once, until the server is heard, and for the message about what this process has written a
        moment ago: what is read before would be dropped when it comes.
        """
        if self.kept.listener is None:
            listener = self._listen()
            with suppress(RuntimeError):  # the interpreter is shutting down and starts no thread any more
                listener.join(self)
                self.kept.listener = listener
            return time.monotonic() + _PATIENCE
        if self._echoes:
            echoes = [self._echoes[key] for key in keys if key in self._echoes]
            return max(echoes) + _ECHO if echoes else None
        return None

    def _settled(self, keys: Sequence[bytes], deadline: float) -> bool:
        if time.monotonic() >= deadline:
            for key in keys:
                self._echoes.pop(key, None)
            return True
        listener = self.kept.listener  # None where the store was closed meanwhile
        return listener is None or (listener.tried.is_set() and not any(key in self._echoes for key in keys))

    def _keep(self, keys: Sequence[bytes], found: list[Any], number: int) -> list[Any]:
        """Open what was read, and keep it unless a message about it has come since change *number*."""
        opened = [self._open(key, data) for key, data in zip(keys, found, strict=True)]
        if self._hears():
            with self._lock:
                for key, data in zip(keys, opened, strict=True):
                    if data is not None and key[0] in _TOLD and max(self._changed.get(key, 0), self._floor) <= number:
                        self.kept.set(key, data, None)
                if len(self.kept._marks) > _MARKS:
                    self.kept.forget()
        return opened

    def _hears(self) -> bool:
        listener = self.kept.listener
        return listener is not None and time.monotonic() < listener.sure

    def _open(self, key: bytes, data: Any) -> Any:
        if data is None or key[:1] != b"v":
            return data
        # What cannot be opened is handed on as it is, for the caller to find that out and to count it.
        return self._unseal(data, key[1:]) or data

    # What the server tells ---------------------------------------------------------------------------------------

    def changed(self, name: bytes) -> None:
        """Take in that what is under a *name* in Redis, ``ac1:v:{...}``, has changed."""
        try:
            key = name[4:5] + bytes.fromhex(name[7:-1].decode())
        except ValueError:  # somebody else's name
            return
        self._echoes.pop(key, None)
        self._drop(key)

    def flush(self) -> None:
        """Forget everything."""
        with self._lock:
            self._number += 1
            self._floor = self._number
            self._changed.clear()
            self._echoes.clear()
            self.kept.forget()

    def _drop(self, key: bytes) -> None:
        with self._lock:
            self._number += 1
            self._changed[key] = self._number
            self._changed.move_to_end(key)
            if len(self._changed) > _REMEMBERED:
                self._floor = self._changed.popitem(last=False)[1]
            self.kept.delete(key)

    def _written(self, key: bytes) -> None:
        """Drop what this process has written over, or tried to: its own callers see that at once."""
        if self._hears():
            if len(self._echoes) > _REMEMBERED:
                self._echoes.clear()
            self._echoes[key] = time.monotonic()
        self._drop(key)

    def _swapped(self, puts: Puts, found: list[Head] | None) -> None:
        if found is None:  # done, or nobody knows
            for key in puts:
                if key[0] in _TOLD:
                    self._written(key)

    # Writing -----------------------------------------------------------------------------------------------------

    def set(self, key: bytes, data: Any, lifetime: float | None) -> None:
        try:
            self.store.set(key, data, lifetime)
        finally:
            self._written(key)

    def delete(self, key: bytes) -> None:
        try:
            self.store.delete(key)
        finally:
            self._written(key)

    def renew(self, key: bytes) -> None:
        try:
            self.store.renew(key)
        finally:
            self._written(key)

    def swap(self, expected: Mapping[bytes, bytes | None], puts: Puts, news: bytes = b"") -> list[Head] | None:
        found: list[Head] | None = None
        try:
            found = self.store.swap(expected, puts, news)
            return found
        finally:
            self._swapped(puts, found)

    def watch(self, key: bytes, wake: Callable[[], None]) -> bool:
        return self.store.watch(key, wake)

    def unwatch(self, key: bytes, wake: Callable[[], None]) -> None:
        self.store.unwatch(key, wake)

    def stamps(self, keys: Sequence[bytes]) -> list[bytes]:
        return self.store.stamps(keys)

    def append(self, log: bytes, data: Any, lifetime: float | None, limit: int) -> None:
        self.store.append(log, data, lifetime, limit)

    def read(self, log: bytes, since: int, count: int) -> tuple[int, int, list[Any]]:
        return self.store.read(log, since, count)

    def keys(self) -> list[bytes]:
        return self.store.keys()

    def add(self, key: bytes, amounts: Mapping[str, int], lifetime: float | None) -> None:
        self.store.add(key, amounts, lifetime)

    def sums(self, key: bytes) -> dict[str, int]:
        return self.store.sums(key)

    def close(self) -> None:
        self._leave()
        self.store.close()

    async def aset(self, key: bytes, data: Any, lifetime: float | None) -> None:
        try:
            await self.store.aset(key, data, lifetime)
        finally:
            self._written(key)

    async def aswap(self, expected: Mapping[bytes, bytes | None], puts: Puts, news: bytes = b"") -> list[Head] | None:
        found: list[Head] | None = None
        try:
            found = await self.store.aswap(expected, puts, news)
            return found
        finally:
            self._swapped(puts, found)

    async def adelete(self, key: bytes) -> None:
        try:
            await self.store.adelete(key)
        finally:
            self._written(key)

    async def arenew(self, key: bytes) -> None:
        try:
            await self.store.arenew(key)
        finally:
            self._written(key)

    async def astamps(self, keys: Sequence[bytes]) -> list[bytes]:
        return await self.store.astamps(keys)

    async def aappend(self, log: bytes, data: Any, lifetime: float | None, limit: int) -> None:
        await self.store.aappend(log, data, lifetime, limit)

    async def aread(self, log: bytes, since: int, count: int) -> tuple[int, int, list[Any]]:
        return await self.store.aread(log, since, count)

    async def akeys(self) -> list[bytes]:
        return await self.store.akeys()

    async def aadd(self, key: bytes, amounts: Mapping[str, int], lifetime: float | None) -> None:
        await self.store.aadd(key, amounts, lifetime)

    async def asums(self, key: bytes) -> dict[str, int]:
        return await self.store.asums(key)

    async def aclose(self) -> None:
        self._leave()
        await self.store.aclose()

    def _leave(self) -> None:
        listener, self.kept.listener = self.kept.listener, None
        if listener is not None:
            listener.leave(self)
        self.flush()

    def fork_ends(self, child: bool) -> None:
        if child:
            self._begin()
            self.kept.forget()
