"""
The keys that a function has stored last, for those who ask why a call misses.

Law: no call waits for this. A commit adds to a list in this process; the thread that flushes the counters appends what
is new to a log in the store, once a second. A process that is killed loses its last second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

__all__ = ["AGE", "KEPT", "Latest", "keys_in"]

#: How many keys are told of one function, and how many records of them a store keeps.
KEPT = 64
#: Seconds for which the store keeps a record.
AGE = 30 * 86400.0
#: Bytes of a key.
_KEY = 33


class Latest:
    """
    Hold the keys that one function has stored in this process, until they are in the store.

    Args:
        log: store key of the function's log.
    """

    __slots__ = ("_keys", "add", "log")

    def __init__(self, log: bytes) -> None:
        self.log = log
        self._keys: deque[bytes] = deque(maxlen=KEPT)
        #: Takes in the key of a value that was stored.
        self.add: Callable[[bytes], None] = self._keys.append

    def put_back(self, taken: tuple[Any, ...]) -> None:
        """Keep what `taken` gave and the store did not take, as far as there is room beside what has come since."""
        for key in keys_in([taken[1]]):  # the newest first
            if len(self._keys) < KEPT:
                self._keys.appendleft(key)

    def taken(self) -> tuple[Any, ...] | None:
        """Take out what is to be appended to the log, as arguments of `Store.append`; None where nothing is new."""
        keys: list[bytes] = []
        with suppress(IndexError):  # commits go on meanwhile
            while len(keys) < KEPT:
                keys.append(self._keys.popleft())
        return (self.log, b"".join(keys), AGE, KEPT) if keys else None


def keys_in(records: list[bytes]) -> list[bytes]:
    """Return the keys in records of a log, the newest first."""
    keys = [record[at : at + _KEY] for record in records for at in range(0, len(record), _KEY)]
    return list(dict.fromkeys(key for key in reversed(keys) if len(key) == _KEY))[:KEPT]
