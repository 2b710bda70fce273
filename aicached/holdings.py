"""
What a cache holds, as people deal with it: forget, delete, list, add up, save, load.

Law: each verb is there in both colours, and is one story that both run. What is of no use to a call is imported when it
is asked for.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Future
from typing import Any, Literal, overload

from .context import valid_scope
from .counters import Ledger
from .engine import Engine
from .entry import EntryInfo
from .errors import ConfigurationError
from .keys.keyer import stamp_key, tag_keys
from .policy import names_of, seconds
from .purging import Choice, Purging
from .runtime import ASYNCIO, BLOCKING, Runtime, drive
from .savings import Savings
from .settings import count_of
from .status import Counts, Stats
from .stores.guarded import GuardedStore

__all__ = ["Holdings"]


class Holdings:
    """
    Hold the entries of one namespace, and what their calls came to.

    Args:
        engine: keeps the entries.
        guarded: its store, without a near tier.
        namespace: whose entries they are.
    """

    def __init__(self, engine: Engine, guarded: GuardedStore, namespace: str) -> None:
        self.engine, self.namespace = engine, namespace
        self.ledger = Ledger(engine.store, namespace)
        #: What calls that belong to no function come to.
        self.counts = Counts()
        self.purging = Purging(guarded, engine.opened, namespace, self.counts)

    def clear(self, scope: str | None = None) -> None:
        """
        Forget every entry of this namespace, or of one scope in it.

        The bytes stay until they expire or are pushed out; from now on they are misses, for all processes.
        """
        drive(self._clear(BLOCKING, scope))

    async def aclear(self, scope: str | None = None) -> None:
        """Twin of `clear`."""
        await self._clear(ASYNCIO, scope)

    async def _clear(self, rt: Runtime, scope: str | None) -> None:
        names = () if scope is None else ("scope", valid_scope(scope, "clear()"))
        await self.engine.clear(rt, self.counts, stamp_key(self.namespace, *names))

    def invalidate_tags(self, *names: str) -> None:
        """
        Forget every entry that carries one of these tags, for all processes; it takes as long for one as for a million.

        An answer that is being computed meanwhile is not kept, where it has such a tag.

        Args:
            names: tags, as ``tags=`` or ``current_call().tags`` gave them.
        """
        drive(self._invalidate_tags(BLOCKING, names))

    async def ainvalidate_tags(self, *names: str) -> None:
        """Twin of `invalidate_tags`."""
        await self._invalidate_tags(ASYNCIO, names)

    async def _invalidate_tags(self, rt: Runtime, names: tuple[str, ...]) -> None:
        places = tag_keys(self.namespace, names_of(names, "invalidate_tags()"))
        if places:
            # The stamp of all tags first: who sees the new stamp of a tag must see that something was invalidated.
            await self.engine.clear(rt, self.counts, stamp_key(self.namespace, "tags"), *places)

    @overload
    def purge(self, scope: str | None = None, older_than: Any = None, *, wait: Literal[True] = True) -> int: ...

    @overload
    def purge(self, scope: str | None = None, older_than: Any = None, *, wait: Literal[False]) -> None: ...

    def purge(self, scope: str | None = None, older_than: Any = None, *, wait: bool = True) -> int | None:
        """
        Delete the bytes of entries, and return of how many; `clear` and the like only make misses of them.

        It goes through all that is stored, in a thread of its own and at a pace that holds nobody up. Who stops waiting
        does not stop it; closing the cache does, and so does the end of the process.

        Args:
            scope: everything in this scope; None = in the namespace.
            older_than: everything that is older: seconds, a timedelta, or a string such as ``"30d"``. With neither of
                the two, what can be no answer any more: expired or invalidated.
            wait: False: return None at once; what goes wrong behind is counted, not raised.

        Raises:
            StoreError: the store is in trouble, or cannot list; or the cache was closed meanwhile.
        """
        asked = self._ask_purge(scope, older_than)
        return asked.result() if wait else None

    @overload
    async def apurge(self, scope: str | None = None, older_than: Any = None, *, wait: Literal[True] = True) -> int: ...

    @overload
    async def apurge(self, scope: str | None = None, older_than: Any = None, *, wait: Literal[False]) -> None: ...

    async def apurge(self, scope: str | None = None, older_than: Any = None, *, wait: bool = True) -> int | None:
        """Twin of `purge`."""
        asked = self._ask_purge(scope, older_than)
        if not wait:
            return None
        told: asyncio.Future[int] = asyncio.wrap_future(asked)
        return await told

    def _ask_purge(self, scope: str | None, older_than: Any) -> Future[int]:
        name = None if scope is None else valid_scope(scope, "purge()")
        age = None if older_than is None else seconds(older_than, "purge(): older_than")
        return self.purging.ask(Choice(name, age))

    def entries(self, limit: int = 100) -> list[EntryInfo]:
        """
        List what is stored in this namespace, the newest first; arguments only where the cache keeps them.

        Args:
            limit: how many at most.

        Raises:
            StoreError: the store is in trouble, or cannot list.
        """
        return drive(self._entries(BLOCKING, limit))

    async def aentries(self, limit: int = 100) -> list[EntryInfo]:
        """Twin of `entries`."""
        return await self._entries(ASYNCIO, limit)

    async def _entries(self, rt: Runtime, limit: int) -> list[EntryInfo]:
        if limit is None:
            raise ConfigurationError("entries(): limit takes a whole number, 1 or more, not None")
        from .inquiry import entries

        return await entries(self.engine, rt, stamp_key(self.namespace), count_of(limit, "limit") or 0)

    def stats(self) -> Stats:
        """
        Return what the calls of all processes came to, by function; calls of a moment ago in other processes are late.

        Raises:
            StoreError: the store is in trouble.
        """
        return self.ledger.stats()

    async def astats(self) -> Stats:
        """Twin of `stats`."""
        return await asyncio.to_thread(self.stats)

    def savings(self, since: Any = None) -> Savings:
        """
        Return what hits saved, in all processes: calls, tokens, dollars and seconds.

        Args:
            since: a date or datetime; or how long ago, in seconds, as a timedelta, or as ``"30d"``: from the beginning
                of that day on (UTC); 400 days are kept. None = all there was.

        Raises:
            StoreError: the store is in trouble.
        """
        return self.ledger.savings(since)

    async def asavings(self, since: Any = None) -> Savings:
        """Twin of `savings`."""
        return await asyncio.to_thread(self.savings, since)

    def save(self, path: str | os.PathLike[str]) -> int:
        """
        Write every entry of this namespace into a file, and return how many; it is there whole or not at all.

        Signed and encrypted as in the store; `load` wants the same keys and the same namespace.

        Raises:
            StoreError: the store is in trouble, or cannot list.
            OSError: the file cannot be written.
        """
        from .saving import save

        return drive(save(self.engine, BLOCKING, self.namespace, stamp_key(self.namespace), path))

    async def asave(self, path: str | os.PathLike[str]) -> int:
        """Twin of `save`."""
        return await asyncio.to_thread(self.save, path)

    def load(self, path: str | os.PathLike[str]) -> int:
        """
        Put the entries of a file that `save` wrote into this cache, and return how many.

        They are as old as they are: what is over stays out, and so does what this cache has newer, and what is damaged
        or signed by others.

        Raises:
            ConfigurationError: no such file was written by `save`, or it holds another namespace.
            StoreError: the store is in trouble.
            OSError: the file cannot be read.
        """
        from .saving import load

        return drive(load(self.engine, BLOCKING, self.namespace, stamp_key(self.namespace), path))

    async def aload(self, path: str | os.PathLike[str]) -> int:
        """Twin of `load`."""
        return await asyncio.to_thread(self.load, path)
