"""
The chunks of a stream: while they are recorded, as a payload, and read back from one.

Law: chunks come back as they went in, one by one: same types, same boundaries, empty ones too. What cannot change is
kept as it is and packed once, at the end; everything else is packed when it comes, before anybody gets it and changes
it. A tape that is too long, or holds what cannot be packed, goes on as a queue: it is never stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgpack

from .codec.classes import NONE, Classes
from .codec.values import IMMUTABLE, Undecodable, decode, encode, holding
from .errors import UnstorableValue
from .packing import native

__all__ = ["GONE", "Chunk", "Replay", "Tape", "rewound"]

#: In the place of a chunk that everybody has had, on a tape that is not kept.
GONE: Any = object()
#: Bytes that a packed text may have beside its own; and those of any number.
_HEAD = 5
_NUMBER = 9


class Chunk:
    """Hold a chunk that could change: packed, and itself until the first consumer has had it, or for want of a pack."""

    __slots__ = ("live", "packed")

    def __init__(self, packed: bytes | None, live: Any) -> None:
        self.packed = packed
        self.live = live


class Replay(NamedTuple):
    """
    Hold a whole stream.

    Args:
        form: what its callers get; see `playback`.
        asynchronous: is it read with ``async for``?
        ending: a generator's return value, or what an SDK's stream gives when it is over.
        chunks: what it yielded.
        delay: seconds between two chunks.
    """

    form: str
    asynchronous: bool
    ending: Any
    chunks: list[Any]
    delay: float = 0.0


class Tape:
    """
    Record.

    Args:
        pack: the next chunk -> its bytes, which may build on those before it; raises `UnstorableValue`.
        pack_alone: the same for what is no chunk.
        unpack: the way back from both.
        limit: bytes that the payload may have.
    """

    __slots__ = ("chunks", "limit", "low", "pack", "pack_alone", "size", "unpack", "why")

    def __init__(
        self,
        pack: Callable[[Any], bytes],
        pack_alone: Callable[[Any], bytes],
        unpack: Callable[[bytes], Any],
        limit: int,
    ) -> None:
        self.pack = pack
        self.pack_alone = pack_alone
        self.unpack = unpack
        self.limit = limit
        self.chunks: list[Any] = []
        self.size = 0
        #: Why it is not kept; None as long as it can be.
        self.why: str | None = None
        #: Chunks before this one may be gone.
        self.low = 0

    def add(self, chunk: Any, *, keep: bool) -> None:
        """
        Take in a chunk.

        Args:
            keep: somebody will want the chunk itself, not a copy.
        """
        kind = type(chunk)
        if kind is str or kind is bytes:
            self.size += len(chunk) + _HEAD
        elif kind in IMMUTABLE:
            self.size += _NUMBER if kind is not int else (chunk.bit_length() >> 3) + _NUMBER
        else:
            chunk = self._packed(chunk, keep=keep)
        self.chunks.append(chunk)
        if self.size > self.limit and self.why is None:
            self.why = "too large"

    def _packed(self, chunk: Any, *, keep: bool) -> Chunk:
        if self.why is not None:
            return Chunk(None, chunk)
        try:
            packed = self.pack(chunk)
        except UnstorableValue as error:
            self.why = f"unstorable: {error}"
            return Chunk(None, chunk)
        self.size += len(packed)
        return Chunk(packed, chunk if keep else None)

    def give(self, index: int, *, first: bool) -> Any:
        """Return a chunk to a consumer: itself to the first one, as far as it is there, and copies to the others."""
        chunk = self.chunks[index]
        if type(chunk) is not Chunk:
            return chunk
        if chunk.packed is None:  # no copy can be had
            return chunk.live
        if first and chunk.live is not None:
            live, chunk.live = chunk.live, None
            return live
        return self.unpack(chunk.packed)

    def trim(self, low: int) -> None:
        """Let go of the chunks before *low*, of a tape that is not kept."""
        for index in range(self.low, low):
            self.chunks[index] = GONE
        self.low = max(self.low, low)

    def copies(self) -> list[Any]:
        """Return the chunks as a hit will give them."""
        return [self.give(index, first=False) for index in range(len(self.chunks))]

    def payload(self, form: str, ending: Any, *, asynchronous: bool) -> bytes:
        """
        Return the payload: what the stream is, how it ended, its chunks; the arguments are those of `Replay`.

        Raises:
            UnstorableValue: the ending would not come back as it was.
        """
        packed = native(None) if ending is None else self.pack_alone(ending)
        head = msgpack.Packer().pack_array_header(len(self.chunks))
        whole = b"".join([b"\x94", native(form), native(asynchronous), packed, head, *map(_parts, self.chunks)])
        return holding(whole) if any(type(chunk) is Chunk for chunk in self.chunks) else whole


def _parts(chunk: Any) -> bytes:
    if type(chunk) is Chunk:
        assert chunk.packed is not None
        return chunk.packed
    try:
        return native(chunk)
    except (OverflowError, UnicodeEncodeError):
        return encode(chunk, NONE)


def rewound(payload: bytes, classes: Classes, delay: float = 0.0) -> Replay:
    """
    Return the stream in a payload; all of it is decoded now, since a miss cannot begin at the tenth chunk.

    Raises:
        Undecodable: the bytes are damaged, or name a class that *classes* does not allow.
    """
    read = decode(payload, classes)
    if type(read) is not list or len(read) != 4 or [type(read[at]) for at in (0, 1, 3)] != [str, bool, list]:
        raise Undecodable("no stream")
    form, asynchronous, ending, chunks = read
    return Replay(form, asynchronous, ending, chunks, delay)
