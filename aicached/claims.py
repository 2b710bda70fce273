"""
Taking a lease, keeping an answer under it, giving it back: each one compare-and-set, made again where the store tells
what it found instead.

Law: everything here may be asked twice, since a store that does not answer may have done it: the second time it finds
its own token, or its own value, and that is success. Nothing here waits, and nothing loops for long.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

from . import lease as leases
from .errors import StoreUnavailable
from .lease import FAILED, HELD, MINE, OUTAGE, PASS, Lease, standing, version_of
from .stores.base import Head

__all__ = ["FOUND", "claim", "commit", "order", "release"]

#: What a claim may come to, beside the standings of `lease`: there is another value now than the one that was seen.
FOUND = b"v"
#: How often a compare-and-set is made again. Each time somebody else was quicker, so two or three are enough.
_ROUNDS = 5

#: (verb, *args) -> what the store answers.
Ask = Callable[..., Awaitable[Any]]


async def claim(
    ask: Ask, lease: Lease, now: float, *, overrule: bool = False, refresh: bool = False, beside: bool = False
) -> bytes:
    """
    Try to get the right to compute.

    Args:
        now: the monotonic time in seconds.
        overrule: take it from the rival that was there the last time.
        refresh: take it from anybody, whatever is stored.
        beside: leave it to the rival, and compute beside him: who ends first commits.

    Returns:
        `MINE`; `HELD`, and the rival is on the lease; `PASS`: compute without waiting or holding others back;
        `OUTAGE`: it failed a moment ago; `FOUND`: look again.
    """
    value_key, lease_key, _ = lease.keys()
    there: bytes | None = None
    for _ in range(_ROUNDS):
        heads = await _insist(ask, {value_key: lease.seen, lease_key: there}, lease.writes(now))
        if heads is None:
            return MINE
        value, held = heads
        if not refresh and version_of(value.data) != lease.seen:
            return FOUND
        lease.seen, there = version_of(value.data), held.data
        taking = refresh or (overrule and there == lease.rival)
        met = _met(lease, held, taking=taking, beside=beside)
        if met == PASS and not await _pass(ask, lease, there):
            continue  # it has changed meanwhile
        if met is not None:
            return met
    lease.word = PASS  # something is there that cannot be compared: nobody waits for that
    return PASS


def _met(lease: Lease, held: Head, *, taking: bool, beside: bool) -> bytes | None:
    """Return what a claim has come to; None: it is made again, over what is there."""
    stands = standing(held, lease.token)
    if stands == MINE:  # and the answer to it was lost
        return MINE
    if stands == HELD and beside:
        return PASS
    if taking:
        lease.generation = os.urandom(16)
    elif stands == HELD:
        lease.rival = held.data
        return HELD
    elif stands == PASS:
        return PASS
    elif stands == OUTAGE and lease.rival != OUTAGE:
        lease.rival = OUTAGE  # who goes on all the same claims again, and finds it noted
        return OUTAGE
    lease.again = stands == FAILED
    return None


async def _pass(ask: Ask, lease: Lease, there: bytes | None) -> bool:
    """
    Compute without the lease; False where what is *there* in its place has changed meanwhile.

    Nobody takes away then what one does not have, so that the generation alone tells of an invalidation. Beside a
    holder it is a new one: should the holder's claim be sent again after an invalidation, his own would be back.
    """
    keys = *_, generation_key = lease.keys()
    known: bytes | None = None
    fresh = os.urandom(16) if lease.store.forgets else None
    for _ in range(_ROUNDS):
        kept = fresh if fresh is not None and there != PASS else known or fresh
        puts = {} if kept is None else {generation_key: (kept, lease.lasting)}
        heads = await _insist(ask, dict(zip(keys, (lease.seen, there, known), strict=True)), puts)
        if heads is None:
            lease.generation, lease.word = kept, there
            return True
        value, held, generation = heads
        if version_of(value.data) != lease.seen or held.data != there:
            return False
        known = generation.data  # which is the new one where the answer to that was lost
    return False


async def commit(ask: Ask, lease: Lease, data: Any, lifetime: float | None, *, useless: bool = False) -> str | None:
    """
    Keep an answer, unless another has come first.

    Args:
        useless: nobody who waits may be served with it, so they need not wait one for the other.

    Returns:
        None where it is kept; ``"outdated"``: it was invalidated meanwhile; ``"overtaken"``: another computes, or has
        stored, what may be newer.
    """
    keys = value_key, lease_key, _ = lease.keys()
    expected: list[bytes | None] = [lease.seen, lease.content, lease.generation]
    puts = {value_key: (data, lifetime), lease_key: (PASS, leases.WORD_SECONDS) if useless else None}
    if lease.word is None:  # who holds it needs no generation: an invalidation takes it away
        held_keys = {value_key: lease.seen, lease_key: lease.content}
        if await _insist(ask, held_keys, puts, lease_key) is None:
            return None
    elif lease.forgotten():
        return "outdated"
    for _ in range(_ROUNDS):
        heads = await _insist(ask, dict(zip(keys, expected, strict=True)), puts, lease_key)
        if heads is None:
            return None
        value, held, generation = heads
        version = version_of(value.data)
        if version == version_of(data):  # the answer to it was lost
            return None
        if generation.data != lease.generation or lease.forgotten():
            return "outdated"
        if version != lease.seen or standing(held, lease.token) == HELD:
            return "overtaken"
        expected = [lease.seen, held.data, lease.generation]  # it has run out, and nobody has taken it since
    return "overtaken"


async def release(ask: Ask, lease: Lease, word: bytes | None) -> None:
    """Give a lease back, and leave a word about how it ended; nothing happens where it is not held any more."""
    if lease.word is not None:
        return
    _, key, _ = lease.keys()
    await _insist(ask, {key: lease.content}, {key: None if word is None else (word, leases.WORD_SECONDS)}, news=key)


async def order(ask: Ask, lease: Lease, put: tuple[Any, float | None] | None) -> None:
    """Put a value in place, or forget it, over whatever is there: whoever computes it now will find out."""
    value, key, generation = lease.keys()
    puts = {value: put, key: None, generation: (os.urandom(16), lease.lasting)}
    await _insist(ask, {}, puts, key)


async def _insist(ask: Ask, *args: Any, **kwargs: Any) -> list[Head] | None:
    """Ask, and ask once more: who has lost an answer may hold a lease without knowing."""
    try:
        found: list[Head] | None = await ask("swap", *args, **kwargs)
    except StoreUnavailable:
        found = await ask("swap", *args, **kwargs)
    return found
