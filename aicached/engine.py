"""
The story of a call: look, judge, call the origin, keep the answer.

It is written once, as coroutines, and touches the world only through a Runtime (see `runtime`). Decisions about
freshness are not here: they are pure functions in `policy`. Whatever happens to the store, the caller gets the origin's
answer or the origin's own exception: a store that fails is a miss, and between the origin's answer and the end of the
call nothing may raise, since the answer is paid for.

Law: one order, for every call. Look up, judge, mint the stamps that are missing (before the origin, so that a clearing
during the computation wins), make the key again (each attempt), call, ask the rules, encode, commit, count.
"""

from __future__ import annotations

from contextlib import suppress
from contextvars import Token
from functools import partial
from typing import Any

from . import streams
from .call import Call
from .codec.envelope import Codec
from .codec.values import Undecodable
from .collapse import Steps, fly
from .context import CURRENT, CurrentCall
from .entry import Entry
from .errors import StoreError
from .flight import cancel_joins
from .keeping import entry_of, measure, note, objection, stream_entry, value_of
from .keys.lanes import Lane
from .policy import FRESH, judge
from .recording import ENDED, FAILED, LEFT, Recording
from .retry import transient
from .runtime import Outcome, Runtime
from .status import Counts
from .stores.base import Store

__all__ = ["Engine"]

#: How many of a function's last commits are remembered, to explain a miss by the nearest of them.
RECENT = 64


class Engine:
    """
    Answer calls from one store.

    Args:
        store: where entries are; its failures are `StoreError`.
        codec: entry <-> bytes.
        near: the store that may be asked in place, by a plain call in either colour; None where asking may wait.
    """

    def __init__(self, store: Store, codec: Codec, near: Store | None = None) -> None:
        self.store = store
        self.codec = codec
        self.near = near
        self.address = store.address

    # A hit without a coroutine -----------------------------------------------------------------------------------

    def peek(self, lane: Lane, digest: bytes, rules: bytes) -> Entry | None:
        """Return a fresh entry of a store that may be asked in place; None sends the call the long way."""
        near = self.near
        if near is None:
            return None
        try:
            data, *stamps = near.get_many((b"v" + digest, *lane.stamps))
        except StoreError:  # the long way meets it again, and counts it
            return None
        entry: Entry | None = data if near.opened or data is None else self.codec.open(data, digest)
        if entry is None or near.now() >= entry.until or entry.meta.rules != rules or entry.meta.stamps != stamps:
            return None
        return entry if entry.kind == "value" else None

    # The story ---------------------------------------------------------------------------------------------------

    async def fetch(self, rt: Runtime, call: Call) -> Outcome:
        """Answer a call from the store, or from the origin."""
        started = rt.monotonic()
        outcome = await self._answer(rt, call)
        if isinstance(outcome[1], Recording):  # counted when it is over
            return True, outcome[1].attach(first=True)
        self._count(rt, call, started, outcome)
        return outcome

    def _count(self, rt: Runtime, call: Call, started: float, outcome: Outcome) -> None:
        call.count(hit=call.hit)
        if call.traces or call.facts.hooks:
            self._publish(call, rt.monotonic() - started, None if outcome[0] else outcome[1])

    async def _answer(self, rt: Runtime, call: Call) -> Outcome:
        if call.lane is None or call.mode.calls_only:
            call.fwd = "bypass"
            return await self._origin(rt, call)
        call.fwd = "uri-miss" if call.mode.reads else "request"
        steps = Steps(partial(self._found, rt, call), partial(self._load, rt, call))
        if call.mode.shares and call.facts.policy.coalesce:
            return await fly(rt, call, self.address, steps)
        return await steps.alone()

    async def _found(self, rt: Runtime, call: Call) -> Outcome | None:
        """Return the stored answer, None where there is none or the mode does not read."""
        entry = await self.look(rt, call) if call.mode.reads else None
        return None if entry is None else self.hit(call, entry)

    async def look(self, rt: Runtime, call: Call) -> Entry | None:
        """Return the entry where it is fresh and belongs to this call; note what stood under its stamps."""
        assert call.lane is not None
        try:
            found = await self._ask(rt, call, "get_many", (call.key, *call.lane.stamps))
        except StoreError as error:
            self._store_failed(call, error)
            return None
        data, *call.stamps = found
        entry = self.opened(data, call.digest)
        if data is not None and entry is None:
            call.errors += 1
            call.detail = "damaged"
        if entry is None or entry.meta.stamps != call.stamps:
            return None
        if judge(entry, self.store.now()) != FRESH:
            call.fwd = "stale"
            call.current.stale = entry
            return None
        return entry

    def opened(self, data: Any, digest: bytes) -> Entry | None:
        """Return the entry in what a store gave for a digest, None where it is none."""
        return data if self.store.opened or data is None else self.codec.open(data, digest)

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

    async def _load(self, rt: Runtime, call: Call) -> Outcome:
        if call.mode.stores:
            await self._mint(rt, call)
            note(call)
        outcome = await self._origin(rt, call)
        if outcome[0] and not isinstance(outcome[1], Recording):
            await self.keep(rt, call, outcome[1])
        return outcome

    async def _mint(self, rt: Runtime, call: Call) -> None:
        """See to it that every stamp exists: an entry without them could not be told from one that was cleared."""
        assert call.lane is not None
        if call.unreachable or (call.stamps is not None and None not in call.stamps):
            return
        try:
            call.stamps = await self._ask(rt, call, "stamps", call.lane.stamps)
        except StoreError as error:
            call.stamps = None
            self._store_failed(call, error)

    # The origin --------------------------------------------------------------------------------------------------

    async def _origin(self, rt: Runtime, call: Call) -> Outcome:
        started = rt.monotonic()
        token = CURRENT.set(call.current)
        try:
            return await self._attempts(rt, call)
        finally:
            _reset(token)
            call.origin_seconds = rt.monotonic() - started

    async def _attempts(self, rt: Runtime, call: Call) -> Outcome:
        async def attempt() -> Outcome:
            if call.lane is not None and (call.mode.stores or call.flight is not None) and not call.changed:
                call.changed = _changed(call)
            outcome = await rt.call(call.function, call.args, call.kwargs)
            return await self._streamed(rt, call, outcome) if outcome[0] else outcome

        option = call.facts.policy.retry
        if not isinstance(option, int):  # a tenacity Retrying: its own rules from the first attempt on
            return await rt.again(option, None, attempt)
        ok, value = await attempt()
        once = option is False or (option == 1 and option is not True)  # since True == 1
        if ok or once or not transient(value) or (option is True and call.facts.retries_by_itself()):
            return ok, value
        return await rt.again(option, value, attempt)

    async def _streamed(self, rt: Runtime, call: Call, outcome: Outcome) -> Outcome:
        """Begin to record what the origin has returned, where it is a stream that somebody else may want."""
        source = streams.source_of(outcome[1]) if call.lane is not None else None
        if source is None or not (call.mode.stores or call.flight is not None):
            return outcome
        if source.asynchronous and rt.blocking:
            call.current.skip("awaitable")
            call.facts.warn("colour", "%s returned an async stream, not cached: say colour='async'", call.facts.name)
            return outcome
        return await streams.begin(self, call, source)

    async def stream_over(self, rt: Runtime, call: Call, recording: Recording) -> None:
        """Keep a tape if the rules allow it, and count the call; whatever goes wrong is a word in the status."""
        ended = recording.state == ENDED
        if ended:
            await self._store(rt, call, stream_entry(call, recording.tape, recording.payload, self.store.now()))
        elif recording.state == LEFT:
            call.detail = "abandoned"
        error = recording.error if recording.state == FAILED else None
        self._count(rt, call, rt.monotonic() - call.origin_seconds, (error is None, error))

    # Keeping the answer ------------------------------------------------------------------------------------------

    async def keep(self, rt: Runtime, call: Call, value: Any) -> None:
        """Store an answer if the rules allow it; whatever goes wrong is a word in the status, since it is paid for."""
        measure(call, value)
        await self._store(rt, call, entry_of(call, value, self.store.now()))

    async def _store(self, rt: Runtime, call: Call, entry: Entry | None) -> None:
        if entry is None or call.stamps is None or not call.mode.stores:
            return
        if call.flight is not None and call.flight.outdated:
            call.detail = "outdated"
            return
        try:
            await self._commit(rt, call, entry)
        except StoreError as error:
            self._store_failed(call, error)

    async def _commit(self, rt: Runtime, call: Call, entry: Entry) -> None:
        data = entry if self.store.opened else self.codec.seal(entry, call.digest)
        await self._ask(rt, call, "commit", call.key, data, entry.ttl, call.facts.keyer.recent, RECENT)
        call.entry, call.stored = entry, True

    # What people ask for by name ---------------------------------------------------------------------------------

    async def contains(self, rt: Runtime, call: Call) -> bool:
        """Is there a fresh answer to this call?"""
        entry = None if call.lane is None else await self.look(rt, call)
        return entry is not None and self.hit(call, entry) is not None

    async def invalidate(self, rt: Runtime, call: Call) -> None:
        """Forget the answer to this call."""
        if call.lane is None:
            return
        cancel_joins(key=(self.address, call.digest))
        try:
            await self._ask(rt, call, "delete", call.key)
        except StoreError:
            call.facts.counts.errors += 1

    async def put(self, rt: Runtime, call: Call, value: Any) -> bool:
        """Keep *value* as the answer to this call; tell whether it was kept."""
        if call.lane is None:
            return False
        await self._mint(rt, call)
        note(call)
        if call.facts.streams or call.kwargs.get("stream") is True:
            tape = streams.tape_of(call, value)
            payload = partial(tape.payload, "stream", None, asynchronous=not rt.blocking)
            await self._store(rt, call, stream_entry(call, tape, payload, self.store.now()))
        else:
            await self.keep(rt, call, value)
        call.facts.counts.errors += call.errors
        return call.stored

    async def clear(self, rt: Runtime, counts: Counts, stamp: bytes) -> None:
        """Put a new stamp under a stamp key: every entry that carries the old one is a miss from now on."""
        cancel_joins(stamp=stamp)
        try:
            await rt.ask(self.store, "renew", stamp)
        except StoreError:
            counts.errors += 1

    # Asking, failing, telling ------------------------------------------------------------------------------------

    async def _ask(self, rt: Runtime, call: Call, verb: str, *args: Any) -> Any:
        started = rt.monotonic()
        try:
            return await rt.ask(self.store, verb, *args)
        finally:
            call.store_seconds += rt.monotonic() - started

    def _store_failed(self, call: Call, error: StoreError) -> None:
        call.errors += 1
        call.unreachable = True
        call.detail = f"store: {type(error).__name__}"

    def _publish(self, call: Call, seconds: float, error: BaseException | None) -> None:
        status = call.status(seconds, self.store.now(), error)
        for calls in call.traces:
            calls.append(status)
        for hook in call.facts.hooks:
            try:
                hook(status)
            except Exception as raised:
                call.facts.counts.errors += 1
                call.facts.warn("hook", "a hook raised %s", type(raised).__name__)


def _changed(call: Call) -> bool:
    """Have the arguments changed since the call was made?"""
    try:
        return call.digest_again() != call.digest
    except Exception:  # no longer keyable
        return True


def _reset(token: Token[CurrentCall | None]) -> None:
    with suppress(ValueError):  # a coroutine that is collected is closed in another context
        CURRENT.reset(token)
