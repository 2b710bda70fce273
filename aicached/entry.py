"""
A stored value, and what is known about it.

Law: an entry never changes once made. It is a plain class with slots, not a frozen dataclass: one is made on every hit
of a store of bytes, and a frozen dataclass takes four times as long to make.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .status import Usage

__all__ = ["Entry", "Meta"]


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
        scope: digest of the scope; empty where there is none.
    """

    function: str
    stamps: list[bytes]
    rules: bytes
    seconds: float = 0.0
    usage: Usage | None = None
    tags: tuple[str, ...] = ()
    scope: bytes = b""


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

    def age(self, now: float) -> float:
        """Return the seconds since the entry was created; never negative."""
        return max(0.0, now - self.created)

    def __len__(self) -> int:
        """Return about what the entry takes in memory, in bytes."""
        return len(self.payload) + 400

    def __repr__(self) -> str:
        return f"<Entry {self.version.hex()[:8]} of {self.meta.function}, {len(self.payload)} bytes>"
