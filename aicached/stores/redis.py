"""
One Redis server, shared by machines.

Law: an operation is one command, which may be sent twice, so that one on a connection the server has closed is simply
tried again. Stamps are minted with NX: of machines that mint at once, the first one's stands for all.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import StoreError
from .base import HEAD, Head, Puts, Store
from .redis_news import News
from .redis_server import Server
from .redis_wire import Loops, Wire

__all__ = ["RedisStore"]

_FOREVER = 1e12  # seconds from which a lifetime says nothing
_STAMP_BYTES = 16


def _name(key: bytes) -> bytes:
    return b"ac1:%b:{%b}" % (key[:1], key[1:].hex().encode())


def channel(key: bytes) -> bytes:
    """Return the name of the channel that carries the news of a key."""
    return b"ac1:c:{%b}" % key[1:].hex().encode()


def _packed(*parts: bytes) -> bytes:
    """Write one command as the protocol wants it; redis-py's own packing takes three times as long."""
    return b"*%d\r\n" % len(parts) + b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])


def _getting(key: bytes) -> bytes:
    return _packed(b"GET", _name(key))


def _fetching(keys: Sequence[bytes]) -> bytes:
    return _packed(b"MGET", *[_name(key) for key in keys])


def _keeping(key: bytes, data: bytes, lifetime: float | None) -> bytes:
    if lifetime is None or lifetime >= _FOREVER:
        return _packed(b"SET", _name(key), data)
    return _packed(b"SET", _name(key), data, b"PX", b"%d" % max(1, round(lifetime * 1000)))


def _minting(key: bytes) -> bytes:
    return _packed(b"SET", _name(key), os.urandom(_STAMP_BYTES), b"NX")


def _committing(key: bytes, data: bytes, lifetime: float | None, recent: bytes, limit: int) -> bytes:
    return _packed(b"EVAL", _COMMIT, b"2", _name(key), _name(recent), data, _milliseconds(lifetime), key, b"%d" % limit)


def _swapping(expected: Mapping[bytes, bytes | None], puts: Puts, recent: bytes, limit: int, news: bytes) -> bytes:
    names, said = [*map(_name, expected), *map(_name, puts)], [b"%d" % len(expected)]
    said += [head or b"" for head in expected.values()]
    for put in puts.values():
        data, lifetime = put or (b"", None)
        said += [data, _milliseconds(lifetime)]
    if recent:
        names.append(_name(recent))
        said += [next(iter(puts)), b"%d" % limit]
    return _packed(b"EVAL", _SWAP, b"%d" % len(names), *names, *said, channel(news) if news else b"")


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
    return _packed(b"EVAL", _ADD, b"1", _name(key), ms, *pairs)


def _totals(reply: Any) -> dict[str, int]:
    """Return the sums in a reply to HGETALL: a list under protocol 2, a dict under protocol 3."""
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    return {name.decode(errors="replace"): int(number) for name, number in pairs if number.lstrip(b"-").isdigit()}


def _scanning(cursor: bytes) -> bytes:
    return _packed(b"SCAN", cursor, b"MATCH", b"ac1:v:{*}", b"COUNT", b"1000")


def _deleting(key: bytes) -> bytes:
    return _packed(b"UNLINK", _name(key))


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
  if type(head) ~= 'string' then head, left = '', -2 end
  local want = ARGV[i + 1]
  if string.sub(head, 1, #want) ~= want or (want == '' and left ~= -2) then same = false end
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
if ARGV[last] ~= '' then redis.call('PUBLISH', ARGV[last], '1') end
return false
""" % (HEAD - 1)

# In one script: sums that were renewed in part would count twice after a repetition.
_ADD = b"""
for at = 2, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[at], ARGV[at + 1]) end
if ARGV[1] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
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
        timeout: seconds per operation; connecting and waiting for a free connection may take as long again.
        options: more options of redis-py's `Connection`; what stands in the url wins.
    """

    swaps = True
    poll = (0.05, 1.0)

    def __init__(
        self, url: str, *, timeout: float = 0.25, clock: Callable[[], float] = time.time, **options: Any
    ) -> None:
        # The wall clock, not the server's: machines that share a cache keep theirs within a second or so, and asking
        # for TIME would be a round trip.
        super().__init__(clock=clock)
        self._server = Server(url, timeout, options)
        self._wire = Wire(self._server.connection, timeout)
        self._loops = Loops(self._server.line, timeout)
        self._news = News(self._server.connection)

    @property
    def address(self) -> str:
        return self._server.address

    def get(self, key: bytes) -> Any:
        return self._ask(_getting(key))

    def get_many(self, keys: Sequence[bytes]) -> list[Any]:
        found: list[Any] = self._ask(_fetching(keys)) if keys else []
        return found

    def set(self, key: bytes, data: Any, lifetime: float | None) -> None:
        self._ask(_keeping(key, data, lifetime))

    def commit(self, key: bytes, data: Any, lifetime: float | None, recent: bytes, limit: int) -> None:
        self._ask(_committing(key, data, lifetime, recent, limit))

    def swap(
        self, expected: Mapping[bytes, bytes | None], puts: Puts, recent: bytes = b"", limit: int = 0, news: bytes = b""
    ) -> list[Head] | None:
        return _heads(self._ask(_swapping(expected, puts, recent, limit, news)))

    def watch(self, key: bytes, wake: Callable[[], None]) -> bool:
        self._news.watch(channel(key), wake)
        return True

    def unwatch(self, key: bytes, wake: Callable[[], None]) -> None:
        self._news.unwatch(channel(key), wake)

    def recent(self, recent: bytes) -> list[bytes]:
        found: list[bytes] = self._ask(_packed(b"LRANGE", _name(recent), b"0", b"-1"))
        return found

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
        return _totals(self._ask(_packed(b"HGETALL", _name(key))))

    def delete(self, key: bytes) -> None:
        self._ask(_deleting(key))

    def stamps(self, keys: Sequence[bytes]) -> list[bytes]:
        found = self.get_many(keys)
        for key, stamp in zip(keys, found, strict=True):
            if stamp is None:
                self._ask(_minting(key))
        return self._minted(found if None not in found else self.get_many(keys))

    def close(self) -> None:
        self._news.close()
        self._wire.close()
        self._loops.close()

    async def aget(self, key: bytes) -> Any:
        return await self._aask(_getting(key))

    async def aget_many(self, keys: Sequence[bytes]) -> list[Any]:
        found: list[Any] = await self._aask(_fetching(keys)) if keys else []
        return found

    async def aset(self, key: bytes, data: Any, lifetime: float | None) -> None:
        await self._aask(_keeping(key, data, lifetime))

    async def acommit(self, key: bytes, data: Any, lifetime: float | None, recent: bytes, limit: int) -> None:
        await self._aask(_committing(key, data, lifetime, recent, limit))

    async def aswap(
        self, expected: Mapping[bytes, bytes | None], puts: Puts, recent: bytes = b"", limit: int = 0, news: bytes = b""
    ) -> list[Head] | None:
        return _heads(await self._aask(_swapping(expected, puts, recent, limit, news)))

    async def arecent(self, recent: bytes) -> list[bytes]:
        found: list[bytes] = await self._aask(_packed(b"LRANGE", _name(recent), b"0", b"-1"))
        return found

    async def aadd(self, key: bytes, amounts: Mapping[str, int], lifetime: float | None) -> None:
        await self._aask(_adding(key, amounts, lifetime))

    async def asums(self, key: bytes) -> dict[str, int]:
        return _totals(await self._aask(_packed(b"HGETALL", _name(key))))

    async def adelete(self, key: bytes) -> None:
        await self._aask(_deleting(key))

    async def astamps(self, keys: Sequence[bytes]) -> list[bytes]:
        found = await self.aget_many(keys)
        for key, stamp in zip(keys, found, strict=True):
            if stamp is None:
                await self._aask(_minting(key))
        return self._minted(found if None not in found else await self.aget_many(keys))

    async def arenew(self, key: bytes) -> None:
        await self.aset(key, os.urandom(_STAMP_BYTES), None)

    async def aclose(self) -> None:
        self._news.close()
        self._wire.close()
        await self._loops.aclose()

    def fork_ends(self, child: bool) -> None:
        if child:
            self._wire.begin()
            self._loops.begin()
            self._news.begin()

    def _ask(self, command: bytes) -> Any:
        try:
            return self._wire.ask(command)
        except StoreError:
            raise
        except Exception as error:
            raise self._server.failure(error) from error

    async def _aask(self, command: bytes) -> Any:
        try:
            return await self._loops.ask(command)
        except StoreError:
            raise
        except Exception as error:
            raise self._server.failure(error) from error
