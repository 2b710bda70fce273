"""
What people ask of the store, apart from answers: why a call misses, and what is there.

Law: this is for people who look, never for a call: it counts and changes nothing, and may take several round trips.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from .call import Call
from .engine import Engine
from .entry import Entry, EntryInfo
from .errors import StoreError
from .explain import Explanation, explained_hit, explained_miss, passed_by
from .latest import KEPT, keys_in
from .policy import EXPIRED, judge
from .runtime import Runtime

__all__ = ["entries", "explain", "standing"]


async def explain(engine: Engine, rt: Runtime, call: Call) -> Explanation:
    """Say whether the call would hit, and if not, what differs from the nearest of the function's last commits."""
    name = call.facts.name
    why = passed_by(call)
    if why is not None:
        return Explanation(name, hit=False, reason=why)
    assert call.lane is not None  # it would have been passed by
    parts = call.facts.keyer.parts(call.lane, call.digest, *call.keyed)
    entry, now = await engine.look(rt, call), engine.store.now()
    if entry is not None and engine.hit(call, entry) is not None:
        return explained_hit(call, entry, now)
    if call.facts.matcher is not None and call.fwd != "stale" and not call.unreachable:
        before = call.detail
        found = await call.facts.matcher.nearest(rt, engine, call)
        if found is not None and call.entry is not None:
            return replace(explained_hit(call, call.entry, now), semantic=call.decision)
        call.detail = before
    try:
        recent = await _recent(engine, rt, call) if call.stamps is not None else None
    except StoreError:
        recent = None
    if recent is None:
        return Explanation(name, hit=False, reason="the store does not answer", key=call.digest.hex())
    return replace(explained_miss(call, parts, recent, now), semantic=call.decision)


async def _recent(engine: Engine, rt: Runtime, call: Call) -> dict[bytes, Entry | None]:
    """Return the call's own entry and those of the function's last commits, None where they are gone."""
    latest = call.facts.latest
    if (new := latest.taken()) is not None:
        try:
            await rt.ask(engine.store, "append", *new)
        except StoreError:  # one that takes no writes can be read all the same
            latest.put_back(new)
    _, last, _ = await rt.ask(engine.store, "read", latest.log, 0, 0)
    _, _, records = await rt.ask(engine.store, "read", latest.log, max(0, last - KEPT), KEPT)
    listed = keys_in([*records, *([new[1]] if new is not None else [])])
    others = [key for key in listed if key[:1] == b"v" and key != call.key]
    own, *found = await rt.ask(engine.store, "get_many", [call.key, *others])
    recent = {key: engine.opened(data, key[1:]) for key, data in zip(others, found, strict=True)}
    if own is not None or call.key in listed:
        recent[call.key] = engine.opened(own, call.digest)
    return recent


async def entries(engine: Engine, rt: Runtime, namespace: bytes, limit: int) -> list[EntryInfo]:
    """
    List entries of the namespace whose stamp is under *namespace*, the newest first.

    Raises:
        StoreError: the store is in trouble, or cannot list.
    """
    found = list[EntryInfo]()
    async for digest, entry in standing(engine, rt, namespace):
        found.append(entry.info(digest.hex(), engine.store.now()))
        if len(found) >= limit + 1000:
            found = sorted(found, key=_age)[:limit]
    return sorted(found, key=_age)[:limit]


def _age(info: EntryInfo) -> float:
    return info.age


async def standing(engine: Engine, rt: Runtime, namespace: bytes) -> AsyncIterator[tuple[bytes, Entry]]:
    """Give every entry of a namespace that may still be served, with its digest, in any order."""
    (stamp,) = await rt.ask(engine.store, "get_many", [namespace])
    stamps, now = {namespace: stamp}, engine.store.now()
    keys = await rt.ask(engine.store, "keys")
    for start in range(0, len(keys), 100):
        some = keys[start : start + 100]
        read = await rt.ask(engine.store, "get_many", some)
        opened = [(key[1:], engine.opened(data, key[1:])) for key, data in zip(some, read, strict=True)]
        alive = [(digest, entry) for digest, entry in opened if entry is not None and judge(entry, now) != EXPIRED]
        own = [(digest, entry) for digest, entry in alive if entry.stands(namespace, stamps)]
        await _learn_stamps(engine, rt, stamps, [entry for _, entry in own])
        for digest, entry in own:
            if entry.stands(namespace, stamps):
                yield digest, entry


async def _learn_stamps(engine: Engine, rt: Runtime, stamps: dict[bytes, bytes | None], entries: list[Entry]) -> None:
    """Read the stamps that *entries* depend on and that are not known yet."""
    new = list({place for entry in entries for place in entry.places()} - stamps.keys())
    if new:
        stamps.update(zip(new, await rt.ask(engine.store, "get_many", new), strict=True))
