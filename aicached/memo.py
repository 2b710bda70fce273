"""
What was worked out a moment ago, kept up to a bound in bytes.

Law: losing something here costs time, never an answer; so nothing takes a lock, and sizes may be off by what two
threads did at once.
"""

from __future__ import annotations

from collections import deque
from typing import Any

__all__ = ["Memo"]

_NOTHING = object()


class Memo:
    """Bound what several dicts remember together; once full, one newcomer in eight takes the oldest's place."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self.order: deque[tuple[dict[Any, Any], Any, Any, int]] = deque()
        self.newcomers = 0

    def keep(self, known: dict[Any, Any], key: Any, value: Any, size: int) -> None:
        """Remember *value* under *key* in one of the dicts, which takes *size* bytes."""
        if self.size > self.limit:
            self.newcomers += 1
            if self.newcomers % 8:
                return
        try:
            while self.size > self.limit:
                old, name, kept, bytes_ = self.order.popleft()
                self.size -= bytes_
                if old.get(name, _NOTHING) is kept:
                    old.pop(name, None)
        except IndexError:  # another thread has emptied it
            self.size = 0
        known[key] = value
        self.order.append((known, key, value, size))
        self.size += size
