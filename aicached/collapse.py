"""
Callers of one key, in one flight: who leads looks and computes, everyone else waits for all of it.

Law: a waiter gets the leader's answer as a copy of its own, the leader's failure as a clone with a traceback of its
own, or, where neither can be had, computes for himself; never the leader's cancellation. An answer that is not kept is
still shared by everyone who waited for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple

from .call import Call
from .codec.values import Undecodable
from .context import restore
from .flight import (
    ABANDONED,
    EMPTY,
    LEADING,
    Flight,
    Landing,
    abandon,
    aside,
    behind,
    clone,
    close,
    deputize,
    join,
    land,
    leave,
    present,
    retire,
)
from .keeping import shared, value_of
from .recording import Recording
from .runtime import Outcome, Runtime

__all__ = ["Steps", "fly", "patience"]

#: Seconds after which one waiter computes, if the function does not usually take longer.
PATIENCE = 60.0


class Steps(NamedTuple):
    """
    Say how one call is answered.

    Args:
        look: the stored answer as an outcome, None on a miss.
        load: computes the answer, and stores it.
    """

    look: Callable[[], Awaitable[Outcome | None]]
    load: Callable[[], Awaitable[Outcome]]

    async def alone(self) -> Outcome:
        """Answer without anybody else."""
        return await self.look() or await self.load()


async def fly(rt: Runtime, call: Call, address: str, steps: Steps) -> Outcome:
    """Answer a call together with all who want the same."""
    assert call.lane is not None
    key = (address, call.digest)
    while True:
        boarded, call.boarded = call.boarded, None
        place = behind(key) if call.behind else key if call.mode.stores else aside(key)
        flight, leading = boarded or join(place, call.places, newest=not call.mode.reads)
        if flight is None:  # in a circle
            return await steps.alone()
        call.flight = flight
        if leading:
            return await _lead(rt, call, flight, steps)
        call.found = None  # it may be invalidated during this wait
        while (landing := await rt.wait(flight, patience(call))) is None:
            if deputize(flight, rt.monotonic(), patience(call)):
                return await _stand_in(call, flight, steps)
        if landing.kind == "stream":
            if (seat := landing.content.attach()) is not None:
                call.collapsed = True
                return True, seat
            retire(flight)  # it is over, or its beginning is gone
        elif landing is not ABANDONED:
            return await _arrive(call, landing, steps)


async def _stand_in(call: Call, flight: Flight, steps: Steps) -> Outcome:
    """Compute beside a leader who takes too long, for all who wait; while aboard, so that he is not stopped either."""
    call.deputy = True
    try:
        return await _compute(call, flight, steps)
    finally:
        if leave(flight):
            flight.stop()


async def _lead(rt: Runtime, call: Call, flight: Flight, steps: Steps) -> Outcome:
    try:
        flight.loop = rt.loop()
        found = await steps.look()
    except BaseException:
        abandon(flight)
        raise
    if found is not None:
        if isinstance(found[1], Recording) or not close(flight):
            land(flight, _landing(call, found))
        return found
    return await rt.lead(flight, _led(rt, call, flight, steps))


async def _led(rt: Runtime, call: Call, flight: Flight, steps: Steps) -> Outcome:
    token = LEADING.set((*LEADING.get(), flight))
    try:
        refreshed = call.mode.reads and present(behind(flight.key))
        outcome = await _joined(rt, call, flight, steps) if refreshed else None
        outcome = outcome or await _compute(call, flight, steps)
        if flight.orphan and not isinstance(outcome[1], Recording):  # nobody else counts what it has cost
            call.count(hit=call.hit)
        return outcome
    finally:
        restore(LEADING, token)


async def _joined(rt: Runtime, call: Call, flight: Flight, steps: Steps) -> Outcome | None:
    """Take the answer of a refresh that runs behind, of the entry that this call found expired; None: there is none."""
    there, _ = join(behind(flight.key), (), lead=False)
    landing = await rt.wait(there, patience(call)) if there is not None else None
    if there is not None and landing is None:
        leave(there)  # and let it go on: nobody computes behind for somebody
    if landing is not None and landing.kind == "stream" and (seat := landing.content.attach()) is not None:
        call.collapsed = True
        land(flight, landing)
        return True, seat
    if landing is None or landing.kind != "entry":
        return None
    outcome = await _arrive(call, landing, steps)
    land(flight, landing if call.collapsed else _landing(call, outcome))
    return outcome


async def _compute(call: Call, flight: Flight, steps: Steps) -> Outcome:
    """Compute, and land the flight for all; after a long wait several do, and the first to finish counts."""
    outcome = await steps.load()
    if isinstance(outcome[1], Recording) or not close(flight):
        land(flight, _landing(call, outcome))
    return outcome


def _landing(call: Call, outcome: Outcome) -> Landing:
    ok, value = outcome
    if call.changed:  # it is the answer to other arguments than those that the others wait for
        return EMPTY
    if not ok:
        return Landing("error", value)
    if isinstance(value, Recording):
        return Landing("stream", value)
    entry = shared(call)
    if entry is None:
        return EMPTY
    detail = call.detail if call.hit else None
    return Landing("entry", entry, call.hit, call.stale, call.facts.policy.windows, detail)


async def _arrive(call: Call, landing: Landing, steps: Steps) -> Outcome:
    """Take the answer of a flight that has landed."""
    call.collapsed = True
    if landing.kind == "error":
        return False, clone(landing.content)
    # What is served stale by rules that are not this call's is not for it.
    if landing.kind == "entry" and not (landing.stale and landing.windows != call.facts.policy.windows):
        entry = landing.content
        with suppress(Undecodable):
            value = value_of(call, entry)
            call.entry, call.hit, call.stale, call.usage = entry, landing.hit, landing.stale, entry.meta.usage
            call.detail = landing.detail
            return True, value
    call.collapsed, call.flight = False, None
    return await steps.load()


def patience(call: Call) -> float:
    """Return for how many seconds a computation holds others back: 60, or four times what it usually takes."""
    counts = call.facts.counts
    usual = counts.seconds_spent / max(1, counts.misses - counts.collapsed)
    return min(max(PATIENCE, 4 * usual), call.facts.policy.max_compute)
