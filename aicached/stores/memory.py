"""
A store in this process's memory: bounded, the least recently used goes first.

Law: a read takes no lock. The two steps of a hit, look-up and move to the end, are each atomic because keys are bytes,
which hash and compare without running Python; whoever loses the race between them has a miss. Writes share one lock.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from .base import Store, added

__all__ = ["MemoryStore"]

_VALUE = ord("v")
_STAMP_BYTES = 16
#: Logs that are kept at once; the one that was written to longest ago goes first.
_LOGS = 1000


class _Kept:
    """Hold one object, the moment it is gone (None: never) and its size in bytes."""

    __slots__ = ("data", "gone", "size")

    def __init__(self, data: Any, gone: float | None) -> None:
        self.data = data
        self.gone = gone
        self.size = len(data)


def _is_gone(kept: _Kept, now: float) -> bool:
    return kept.gone is not None and kept.gone <= now


class MemoryStore(Store):
    """
    Keep objects as they are, up to *max_entries* of them and *max_bytes* of their lengths (None: no bound).

    The bounds are about values alone: a stamp that went first would take every entry that carries it along.
    """

    blocking = False
    reads_inline = True
    opened = True

    def __init__(
        self,
        max_entries: int | None = None,
        max_bytes: int | None = 2**30,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(clock=clock)
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self._values: OrderedDict[bytes, _Kept] = OrderedDict()
        self._marks: dict[bytes, _Kept] = {}
        self._logs: OrderedDict[bytes, deque[tuple[int, _Kept]]] = OrderedDict()
        self._bytes = 0
        # Re-entrant, as a finalizer may run inside the critical section and write to this store itself.
        self._lock = threading.RLock()
        self._held = False

    def get(self, key: bytes) -> Any:
        try:
            kept = self._values[key]
            self._values.move_to_end(key)
        except KeyError:
            return self._mark(key)
        if kept.gone is not None and kept.gone <= self.clock():
            self._drop(key, kept)
            return None
        return kept.data

    def get_many(self, keys: Sequence[bytes]) -> list[Any]:
        found: list[Any] = []
        for key in keys:
            if key[0] == _VALUE:
                found.append(self.get(key))
            else:  # a stamp, most likely, which has no end
                kept = self._marks.get(key)
                found.append(kept.data if kept is not None and kept.gone is None else self._mark(key))
        return found

    def set(self, key: bytes, data: Any, lifetime: float | None) -> None:
        kept = _Kept(data, None if lifetime is None else self.clock() + lifetime)
        if key[0] != _VALUE:
            self._marks[key] = kept
            return
        with self._lock:
            self._discard(key)
            if self.max_bytes is None or kept.size <= self.max_bytes:
                self._values[key] = kept
                self._bytes += kept.size
                self._shrink()

    def delete(self, key: bytes) -> None:
        self._marks.pop(key, None)
        with self._lock:
            self._discard(key)

    def append(self, log: bytes, data: Any, lifetime: float | None, limit: int) -> None:
        now = self.clock()
        with self._lock:
            records = self._logs.setdefault(log, deque())
            self._logs.move_to_end(log)
            number = records[-1][0] + 1 if records else 1
            records.append((number, _Kept(data, None if lifetime is None else now + lifetime)))
            # The last record stays, dead or not, as the next one is counted from it.
            while len(records) > 1 and (len(records) > limit or _is_gone(records[0][1], now)):
                records.popleft()
            if len(self._logs) > _LOGS:
                self._logs.popitem(last=False)

    def read(self, log: bytes, since: int, count: int) -> tuple[int, int, list[Any]]:
        now = self.clock()
        with self._lock:
            records = self._logs.get(log)
            if not records:
                return 0, 0, []
            last = records[-1][0]
            start = max(0, since + 1 - records[0][0])
            fresh = list(islice(records, start, start + count))
        upto = fresh[-1][0] if fresh else last
        return upto, last, [kept.data for _, kept in fresh if not _is_gone(kept, now)]

    def keys(self) -> list[bytes]:
        with self._lock:
            return list(self._values)

    def stamps(self, keys: Sequence[bytes]) -> list[bytes]:
        return [self._mark(key) or self._mint(key) for key in keys]

    def add(self, key: bytes, amounts: Mapping[str, int], lifetime: float | None) -> None:
        with self._lock:
            self.set(key, added(self.get(key), amounts), lifetime)

    def fork_begins(self) -> None:
        # The child must not inherit a half-done write; a second is more than any write takes.
        self._held = self._lock.acquire(timeout=1)

    def fork_ends(self, child: bool) -> None:
        if child:
            self._lock = threading.RLock()
        elif self._held:
            self._lock.release()

    def _mark(self, key: bytes) -> Any:
        kept = self._marks.get(key)
        if kept is None:
            return None
        if kept.gone is not None and kept.gone <= self.clock():
            self._marks.pop(key, None)
            return None
        return kept.data

    def _mint(self, key: bytes) -> bytes:
        # setdefault is the atomic step: two threads that mint at once end up with one stamp.
        stamp: bytes = self._marks.setdefault(key, _Kept(os.urandom(_STAMP_BYTES), None)).data
        return stamp

    def _drop(self, key: bytes, kept: _Kept) -> None:
        """Forget *key* if it still holds *kept*, and not what somebody has written since."""
        with self._lock:
            if self._values.get(key) is kept:
                self._discard(key)

    def _discard(self, key: bytes) -> None:
        kept = self._values.pop(key, None)
        if kept is not None:
            self._bytes -= kept.size

    def _shrink(self) -> None:
        """Drop the least recently used until the bounds hold, then the next one if it has expired."""
        while self._crowded():
            self._bytes -= self._values.popitem(last=False)[1].size
        try:
            oldest = next(iter(self._values))
            gone = self._values[oldest].gone
        except (KeyError, RuntimeError, StopIteration):
            return  # a reader has just moved it to the other end, or there is none
        if gone is not None and gone <= self.clock():
            self._discard(oldest)

    def _crowded(self) -> bool:
        return (self.max_entries is not None and len(self._values) > self.max_entries) or (
            self.max_bytes is not None and self._bytes > self.max_bytes
        )
