"""
A stored value, and what is known about it.

Law: an entry never changes once made. It is a plain class with slots, not a frozen dataclass: one is made on every hit
of a store of bytes, and a frozen dataclass takes four times as long to make.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgpack

from .status import Usage

__all__ = ["Entry", "EntryInfo", "Meta"]

#: Bytes of a store key.
KEY = 33


class Meta(NamedTuple):
    """
    Say what is known about an entry besides its freshness; it is stored as a list, in this order.

    Args:
        function: module and qualified name.
        stamps: what was under the call's stamp keys when its computation began.
        rules: digest of the rules that admitted the value.
        seconds: what the origin took.
        usage: tokens and cost; None where not known.
        tags: names given by the policy and by the origin.
        scope: store keys of the stamps of its function and of its scopes, one after the other.
        parts: short digests of what the key is made of, packed: they are read only to explain a miss.
        arguments: the arguments in clear, packed; empty unless the cache keeps them.
    """

    function: str
    stamps: list[bytes]
    rules: bytes
    seconds: float = 0.0
    usage: Usage | None = None
    tags: tuple[str, ...] = ()
    scope: bytes = b""
    parts: bytes = b""
    arguments: bytes = b""


class EntryInfo(NamedTuple):
    """
    Say what people may see of an entry.

    Args:
        function: module and qualified name.
        key: hex digest of the call.
        age: seconds since it was stored.
        ttl: seconds that it stays fresh; None = for ever.
        size: bytes of the packed answer.
        seconds: what the origin took.
        usage: tokens and cost; None where not known.
        tags: its tags.
        arguments: name -> the argument as text; empty unless the cache keeps them.
    """

    function: str
    key: str
    age: float
    ttl: float | None
    size: int
    seconds: float
    usage: Usage | None
    tags: tuple[str, ...]
    arguments: dict[str, str]


class Entry:
    """
    Hold one stored value: its payload still packed, its header read.

    Args:
        version: 16 random bytes, new with every commit.
        created: store's time in seconds.
        ttl: seconds of freshness; None = for ever.
        windows: seconds after ttl of ``(stale_while_revalidate, stale_if_error)``.
        kind: ``"value"`` or ``"stream"``.
        meta: what else is known.
        payload: the packed value, or chunks.
        whole: ``(value,)`` where the value is immutable and need not be decoded again; else empty.
    """

    __slots__ = ("created", "kind", "meta", "payload", "ttl", "until", "version", "whole", "windows")

    def __init__(
        self,
        version: bytes,
        created: float,
        ttl: float | None,
        windows: tuple[float, float],
        kind: str,
        meta: Meta,
        payload: bytes,
        whole: tuple[Any, ...] = (),
    ) -> None:
        self.version = version
        self.created = created
        self.ttl = ttl
        self.windows = windows
        self.kind = kind
        self.meta = meta
        self.payload = payload
        self.whole = whole
        self.until = float("inf") if ttl is None else created + ttl

    @property
    def lifetime(self) -> float | None:
        """Seconds from its creation until it is of no use to anybody; None = for ever."""
        return None if self.ttl is None else self.ttl + max(self.windows)

    def age(self, now: float) -> float:
        """Return the seconds since the entry was created; never negative."""
        return max(0.0, now - self.created)

    def stands(self, namespace: bytes, stamps: Mapping[bytes, Any]) -> bool:
        """
        Is none of its stamps known to be another by now?

        Args:
            namespace: store key of the namespace's stamp.
            stamps: store key -> what is under it, as far as that is known.
        """
        keys = (namespace, *self.places())
        return all(stamps.get(key, stamp) == stamp for key, stamp in zip(keys, self.meta.stamps, strict=False))

    def places(self) -> list[bytes]:
        """Return the store keys of the stamps of its function and scopes."""
        keys = self.meta.scope
        return [keys[at : at + KEY] for at in range(0, len(keys), KEY)]

    def parts(self) -> dict[str, bytes]:
        """Return the short digests of what the key is made of."""
        return _unpacked(self.meta.parts)

    def arguments(self) -> dict[str, str]:
        """Return the arguments as they were shown; empty unless the cache keeps them."""
        return _unpacked(self.meta.arguments)

    def info(self, key: str, now: float) -> EntryInfo:
        """Return what people may see of it; *key* is the hex digest of its call."""
        meta, left = self.meta, None if self.ttl is None else self.until - now
        seen = (self.age(now), left, len(self.payload), meta.seconds, meta.usage, meta.tags)
        return EntryInfo(meta.function, key, *seen, self.arguments())

    def __len__(self) -> int:
        """Return about what the entry takes in memory, in bytes."""
        return len(self.payload) + len(self.meta.parts) + len(self.meta.arguments) + 700

    def __repr__(self) -> str:
        return f"<Entry {self.version.hex()[:8]} of {self.meta.function}, {len(self.payload)} bytes>"


def _unpacked(packed: bytes) -> dict[str, Any]:
    """Return a packed dict; empty where it is none, since a store may hold anything."""
    try:
        found = msgpack.unpackb(packed, unicode_errors="surrogatepass") if packed else {}
    except Exception:
        return {}
    return {name: item for name, item in found.items() if type(name) is str} if isinstance(found, dict) else {}
