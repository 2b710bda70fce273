"""
A clock that stands still until a test moves it.

Law: time passes only by `advance` and by sleeping, and sleeping takes no time at all.
"""

from __future__ import annotations

import asyncio
import threading

__all__ = ["FakeClock"]


class FakeClock:
    """
    Tell a time, in seconds, that only a test can move.

    The object itself is the clock (``clock()`` is now), `sleep` stands in for `time.sleep` and `asleep` for
    `asyncio.sleep`; how long each of them was asked to wait is in `slept`, in order.
    """

    def __init__(self, start: float = 1_000_000.0) -> None:
        self.slept: list[float] = []
        self._now = start
        self._lock = threading.Lock()

    def __call__(self) -> float:
        """Return the present time in seconds."""
        return self._now

    def __repr__(self) -> str:
        return f"FakeClock({self._now!r})"

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass; time does not go backwards."""
        if seconds < 0:
            raise ValueError(f"time does not go backwards: advance({seconds!r})")
        with self._lock:
            self._now += seconds

    def sleep(self, seconds: float) -> None:
        """Let *seconds* pass at once and note them in `slept`."""
        self.advance(seconds)
        self.slept.append(seconds)

    async def asleep(self, seconds: float) -> None:
        """Let *seconds* pass, note them in `slept`, and give the other tasks their turn."""
        self.sleep(seconds)
        await asyncio.sleep(0)
