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
from .flight import ABANDONED, EMPTY, LEADING, Flight, Landing, abandon, clone, deputize, join, land, retire
from .keeping import value_of
from .recording import Recording
from .runtime import Outcome, Runtime

__all__ = ["Steps", "fly"]

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
    while True:
        flight, leading = join((address, call.digest), call.lane.stamps, newest=not call.mode.reads)
        if flight is None:  # in a circle
            return await steps.alone()
        call.flight = flight
        if leading:
            return await _lead(rt, call, flight, steps)
        landing = await rt.wait(flight, _patience(call))
        if landing is None and deputize(flight, rt.monotonic(), _patience(call)):
            return await _compute(call, flight, steps)
        if landing is not None and landing.kind == "stream":
            if (seat := landing.content.attach()) is not None:
                call.collapsed = True
                return True, seat
            retire(flight)  # it is over, or its beginning is gone
        elif landing is not None and landing is not ABANDONED:
            return await _arrive(call, landing, steps)


async def _lead(rt: Runtime, call: Call, flight: Flight, steps: Steps) -> Outcome:
    try:
        found = await steps.look()
    except BaseException:
        abandon(flight)
        raise
    if found is not None:
        land(flight, Landing("entry", call.entry, hit=True))
        return found
    return await rt.lead(flight, _led(call, flight, steps))


async def _led(call: Call, flight: Flight, steps: Steps) -> Outcome:
    token = LEADING.set((*LEADING.get(), flight))
    try:
        return await _compute(call, flight, steps)
    finally:
        with suppress(ValueError):  # a coroutine that is collected is closed in another context
            LEADING.reset(token)


async def _compute(call: Call, flight: Flight, steps: Steps) -> Outcome:
    """Compute, and land the flight for all; after a long wait several do, and the first to finish counts."""
    outcome = await steps.load()
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
    return EMPTY if call.copy is None else Landing("entry", call.copy)


async def _arrive(call: Call, landing: Landing, steps: Steps) -> Outcome:
    """Take the answer of a flight that has landed."""
    call.collapsed = True
    if landing.kind == "error":
        return False, clone(landing.content)
    if landing.kind == "entry":
        entry = landing.content
        with suppress(Undecodable):
            value = value_of(call, entry)
            call.entry, call.hit, call.usage = entry, landing.hit, entry.meta.usage
            return True, value
    call.collapsed, call.flight = False, None
    return await steps.load()


def _patience(call: Call) -> float:
    """Return the longer of a minute and four times what the function usually takes, in seconds."""
    counts = call.facts.counts
    usual = counts.seconds_spent / max(1, counts.misses - counts.collapsed)
    return max(PATIENCE, 4 * usual)
