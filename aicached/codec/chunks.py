"""
The chunks of one tape <-> bytes.

Law: what one chunk has said is not said by the next, so that the bytes of a chunk are read after those of the first, or
by the `Chunks` that packed them, and stand in a payload that says it holds objects.
"""

from __future__ import annotations

from typing import Any

from ..errors import UnstorableValue
from .classes import Classes, Undecodable
from .rows import Rows
from .values import decode, encode

__all__ = ["Chunks"]


class Chunks:
    """
    Pack what comes, and unpack it again.

    Args:
        classes: what decoding will be allowed to make.
        verified: classes of which one object was encoded, decoded and encoded again to the same bytes; gets more.
    """

    __slots__ = ("classes", "rows", "verified")

    def __init__(self, classes: Classes, verified: set[type]) -> None:
        self.classes = classes
        self.verified = verified
        self.rows = Rows()

    def pack(self, chunk: Any) -> bytes:
        """
        Return the bytes of a chunk, which is to be the next on the tape.

        Raises:
            UnstorableValue: something in it would not come back as it was.
        """
        seen: set[type] = set()
        rows = self.rows
        packed = encode(chunk, self.classes, seen, rows)
        if rows.fresh:
            rows.told()
        if not seen <= self.verified:
            self._verify(chunk, packed)
            self.verified |= seen
        return packed

    def unpack(self, packed: bytes) -> Any:
        """
        Return a chunk of these bytes.

        Raises:
            Undecodable: a class in it may not be made.
        """
        return decode(packed, self.classes, self.rows)

    def _verify(self, chunk: Any, packed: bytes) -> None:
        """See whether what is decoded gives the same bytes; the chunk itself is asked again, for all is told now."""
        try:
            same = encode(self.unpack(packed), self.classes, None, self.rows) == encode(
                chunk, self.classes, None, self.rows
            )
        except Undecodable:
            same = False
        if not same:
            raise UnstorableValue(f"a {type(chunk).__name__} does not come back as it was")
