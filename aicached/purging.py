"""
Bytes deleted behind callers: of what can be no answer any more, or of what somebody has chosen.

`Cache.clear` and the like only make misses of entries; their bytes stay until they expire, are pushed out, or until
this goes through the store.

Law: nobody is held up. A cache has one thread for it, which takes a hundred entries at a time and then rests for as
long as they took. It ends with its work, with its cache, or with the process, which does not wait for it. What is being
computed anew, and what was stored since it was looked at, stays.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, NamedTuple

from .behind import Behind
from .entry import Entry
from .errors import StoreError, WriteRefused
from .keys.keyer import stamp_key
from .living import Living
from .policy import EXPIRED, judge
from .runtime import BLOCKING
from .status import Counts
from .stores.base import Store

__all__ = ["Choice", "Purging"]

#: Entries that are looked at in one step.
STEP = 100
#: Seconds that closing a cache waits for the step that is under way.
PATIENCE = 5.0

#: What a store gave, digest -> the entry in it, None where it is none.
Open = Callable[[Any, bytes], "Entry | None"]


class Choice(NamedTuple):
    """
    Say what goes: what is in a scope and older than so many seconds, fresh or not.

    With neither, what can be no answer any more: expired or invalidated.
    """

    scope: str | None = None
    older_than: float | None = None

    @property
    def dead(self) -> bool:
        """Is it about what can be no answer any more?"""
        return self == (None, None)


class Purging:
    """
    Delete the bytes of entries of one namespace, in a thread of its own.

    Args:
        store: where they are, without a near tier: what is read here would push out what is in use.
        opened: takes an entry out of what the store gives.
        namespace: whose entries may go.
        counts: take in the store's errors, since often nobody waits to hear of them.
    """

    def __init__(self, store: Store, opened: Open, namespace: str, counts: Counts) -> None:
        self.store, self.opened, self.namespace, self.counts = store, opened, namespace, counts
        self.begin()
        _living.add(self)

    def begin(self) -> None:
        """Begin with nothing to do: after a fork, what there was is the parent's to do."""
        self._lock = threading.RLock()  # a finalizer may close a cache in the middle of it
        self._asked: dict[Choice, Future[int]] = {}
        self._over: threading.Event | None = None  # of the thread that works; None while there is none
        self._behind: Behind | None = None

    def ask(self, choice: Choice) -> Future[int]:
        """
        Have it done behind the caller, and return what will tell how many were deleted.

        Who asks for what others have asked for already has it done with them, unless it is under way: what was
        invalidated since then might have been passed by.
        """
        with self._lock:
            future = self._asked.get(choice)
            if future is None:
                future = self._asked[choice] = Future()
                future.set_running_or_notify_cancel()  # so that who stops waiting does not stop it for all
            if self._over is None:
                self._start()
        return future

    def _start(self) -> None:
        over = self._over = threading.Event()
        try:
            self._behind = BLOCKING.spawn(lambda: self._work(over))
        except RuntimeError:  # the interpreter is shutting down and starts no thread any more
            self._stop()

    def settle(self) -> None:
        """Stop, after the step that is under way."""
        if (behind := self._stopped()) is not None:
            behind.settle(PATIENCE)

    async def asettle(self) -> None:
        """Twin of `settle`."""
        if (behind := self._stopped()) is not None:
            await behind.asettle(PATIENCE)

    def _stopped(self) -> Behind | None:
        with self._lock:
            return self._stop()

    def _stop(self) -> Behind | None:
        if self._over is not None:
            self._over.set()
        for future in self._asked.values():
            future.set_exception(self._halted())
        self._asked.clear()
        behind, self._over, self._behind = self._behind, None, None
        return behind

    def _halted(self) -> StoreError:
        return StoreError(f"store {self.store.address}: purging was stopped before its end")

    async def _work(self, over: threading.Event) -> None:
        while (asked := self._next(over)) is not None:
            choice, future = asked
            try:
                future.set_result(self._through(choice, over))
            except Exception as error:
                if not over.is_set():
                    self.counts.errors += 1
                future.set_exception(error)

    def _next(self, over: threading.Event) -> tuple[Choice, Future[int]] | None:
        with self._lock:
            if self._over is not over:  # stopped, and another may work by now
                return None
            if not self._asked:
                self._over = self._behind = None
                return None
            choice = next(iter(self._asked))
            return choice, self._asked.pop(choice)

    def _through(self, choice: Choice, over: threading.Event) -> int:
        """Go through the whole store, step by step; return how many were deleted."""
        count, began = 0, time.perf_counter()
        for gone in self._steps(choice):
            count += gone
            if over.wait(time.perf_counter() - began):
                raise self._halted()
            began = time.perf_counter()
        return count

    def _steps(self, choice: Choice) -> Iterator[int]:
        keys = self.store.keys()
        for start in range(0, len(keys), STEP):
            some = keys[start : start + STEP]
            read = zip(some, self.store.get_many(some), strict=True)
            opened = ((key, self.opened(data, key[1:])) for key, data in read)
            own = {key: entry for key, entry in opened if entry is not None and self._owns(entry)}
            yield sum(self._deleted(choice, key, entry) for key, entry in self._chosen(choice, own))

    def _owns(self, entry: Entry) -> bool:
        """Is an entry of this namespace, whatever has become of its stamps?"""
        return stamp_key(self.namespace, "function", *entry.meta.function.split(":", 1)) in entry.places()[:1]

    def _chosen(self, choice: Choice, entries: dict[bytes, Entry]) -> list[tuple[bytes, Entry]]:
        now, pairs = self.store.now(), list(entries.items())
        if choice.dead:
            stands = self._standing(entries)
            return [pair for pair in pairs if judge(pair[1], now) == EXPIRED or not stands(pair[1])]
        if choice.scope is not None:
            within = stamp_key(self.namespace, "scope", choice.scope)
            pairs = [pair for pair in pairs if within in pair[1].places()]
        return [pair for pair in pairs if pair[1].age(now) >= (choice.older_than or 0.0)]

    def _standing(self, entries: dict[bytes, Entry]) -> Callable[[Entry], bool]:
        """Return what tells of each entry whether its stamps are still the present ones."""
        home = stamp_key(self.namespace)
        places = list({home, *(place for entry in entries.values() for place in entry.places())})
        # Read after the entries that carry them, and in each step: what was stored since an invalidation stands.
        stamps = dict(zip(places, self.store.get_many(places), strict=True)) if entries else {}
        return lambda entry: entry.stands(home, stamps)

    def _deleted(self, choice: Choice, key: bytes, entry: Entry) -> bool:
        """
        Delete an entry, unless there is another by now; tell whether it was.

        A commit is compared with the value that was there when its computation began. So what can be no answer any more
        stays while a lease is held, for the commit to replace: else an answer that was paid for would not be kept.
        """
        if self.store.swaps:
            expected: dict[bytes, bytes | None] = {key: entry.version}
            if choice.dead:
                expected[b"l" + key[1:]] = None
            try:
                return self.store.swap(expected, {key: None}) is None
            except WriteRefused:  # a store that is full still deletes
                pass
        self.store.delete(key)
        return True


_living: Living[Purging] = Living()


def _begin_all() -> None:
    for purging in _living:
        purging.begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_all)
