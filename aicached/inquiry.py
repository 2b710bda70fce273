"""
What people ask of the store, apart from answers: why a call misses, and what is there.

Law: this is for people who look, never for a call: it counts nothing, and may take several round trips. Nothing but
`purge` changes anything.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from .call import Call
from .engine import Engine
from .entry import Entry, EntryInfo
from .errors import StoreError
from .explain import Explanation, explained_hit, explained_miss, passed_by
from .keys.keyer import stamp_key
from .latest import KEPT, keys_in
from .policy import EXPIRED, judge
from .runtime import Runtime

__all__ = ["entries", "explain", "purge", "standing"]


async def explain(engine: Engine, rt: Runtime, call: Call) -> Explanation:
    """Say whether the call would hit, and if not, what differs from the nearest of the function's last commits."""
    name = call.facts.name
    why = passed_by(call)
    if why is not None:
        return Explanation(name, hit=False, reason=why)
    parts = call.facts.keyer.parts(*call.keyed)
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
        await rt.ask(engine.store, "append", *new)
    _, last, _ = await rt.ask(engine.store, "read", latest.log, 0, 0)
    _, _, records = await rt.ask(engine.store, "read", latest.log, max(0, last - KEPT), KEPT)
    listed = keys_in(records)
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


async def purge(engine: Engine, rt: Runtime, namespace: str, scope: str | None, older_than: float | None) -> int:
    """
    Delete the bytes of entries of a namespace, and return of how many.

    Args:
        scope, older_than: what is in this scope and older than so many seconds goes, fresh or not. With neither, what
            can be no answer any more: expired or invalidated.

    Raises:
        StoreError: the store is in trouble, or cannot list.
    """
    within = None if scope is None else stamp_key(namespace, "scope", scope)
    home, stamps, count = stamp_key(namespace), dict[bytes, bytes | None](), 0
    keys = await rt.ask(engine.store, "keys")
    for start in range(0, len(keys), 100):
        some = keys[start : start + 100]
        read = await rt.ask(engine.store, "get_many", some)
        opened = [(key, engine.opened(data, key[1:])) for key, data in zip(some, read, strict=True)]
        own = [(key, entry) for key, entry in opened if entry is not None and _belongs(entry, namespace, within)]
        if within is None and older_than is None:
            (stamps[home],) = await rt.ask(engine.store, "get_many", [home])
            await _learn_stamps(engine, rt, stamps, [entry for _, entry in own])
            goes = [key for key, entry in own if not (entry.stands(home, stamps) and _lives(entry, engine))]
        else:
            goes = [key for key, entry in own if entry.age(engine.store.now()) >= (older_than or 0.0)]
        for key in goes:
            await rt.ask(engine.store, "delete", key)
        count += len(goes)
    return count


def _lives(entry: Entry, engine: Engine) -> bool:
    return judge(entry, engine.store.now()) != EXPIRED


def _belongs(entry: Entry, namespace: str, within: bytes | None) -> bool:
    """Is an entry of this namespace, whatever has become of its stamps, and in the scope?"""
    places = entry.places()
    own = stamp_key(namespace, "function", *entry.meta.function.split(":", 1))
    return own in places[:1] and (within is None or within in places)
