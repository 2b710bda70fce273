"""
One thread per process that renews leases while their answers are computed, and gives up those that nobody needs.

Law: it takes no part in any computation, so that an event loop blocked by foreign code does not lose its leases; a
process that stands still does lose them, which is right. It never renews a lease past its end, nor one of a computation
that cannot end any more. It ends itself when there is nothing to do.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue

from . import lease as leases
from .errors import StoreError
from .lease import Lease

__all__ = ["RENEWALS", "Renewals"]

#: Seconds after which a claim that was cancelled has been carried out, if it ever is.
_LATE = 0.5
#: How often a lease is looked for that is not there, and how often at all: until it has run out by itself.
_LOOKS, _TRIES = 2, round(leases.SECONDS / _LATE)


class Renewals:
    """Hold the leases of this process."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Begin with no leases: after a fork, those there were are the parent's."""
        # Re-entrant, as a finalizer may call a cached function in the middle of it; two threads do no harm.
        self._lock = threading.RLock()
        self._held: dict[bytes, Lease] = {}
        # Its put may be called in the middle of anything, from finalizers too.
        self._given_up: SimpleQueue[Lease] = SimpleQueue()
        #: Those that could not be given back: when to look again, for how many tries and looks, and the lease.
        self._missed: deque[tuple[float, int, int, Lease]] = deque()
        self._thread: threading.Thread | None = None

    def add(self, lease: Lease) -> None:
        """Know a lease from now on, and renew it while it is held."""
        with self._lock:
            self._held[lease.token] = lease
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="aicached-leases", daemon=True)
                with suppress(RuntimeError):  # the interpreter is shutting down: the lease lasts as long as it lasts
                    thread.start()
                    self._thread = thread

    def drop(self, lease: Lease) -> None:
        """Renew a lease no more."""
        self._held.pop(lease.token, None)

    def give_up(self, lease: Lease) -> None:
        """Let others have a lease, without waiting for the store: its computation was cancelled."""
        self._given_up.put(lease)  # before it is dropped, or the thread might end in between
        self.drop(lease)

    def finish(self) -> None:
        """Give up every lease, at the end of the process: what still computes will not come to its end."""
        # Not by way of the queue: the thread might take it from there, and is stopped before it has done anything.
        for lease in list(self._held.values()):
            self.drop(lease)
            _release(lease)
        with suppress(Empty):
            while True:
                _release(self._given_up.get_nowait())
        for *_, lease in list(self._missed):
            _release(lease)

    def _run(self) -> None:
        due = time.monotonic() + leases.SECONDS / 3
        missed = self._missed
        while True:
            until = min(due, missed[0][0]) if missed else due
            with suppress(Empty):
                self._give_back(self._given_up.get(timeout=max(0.0, until - time.monotonic())))
            now = time.monotonic()
            while missed and missed[0][0] <= now:
                _, tries, looks, lease = missed.popleft()
                self._give_back(lease, tries, looks)
            if now < due:
                continue
            due = now + leases.SECONDS / 3
            if not missed and self._over():
                return
            for lease in list(self._held.values()):
                self._renew(lease)

    def _give_back(self, lease: Lease, tries: int = _TRIES, looks: int = _LOOKS) -> None:
        done = _release(lease)
        tries, looks = tries - 1, looks - (done is False)
        if not done and tries and looks:
            self._missed.append((time.monotonic() + _LATE, tries, looks, lease))

    def _over(self) -> bool:
        with self._lock:
            if not self._held and self._given_up.empty():
                self._thread = None
            return self._thread is None

    def _renew(self, lease: Lease) -> None:
        now = time.perf_counter()
        if not lease.alive():
            self.give_up(lease)
            return
        if lease.mine and now >= lease.ends:
            self.drop(lease)
            return
        if not lease.mine:  # its turn has not come
            return
        _, key, _ = lease.keys()
        with suppress(StoreError):  # the next time, perhaps
            if lease.store.swap({key: lease.content}, lease.writes(now)) is not None:
                self.drop(lease)  # another has it, or it was invalidated: the commit will tell


def _release(lease: Lease) -> bool | None:
    """
    Take a lease out of the store; False where it was not there, None where the store did not say.

    A claim that was cancelled may still be on its way, in a thread or in a socket: release finds nothing, then the
    claim is carried out, and holds everybody back although nobody computes. So what was not there is looked for again.
    And where the answer to a claim was lost, so may be that to its release.
    """
    if lease.word is not None:  # it had no right to hold others back, and the word is for them
        return True
    _, key, _ = lease.keys()
    with suppress(StoreError):  # it ends by itself
        return lease.store.swap({key: lease.content}, {key: None}, news=key) is None
    return None


RENEWALS = Renewals()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=RENEWALS.begin)
