"""
A codec that opens what it has opened a moment ago without looking into it again.

Law: the very same bytes under the same digest give the same entry, and nothing else does: what was changed since, by
whomever, is opened and checked like anything new.
"""

from __future__ import annotations

from ..entry import Entry
from ..memo import Memo
from .envelope import Codec

__all__ = ["Opened"]

#: Bytes of blobs that one cache remembers; an entry takes about as much again.
LIMIT = 8 * 2**20
#: Blobs above this are opened each time: few calls would fill the memo.
LARGE = 2**16


class Opened:
    """
    Open blobs by *codec*, each once.

    To compare 2 KB takes a twentieth of the time that checking and unpacking them does; of signed or encrypted ones, a
    hundredth.
    """

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._known: dict[bytes, tuple[bytes, Entry]] = {}
        self._memo = Memo(LIMIT)

    def open(self, blob: bytes, digest: bytes) -> Entry | None:
        """Return the entry in *blob*, None where `Codec.open` says so."""
        kept = self._known.get(digest)
        if kept is not None and kept[0] == blob:
            return kept[1]
        entry = self._codec.open(blob, digest)
        if entry is not None and len(blob) < LARGE:
            self._memo.keep(self._known, digest, (blob, entry), len(blob))
        return entry
