"""
The bounds of one namespace on a Redis server: what it holds, and in which order that was last used.

Law: nothing here is a round trip of its own. A write is followed, in the same packet, by a script that takes the value
into account, as it then is, and drops the least recently used until the bounds hold; a hit by a ZADD, at most once per
entry and second, and always after a write of this process.

    ac1:u:{namespace}   sorted set: digest -> when it was last used
    ac1:x:{namespace}   sorted set: digest -> when it expires
    ac1:z:{namespace}   hash: digest -> bytes; total -> bytes of all

What somebody else deletes, or the server evicts, is found out when its turn comes. Entries from before there were
bounds do not count.
"""

from __future__ import annotations

import threading
import time
from binascii import hexlify
from collections.abc import Callable, Iterable

from .redis_wire import packed

__all__ = ["Bounds"]

_AGAIN = 1.0  # seconds after which a hit is noted again
_REMEMBERED = 10_000
_ACCOUNT = b"""
local used, gone, sizes = KEYS[1], KEYS[2], KEYS[3]
local most, bytes, now = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local total = tonumber(redis.call('HGET', sizes, 'total') or 0)
local function forget(digest)
  total = total - tonumber(redis.call('HGET', sizes, digest) or 0)
  redis.call('HDEL', sizes, digest)
  redis.call('ZREM', used, digest)
  redis.call('ZREM', gone, digest)
end
for i = 4, #KEYS do
  local digest, size = ARGV[i], redis.pcall('STRLEN', KEYS[i])
  forget(digest)
  if type(size) == 'number' and size > 0 then
    if bytes and size > bytes then redis.call('UNLINK', KEYS[i])
    else
      local left = redis.call('PTTL', KEYS[i])
      if left > 0 then redis.call('ZADD', gone, now + left / 1000, digest) end
      redis.call('ZADD', used, now, digest)
      redis.call('HSET', sizes, digest, size)
      total = total + size
    end
  end
end
local function crowded()
  return (most and redis.call('ZCARD', used) > most) or (bytes and total > bytes)
end
if crowded() then
  for _, digest in ipairs(redis.call('ZRANGEBYSCORE', gone, '-inf', now, 'LIMIT', 0, 1000)) do
    if redis.call('EXISTS', 'ac1:v:{' .. digest .. '}') == 0 then forget(digest) end
  end
end
while crowded() do
  local first = redis.call('ZRANGE', used, 0, 0)[1]
  if not first then total = 0 break end
  redis.call('UNLINK', 'ac1:v:{' .. first .. '}')
  forget(first)
end
redis.call('HSET', sizes, 'total', total)
"""


class Bounds:
    """
    Write the commands that keep the bounds.

    Args:
        max_entries, max_bytes: None = no bound; bytes are those of the values.
        partition: 32 bytes that stand for the namespace.
        clock: the store's.
    """

    def __init__(
        self, max_entries: int | None, max_bytes: int | None, partition: bytes, clock: Callable[[], float]
    ) -> None:
        place = hexlify(partition)
        self._places = [b"ac1:%b:{%b}" % (kind, place) for kind in (b"u", b"x", b"z")]
        self._limits = [b"" if bound is None else b"%d" % bound for bound in (max_entries, max_bytes)]
        self._clock = clock
        self._moment = 0.0
        self._noted: dict[bytes, float] = {}
        self._waiting: dict[bytes, float] = {}  # hits that sent nothing, of a near tier
        self.begin()

    def begin(self) -> None:
        """Begin with a lock that nobody holds, after a fork; re-entrant, as a finalizer may ask in the middle of it."""
        self._lock = threading.RLock()

    def account(self, keys: Iterable[bytes]) -> bytes:
        """Return the command that follows a write of *keys*, empty where no value is among them."""
        digests = [hexlify(key[1:]) for key in keys if key[:1] == b"v"]
        if not digests:
            return b""
        for digest in digests:
            self._noted.pop(digest, None)
        names = [*self._places, *(b"ac1:v:{%b}" % digest for digest in digests)]
        said = [*self._limits, b"%.6f" % self._tick(), *digests]
        return packed(b"EVAL", _ACCOUNT, b"%d" % len(names), *names, *said)

    def touch(self, keys: Iterable[bytes]) -> bytes:
        """Return the command that goes along with a look at *keys*, empty where none is due; misses do no harm."""
        digests = {digest: 0.0 for key in keys if key[:1] == b"v" and self._due(digest := hexlify(key[1:]))}
        if not digests and not self._waiting:
            return b""
        now = self._tick()
        moments = self._taken() | dict.fromkeys(digests, now)
        pairs = [part for digest, moment in moments.items() for part in (b"%.6f" % moment, digest)]
        return packed(b"ZADD", self._places[0], b"XX", b"GT", *pairs) if pairs else b""

    def note(self, key: bytes) -> None:
        """Take in a hit that sends nothing; the next command takes it along."""
        digest = hexlify(key[1:])
        if self._due(digest):
            self._waiting[digest] = self._tick()

    def _due(self, digest: bytes) -> bool:
        now = time.monotonic()
        if now - self._noted.get(digest, -_AGAIN) < _AGAIN:
            return False
        if len(self._noted) >= _REMEMBERED:
            self._noted.clear()
        self._noted[digest] = now
        return True

    def _taken(self) -> dict[bytes, float]:
        if not self._waiting:
            return {}
        waiting, self._waiting = self._waiting, {}
        return waiting

    def _tick(self) -> float:
        """Return a moment later than all before it, to the microsecond, so that the order of uses shows."""
        with self._lock:
            self._moment = max(self._clock(), self._moment + 1e-6)
            return self._moment
