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
    keys = lease.keys()
    expected: list[bytes | None] = [lease.seen, None, None]
    for _ in range(_ROUNDS):
        heads = await _insist(ask, dict(zip(keys, expected, strict=True)), lease.writes(now))
        if heads is None:
            return MINE
        value, held, generation = heads
        if not refresh and version_of(value.data) != lease.seen:
            return FOUND
        lease.seen = version_of(value.data)
        if beside and standing(held, lease.token) == HELD:
            lease.word, lease.generation = held.data, generation.data
            return PASS
        met = _met(lease, held, generation, overrule, refresh)
        if met is not None:
            return met
        expected = [lease.seen, held.data, generation.data]
    lease.word = PASS  # something is there that cannot be compared: nobody waits for that
    return PASS


def _met(lease: Lease, held: Head, generation: Head, overrule: bool, refresh: bool) -> bytes | None:
    """Return what a claim has come to; None: it is made again, over what is there."""
    stands = standing(held, lease.token)
    if stands == MINE:  # and the answer to it was lost
        lease.generation = generation.data or lease.generation
        return MINE
    taking = refresh or (overrule and held.data == lease.rival)
    if stands == HELD and not taking:
        lease.rival = held.data
        return HELD
    if taking:
        lease.generation = os.urandom(16)
    elif generation.data is not None or not lease.store.forgets:
        lease.generation = generation.data
        if stands == PASS:
            lease.word = PASS
            return PASS
    if stands == OUTAGE and not taking and lease.rival != OUTAGE:
        lease.rival = OUTAGE  # who goes on all the same claims again, and finds it noted
        return OUTAGE
    lease.again = stands == FAILED
    return None


async def commit(ask: Ask, lease: Lease, data: Any, lifetime: float | None, *, useless: bool = False) -> str | None:
    """
    Keep an answer, unless another has come first.

    Args:
        useless: nobody who waits may be served with it, so they need not wait one for the other.

    Returns:
        None where it is kept; ``"outdated"``: it was invalidated meanwhile; ``"overtaken"``: another computes, or has
        stored, what may be newer.
    """
    if lease.forgotten():
        return "outdated"
    keys = value_key, lease_key, _ = lease.keys()
    expected: list[bytes | None] = [lease.seen, lease.content, lease.generation]
    puts = {value_key: (data, lifetime), lease_key: (PASS, leases.WORD_SECONDS) if useless else None}
    for _ in range(_ROUNDS):
        heads = await _insist(ask, dict(zip(keys, expected, strict=True)), puts, lease_key)
        if heads is None:
            return None
        value, held, generation = heads
        version = version_of(value.data)
        if version == version_of(data):  # the answer to it was lost
            return None
        if generation.data != lease.generation:
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
