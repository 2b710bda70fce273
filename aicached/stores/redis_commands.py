"""
What is said to a Redis server: names of keys, commands, scripts, and what the replies mean.

Law: an operation is one command, and none does harm when it is sent twice. A script is called by its digest.
"""

from __future__ import annotations

import re
from binascii import hexlify
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha1
from typing import Any

from .base import HEAD, Head, Puts
from .redis_wire import bulk, command, packed

__all__ = [
    "MGET",
    "STAMP",
    "Said",
    "Script",
    "adding",
    "appending",
    "channel",
    "deleting",
    "fetching",
    "getting",
    "heads",
    "keeping",
    "minting",
    "names",
    "reading",
    "records",
    "reserving",
    "scanning",
    "summing",
    "swapping",
    "totals",
    "values",
]

_FOREVER = 1e12  # seconds from which a lifetime says nothing
#: Bytes of a stamp.
STAMP = 16
MGET = b"$4\r\nMGET\r\n"
_VALUE = ord("v")
_HEX = re.compile(rb"[0-9a-f]{64}")
_FEW = 8  # keys that are likely to be asked for together again


class Script:
    """A Lua script: a server that does not know its digest wants it whole, once."""

    def __init__(self, text: bytes) -> None:
        self._text = bulk(b"EVAL") + bulk(text)
        self._digest = bulk(b"EVALSHA") + bulk(sha1(text).hexdigest().encode())  # noqa: S324, as the protocol wants it

    def called(self, names: Sequence[bytes], said: Sequence[bytes], *, whole: bool) -> bytes:
        """Return the command that runs it over the keys of these packed *names*, with what is *said* as arguments."""
        count = b"%d" % len(names)
        parts = [b"$%d\r\n%b\r\n" % (len(part), part) for part in (count, *said)]
        parts[1:1] = names
        return b"*%d\r\n%b%b" % (2 + len(parts), self._text if whole else self._digest, b"".join(parts))


#: A script with its names, packed, and its arguments.
Said = tuple[Script, Sequence[bytes], Sequence[bytes]]


def _name(key: bytes) -> bytes:
    return b"ac1:%b:{%b}" % (key[:1], hexlify(key[1:]))


@lru_cache(4096)
def _mark(key: bytes) -> bytes:
    """Return a name, packed: stamps are the same in call after call, and a miss names its lease twice."""
    return bulk(_name(key))


def names(keys: Sequence[bytes]) -> tuple[bytes, tuple[bytes, ...]]:
    """Return the names of *keys*, packed: that of the first, and the others, which are the same for many calls."""
    first, rest = keys[0], keys[1:]
    name = b"$72\r\nac1:v:{%b}\r\n" % hexlify(first[1:]) if first[0] == _VALUE else _mark(first)
    return name, _stamp_names(rest) if len(rest) <= _FEW and type(rest) is tuple else tuple(map(_mark, rest))


@lru_cache(4096)
def _stamp_names(keys: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple(map(_mark, keys))


def channel(key: bytes) -> bytes:
    """Return the name of the channel that carries the news of a key."""
    return b"ac1:c:{%b}" % hexlify(key[1:])


def getting(key: bytes) -> bytes:
    return packed(b"GET", _name(key))


def fetching(keys: Sequence[bytes]) -> bytes:
    name, others = names(keys)
    return command(MGET, name, *others)


def keeping(key: bytes, data: bytes, lifetime: float | None) -> bytes:
    if lifetime is None or lifetime >= _FOREVER:
        return packed(b"SET", _name(key), data)
    return packed(b"SET", _name(key), data, b"PX", _milliseconds(lifetime))


def minting(key: bytes, stamp: bytes) -> bytes:
    return packed(b"SET", _name(key), stamp, b"NX")


def swapping(expected: Mapping[bytes, bytes | None], puts: Puts, news: bytes) -> Said:
    keys = [*expected, *[key for key in puts if key not in expected]]
    wants, writes, said = "", "", [head for head in expected.values() if head]
    for head in expected.values():
        wants += "=" if head else "0"
    for key in keys:
        put = puts.get(key, ())
        if put is None:
            writes += "d"
        elif not put:
            writes += "-"
        elif milliseconds := _milliseconds(put[1]):
            writes += "p"
            said += (put[0], milliseconds)
        else:
            writes += "s"
            said.append(put[0])
    if news:
        said.append(channel(news))
    return _swap(wants, writes, bool(news)), [*map(_mark, keys)], said


def reserving(keys: Sequence[bytes], puts: Mapping[bytes, tuple[bytes, float]]) -> Said:
    said: list[bytes] = []
    for data, lifetime in puts.values():
        said += (data, _milliseconds(lifetime))
    return _reserve(len(puts)), [*map(_mark, (*keys, *puts))], said


def _milliseconds(lifetime: float | None) -> bytes:
    return b"" if lifetime is None or lifetime >= _FOREVER else b"%d" % max(1, round(lifetime * 1000))


def heads(found: list[Any] | None) -> list[Head] | None:
    if found is None:
        return None
    pairs = zip(found[::2], found[1::2], strict=True)
    return [Head(None) if ms == -2 else Head(data, None if ms < 0 else ms / 1000) for data, ms in pairs]


def adding(key: bytes, amounts: Mapping[str, int], lifetime: float | None) -> Said:
    pairs = [part for name, amount in amounts.items() for part in (name.encode(), b"%d" % amount)]
    return _ADD, (_mark(key),), (_milliseconds(lifetime), *pairs)


def summing(key: bytes) -> bytes:
    return packed(b"HGETALL", _name(key))


def totals(reply: Any) -> dict[str, int]:
    """Return the sums in a reply to HGETALL: a list under protocol 2, a dict under protocol 3."""
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    return {name.decode(errors="replace"): int(number) for name, number in pairs if number.lstrip(b"-").isdigit()}


def scanning(cursor: bytes) -> bytes:
    return packed(b"SCAN", cursor, b"MATCH", b"ac1:v:{*}", b"COUNT", b"1000")


def deleting(key: bytes) -> bytes:
    return packed(b"UNLINK", _name(key))


def appending(log: bytes, data: bytes, lifetime: float | None, limit: int) -> Said:
    return _APPEND, (_mark(log),), (data, _milliseconds(lifetime), b"%d" % limit)


def reading(log: bytes, since: int, count: int) -> Said:
    return _READ, (_mark(log),), (b"%d" % since, b"%d" % count)


def records(found: list[Any]) -> tuple[int, int, list[Any]]:
    upto, last, *records = found
    return upto, last, [data for data in records if data is not None]


def values(names: Sequence[bytes]) -> list[bytes]:
    """Return the keys that names in Redis stand for, those that are ours: ``ac1:v:{64 hex digits}``."""
    digests = (name[7:-1] for name in names if len(name) == 72)
    return [b"v" + bytes.fromhex(digest.decode()) for digest in digests if _HEX.fullmatch(digest)]


@lru_cache(256)
def _swap(wants: str, writes: str, told: bool) -> Script:
    """
    Compare heads, then write. What is of another type than ours counts as nothing, and is written over.

    The times of life are the server's own, so that no client's clock has a say in who holds a lease. There is a script
    for each shape of a swap, as to find out from an argument what is to be done would take the server longer: for few
    keys, or Lua has not enough registers.

    Args:
        wants: what is expected of each key: ``0`` nothing, ``=`` the next argument.
        writes: what is done with it: ``s`` set to the next argument, ``p`` set for so many milliseconds, ``d`` delete,
            ``-`` nothing.
        told: is the last argument a channel, for the news?
    """
    lines, differs, found = list[str](), list[str](), list[str]()
    at = 0
    for place, want in enumerate(wants, 1):
        lines.append(f"local h{place} = redis.pcall('GETRANGE', KEYS[{place}], 0, {HEAD - 1})")
        lines.append(f"if type(h{place}) ~= 'string' then h{place} = '' end")
        if want == "=":
            at += 1
            differs.append(f"string.sub(h{place}, 1, #ARGV[{at}]) ~= ARGV[{at}]")
        else:
            differs.append(f"h{place} ~= ''")
        found.append(f"h{place}, h{place} == '' and -2 or redis.call('PTTL', KEYS[{place}])")
    if wants:
        lines.append(f"if {' or '.join(differs)} then return {{{', '.join(found)}}} end")
    for place, write in enumerate(writes, 1):
        if write == "d":
            lines.append(f"redis.call('DEL', KEYS[{place}])")
        elif write == "s":
            at += 1
            lines.append(f"redis.call('SET', KEYS[{place}], ARGV[{at}])")
        elif write == "p":
            at += 2
            lines.append(f"redis.call('SET', KEYS[{place}], ARGV[{at - 1}], 'PX', ARGV[{at}])")
    if told:  # who may not is no worse for it: others look
        lines.append(f"redis.pcall('PUBLISH', ARGV[{at + 1}], '1')")
    return Script("\n".join((*lines, "return false")).encode())


@lru_cache(256)
def _reserve(put: int) -> Script:
    """
    Read, and take a place that is free where there is nothing to read: the first of so many that are put.

    A server that is full, or a replica, refuses to put, and has still been read.
    """
    more = [
        f"redis.pcall('SET', KEYS[read + {place}], ARGV[{2 * place - 1}], 'PX', ARGV[{2 * place}])"
        for place in range(2, put + 1)
    ]
    lines = (
        f"local read = #KEYS - {put}",
        "local found = redis.call('MGET', unpack(KEYS, 1, read))",
        "if not found[1] then",
        "local taken = redis.pcall('SET', KEYS[read + 1], ARGV[1], 'NX', 'PX', ARGV[2])",
        "if taken and taken.ok then",
        *more,
        "found[read + 1] = 1",
        "end end return found",
    )
    return Script("\n".join(lines).encode())


# In one script: sums that were renewed in part would count twice after a repetition.
_ADD = Script(b"""
for at = 2, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[at], ARGV[at + 1]) end
if ARGV[1] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
""")
#: A log's number lies beside its records, in the slot of its digest.
_APPEND = Script(b"""
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
""")
_READ = Script(b"""
local last = tonumber(redis.call('GET', KEYS[1]) or 0)
local upto = math.min(last, ARGV[1] + ARGV[2])
local found = {upto, last}
for number = ARGV[1] + 1, upto do
  found[#found + 1] = redis.call('GET', KEYS[1] .. ':' .. string.format('%d', number))
end
return found
""")
