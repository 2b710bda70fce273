"""
Vectors of stored calls, by partition, in this process: exact search, with a filter of sign bits for large partitions.

Law: an index only proposes. What it holds may be dead or missing; the entry in the store decides.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import Any, NamedTuple

from ..living import Living

__all__ = ["Indexes", "Near", "Partition"]

#: From how many vectors on signs are compared first, and how many of the nearest by sign are compared in full.
_LARGE, _BY_SIGN = 20_000, 128
#: Rows without a vector that a search steps over, at most; they are zeros, so what is behind them is not near.
_GAPS = 64


class Near(NamedTuple):
    """Hold one stored call: the digest of its key, its text, and the cosine."""

    digest: bytes
    text: str
    similarity: float


class Partition:
    """Hold the vectors of one partition, the newest *limit* of them."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.lock = threading.Lock()
        #: How far the store's log has been read, and when that was asked last.
        self.cursor = 0
        self.checked = float("-inf")
        self._begin()

    def _begin(self) -> None:
        self.rows: dict[bytes, int] = {}
        self.held: list[tuple[bytes, str] | None] = []
        self.matrix: Any = None
        self.signs: Any = None

    def __len__(self) -> int:
        return len(self.rows)

    def restart(self) -> None:
        """Forget everything: the store has lost its log."""
        with self.lock:
            self.cursor = 0
            self._begin()

    def add(self, digest: bytes, text: str, vector: Any) -> None:
        """Hold a vector, over an older one of the same call."""
        import numpy as np

        with self.lock:
            if self.matrix is not None and self.matrix.shape[1] != len(vector):
                return  # of another model under the same name
            row = self.rows.get(digest)
            if row is None:
                row = self._new_row(len(vector))
            self.matrix[row] = vector
            self.held[row] = (digest, text)
            self.rows[digest] = row
            if self.signs is not None:
                self.signs[row] = np.packbits(self.matrix[row] > 0)

    def _new_row(self, size: int) -> int:
        import numpy as np

        if len(self.rows) >= self.limit:
            self._forget(next(iter(self.rows)))
        row = len(self.held)
        if self.matrix is None or row >= len(self.matrix):
            if len(self.rows) < row // 2:  # more gaps than vectors
                self._close_gaps()
                return self._new_row(size)
            grown = np.zeros((max(64, 2 * row), size), np.float32)
            if self.matrix is not None:
                grown[:row] = self.matrix[:row]
            self.matrix = grown
            self.signs = None if len(grown) <= _LARGE else np.packbits(grown > 0, axis=1)
        self.held.append(None)
        return row

    def _close_gaps(self) -> None:
        kept = sorted(self.rows.values())
        self.matrix[: len(kept)] = self.matrix[kept]
        held = [self.held[row] for row in kept]
        self.held = list(held)
        self.rows = {each[0]: row for row, each in enumerate(held) if each is not None}
        if self.signs is not None:
            self.signs[: len(kept)] = self.signs[kept]

    def drop(self, digest: bytes) -> None:
        """Forget a call whose entry is dead."""
        with self.lock:
            self._forget(digest)

    def _forget(self, digest: bytes) -> None:
        row = self.rows.pop(digest, None)
        if row is not None:
            self.held[row] = None
            self.matrix[row] = 0

    def nearest(self, vector: Any, count: int) -> list[Near]:
        """Return the *count* nearest calls, the nearest first; *vector* has unit length."""
        with self.lock:
            held = self.held
            rows = len(held)
            if not self.rows or self.matrix.shape[1] != len(vector):
                return []
            if self.signs is not None and rows > _LARGE:
                few = self._by_sign(vector, rows)
                scores = self.matrix[few] @ vector
            else:
                few, scores = None, self.matrix[:rows] @ vector
            found = list[Near]()
            # One after the other: for a handful this takes a tenth of what a partition of all scores does.
            for _ in range(min(len(scores), count + _GAPS)):
                at = int(scores.argmax())
                each = held[at if few is None else int(few[at])]
                if each is not None:
                    found.append(Near(*each, float(scores[at])))
                scores[at] = -2.0
                if len(found) == count:
                    break
            return found

    def _by_sign(self, vector: Any, rows: int) -> Any:
        """Return the rows whose signs differ least from the vector's: Hamming distance follows the angle."""
        import numpy as np

        differing = np.bitwise_xor(self.signs[:rows], np.packbits(vector > 0))
        if differing.shape[1] % 8 == 0:
            differing = differing.view(np.uint64)  # eight times fewer to count
        distance = _ones(differing).sum(axis=1, dtype=np.uint16)
        wanted = min(_BY_SIGN, rows)
        return np.argpartition(distance, wanted - 1)[:wanted]


def _ones(words: Any) -> Any:
    """Return numbers whose sum over a row is that of the bits set in it."""
    import numpy as np

    if hasattr(np, "bitwise_count"):
        return np.bitwise_count(words)
    return np.unpackbits(words.view(np.uint8), axis=1)


class Indexes:
    """Hold the partitions that were used last, up to so many vectors in all."""

    def __init__(self, limit: int, vectors: int = 200_000) -> None:
        self.limit = limit
        self.vectors = vectors
        self.begin()
        _living.add(self)

    def begin(self) -> None:
        """Begin with nothing: after a fork, a lock may be held for ever by a thread that is not there."""
        self.partitions: OrderedDict[bytes, Partition] = OrderedDict()
        self.lock = threading.RLock()  # a finalizer may make a call in the middle of it

    def of(self, key: bytes) -> Partition:
        """Return a partition, making it where it is new."""
        with self.lock:
            found = self.partitions.get(key)
            if found is None:
                found = self.partitions[key] = Partition(self.limit)
                self._make_room()
            self.partitions.move_to_end(key)
            return found

    def _make_room(self) -> None:
        while len(self.partitions) > 1 and (
            len(self.partitions) > 1000 or sum(map(len, self.partitions.values())) > self.vectors
        ):
            self.partitions.popitem(last=False)


_living: Living[Indexes] = Living()


def _begin() -> None:
    for indexes in _living:
        indexes.begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin)
