"""
What a store is: three methods over bytes, and what can be said on top of them.

Law: a store moves bytes and may fail; it knows nothing of entries, keys' meaning or policies. Everything that can go
wrong leaves as a `StoreError`: `StoreUnavailable` where the store did not answer, plain `StoreError` where it said no.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgpack

from ..errors import StoreError
from ..living import Living

__all__ = ["HEAD", "Head", "Puts", "Store", "lists"]

_Result = TypeVar("_Result")
_living: Living[Store] = Living()


#: Bytes of a key.
KEY = 33
#: Bytes from the beginning of what is kept that a compare-and-set looks at and tells.
HEAD = 32


def lists(keys: Sequence[bytes]) -> bool:
    """Do *keys* ask for several values, as only a listing does?"""
    return len(keys) > 1 and keys[1][:1] == b"v"


class Head(NamedTuple):
    """
    Tell what a compare-and-set found under a key.

    Args:
        data: its first bytes, at most `HEAD` of them; None where there is nothing.
        left: seconds that it will stay; None = for ever.
    """

    data: bytes | None
    left: float | None = None


#: What a compare-and-set writes: key -> (data, lifetime in seconds or None), or None to delete.
Puts = Mapping[bytes, "tuple[Any, float | None] | None"]


def place(log: bytes, number: int) -> bytes:
    """Return the key of a log's record of that number, where the log has no form of its own in the store."""
    return log[:1] + hashlib.sha256(log + number.to_bytes(8, "big")).digest()


def last_number(data: Any) -> int:
    """Return the number of a log's last record; 0 where that is no number, since a store may hold anything."""
    try:
        return int(data or 0)
    except (TypeError, ValueError):
        return 0


def packed_sums(amounts: Mapping[str, int]) -> bytes:
    """Return sums as bytes, for stores that keep bytes alone."""
    packed: bytes = msgpack.packb(dict(amounts))
    return packed


def unpacked_sums(data: Any) -> dict[str, int]:
    """Return the sums in *data*; none where it holds none, since a store may hold anything."""
    try:
        found = msgpack.unpackb(data) if data else {}
        return {name: number for name, number in found.items() if type(name) is str and type(number) is int}
    except Exception:
        return {}


def added(data: Any, amounts: Mapping[str, int]) -> bytes:
    """Return the sums in *data* with *amounts* added."""
    sums = unpacked_sums(data)
    return packed_sums({**sums, **{name: sums.get(name, 0) + amount for name, amount in amounts.items()}})


class Store:
    """
    Keep bytes under keys.

    A key is 33 bytes: one that names the kind (``v`` value, ``t`` stamp, ``l`` lease, ``g`` generation, ``s`` sums,
    ``n`` log, ``m`` embedding), then a digest of 32. A subclass writes `get`, `set` and `delete`; the
    rest has defaults on top of these, but for `keys` and `swap`, which a store may lack. The twins that begin with an
    *a* run the plain method in a thread, or at once where `blocking` is false; override them where the driver is async
    by nature.
    """

    #: False: every method returns at once, so callers may use the plain methods in an event loop and peek.
    blocking = True
    #: True: reads are so short that an event loop may do them in place, although writes may wait.
    reads_inline = False
    #: True: what is kept are opaque objects with a ``len()``, handed back as they are; False: bytes alone.
    opened = False
    #: True: `swap` is there, by which processes share one computation.
    swaps = False
    #: True: `reserve` does more than `get_many`.
    reserves = False
    #: True: what it was told to keep may be gone before its time, as others need the room.
    forgets = True
    #: Seconds from one look at what somebody else computes to the next: at first, and at most.
    poll = (0.005, 0.1)

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        _living.add(self)

    @property
    def address(self) -> str:
        """What two `Store` objects have in common when they are one store: a url without credentials."""
        return f"{type(self).__name__}:{id(self):x}"

    def now(self) -> float:
        """Tell the store's time in seconds; only differences and comparisons of it mean anything."""
        return self.clock()

    def get(self, key: bytes) -> Any:
        """Return what is kept under *key*, or None."""
        raise NotImplementedError

    def set(self, key: bytes, data: Any, lifetime: float | None) -> None:
        """Keep *data* under *key* for *lifetime* seconds (None: for ever), over whatever is there."""
        raise NotImplementedError

    def delete(self, key: bytes) -> None:
        """Forget *key*; nothing happens where it is unknown."""
        raise NotImplementedError

    def get_many(self, keys: Sequence[bytes]) -> list[Any]:
        """
        Return what is kept under each of *keys*, in their order: one round trip where the store can.

        A call asks for one value, and its stamps behind it; several values at once are asked for by people who list
        them, which is no use of theirs that a bound should count.
        """
        return [self.get(key) for key in keys]

    def stamps(self, keys: Sequence[bytes]) -> list[bytes]:
        """
        Return the stamp under each of *keys*, minting those that are missing.

        A stamp is 16 random bytes, compared for equality only; who loses a stamp loses the entries that carry it. Two
        processes that mint at once may each see their own for a moment: the loser's entries are misses, never wrong.
        """
        found: list[bytes] = self.get_many(keys)
        for key, stamp in zip(keys, found, strict=True):
            if stamp is None:
                self.renew(key)
        return found if None not in found else self._minted(self.get_many(keys))

    def renew(self, key: bytes) -> None:
        """Put a new stamp under *key*: every entry that carries the old one is a miss from now on."""
        self.set(key, os.urandom(16), None)

    def append(self, log: bytes, data: Any, lifetime: float | None, limit: int) -> None:
        """
        Put *data* at the end of a log, where it stays for *lifetime* seconds; the newest *limit* records stay.

        Here, two that append at once may lose one record: a log is for what only helps.
        """
        number = last_number(self.get(log)) + 1
        self.set(place(log, number), data, lifetime)
        self.set(log, b"%d" % number, None if lifetime is None else 2 * lifetime)
        if number > limit:
            self.delete(place(log, number - limit))

    def read(self, log: bytes, since: int, count: int) -> tuple[int, int, list[Any]]:
        """
        Return what was appended to a log after record number *since*, *count* records at most.

        Returns:
            The number read up to, that of the last record (less than *since*: the log has begun anew), the records.
        """
        last = last_number(self.get(log))
        upto = min(last, since + count)
        found = self.get_many([place(log, number) for number in range(since + 1, upto + 1)])
        return upto, last, [data for data in found if data is not None]

    def keys(self) -> list[bytes]:
        """
        Return the keys of all values, in any order; this is for people who look, never for a call.

        Raises:
            StoreError: this store cannot tell.
        """
        raise StoreError(f"a {type(self).__name__} cannot list its entries")

    def add(self, key: bytes, amounts: Mapping[str, int], lifetime: float | None) -> None:
        """
        Add whole numbers to the sums under *key*, name by name, and let them live for *lifetime* seconds from now.

        Two processes that add at once must both count; this default is for stores that one process has to itself.
        """
        self.set(key, added(self.get(key), amounts), lifetime)

    def sums(self, key: bytes) -> dict[str, int]:
        """Return the sums under *key* by name; empty where there are none."""
        return unpacked_sums(self.get(key))

    def swap(self, expected: Mapping[bytes, bytes | None], puts: Puts, news: bytes = b"") -> list[Head] | None:
        """
        Write all of *puts* if each key is as *expected*, else nothing: a compare-and-set over the keys of one digest.

        Args:
            expected: key -> what must be there, or its first bytes (`HEAD` at most); None = nothing, or what is empty.
            puts: what is written, in this order.
            news: the key whose watchers are told that something was written; empty = nobody.

        Returns:
            None where it was done, else what is there instead, one head for each key of *expected*.

        Raises:
            StoreError: this store cannot compare and set.
        """
        raise StoreError(f"a {type(self).__name__} cannot compare and set")

    def reserve(self, keys: Sequence[bytes], puts: Mapping[bytes, tuple[bytes, float]]) -> tuple[list[Any], bool]:
        """
        Read as `get_many` does, and where there is nothing under the first of *keys*, put something in other places.

        So that who expects to find nothing need not ask twice. A store that cannot, or may not write, only reads.

        Args:
            keys: at least one.
            puts: key -> bytes, and the seconds for which they stay; nothing is put where the first place is taken.

        Returns:
            what `get_many` does; was everything put?
        """
        return self.get_many(keys), False

    def watch(self, key: bytes, wake: Callable[[], None]) -> bool:
        """
        Have *wake* called, from any thread and perhaps for no reason, after a `swap` that has news of *key*.

        Returns:
            True where news will come: once at the beginning too, as what came before was not seen. False where it is
            for the caller to look from time to time.
        """
        return False

    def unwatch(self, key: bytes, wake: Callable[[], None]) -> None:
        """Have *wake* called no more."""

    def close(self) -> None:
        """Let go of files and connections; the store may be used again, which opens them anew."""

    async def aget(self, key: bytes) -> Any:
        """Twin of `get`."""
        return await self._apart(self.get, key)

    async def aset(self, key: bytes, data: Any, lifetime: float | None) -> None:
        """Twin of `set`."""
        await self._apart(self.set, key, data, lifetime)

    async def adelete(self, key: bytes) -> None:
        """Twin of `delete`."""
        await self._apart(self.delete, key)

    async def aget_many(self, keys: Sequence[bytes]) -> list[Any]:
        """Twin of `get_many`."""
        return await self._apart(self.get_many, keys)

    async def astamps(self, keys: Sequence[bytes]) -> list[bytes]:
        """Twin of `stamps`."""
        return await self._apart(self.stamps, keys)

    async def arenew(self, key: bytes) -> None:
        """Twin of `renew`."""
        await self._apart(self.renew, key)

    async def aappend(self, log: bytes, data: Any, lifetime: float | None, limit: int) -> None:
        """Twin of `append`."""
        await self._apart(self.append, log, data, lifetime, limit)

    async def aread(self, log: bytes, since: int, count: int) -> tuple[int, int, list[Any]]:
        """Twin of `read`."""
        return await self._apart(self.read, log, since, count)

    async def akeys(self) -> list[bytes]:
        """Twin of `keys`."""
        return await self._apart(self.keys)

    async def aadd(self, key: bytes, amounts: Mapping[str, int], lifetime: float | None) -> None:
        """Twin of `add`."""
        await self._apart(self.add, key, amounts, lifetime)

    async def asums(self, key: bytes) -> dict[str, int]:
        """Twin of `sums`."""
        return await self._apart(self.sums, key)

    async def aswap(self, expected: Mapping[bytes, bytes | None], puts: Puts, news: bytes = b"") -> list[Head] | None:
        """Twin of `swap`."""
        return await self._apart(self.swap, expected, puts, news)

    async def areserve(
        self, keys: Sequence[bytes], puts: Mapping[bytes, tuple[bytes, float]]
    ) -> tuple[list[Any], bool]:
        """Twin of `reserve`."""
        return await self.aget_many(keys), False

    async def aclose(self) -> None:
        """Twin of `close`."""
        await self._apart(self.close)

    def fork_begins(self) -> None:
        """Let go, before this process forks, of what must not be in two processes at once."""

    def fork_ends(self, child: bool) -> None:
        """Go on after a fork; in the *child*, locks may be held for ever by threads that are not there."""

    @staticmethod
    def _minted(stamps: list[Any]) -> list[bytes]:
        """Return *stamps*, which were all minted a moment ago, or say that the store has lost some of them."""
        if None in stamps:
            raise StoreError("the store does not keep its stamps")
        return stamps

    async def _apart(self, method: Callable[..., _Result], *args: Any) -> _Result:
        return await asyncio.to_thread(method, *args) if self.blocking else method(*args)


def _before_fork() -> None:
    for store in _living:
        store.fork_begins()


def _after_fork(child: bool) -> None:
    for store in _living:
        store.fork_ends(child)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=lambda: _after_fork(False),
        after_in_child=lambda: _after_fork(True),
    )
