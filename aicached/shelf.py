"""
The entries of one store: read for a call, judged, written, forgotten.

Law: a store that fails is a miss, and is not asked again by the same call. What is served was stored by this very call,
under stamps that still stand, and is opened whole or not at all. What is written is compared with what the call began
with; what comes too late is a word in the status.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

from . import claims
from .call import Call
from .codec.envelope import Codec
from .codec.opened import Opened
from .codec.values import Undecodable
from .entry import Entry
from .errors import StoreError, WriteRefused
from .flight import cancel_joins
from .holdoff import HoldOffs
from .keeping import objection, value_of
from .keys.keyer import tag_keys
from .lease import Lease, version_of
from .policy import FRESH, judge
from .runtime import Outcome, Runtime
from .status import Counts
from .stores.base import Store
from .turns import new_lease

__all__ = ["Shelf"]

#: Of how many entries the process remembers which tags their origin has added.
REMEMBERED = 10_000


class Shelf:
    """
    Keep the entries of calls in one store.

    Args:
        store: where entries are; its failures are `StoreError`.
        codec: entry <-> bytes.
        near: the store that may be asked in place, by a plain call in either colour; None where asking may wait.
    """

    def __init__(self, store: Store, codec: Codec, near: Store | None = None) -> None:
        self.store = store
        self.codec = codec
        self._remembered = Opened(codec).open
        self.near = near
        self.address = store.address
        #: What may be asked in place are copies: the store has to be waited for.
        self.waits = store.blocking and not store.reads_inline
        #: The places of tags that the origin has added, by digest, as far as this process has met them.
        self.extra: dict[bytes, tuple[bytes, ...]] = {}
        self.holdoffs = HoldOffs()

    # A hit without a coroutine ---------------------------------------------------------------------------------------

    def peek(self, places: tuple[bytes, ...], digest: bytes, rules: bytes) -> Entry | None:
        """Return a fresh entry of a store that may be asked in place; None sends the call the long way."""
        near = self.near
        if near is None:
            return None
        try:
            if self.extra:
                places += self.extra.get(digest, ())
            data, *stamps = near.get_many((b"v" + digest, *places))
        except StoreError:  # the long way meets it again, and counts it
            return None
        return self.plain_hit(data, stamps, digest, rules)

    def read(self, asked: tuple[bytes, ...], digest: bytes, rules: bytes) -> tuple[Any, Entry | None]:
        """Ask a store in place: return all that it gave, None where it failed, and the fresh entry in that."""
        try:
            found = self.store.get_many(asked)
        except StoreError:  # the long way meets it again, and counts it
            return None, None
        return found, self.plain_hit(found[0], found[1:-1], digest, rules)

    def asked(self, digest: bytes, places: tuple[bytes, ...], epoch: bytes) -> tuple[bytes, ...]:
        """Return what a look reads: the entry, its stamps as far as they are known, and the stamp of all tags."""
        return (b"v" + digest, *places, *self.extra.get(digest, ()), epoch)

    def plain_hit(self, data: Any, stamps: list[Any], digest: bytes, rules: bytes) -> Entry | None:
        """Return the fresh entry in what a store gave for a key and its stamps; None sends the call the long way."""
        entry = data if data is None or type(data) is Entry else self._remembered(data, digest)
        if entry is None or self.store.now() >= entry.until or entry.meta.rules != rules or entry.meta.stamps != stamps:
            return None
        return entry

    # Reading ---------------------------------------------------------------------------------------------------------

    async def look(self, rt: Runtime, call: Call) -> Entry | None:
        """Return the entry where it is fresh and belongs to this call; note what stood under its stamps."""
        assert call.lane is not None
        if self.waits and call.found is None and (kept := self.peek(call.places, call.digest, call.facts.rules)):
            call.seen = kept.version
            return kept
        found, call.found = call.found, None
        asked = call.asked if found else self.asked(call.digest, call.places, call.facts.keyer.epoch)
        try:
            if isinstance(found, StoreError):
                raise found
            if found is None:
                found = await self._ask(rt, call, "get_many", asked)
            data, *stamps, call.epoch = found
            call.stamps = stamps[: len(call.places)]
            call.current.stale = call.seen = entry = None
            if data is not None:
                call.seen = _version(data)
                # Remembered, as the next call is likely to want the same.
                entry = data if type(data) is Entry else self._remembered(data, call.digest)
                if entry is None:
                    call.errors += 1
                    call.detail = "damaged"
            if entry is None or not await self._stands(rt, call, entry, dict(zip(asked[1:-1], stamps, strict=True))):
                return None
        except StoreError as error:
            self._store_failed(call, error)
            return None
        if judge(entry, self.store.now()) != FRESH:
            call.fwd = "stale"
            call.current.stale = entry
            return None
        return entry

    async def _stands(self, rt: Runtime, call: Call, entry: Entry, known: dict[bytes, Any]) -> bool:
        """
        Are the stamps under an entry's places still those that it carries?

        The origin may have tagged it: then there are more places than the call knows of. They are asked for apart, once
        in a process, and remembered.
        """
        count = len(call.places)
        extra = tuple(entry.places()[count - 1 :])
        if entry.meta.stamps[:count] != call.stamps:
            return False
        unknown = [place for place in extra if place not in known]
        if unknown:
            known.update(zip(unknown, await self._ask(rt, call, "get_many", unknown), strict=True))
        if extra != self.extra.get(call.digest, ()):
            if len(self.extra) >= REMEMBERED:
                self.extra.clear()
            self.extra[call.digest] = extra
        return entry.meta.stamps[count:] == [known[place] for place in extra]

    def opened(self, data: Any, digest: bytes) -> Entry | None:
        """Return the entry in what a store gave for a digest, None where it is none."""
        return data if data is None or type(data) is Entry else self.codec.open(data, digest)

    def hit(self, call: Call, entry: Entry) -> Outcome | None:
        """Return the value of a fresh entry, None where it cannot be had or today's rules speak against it."""
        try:
            value = value_of(call, entry)
        except Undecodable as error:
            call.detail = f"undecodable: {error}"
            call.errors += 1
            return None
        if entry.meta.rules != call.facts.rules and (why := objection(call, value)) is not None:
            call.detail = f"now {why}"
            return None
        call.entry, call.hit, call.usage = entry, True, entry.meta.usage
        return True, value

    async def contains(self, rt: Runtime, call: Call) -> bool:
        """Is there a fresh answer to this call?"""
        entry = None if call.lane is None else await self.look(rt, call)
        return entry is not None and self.hit(call, entry) is not None

    # Writing ---------------------------------------------------------------------------------------------------------

    async def _mint(self, rt: Runtime, call: Call) -> None:
        """See to it that every stamp exists: an entry without them could not be told from one that was cleared."""
        assert call.lane is not None
        if call.unreachable or (call.stamps is not None and None not in (call.epoch, *call.stamps)):
            return
        try:
            *stamps, call.epoch = await self._ask(rt, call, "stamps", (*call.places, call.facts.keyer.epoch))
            call.stamps = stamps
        except StoreError as error:
            call.stamps = None
            self._store_failed(call, error)

    async def _store(self, rt: Runtime, call: Call, entry: Entry | None) -> None:
        # Who has not reached the store cannot compare with what is there, and an invalidation may have come since.
        if entry is None or call.stamps is None or call.unreachable or not call.mode.stores:
            return
        air = call.flight or call.apart
        if air is not None and air.outdated:
            call.refuse("outdated")
            return
        try:
            await self._commit(rt, call, entry)
            if call.stored and call.lease is None and air is not None and air.outdated:
                await self._ask(rt, call, "delete", call.key)  # invalidated between the question and the commit
                call.stored = False
                call.refuse("outdated")
        except StoreError as error:
            self._store_failed(call, error)

    async def _tag(self, rt: Runtime, call: Call) -> bool:
        """
        Take in the stamps of the tags that the origin has added; tell whether one was invalidated meanwhile, perhaps.

        They are read only now, so one that was renewed while the answer was computed would look like the one from
        before. It is told by the stamp of all tags, which was read before, and which is renewed before any other.
        """
        added = {name for name in call.current.tags if type(name) is str and name not in call.names}
        if not added or call.stamps is None or call.unreachable or not call.mode.stores:
            return False
        places = tag_keys(call.facts.namespace, added)
        try:
            stamps = await self._ask(rt, call, "stamps", places)
            (epoch,) = await self._ask(rt, call, "get_many", (call.facts.keyer.epoch,))
        except StoreError as error:
            call.stamps = None
            self._store_failed(call, error)
            return False
        call.places += places
        call.stamps += stamps
        if epoch != call.epoch:
            call.current.skip("outdated")
        return bool(epoch != call.epoch)

    async def _commit(self, rt: Runtime, call: Call, entry: Entry) -> None:
        data = entry if self.store.opened else self.codec.seal(entry, call.digest)
        ask, lease = partial(self._ask, rt, call), call.lease
        if lease is None:
            await ask("set", call.key, data, entry.lifetime)
        elif call.ordered:
            await claims.order(ask, lease, (data, entry.lifetime))
        else:
            useless = entry.ttl == 0 and not entry.windows[0]
            late = await claims.commit(ask, lease, data, entry.lifetime, useless=useless)
            if late is not None:
                call.refuse(late)
                return
        call.entry, call.stored = entry, True
        call.facts.latest.add(call.key)
        if call.facts.matcher is not None:
            await call.facts.matcher.added(rt, self, call)

    # Forgetting ------------------------------------------------------------------------------------------------------

    async def invalidate(self, rt: Runtime, call: Call) -> None:
        """Forget the answer to this call."""
        if call.lane is None:
            return
        cancel_joins(key=(self.address, call.digest))
        ask = partial(self._ask, rt, call)
        try:
            if self.store.swaps:
                with suppress(WriteRefused):  # a full store still forgets
                    await claims.order(ask, self._new_lease(rt, call), None)
                    return
            await ask("delete", call.key)
        except StoreError:
            call.facts.counts.errors += 1

    async def clear(self, rt: Runtime, counts: Counts, *places: bytes) -> None:
        """Put new stamps under stamp keys, in this order: what carries an old one is a miss from now on."""
        for place in places:
            cancel_joins(stamp=place)
            try:
                await rt.ask(self.store, "renew", place)
            except StoreError:
                counts.errors += 1

    def _new_lease(self, rt: Runtime, call: Call) -> Lease:
        return new_lease(rt, self.store, call.digest, call.seen, call.facts.policy.max_compute)

    # Asking, failing -------------------------------------------------------------------------------------------------

    async def _ask(self, rt: Runtime, call: Call, verb: str, *args: Any, **kwargs: Any) -> Any:
        started = rt.monotonic()
        try:
            return await rt.ask(self.store, verb, *args, **kwargs)
        finally:
            call.store_seconds += rt.monotonic() - started

    def _store_failed(self, call: Call, error: StoreError) -> None:
        call.errors += 1
        call.unreachable = True
        call.detail = f"store: {type(error).__name__}"


def _version(data: Any) -> bytes | None:
    """Return by what a compare-and-set tells the value that a store gave."""
    return data.version if type(data) is Entry else version_of(data)
