"""
What all processes come to together: sums in the store, by function, in all and day by day.

Law: no call waits for this. A hit adds to plain numbers of its own function; once a second, when a cache is closed,
and at exit, a thread of its own adds what is new to the sums in the store. What the store does not take stays owed. A
process that is killed loses its last second; a reply that was lost on the way may count a second twice.
"""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import os
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime, timedelta, timezone
from typing import Any

from .errors import ConfigurationError, StoreError
from .latest import Latest
from .living import Living
from .policy import seconds
from .savings import Savings
from .status import CacheInfo, Counts, Stats
from .stores.base import Store

__all__ = ["Ledger", "Tally"]

#: Seconds between two flushes.
PERIOD = 1.0
#: Days for which daily sums are kept.
DAYS = 400
_DAY = 86400.0
#: Sums are whole numbers, so that they add up exactly everywhere: seconds and dollars in billionths.
_BILLION = 10**9
_SCALED = frozenset(name for name in Counts.__slots__ if name.startswith(("seconds", "cost")))

#: function -> name of a count -> number
Figures = dict[str, dict[str, int]]


class Tally:
    """Hold the counts of one decorated function: one `Counts` for each cache that it was on."""

    __slots__ = ("__weakref__", "_all", "_base", "_by_ledger")

    def __init__(self) -> None:
        self._all: list[Counts] = []
        self._by_ledger: weakref.WeakKeyDictionary[Ledger, Counts] = weakref.WeakKeyDictionary()
        self._base = CacheInfo()

    def on(self, ledger: Ledger, name: str) -> Counts:
        """Return the counts of the function *name* on the cache that *ledger* belongs to."""
        counts = self._by_ledger.get(ledger)
        if counts is None:
            counts = self._by_ledger[ledger] = Counts()
            self._all.append(counts)
            ledger.follow(name, counts, self)
        return counts

    def info(self) -> CacheInfo:
        """Return the counts since the last `reset`."""
        differences: list[Any] = [now - then for now, then in zip(self._sum(), self._base, strict=True)]
        return CacheInfo(*differences)

    def reset(self) -> None:
        """Begin anew at zero; what is added up in the store goes on."""
        self._base = self._sum()

    def _sum(self) -> CacheInfo:
        infos = [counts.info() for counts in self._all]
        return CacheInfo(*map(sum, zip(*infos, strict=True))) if infos else CacheInfo()


class _Followed:
    """Remember how far the counts of one function have been taken over."""

    __slots__ = ("counts", "name", "taken")

    def __init__(self, name: str, counts: Counts) -> None:
        self.name, self.counts = name, counts
        self.taken = _whole(counts)

    def news(self) -> dict[str, int]:
        """Return what was counted since the last time."""
        now, then = _whole(self.counts), self.taken
        self.taken = now
        return {name: now[name] - then[name] for name in now if now[name] != then[name]}


def _whole(counts: Counts) -> dict[str, int]:
    read = ((name, getattr(counts, name)) for name in Counts.__slots__)
    return {name: round(value * _BILLION) if name in _SCALED else value for name, value in read}


class Ledger:
    """
    Add up what the functions on one cache count, in its store.

    Args:
        store: where the sums are.
        namespace: of the cache.
        wall: tells the seconds since 1970; days are UTC's.
    """

    def __init__(self, store: Store, namespace: str, wall: Callable[[], float] = time.time) -> None:
        self.store, self.namespace, self.wall = store, namespace, wall
        self._followed: dict[int, _Followed] = {}
        self._latest: dict[bytes, Latest] = {}
        self._left: deque[int] = deque()
        self._owed: dict[str, dict[str, int]] = {}
        self._lock = threading.RLock()  # a finalizer may close a cache in the middle of a flush
        self._moving = False

    def follow(self, name: str, counts: Counts, tally: Tally) -> None:
        """Take over what *counts* will count for the function *name*, as long as *tally* lives."""
        mark = id(counts)
        self._followed[mark] = _Followed(name, counts)  # no lock: that may be held while the store is slow
        # A finalizer runs inside any allocation, so it takes no lock: it leaves a note for the next flush.
        weakref.finalize(tally, self._left.append, mark).atexit = False
        _clerk.watch(self)

    def latest(self, log: bytes) -> Latest:
        """Return what takes in the keys that one function stores, until they are in the store too."""
        return self._latest.setdefault(log, Latest(log))

    def flush(self) -> None:
        """Add to the store what it has not got yet; sums that it does not take now stay owed."""
        with self._lock, suppress(StoreError):
            self._move()
            for latest in list(self._latest.values()):
                if (new := latest.taken()) is not None:
                    try:
                        self.store.append(*new)
                    except StoreError:
                        latest.put_back(new)
                        raise

    async def aflush(self) -> None:
        """Twin of `flush`, in a thread where the store may wait."""
        await (asyncio.to_thread(self.flush) if self.store.blocking else _done(self.flush))

    def stats(self) -> Stats:
        """Return the counts of all processes by function; raises `StoreError` where the store is in trouble."""
        return Stats({name: _info(numbers) for name, numbers in sorted(self._figures("all").items())})

    def savings(self, since: Any = None) -> Savings:
        """Return what hits saved, in all or since a day; raises `StoreError` where the store is in trouble."""
        if since is None:
            return saved(self._figures("all"))
        first, today = _day_of(since, self.wall()), _date(self.wall())
        wanted = (today - first).days + 1
        return sum_of([saved(figures) for figures in self.days(min(max(wanted, 0), DAYS)).values()])

    def days(self, count: int) -> dict[date, Figures]:
        """Return the sums of the last *count* days, today's last."""
        today = _date(self.wall())
        days = [today - timedelta(days=back) for back in reversed(range(count))]
        return {day: self._figures(day.isoformat()) for day in days}

    def after_fork(self) -> None:
        """Begin anew in a child: what was owed is its parent's to pay, and the lock may be held for ever."""
        self._lock, self._moving = threading.RLock(), False
        self._owed.clear()
        for latest in list(self._latest.values()):
            latest.taken()
        for followed in list(self._followed.values()):
            followed.news()

    def _figures(self, sheet: str) -> Figures:
        with self._lock:
            with suppress(StoreError):
                self._move()
            numbers = self.store.sums(self._key(sheet))
            for name, amount in self._owed.get(sheet, {}).items():
                numbers[name] = numbers.get(name, 0) + amount
        return _by_function(numbers)

    def _move(self) -> None:
        """Add to the store what was counted; not in the middle of doing so, where a finalizer flushes."""
        if self._moving:
            return
        self._moving = True
        try:
            self._collect()
            self._send()
        finally:
            self._moving = False

    def _collect(self) -> None:
        """Move what was counted since the last time to what is owed."""
        left = {self._left.popleft() for _ in range(len(self._left))}
        for mark, followed in self._followed.copy().items():
            news = followed.news()
            if news:
                for sheet in ("all", _date(self.wall()).isoformat()):
                    owed = self._owed.setdefault(sheet, {})
                    for name, amount in news.items():
                        field = f"{followed.name}\t{name}"
                        owed[field] = owed.get(field, 0) + amount
            if mark in left:
                del self._followed[mark]

    def _send(self) -> None:
        for sheet, amounts in self._owed.copy().items():
            self.store.add(self._key(sheet), amounts, None if sheet == "all" else DAYS * _DAY)
            del self._owed[sheet]

    def _key(self, sheet: str) -> bytes:
        return b"s" + hashlib.sha256(f"sums\0{self.namespace}\0{sheet}".encode(errors="surrogatepass")).digest()


async def _done(work: Callable[[], None]) -> None:
    work()


def _by_function(numbers: dict[str, int]) -> Figures:
    figures: Figures = {}
    for field, number in numbers.items():
        function, tab, name = field.rpartition("\t")
        if tab and name in Counts.__slots__:  # another version may count what this one does not know
            figures.setdefault(function, {})[name] = number
    return figures


def _number(numbers: dict[str, int], name: str) -> Any:
    return numbers.get(name, 0) / _BILLION if name in _SCALED else numbers.get(name, 0)


def _info(numbers: dict[str, int]) -> CacheInfo:
    return CacheInfo(*(_number(numbers, name) for name in CacheInfo._fields))


def saved(figures: Figures) -> Savings:
    """Return what the hits in some figures saved."""
    return sum_of([_saved(numbers) for numbers in figures.values()])


def _saved(numbers: dict[str, int]) -> Savings:
    tokens, into = numbers.get("tokens_saved", 0), numbers.get("tokens_in_saved", 0)
    cost, seconds = _number(numbers, "cost_saved"), _number(numbers, "seconds_saved")
    return Savings(numbers.get("hits", 0), tokens, into, tokens - into, cost, seconds)


def sum_of(parts: list[Savings]) -> Savings:
    """Add savings up."""
    return Savings(*map(sum, zip(*parts, strict=True))) if parts else Savings()


def _date(moment: float) -> date:
    return datetime.fromtimestamp(moment, timezone.utc).date()


def _day_of(since: Any, now: float) -> date:
    """Return the first day that *since* asks for: a date, a datetime, or how long ago."""
    if isinstance(since, datetime):
        return since.astimezone(timezone.utc).date()
    if isinstance(since, date):
        return since
    ago = seconds(since, "since")
    if ago is None:
        raise ConfigurationError("since: it takes a date, a datetime, or how long ago, as '30d'")
    return _date(max(now - ago, 0.0))


class _Clerk:
    """Flush all ledgers of this process from one thread."""

    def __init__(self) -> None:
        self.ledgers = Living[Ledger]()
        self.begin()

    def begin(self) -> None:
        self.lock, self.over = threading.RLock(), threading.Event()
        self.thread: threading.Thread | None = None

    def watch(self, ledger: Ledger) -> None:
        with self.lock:
            self.ledgers.add(ledger)
            if self.thread is None:
                self._start()

    def _start(self) -> None:
        self.thread = threading.Thread(target=self._run, name="aicached-counters", daemon=True)
        # Registered now, when the store is there: what is registered later runs earlier, and stores close at exit too.
        atexit.unregister(self.end)
        atexit.register(self.end)
        with suppress(RuntimeError):  # the interpreter is shutting down and starts no thread any more
            self.thread.start()

    def _run(self) -> None:
        over = self.over
        while not over.wait(PERIOD):
            self._flush()

    def _flush(self) -> None:
        for ledger in self.ledgers:
            with suppress(Exception):  # nobody is there to hear of it, and the next second tries again
                ledger.flush()

    def stop(self) -> None:
        """Stop the thread, but for one that waits for its store; before a fork, so that none is cut in two."""
        self.over.set()
        if self.thread is not None and self.thread.is_alive():
            self.thread.join(1.0)

    def go_on(self) -> None:
        """Start the thread again, in a parent after a fork."""
        if self.thread is not None:
            self.over = threading.Event()
            self._start()

    def end(self) -> None:
        """Stop the thread, and flush what is left."""
        self.stop()
        for ledger in self.ledgers:
            ledger.flush()

    def after_fork(self) -> None:
        had = self.thread is not None
        for ledger in self.ledgers:
            ledger.after_fork()
        self.begin()
        if had:
            self._start()
            # Children of multiprocessing leave without running what atexit knows; and they forget, at their beginning,
            # what was registered before.
            if (made := sys.modules.get("multiprocessing.util")) is not None:
                made.register_after_fork(self, lambda clerk: made.Finalize(None, clerk.end, exitpriority=10))


_clerk = _Clerk()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_clerk.stop, after_in_parent=_clerk.go_on, after_in_child=_clerk.after_fork)
