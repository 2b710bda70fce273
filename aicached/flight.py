"""
One computation per key in this process, however many threads, tasks and event loops want it.

Law: whoever joins a flight is told how it ended, exactly once, and nobody's leaving hurts another. Waiters are plain
callables that wake one thread or one task each: a future that two tasks await dies with the first of them that is
cancelled. A wait that would close a circle is no wait: the caller computes for himself.

The order of two callers A and B of one key, that forces the look-up into the flight: A looks and finds nothing; B looks
and finds nothing; A computes, stores and lands; B, who joins only now, would compute again.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple

from .living import Living

__all__ = [
    "ABANDONED",
    "EMPTY",
    "LEADING",
    "Flight",
    "Landing",
    "abandon",
    "apart",
    "aside",
    "behind",
    "board",
    "cancel_joins",
    "clone",
    "close",
    "deputize",
    "join",
    "land",
    "leave",
    "present",
    "retire",
]

Key = tuple[str, bytes]


class Landing(NamedTuple):
    """
    Say how a flight ended.

    Args:
        kind: ``"entry"`` (content: an Entry whose payload each waiter decodes), ``"error"`` (content: the exception),
            ``"stream"`` (content: a recording, to be joined until it is over), ``"empty"`` (each waiter computes for
            himself) or ``"abandoned"`` (one of the waiters leads).
        content: see *kind*.
        hit: was it answered from the store?
        stale: with what is no longer fresh?
        windows: in which the leader's rules allow that.
        detail: what the leader's status says of it.
    """

    kind: str
    content: Any = None
    hit: bool = False
    stale: bool = False
    windows: tuple[float, float] = (0.0, 0.0)
    detail: str | None = None


EMPTY, ABANDONED = Landing("empty"), Landing("abandoned")


def _nothing() -> None:
    pass


class Flight:
    """
    Be one computation in the air.

    Args:
        key: the store's address and the digest.
        stamps: stamp keys of the call: a clearing of one of them ends the joining.
        newest: a refresh: it takes the place of the flight that is there.
    """

    # Defaults of the class, not of each: one is made for every look-up of a store that has to be waited for.

    #: A refresh or an invalidation has come since: its answer is its callers', and is not stored.
    outdated = False
    #: Its leader was cancelled, and it goes on for others.
    orphan = False
    landing: Landing | None = None
    #: It has landed with a stream that is still being received: who comes joins that.
    streaming = False
    aboard = 1
    #: Who is woken when it lands; None: nobody has asked for that. Flights that somebody waits for who leads this one.
    wakes: list[Callable[[], None]] | None = None
    waits_for: tuple[Flight, ...] = ()
    deputy_at: float | None = None
    loop: Any = None
    #: What is to be undone should it land before anybody has made use of that.
    undo: Callable[[], Any] | None = None
    #: Stops the computation, where it can be stopped from outside.
    stop: Callable[[], Any] = staticmethod(_nothing)

    def __init__(self, key: Key, stamps: tuple[bytes, ...] = (), *, newest: bool = False) -> None:
        self.key = key
        self.stamps = stamps
        self.newest = newest

    @property
    def gone(self) -> bool:
        """Did its event loop end before it could land?"""
        return self.loop is not None and self.loop.is_closed()


#: The flights that this context leads; a copy of the context keeps them, which is harmless once they have landed.
LEADING: ContextVar[tuple[Flight, ...]] = ContextVar("aicached.leading", default=())

_table: dict[Key, Flight] = {}
#: Computations that nobody joins.
_apart: Living[Flight] = Living()
#: Streams that are over, noted where the lock could not be taken: by a finalizer that runs under it, for one.
_retired: deque[Flight] = deque()
# Re-entrant, as a collected waiter leaves in the middle of anything, perhaps of a `join`. Each critical section is one
# that may be entered between any two of its steps.
_lock = threading.RLock()


def _remake_after_fork() -> None:
    global _lock
    _lock = threading.RLock()
    _table.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_remake_after_fork)


def behind(key: Key) -> Key:
    """Return the key of the flight that refreshes, behind its callers, what they get stale."""
    return key[0], b"r" + key[1]


def aside(key: Key) -> Key:
    """Return the key of the flight of those who may not store: nobody who may gets his answer from them unstored."""
    return key[0], b"o" + key[1]


def present(key: Key) -> bool:
    """Is there a flight with this key? This is a glance without the lock; `join` finds out."""
    return key in _table


def join(key: Key, stamps: tuple[bytes, ...], *, newest: bool = False, lead: bool = True) -> tuple[Flight | None, bool]:
    """
    Return the flight to wait for, or a new one to lead.

    Args:
        stamps, newest: as `Flight` takes them.
        lead: False: only wait; begin nothing.

    Returns:
        ``(flight, leading)``; ``(None, True)`` where waiting would close a circle: compute, and share nothing;
        ``(None, False)`` where there is none and none was begun.
    """
    with _lock:
        if _retired:
            _read_notes()
        there = _table.get(key)
        if there is not None and not there.gone and (there.newest or not newest):
            mine = [flight for flight in LEADING.get() if flight.landing is None or flight.streaming]
            if any(_reaches(there, each) for each in mine):
                return None, True
            there.aboard += 1
            for each in mine:
                each.waits_for += (there,)
            return there, False
        if not lead:
            return None, False
        if there is not None:
            there.outdated = True
        if newest and (refresh := _table.get(behind(key))) is not None:
            refresh.outdated = True
        made = _table[key] = Flight(key, stamps, newest=newest)
        return made, True


def _reaches(start: Flight, goal: Flight) -> bool:
    """Does *start* wait, over any number of flights, for *goal*?"""
    seen: list[Flight] = []
    waiting: list[Flight] = [start]
    while waiting:
        flight = waiting.pop()
        if flight is goal:
            return True
        if flight not in seen:
            seen.append(flight)
            waiting += flight.waits_for
    return False


def board(flight: Flight, wake: Callable[[], None]) -> bool:
    """Have *wake* called when the flight lands; False where it has landed already."""
    with _lock:
        if flight.landing is not None:
            return False
        if flight.wakes is None:
            flight.wakes = []
        flight.wakes.append(wake)
        return True


def leave(flight: Flight) -> bool:
    """Wait no longer; True where nobody is left who wants the answer: the computation may stop."""
    with _lock:
        flight.aboard -= 1
        for each in LEADING.get():
            if flight in each.waits_for:
                at = each.waits_for.index(flight)
                each.waits_for = each.waits_for[:at] + each.waits_for[at + 1 :]
        if flight.aboard or flight.landing is not None:
            return False
        _remove(flight)
        return True


def deputize(flight: Flight, now: float, patience: float) -> bool:
    """May one more waiter compute, since the leader takes so long? One at a time, *patience* seconds apart."""
    with _lock:
        if flight.landing is not None or (flight.deputy_at is not None and now < flight.deputy_at):
            return False
        flight.deputy_at = now + patience
        return True


def land(flight: Flight, landing: Landing) -> None:
    """End a flight, once: everybody aboard is told."""
    with _lock:
        if flight.landing is not None:
            return
        flight.landing = landing
        # What was joined elsewhere is another flight's, which ends with it.
        flight.streaming = (
            landing.kind == "stream" and landing.content.flight is flight and landing.content.state == "running"
        )
        if not flight.streaming:
            _remove(flight)
        wakes, flight.wakes = flight.wakes or (), None
    for wake in wakes:
        wake()
    if flight.undo is not None:
        flight.undo()


def close(flight: Flight) -> bool:
    """End a flight that nobody else has boarded; False where somebody has, and waits to be told."""
    with _lock:
        # Where the leader was cancelled, he is not among those aboard any more.
        if flight.aboard > 1 or flight.orphan or flight.landing is not None:
            return False
        flight.landing = ABANDONED
        _remove(flight)
    if flight.undo is not None:
        flight.undo()
    return True


def abandon(flight: Flight) -> None:
    """End a flight whose leader is gone: a waiter leads."""
    land(flight, ABANDONED)


def retire(flight: Flight) -> None:
    """Let nobody join a stream any more; called by finalizers too, so it waits for nothing."""
    _retired.append(flight)
    while _retired and _lock.acquire(blocking=False):
        try:
            _read_notes()
        finally:
            _lock.release()


def _read_notes() -> None:
    while _retired:
        flight = _retired.popleft()
        flight.streaming = False
        if flight.landing is not None:
            _remove(flight)


def apart(key: Key, stamps: tuple[bytes, ...]) -> Flight:
    """Return what stands for a computation that nobody joins, for as long as somebody holds it."""
    made = Flight(key, stamps)
    with _lock:
        _apart.add(made)
    return made


def cancel_joins(*, key: Key | None = None, stamp: bytes | None = None) -> None:
    """See to it that nobody joins, and nothing is stored by, the flights of an entry, or of what a stamp stands for."""
    keys = () if key is None else (key, behind(key), aside(key))
    with _lock:
        for flight in [*_table.values(), *_apart]:
            if flight.key in keys or stamp in flight.stamps:
                flight.outdated = True
                _remove(flight)


def _remove(flight: Flight) -> None:
    if _table.get(flight.key) is flight:
        del _table[flight.key]


def clone(error: Exception) -> Exception:
    """Return a copy of an exception without a traceback, so that each waiter's is its own; itself where that fails."""
    cls = type(error)
    try:
        made = cls.__new__(cls, *error.args)
        made.args = error.args
        made.__dict__.update(error.__dict__)
    except Exception:
        return error
    made.__cause__, made.__context__ = error.__cause__, error.__context__
    made.__suppress_context__ = error.__suppress_context__
    return made
