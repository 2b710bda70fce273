"""
Keys whose origin failed a moment ago, while there is a stale answer to serve: nobody asks it again for some seconds.

Law: this is a matter of one process. What others are told stands in the store, in the place of the lease.
"""

from __future__ import annotations

from collections import OrderedDict

__all__ = ["HoldOffs"]

SECONDS = 10.0
_REMEMBERED = 1000


class HoldOffs:
    """Remember until when the origin of a key is left alone; each step is atomic, so it needs no lock."""

    def __init__(self) -> None:
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def begin(self, digest: bytes, now: float) -> None:
        """Leave an origin alone from *now*, in seconds, on."""
        self._until[digest] = now + SECONDS
        if len(self._until) > _REMEMBERED:
            self._until.popitem(last=False)

    def holds(self, digest: bytes, now: float) -> bool:
        """Is it left alone?"""
        return now < self._until.get(digest, now)

    def end(self, digest: bytes) -> None:
        """It has answered."""
        self._until.pop(digest, None)
