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

from .behind import Behind
from .flight import Key
from .renewal import RENEWALS
from .runtime import Runtime

__all__ = ["REFRESHES", "Refreshes"]

#: How many run at once in this process; who comes then gets the stale answer, and the next one starts the refresh.
LIMIT = 32
#: Deaths in a row after which no refresh of a key is started any more.
DEATHS = 3
#: Seconds that closing a cache, or the end of the interpreter, waits for what still runs.
PATIENCE = 5.0
_REMEMBERED = 1000

Story = Callable[[], Coroutine[Any, Any, None]]


class _Place:
    """Be one refresh among those that run: what runs, and the monotonic time from which it counts as hung."""

    __slots__ = ("behind", "until")

    def __init__(self, until: float) -> None:
        self.behind: Behind | None = None  # None while it is being started
        self.until = until

    def dead(self) -> bool:
        return (self.behind is not None and self.behind.over()) or time.monotonic() >= self.until


class Refreshes:
    """Run the refreshes of this process."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Begin with none: after a fork, those there were are the parent's."""
        # Re-entrant, as a task that is collected may end in the middle of a `start`.
        self._lock = threading.RLock()
        self._running: dict[Key, _Place] = {}
        self._deaths: OrderedDict[Key, int] = OrderedDict()

    def start(self, rt: Runtime, key: Key, story: Story, longest: float) -> bool:
        """
        Run *story* behind the caller, unless one for *key* runs; False where the caller has to wait for himself.

        Args:
            longest: seconds after which it counts as hung, and holds no place any more.
        """
        with self._lock:
            if self._deaths.get(key, 0) >= DEATHS:
                del self._deaths[key]  # who computes now may find it to be well
                return False
            for each, there in self._running.copy().items():
                if there.dead():
                    self._ended(each, there, well=False)
            if key in self._running or len(self._running) >= LIMIT:
                return True
            place = self._running[key] = _Place(time.monotonic() + longest)
        try:
            place.behind = rt.spawn(lambda: self._run(key, place, story))
        except RuntimeError:  # no thread can be started: the interpreter is shutting down
            self._running.pop(key, None)
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
            places = [place.behind for key, place in self._running.copy().items() if address in (None, key[0])]
        return [behind for behind in places if behind is not None]

    async def _run(self, key: Key, place: _Place, story: Story) -> None:
        well = False
        try:
            await story()
            well = True
        finally:
            with self._lock:
                self._ended(key, place, well=well)

    def _ended(self, key: Key, place: _Place, *, well: bool) -> None:
        """Free a place, once: another may run under the key by now."""
        if self._running.get(key) is not place:
            return
        del self._running[key]
        deaths = self._deaths.pop(key, 0)
        if not well:
            self._deaths[key] = deaths + 1
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
