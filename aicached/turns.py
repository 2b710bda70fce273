"""
Taking turns with other processes: get the lease of a key, or wait until whoever has it is done.

Law: nobody waits for long in a row. An answer that is not kept lets all others compute at once; a failure lets one try
again, and then all; a lease that is not renewed ends; and after the patience that one has with a computation of one's
own process, one who waits takes the lease away. For a stream nobody waits longer than ``stream_wait``, since his reader
does: he streams for himself, and who ends first commits.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from functools import partial

from .bells import Bell
from .call import Call
from .claims import Ask, claim
from .collapse import patience
from .lease import HELD, Lease
from .runtime import Runtime
from .stores.base import Store

__all__ = ["new_lease", "take_turn"]

_Claim = Callable[..., Awaitable[bytes]]

_SLOWER = 1.5
_JITTER = 0.2


def new_lease(rt: Runtime, store: Store, digest: bytes, seen: bytes | None, longest: float) -> Lease:
    """Return the lease that a call asks for, or overrules others with; see `Lease`."""
    made = Lease(store, digest, seen, longest, rt.alive())
    made.begin(rt.monotonic())
    return made


async def take_turn(rt: Runtime, ask: Ask, call: Call, lease: Lease, *, waits: bool) -> bytes:
    """
    Claim a lease, and wait while another process has it.

    Args:
        waits: False: who finds it taken leaves it at that.

    Returns:
        what the last claim came to, see `claims.claim`: `HELD` only where the caller does not wait.
    """
    once = partial(claim, ask, lease)
    met = await once(rt.monotonic(), refresh=not call.mode.reads)
    if met == HELD and call.deputy:  # it is that of this process's own computation, which takes so long
        met = await once(rt.monotonic(), overrule=True)
    if met != HELD or not waits:
        return met
    _, key, _ = lease.keys()
    bell, store = rt.bell(), lease.store
    told = store.watch(key, bell.ring)
    try:
        return await _wait(rt, call, lease, once, bell, told)
    finally:
        store.unwatch(key, bell.ring)


async def _wait(rt: Runtime, call: Call, lease: Lease, once: _Claim, bell: Bell, told: bool) -> bytes:
    first, longest = lease.store.poll
    pace = longest if told else first
    since, rival = rt.monotonic(), lease.rival
    until = since + call.facts.policy.stream_wait
    while True:
        longer = pace * (1 + _JITTER * random.random())
        await bell.wait(min(longer, max(0.0, until - rt.monotonic())) if call.streams else longer)
        now = rt.monotonic()
        lease.begin(now)
        beside = call.streams and now >= until
        met = await once(now, overrule=now - since >= patience(call), beside=beside)
        if met != HELD:
            return met
        if lease.rival != rival:  # another one, who has just begun
            since, rival = now, lease.rival
        pace = min(longest, pace * _SLOWER)
