"""
Refreshes that run behind stale answers: few at a time, one per key, ended before their cache and their interpreter are.

Law: nobody waits for one but who finds the entry expired, and who closes the cache. One that dies, with its event loop
or at the end of a program, is counted: after three for one key, callers wait for the origin again, as else an entry
would be served stale for as long as its window lasts.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any

from .flight import Key
from .renewal import RENEWALS
from .runtime import Behind, Runtime

__all__ = ["REFRESHES", "Refreshes"]

#: How many run at once in this process; who comes then gets the stale answer, and the next one starts the refresh.
LIMIT = 32
#: Deaths in a row after which no refresh of a key is started any more.
DEATHS = 3
#: Seconds that closing a cache, or the end of the interpreter, waits for what still runs.
PATIENCE = 5.0
_REMEMBERED = 1000

Story = Callable[[], Coroutine[Any, Any, None]]


class Refreshes:
    """Run the refreshes of this process."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Begin with none: after a fork, those there were are the parent's."""
        # Re-entrant, as a task that is collected may end in the middle of a `start`.
        self._lock = threading.RLock()
        self._running: dict[Key, Behind | None] = {}
        self._deaths: OrderedDict[Key, int] = OrderedDict()

    def start(self, rt: Runtime, key: Key, story: Story) -> bool:
        """Run *story* behind the caller, unless one for *key* runs; False where the caller has to wait for himself."""
        with self._lock:
            if self._deaths.get(key, 0) >= DEATHS:
                del self._deaths[key]  # who computes now may find it to be well
                return False
            for dead in [each for each, there in self._running.items() if there is not None and there.over()]:
                self._died(dead)
            if key in self._running or len(self._running) >= LIMIT:
                return True
            self._running[key] = None
        try:
            made = rt.spawn(lambda: self._run(key, story))
        except RuntimeError:  # no thread can be started: the interpreter is shutting down
            self._running.pop(key, None)
            return True
        with self._lock:
            if key in self._running:  # else it has ended already
                self._running[key] = made
        return True

    def settle(self, address: str | None = None) -> None:
        """Wait for the refreshes of a store, None: of all, and cancel those that can be."""
        until = time.monotonic() + PATIENCE
        for each in self._of(address):
            each.settle(max(0.0, until - time.monotonic()))

    async def asettle(self, address: str) -> None:
        """Twin of `settle`."""
        until = time.monotonic() + PATIENCE
        for each in self._of(address):
            await each.asettle(max(0.0, until - time.monotonic()))

    def _of(self, address: str | None) -> list[Behind]:
        with self._lock:
            return [each for key, each in self._running.items() if each is not None and address in (None, key[0])]

    async def _run(self, key: Key, story: Story) -> None:
        try:
            await story()
        except BaseException:
            with self._lock:
                self._died(key)
            raise
        with self._lock:
            self._running.pop(key, None)
            self._deaths.pop(key, None)

    def _died(self, key: Key) -> None:
        self._running.pop(key, None)
        self._deaths[key] = self._deaths.get(key, 0) + 1
        if len(self._deaths) > _REMEMBERED:
            self._deaths.popitem(last=False)


REFRESHES = Refreshes()


@atexit.register
def _end() -> None:
    """Let refreshes end with the program, and others have the leases of those that do not."""
    # Stores have closed their files by then, as they are imported later; what is still asked opens them anew.
    REFRESHES.settle()
    RENEWALS.finish()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=REFRESHES.begin)
