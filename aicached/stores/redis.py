"""
One Redis server, shared by machines.

Law: an operation is one command, which may be sent twice, so that one on a connection the server has closed is simply
tried again. Stamps are minted with NX: of machines that mint at once, the first one's stands for all.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from redis.exceptions import NoScriptError

from ..errors import StoreError, WriteRefused
from . import redis_commands as commands
from .base import Head, Puts, Store, lists
from .redis_bounds import Bounds
from .redis_listener import Listener, listener_of
from .redis_loops import Loops
from .redis_news import News
from .redis_server import Server
from .redis_wire import Wire

__all__ = ["RedisStore"]


class RedisStore(Store):
    """
    Keep bytes in the Redis server at *url*: ``redis://``, ``rediss://`` (TLS) or ``unix://``.

    Args:
        url: may carry user, password, database and options of redis-py's `Connection`.
        max_entries, max_bytes: bounds of the values of one partition, and of their bytes; the least recently used goes
            first; None = none, beside the server's own maxmemory.
        partition: 32 bytes that stand for it.
        timeout: seconds per operation; connecting and waiting for a free connection may take as long again.
        options: more options of redis-py's `Connection`; what stands in the url wins.
    """

    swaps = reserves = True
    poll = (0.05, 1.0)

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 0.25,
        max_entries: int | None = None,
        max_bytes: int | None = None,
        partition: bytes = bytes(32),
        clock: Callable[[], float] = time.time,
        **options: Any,
    ) -> None:
        # The wall clock, not the server's: machines that share a cache keep theirs within a second or so, and asking
        # for TIME would be a round trip.
        super().__init__(clock=clock)
        self._server = Server(url, timeout, options)
        self._wire = Wire(self._server.connection, timeout)
        self._loops = Loops(self._server.line, self._server.failure, timeout)
        self._bounds = None
        if max_entries is not None or max_bytes is not None:
            self._bounds = Bounds(max_entries, max_bytes, partition, clock)
        self._news = News(self._server.connection)
        self._told: set[commands.Script] = set()

    @property
    def address(self) -> str:
        return self._server.address

    def get(self, key: bytes) -> Any:
        return self._ask(commands.getting(key), self._touch((key,)))

    def get_many(self, keys: Sequence[bytes]) -> list[Any]:
        found: list[Any] = self._ask(commands.fetching(keys), self._touch(keys)) if keys else []
        return found

    def set(self, key: bytes, data: Any, lifetime: float | None) -> None:
        self._ask(commands.keeping(key, data, lifetime), self._account(key))

    def swap(self, expected: Mapping[bytes, bytes | None], puts: Puts, news: bytes = b"") -> list[Head] | None:
        return commands.heads(self._run(commands.swapping(expected, puts, news), self._account(*puts)))

    def reserve(self, keys: Sequence[bytes], puts: Mapping[bytes, tuple[bytes, float]]) -> tuple[list[Any], bool]:
        found = self._run(commands.reserving(keys, puts), self._touch(keys))
        return found[: len(keys)], len(found) > len(keys)

    def watch(self, key: bytes, wake: Callable[[], None]) -> bool:
        self._news.watch(commands.channel(key), wake)
        return True

    def unwatch(self, key: bytes, wake: Callable[[], None]) -> None:
        self._news.unwatch(commands.channel(key), wake)

    def append(self, log: bytes, data: Any, lifetime: float | None, limit: int) -> None:
        self._run(commands.appending(log, data, lifetime, limit))

    def read(self, log: bytes, since: int, count: int) -> tuple[int, int, list[Any]]:
        return commands.records(self._run(commands.reading(log, since, count)))

    def keys(self) -> list[bytes]:
        found, cursor = [], b"0"
        while True:
            cursor, found_names = self._ask(commands.scanning(cursor))
            found += found_names
            if cursor == b"0":
                return list(dict.fromkeys(commands.values(found)))

    def add(self, key: bytes, amounts: Mapping[str, int], lifetime: float | None) -> None:
        self._run(commands.adding(key, amounts, lifetime))

    def sums(self, key: bytes) -> dict[str, int]:
        return commands.totals(self._ask(commands.summing(key)))

    def delete(self, key: bytes) -> None:
        self._ask(commands.deleting(key), self._account(key))

    def stamps(self, keys: Sequence[bytes]) -> list[bytes]:
        found = self.get_many(keys)
        for place, key in enumerate(keys):
            if found[place] is None:
                made = os.urandom(commands.STAMP)
                # None: somebody else was quicker, and his stands.
                found[place] = made if self._ask(commands.minting(key, made)) is not None else None
        return self._minted(found if None not in found else self.get_many(keys))

    def note(self, key: bytes) -> None:
        """Take in that *key* was used, by somebody who has a copy of what is there."""
        if self._bounds is not None:
            self._bounds.note(key)

    def listener(self) -> Listener:
        """Return this process's one listener to what the server says of changed values and stamps."""
        return listener_of(self._server.identity, self._server.connection, self.address, ("ac1:v:", "ac1:t:"))

    def renew(self, key: bytes) -> None:
        try:
            self.set(key, os.urandom(commands.STAMP), None)
        except WriteRefused:  # a server that is full still deletes, and a lost stamp is a miss as well
            self.delete(key)

    def close(self) -> None:
        self._news.close()
        self._wire.close()
        self._loops.close()

    async def aget(self, key: bytes) -> Any:
        return await self._aask(commands.getting(key), self._touch((key,)))

    async def aget_many(self, keys: Sequence[bytes]) -> list[Any]:
        if not keys:
            return []
        lines = self._loops.settled() or await self._loops.lines()
        found: list[Any] = await lines.fetch(*commands.names(keys), self._touch(keys))
        return found

    async def aset(self, key: bytes, data: Any, lifetime: float | None) -> None:
        await self._aask(commands.keeping(key, data, lifetime), self._account(key))

    async def aswap(self, expected: Mapping[bytes, bytes | None], puts: Puts, news: bytes = b"") -> list[Head] | None:
        return commands.heads(await self._arun(commands.swapping(expected, puts, news), self._account(*puts)))

    async def areserve(
        self, keys: Sequence[bytes], puts: Mapping[bytes, tuple[bytes, float]]
    ) -> tuple[list[Any], bool]:
        found = await self._arun(commands.reserving(keys, puts), self._touch(keys))
        return found[: len(keys)], len(found) > len(keys)

    async def aadd(self, key: bytes, amounts: Mapping[str, int], lifetime: float | None) -> None:
        await self._arun(commands.adding(key, amounts, lifetime))

    async def asums(self, key: bytes) -> dict[str, int]:
        return commands.totals(await self._aask(commands.summing(key)))

    async def aappend(self, log: bytes, data: Any, lifetime: float | None, limit: int) -> None:
        await self._arun(commands.appending(log, data, lifetime, limit))

    async def aread(self, log: bytes, since: int, count: int) -> tuple[int, int, list[Any]]:
        return commands.records(await self._arun(commands.reading(log, since, count)))

    async def adelete(self, key: bytes) -> None:
        await self._aask(commands.deleting(key), self._account(key))

    async def astamps(self, keys: Sequence[bytes]) -> list[bytes]:
        found = await self.aget_many(keys)
        for place, key in enumerate(keys):
            if found[place] is None:
                made = os.urandom(commands.STAMP)
                found[place] = made if await self._aask(commands.minting(key, made)) is not None else None
        return self._minted(found if None not in found else await self.aget_many(keys))

    async def arenew(self, key: bytes) -> None:
        try:
            await self.aset(key, os.urandom(commands.STAMP), None)
        except WriteRefused:
            await self.adelete(key)

    async def aclose(self) -> None:
        self._news.close()
        self._wire.close()
        await self._loops.aclose()

    def fork_ends(self, child: bool) -> None:
        if child:
            self._wire.begin()
            self._loops.begin()
            self._news.begin()
            if self._bounds is not None:
                self._bounds.begin()

    def _touch(self, keys: Sequence[bytes]) -> bytes:
        return b"" if self._bounds is None or lists(keys) else self._bounds.touch(keys)

    def _account(self, *keys: bytes) -> bytes:
        return b"" if self._bounds is None else self._bounds.account(keys)

    def _run(self, said: commands.Said, rides: bytes = b"") -> Any:
        """Run a script: whole the first time, which the server remembers, then by its digest."""
        script, *about = said
        if script in self._told:
            try:
                return self._ask(script.called(*about, whole=False), rides)
            except NoScriptError:
                pass  # it has begun anew
        reply = self._ask(script.called(*about, whole=True), rides)
        self._told.add(script)
        return reply

    async def _arun(self, said: commands.Said, rides: bytes = b"") -> Any:
        script, *about = said
        if script in self._told:
            try:
                return await self._aask(script.called(*about, whole=False), rides)
            except NoScriptError:
                pass
        reply = await self._aask(script.called(*about, whole=True), rides)
        self._told.add(script)
        return reply

    def _ask(self, request: bytes, rides: bytes = b"") -> Any:
        try:
            return self._wire.ask(request, rides)
        except (StoreError, NoScriptError):
            raise
        except Exception as error:
            raise self._server.failure(error) from error

    async def _aask(self, request: bytes, rides: bytes = b"") -> Any:
        try:
            return await self._loops.ask(request, rides)
        except (StoreError, NoScriptError):
            raise
        except Exception as error:
            if (left := _collected(error)) is not None:
                raise left from None
            raise self._server.failure(error) from error


def _collected(error: BaseException | None) -> BaseException | None:
    """
    Return the `GeneratorExit` that an error has come in place of, None where there is none.

    A coroutine that is collected after its loop has ended cannot wait for anything. What goes wrong then, as in
    redis-py's closing of a connection, is no store that fails: the call would go on, and ask the model for nobody.
    """
    while error is not None and not isinstance(error, GeneratorExit):
        error = error.__context__
    return error
