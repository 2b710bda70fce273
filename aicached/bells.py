"""
What wakes one waiter: a thread, or a task of an event loop.

Law: a bell may be rung from any thread, at any time, more than once, and after its loop has ended. A ring that comes
before the wait is not lost. Nobody awaits what another awaits too: a future that two tasks share dies with the first of
them that is cancelled.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

__all__ = ["Bell", "LoopBell", "ThreadBell"]


class Bell:
    """Wake one waiter."""

    def ring(self) -> None:
        """Wake who waits, or who will."""
        raise NotImplementedError

    async def wait(self, seconds: float) -> None:
        """Wait until it rings, *seconds* at most."""
        raise NotImplementedError


class ThreadBell(Bell):
    """Wake a thread."""

    def __init__(self) -> None:
        self._rung = threading.Event()
        self.ring = self._rung.set  # type: ignore[method-assign]

    async def wait(self, seconds: float) -> None:
        self._rung.wait(seconds)
        self._rung.clear()


class LoopBell(Bell):
    """Wake a task of the running loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._gate: asyncio.Future[None] = self._loop.create_future()

    def ring(self) -> None:
        try:
            here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            here = False
        if here:
            self._open()
        else:
            with suppress(RuntimeError):  # nobody waits behind the gate of a loop that is closed
                self._loop.call_soon_threadsafe(self._open)

    async def wait(self, seconds: float) -> None:
        # Not wait_for: before Python 3.12 it may swallow a cancellation that comes with the ring.
        alarm = self._loop.call_later(seconds, self._open)
        try:
            await self._gate
        finally:
            alarm.cancel()
        self._gate = self._loop.create_future()

    def _open(self) -> None:
        if not self._gate.done():
            self._gate.set_result(None)
