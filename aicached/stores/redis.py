"""
One Redis server, shared by machines.

Law: an operation is one command, which may be sent twice, so that one on a connection the server has closed is simply
tried again. Stamps are minted with NX: of machines that mint at once, the first one's stands for all.
"""

from __future__ import annotations

import os
import re
import time
from binascii import hexlify
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from ..errors import StoreError, WriteRefused
from .base import HEAD, Head, Puts, Store
from .redis_bounds import Bounds
from .redis_listener import Listener, listener_of
from .redis_loops import MGET, Loops
from .redis_news import News
from .redis_server import Server
from .redis_wire import Wire, bulk, command, packed

__all__ = ["RedisStore"]

_FOREVER = 1e12  # seconds from which a lifetime says nothing
_STAMP_BYTES = 16
_VALUE = ord("v")


def _name(key: bytes) -> bytes:
    return b"ac1:%b:{%b}" % (key[:1], key[1:].hex().encode())


@lru_cache(4096)
def _mark(key: bytes) -> bytes:
    """Return the name of what is no value, packed; stamps are the same in call after call."""
    return bulk(_name(key))


def _names(keys: Sequence[bytes]) -> tuple[bytes, tuple[bytes, ...]]:
    """Return the names of *keys*, packed: that of the first, and the others, which are the same for many calls."""
    first, rest = keys[0], keys[1:]
    name = b"$72\r\nac1:v:{%b}\r\n" % hexlify(first[1:]) if first[0] == _VALUE else _mark(first)
    return name, _stamp_names(rest) if len(rest) <= _FEW and type(rest) is tuple else tuple(map(_mark, rest))


_FEW = 8


@lru_cache(4096)
def _stamp_names(keys: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple(map(_mark, keys))


def channel(key: bytes) -> bytes:
    """Return the name of the channel that carries the news of a key."""
    return b"ac1:c:{%b}" % key[1:].hex().encode()


def _getting(key: bytes) -> bytes:
    return packed(b"GET", _name(key))


def _fetching(keys: Sequence[bytes]) -> bytes:
    name, others = _names(keys)
    return command(MGET, name, *others)


def _keeping(key: bytes, data: bytes, lifetime: float | None) -> bytes:
    if lifetime is None or lifetime >= _FOREVER:
        return packed(b"SET", _name(key), data)
    return packed(b"SET", _name(key), data, b"PX", b"%d" % max(1, round(lifetime * 1000)))


def _minting(key: bytes) -> bytes:
    return packed(b"SET", _name(key), os.urandom(_STAMP_BYTES), b"NX")


def _committing(key: bytes, data: bytes, lifetime: float | None, recent: bytes, limit: int) -> bytes:
    return packed(b"EVAL", _COMMIT, b"2", _name(key), _name(recent), data, _milliseconds(lifetime), key, b"%d" % limit)


def _swapping(expected: Mapping[bytes, bytes | None], puts: Puts, recent: bytes, limit: int, news: bytes) -> bytes:
    names, said = [*map(_name, expected), *map(_name, puts)], [b"%d" % len(expected)]
    said += [head or b"" for head in expected.values()]
    for put in puts.values():
        data, lifetime = put or (b"", None)
        said += [data, _milliseconds(lifetime)]
    if recent:
        names.append(_name(recent))
        said += [next(iter(puts)), b"%d" % limit]
    return packed(b"EVAL", _SWAP, b"%d" % len(names), *names, *said, channel(news) if news else b"")


def _milliseconds(lifetime: float | None) -> bytes:
    return b"" if lifetime is None or lifetime >= _FOREVER else b"%d" % max(1, round(lifetime * 1000))


def _heads(found: list[Any] | None) -> list[Head] | None:
    if found is None:
        return None
    pairs = zip(found[::2], found[1::2], strict=True)
    return [Head(None) if ms == -2 else Head(data, None if ms < 0 else ms / 1000) for data, ms in pairs]


def _adding(key: bytes, amounts: Mapping[str, int], lifetime: float | None) -> bytes:
    ms = b"" if lifetime is None or lifetime >= _FOREVER else b"%d" % max(1, round(lifetime * 1000))
    pairs = [part for name, amount in amounts.items() for part in (name.encode(), b"%d" % amount)]
    return packed(b"EVAL", _ADD, b"1", _name(key), ms, *pairs)


def _totals(reply: Any) -> dict[str, int]:
    """Return the sums in a reply to HGETALL: a list under protocol 2, a dict under protocol 3."""
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    return {name.decode(errors="replace"): int(number) for name, number in pairs if number.lstrip(b"-").isdigit()}


def _scanning(cursor: bytes) -> bytes:
    return packed(b"SCAN", cursor, b"MATCH", b"ac1:v:{*}", b"COUNT", b"1000")


def _deleting(key: bytes) -> bytes:
    return packed(b"UNLINK", _name(key))


def _appending(log: bytes, data: bytes, lifetime: float | None, limit: int) -> bytes:
    ms = b"" if lifetime is None or lifetime >= _FOREVER else b"%d" % max(1, round(lifetime * 1000))
    return packed(b"EVAL", _APPEND, b"1", _name(log), data, ms, b"%d" % limit)


def _reading(log: bytes, since: int, count: int) -> bytes:
    return packed(b"EVAL", _READ, b"1", _name(log), b"%d" % since, b"%d" % count)


def _read(found: list[Any]) -> tuple[int, int, list[Any]]:
    upto, last, *records = found
    return upto, last, [data for data in records if data is not None]


_HEX = re.compile(rb"[0-9a-f]{64}")
#: One round trip for the entry and for the list of a function's last keys.
_COMMIT = b"""
if ARGV[2] == '' then redis.call('SET', KEYS[1], ARGV[1]) else redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
redis.call('LREM', KEYS[2], 0, ARGV[3])
redis.call('LPUSH', KEYS[2], ARGV[3])
redis.call('LTRIM', KEYS[2], 0, ARGV[4] - 1)
"""
#: Compare heads, then write. What is of another type than ours counts as nothing, and is written over. The times of
#: life are the server's own, so that no client's clock has a say in who holds a lease.
_SWAP = b"""
local n, found, same = tonumber(ARGV[1]), {}, true
for i = 1, n do
  local head = redis.pcall('GETRANGE', KEYS[i], 0, %d)
  local left = redis.call('PTTL', KEYS[i])
  if type(head) ~= 'string' or head == '' then head, left = '', -2 end
  local want = ARGV[i + 1]
  if string.sub(head, 1, #want) ~= want or (want == '' and head ~= '') then same = false end
  found[2 * i - 1], found[2 * i] = head, left
end
if not same then return found end
local at, last = n + 2, #ARGV
for i = n + 1, #KEYS do
  if string.sub(KEYS[i], 1, 6) == 'ac1:e:' then  -- the list of a function's recent keys
    redis.call('LREM', KEYS[i], 0, ARGV[at])
    redis.call('LPUSH', KEYS[i], ARGV[at])
    redis.call('LTRIM', KEYS[i], 0, ARGV[at + 1] - 1)
  elseif ARGV[at] == '' then redis.call('DEL', KEYS[i])
  elseif ARGV[at + 1] == '' then redis.call('SET', KEYS[i], ARGV[at])
  else redis.call('SET', KEYS[i], ARGV[at], 'PX', ARGV[at + 1]) end
  at = at + 2
end
if ARGV[last] ~= '' then redis.pcall('PUBLISH', ARGV[last], '1') end  -- who may not is no worse for it: others look
return false
""" % (HEAD - 1)

# In one script: sums that were renewed in part would count twice after a repetition.
_ADD = b"""
for at = 2, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[at], ARGV[at + 1]) end
if ARGV[1] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
"""
#: A log's number lies beside its records, in the slot of its digest.
_APPEND = b"""
local number = redis.call('INCR', KEYS[1])
local place = KEYS[1] .. ':' .. number
if ARGV[2] == '' then
  redis.call('SET', place, ARGV[1])
  redis.call('PERSIST', KEYS[1])
else
  redis.call('SET', place, ARGV[1], 'PX', ARGV[2])
  local left = redis.call('PTTL', KEYS[1])
  if (left >= 0 and left < 2 * ARGV[2]) or number == 1 then redis.call('PEXPIRE', KEYS[1], 2 * ARGV[2]) end
end
redis.call('UNLINK', KEYS[1] .. ':' .. (number - ARGV[3]))
"""
_READ = b"""
local last = tonumber(redis.call('GET', KEYS[1]) or 0)
local upto = math.min(last, ARGV[1] + ARGV[2])
local found = {upto, last}
for number = ARGV[1] + 1, upto do
  found[#found + 1] = redis.call('GET', KEYS[1] .. ':' .. string.format('%d', number))
end
return found
"""


def _values(names: Sequence[bytes]) -> list[bytes]:
    """Return the keys that names in Redis stand for, those that are ours: ``ac1:v:{64 hex digits}``."""
    digests = (name[7:-1] for name in names if len(name) == 72)
    return [b"v" + bytes.fromhex(digest.decode()) for digest in digests if _HEX.fullmatch(digest)]


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

    swaps = True
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
        self._loops = Loops(self._server.line, timeout)
        self._bounds = None
        if max_entries is not None or max_bytes is not None:
            self._bounds = Bounds(max_entries, max_bytes, partition, clock)
        self._news = News(self._server.connection)

    @property
    def address(self) -> str:
        return self._server.address

    def get(self, key: bytes) -> Any:
        return self._ask(_getting(key), self._touch((key,)))

    def get_many(self, keys: Sequence[bytes]) -> list[Any]:
        found: list[Any] = self._ask(_fetching(keys), self._touch(keys)) if keys else []
        return found

    def set(self, key: bytes, data: Any, lifetime: float | None) -> None:
        self._ask(_keeping(key, data, lifetime), self._account(key))

    def commit(self, key: bytes, data: Any, lifetime: float | None, recent: bytes, limit: int) -> None:
        self._ask(_committing(key, data, lifetime, recent, limit), self._account(key))

    def swap(
        self, expected: Mapping[bytes, bytes | None], puts: Puts, recent: bytes = b"", limit: int = 0, news: bytes = b""
    ) -> list[Head] | None:
        return _heads(self._ask(_swapping(expected, puts, recent, limit, news), self._account(*puts)))

    def watch(self, key: bytes, wake: Callable[[], None]) -> bool:
        self._news.watch(channel(key), wake)
        return True

    def unwatch(self, key: bytes, wake: Callable[[], None]) -> None:
        self._news.unwatch(channel(key), wake)

    def recent(self, recent: bytes) -> list[bytes]:
        found: list[bytes] = self._ask(packed(b"LRANGE", _name(recent), b"0", b"-1"))
        return found

    def append(self, log: bytes, data: Any, lifetime: float | None, limit: int) -> None:
        self._ask(_appending(log, data, lifetime, limit))

    def read(self, log: bytes, since: int, count: int) -> tuple[int, int, list[Any]]:
        return _read(self._ask(_reading(log, since, count)))

    def keys(self) -> list[bytes]:
        found, cursor = [], b"0"
        while True:
            cursor, names = self._ask(_scanning(cursor))
            found += names
            if cursor == b"0":
                return list(dict.fromkeys(_values(found)))

    def add(self, key: bytes, amounts: Mapping[str, int], lifetime: float | None) -> None:
        self._ask(_adding(key, amounts, lifetime))

    def sums(self, key: bytes) -> dict[str, int]:
        return _totals(self._ask(packed(b"HGETALL", _name(key))))

    def delete(self, key: bytes) -> None:
        self._ask(_deleting(key), self._account(key))

    def stamps(self, keys: Sequence[bytes]) -> list[bytes]:
        found = self.get_many(keys)
        for key, stamp in zip(keys, found, strict=True):
            if stamp is None:
                self._ask(_minting(key))
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
            self.set(key, os.urandom(_STAMP_BYTES), None)
        except WriteRefused:  # a server that is full still deletes, and a lost stamp is a miss as well
            self.delete(key)

    def close(self) -> None:
        self._news.close()
        self._wire.close()
        self._loops.close()

    async def aget(self, key: bytes) -> Any:
        return await self._aask(_getting(key), self._touch((key,)))

    async def aget_many(self, keys: Sequence[bytes]) -> list[Any]:
        if not keys:
            return []
        lines = self._loops.settled() or await self._loops.lines()
        found: list[Any] | Exception = await lines.fetch(*_names(keys), self._touch(keys))
        if isinstance(found, Exception):
            raise self._server.failure(found) from found
        return found

    async def aset(self, key: bytes, data: Any, lifetime: float | None) -> None:
        await self._aask(_keeping(key, data, lifetime), self._account(key))

    async def acommit(self, key: bytes, data: Any, lifetime: float | None, recent: bytes, limit: int) -> None:
        await self._aask(_committing(key, data, lifetime, recent, limit), self._account(key))

    async def aswap(
        self, expected: Mapping[bytes, bytes | None], puts: Puts, recent: bytes = b"", limit: int = 0, news: bytes = b""
    ) -> list[Head] | None:
        return _heads(await self._aask(_swapping(expected, puts, recent, limit, news), self._account(*puts)))

    async def arecent(self, recent: bytes) -> list[bytes]:
        found: list[bytes] = await self._aask(packed(b"LRANGE", _name(recent), b"0", b"-1"))
        return found

    async def aadd(self, key: bytes, amounts: Mapping[str, int], lifetime: float | None) -> None:
        await self._aask(_adding(key, amounts, lifetime))

    async def asums(self, key: bytes) -> dict[str, int]:
        return _totals(await self._aask(packed(b"HGETALL", _name(key))))

    async def aappend(self, log: bytes, data: Any, lifetime: float | None, limit: int) -> None:
        await self._aask(_appending(log, data, lifetime, limit))

    async def aread(self, log: bytes, since: int, count: int) -> tuple[int, int, list[Any]]:
        return _read(await self._aask(_reading(log, since, count)))

    async def adelete(self, key: bytes) -> None:
        await self._aask(_deleting(key), self._account(key))

    async def astamps(self, keys: Sequence[bytes]) -> list[bytes]:
        found = await self.aget_many(keys)
        for key, stamp in zip(keys, found, strict=True):
            if stamp is None:
                await self._aask(_minting(key))
        return self._minted(found if None not in found else await self.aget_many(keys))

    async def arenew(self, key: bytes) -> None:
        try:
            await self.aset(key, os.urandom(_STAMP_BYTES), None)
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

    def _touch(self, keys: Sequence[bytes]) -> bytes:
        return b"" if self._bounds is None else self._bounds.touch(keys)

    def _account(self, *keys: bytes) -> bytes:
        return b"" if self._bounds is None else self._bounds.account(keys)

    def _ask(self, request: bytes, rides: bytes = b"") -> Any:
        try:
            return self._wire.ask(request, rides)
        except StoreError:
            raise
        except Exception as error:
            raise self._server.failure(error) from error

    async def _aask(self, request: bytes, rides: bytes = b"") -> Any:
        try:
            return await self._loops.ask(request, rides)
        except StoreError:
            raise
        except Exception as error:
            raise self._server.failure(error) from error
