"""
The near match of a call: where it may come from, what it is, and how others learn of new calls.

The vectors of a partition are a log in the store, one record for each stored answer; every process reads on in it, at
most half a second late, and searches in its own memory.

Law: a candidate answers only where its own entry is alive, under the stamps that this call has read. Nothing raises:
whatever fails is an exact miss. A text leaves this process only inside a sealed record, beside its answer.
"""

from __future__ import annotations

import hashlib
import weakref
from typing import Any

import msgpack

from ..call import Call
from ..codec.envelope import Codec, new_version
from ..entry import Entry, Meta
from ..errors import StoreError
from ..policy import FRESH, judge
from ..runtime import Outcome, Runtime
from ..stores.base import Store
from .decide import considered, highest_threshold, lowest_bar
from .eligible import refusal
from .embedding import Embedder
from .english import ENGLISH
from .index import Indexes, Near
from .options import Semantic
from .search import Search, Shelf
from .shadow import observe
from .texts import split
from .verdict import Candidate, Decision

__all__ = ["Matcher"]

#: Seconds after which a partition looks for what other processes have added, and records that are read at once.
_STALE_AFTER, _AT_ONCE = 0.5, 500

_indexes: weakref.WeakKeyDictionary[Store, dict[int, Indexes]] = weakref.WeakKeyDictionary()


class Matcher:
    """
    Find and remember the near matches of one function on one cache.

    Args:
        semantic: the option.
        store, codec: of the engine.
    """

    def __init__(self, semantic: Semantic, store: Store, codec: Codec) -> None:
        self.semantic = semantic
        self.language = semantic.language or ENGLISH
        self.embedder = Embedder(semantic, codec.secret)
        # One index for all functions and options on a store: `cache_with` makes a new matcher at each use.
        self.indexes = _indexes.setdefault(store, {}).setdefault(semantic.limit, Indexes(semantic.limit))

    # Looking -----------------------------------------------------------------------------------------------------

    async def nearest(self, rt: Runtime, shelf: Shelf, call: Call) -> Outcome | None:
        """Return the answer of the nearest call that may stand for this one, None where there is none."""
        search = self._search(call)
        if search is None:
            return None
        outcome = await self._look(rt, shelf, call, search)
        call.decision = search.decision
        return outcome

    def _search(self, call: Call) -> Search | None:
        found = self._placed(call)
        why = "no free text" if found is None else refusal(found[1], self.language)
        if found is None or why is not None:
            call.decision = Decision("exact only", why or "")
            call.detail = call.detail or str(call.decision)
            return None
        digest, text = found
        key = b"n" + hashlib.sha256(b"near" + self.embedder.mark + digest).digest()
        call.near = search = Search(key, text, self.indexes.of(key))
        return search

    def _placed(self, call: Call) -> tuple[bytes, str] | None:
        assert call.lane is not None
        try:
            return call.facts.keyer.without(call.lane, call.keyed, self.semantic.text, split)
        except Exception:  # arguments that were changed meanwhile
            return None

    async def _look(self, rt: Runtime, shelf: Shelf, call: Call, search: Search) -> Outcome | None:
        started = rt.monotonic()
        search.vector = await self.embedder.vector(rt, shelf, call, search.text)
        embedded = rt.monotonic()
        embed_ms = 1000 * (embedded - started)
        if search.vector is None:
            search.decision = Decision("exact only", "the embedder does not answer", embed_ms=embed_ms)
            return None
        try:
            await self._catch_up(rt, shelf, search)
            seen, outcome = await self._judge(rt, shelf, call, search)
        except StoreError:
            call.errors += 1
            search.decision = Decision("exact only", "the store does not answer", embed_ms=embed_ms)
            return None
        what = "match" if outcome else "shadow" if self._would_match(search, seen) else "no match"
        chosen = call_of(seen, what)
        search.decision = Decision(what, "", chosen, tuple(seen), embed_ms, 1000 * (rt.monotonic() - embedded))
        if what != "no match":
            call.detail = str(search.decision)
        return outcome

    def _would_match(self, search: Search, seen: list[Candidate]) -> bool:
        return search.found is not None and seen[-1].passes

    async def _judge(
        self, rt: Runtime, shelf: Shelf, call: Call, search: Search
    ) -> tuple[list[Candidate], Outcome | None]:
        """Look at the nearest in their order; return those that were alive, and the answer of the first to pass."""
        seen, floor = list[Candidate](), lowest_bar(float(self.semantic.threshold or 0))
        for near in search.partition.nearest(search.vector, self.semantic.candidates):
            if near.digest == call.digest:
                continue
            if seen and near.similarity < floor and self.semantic.mode == "serve":
                break  # neither it nor those behind it; the first is judged all the same, for people who ask why
            candidate = self.candidate(search.text, near)
            upto = self._upto(search, near, candidate)
            if upto is None:
                seen.append(candidate)
                continue
            entry = await self._entry(rt, shelf, call, near.digest)
            if entry is None:
                search.partition.drop(near.digest)
                continue
            seen.append(candidate)
            if self.semantic.mode == "shadow":
                search.found = upto, entry
                break
            outcome = shelf.hit(call, entry)
            if outcome is not None:
                return seen, outcome
        return seen, None

    def _upto(self, search: Search, near: Near, candidate: Candidate) -> float | None:
        """Return the highest threshold under which a candidate may answer; None where it may not, as things are."""
        if self.semantic.mode == "serve":
            return self.semantic.threshold if candidate.passes else None
        if candidate.guards:
            return None
        return highest_threshold(search.text, near.text, near.similarity, self.language)

    def candidate(self, text: str, near: Near) -> Candidate:
        """Return what speaks for and against a stored call."""
        semantic: Any = self.semantic
        values = (semantic.threshold, semantic.guards, self.language, near.digest.hex())
        return considered(text, near.text, near.similarity, *values)

    async def _entry(self, rt: Runtime, shelf: Shelf, call: Call, digest: bytes) -> Entry | None:
        """Return a candidate's entry where it is fresh, and what it stands under is as it was: its own tags, too."""
        assert call.lane is not None
        own = call.lane.stamps
        data, *stamps = await rt.ask(shelf.store, "get_many", (b"v" + digest, *own))
        entry = shelf.opened(data, digest)
        if entry is None or judge(entry, shelf.store.now()) != FRESH:
            return None
        places, known = (own[0], *entry.places()), dict(zip(own, stamps, strict=True))
        more = [place for place in places if place not in known]
        if more:
            known.update(zip(more, await rt.ask(shelf.store, "get_many", more), strict=True))
        return entry if entry.meta.stamps == [known[place] for place in places] else None

    async def _catch_up(self, rt: Runtime, shelf: Shelf, search: Search) -> None:
        """Read what was added to the partition since it was read last."""
        partition, now = search.partition, rt.monotonic()
        if now - partition.checked < _STALE_AFTER:
            return
        partition.checked = now
        while True:
            upto, last, records = await rt.ask(shelf.store, "read", search.key, partition.cursor, _AT_ONCE)
            if last < partition.cursor:
                partition.restart()
                continue
            for data in records:
                record = _record(shelf.opened(data, search.key[1:]))
                if record is not None:
                    partition.add(*record)
            partition.cursor = max(partition.cursor, upto)
            if upto >= last:
                return

    # Remembering -------------------------------------------------------------------------------------------------

    async def added(self, rt: Runtime, shelf: Shelf, call: Call) -> None:
        """Let others find a call whose answer was just stored."""
        entry, search = call.entry, call.near
        if search is None:
            if call.decision is not None or call.lane is None:  # looked at already, and exact only
                return
            search = self._search(call)
            if search is None:
                return
            search.vector = await self.embedder.vector(rt, shelf, call, search.text)
        if search.vector is None or entry is None or entry.ttl == 0:  # born stale: it answers nobody else
            return
        data = _sealed(shelf, call, entry, search)
        try:
            await rt.ask(shelf.store, "append", search.key, data, entry.ttl, self.semantic.limit)
        except StoreError:
            call.errors += 1
            return
        search.partition.checked = float("-inf")
        if self.semantic.mode == "shadow":
            await observe(rt, shelf, call, search, self.semantic, self.embedder)


def call_of(seen: list[Candidate], what: str) -> Candidate | None:
    """Return the candidate that a decision is about: the last one looked at where it matched, else the nearest."""
    if not seen:
        return None
    return seen[0] if what == "no match" else seen[-1]


def _sealed(shelf: Shelf, call: Call, entry: Entry, search: Search) -> Any:
    vector = search.vector.astype("<f2").tobytes()
    payload = msgpack.packb([call.digest, search.text, vector], unicode_errors="surrogatepass")
    meta = Meta(call.facts.name, [], b"")
    made = Entry(new_version(), entry.created, entry.ttl, entry.windows, "value", meta, payload)
    return made if shelf.store.opened else shelf.codec.seal(made, search.key[1:])


def _record(entry: Entry | None) -> tuple[bytes, str, Any] | None:
    """Return digest, text and vector of a record; None where it is none, since a store may hold anything."""
    import numpy as np

    if entry is None:
        return None
    try:
        digest, text, vector = msgpack.unpackb(entry.payload, unicode_errors="surrogatepass")
        if type(digest) is not bytes or len(digest) != 32 or type(text) is not str:
            return None
        return digest, text, np.frombuffer(vector, "<f2").astype(np.float32)
    except Exception:
        return None
