"""
The story of a call: look, judge, call the origin, keep the answer.

It is written once, as coroutines, and touches the world only through a Runtime (see `runtime`). Decisions about
freshness are not here: they are pure functions in `policy`. Whatever happens to the store, the caller gets the origin's
answer or the origin's own exception: a store that fails is a miss, and between the origin's answer and the end of the
call nothing may raise, since the answer is paid for.

Law: one order, for every call. Look up, judge, mint the stamps that are missing (before the origin, so that a clearing
during the computation wins), take the lease, make the key again (each attempt), call, ask the rules, encode, commit,
count.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from . import claims, streams
from .call import Call, spend
from .collapse import Steps, fly
from .context import CURRENT, restore
from .entry import Entry
from .errors import StoreError
from .flight import abandon, apart, cancel_joins
from .keeping import entry_of, measure, note, stream_entry
from .lease import MINE, OUTAGE, PASS
from .policy import rescues, revalidates
from .recording import ENDED, FAILED, LEFT, Recording
from .refreshes import REFRESHES
from .renewal import RENEWALS
from .retry import transient
from .runtime import Outcome, Runtime
from .shelf import Shelf
from .turns import take_turn

__all__ = ["Engine"]

#: How often a call takes its turn again, as it finds a value that is of no use to it.
_TURNS = 10
#: Where it is noted that a refresh has failed; that the origin is down is noted under the digest alone.
_BEHIND = b"r"
#: Why an answer comes too late to be stored; see `claims.commit`.
_LATE = ("outdated", "overtaken")


class Engine(Shelf):
    """Answer calls from one store; see `Shelf` for what it is made of."""

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
        """Return the stored answer, None where there is none that may be served or the mode does not read."""
        if not call.mode.reads:
            return None
        entry = await self.look(rt, call)
        found = self._stale(rt, call) if entry is None else self.hit(call, entry)
        matcher = call.facts.matcher
        if found is None and matcher is not None and call.fwd == "uri-miss" and not call.unreachable:
            found = await matcher.nearest(rt, self, call)
        return found

    # A miss, and whose turn it is ------------------------------------------------------------------------------------

    async def _load(self, rt: Runtime, call: Call) -> Outcome:
        """Compute the answer and keep it; or find that another process has done so."""
        if self.holdoffs.holds(call.digest, self.store.now()) and (stale := self._rescue(call, "held off")) is not None:
            return stale
        if call.mode.stores:
            await self._mint(rt, call)
            note(call)
        if call.flight is None and call.mode.stores:
            call.apart = apart((self.address, call.digest), call.places)
        reserved, call.lease = call.lease, None
        if not (self.store.swaps and call.mode.stores and call.flight is not None) or call.unreachable:
            return await self._compute(rt, call)
        call.lease = reserved or self._new_lease(rt, call)
        if reserved is None:  # `Plan.guess` has added that one
            RENEWALS.add(call.lease)  # so that it is given up wherever this ends
        call.flight.undo = None
        try:
            if not call.lease.mine:
                call.lease.seen = call.seen
                if (found := await self._turn(rt, call)) is not None:
                    return found
            return await self._compute(rt, call)
        except BaseException:
            if call.lease is not None:
                RENEWALS.give_up(call.lease)
            raise

    async def _turn(self, rt: Runtime, call: Call) -> Outcome | None:
        """Take the lease; return an answer where another process has found one, None where this one computes."""
        lease = call.lease
        assert lease is not None
        for _ in range(_TURNS):
            try:
                met = await take_turn(rt, partial(self._ask, rt, call), call, lease, waits=not call.behind)
            except StoreError as error:
                call.lease = None
                RENEWALS.give_up(lease)
                self._store_failed(call, error)
                return None
            lease.mine = met == MINE
            if met in (MINE, PASS):
                return None
            if (found := await self._elsewhere(rt, call, met)) is not None:
                RENEWALS.drop(lease)
                return found
            lease.seen = call.seen
        return None

    async def _elsewhere(self, rt: Runtime, call: Call, met: bytes) -> Outcome | None:
        """Return the answer that a claim has met with, None where it has to be made again."""
        assert call.lease is not None
        if call.behind:  # somebody else sees to it
            if call.flight is not None:
                abandon(call.flight)
            return True, None
        if met == OUTAGE:
            return self._rescue(call, "held off")
        found = await self._found(rt, call)
        if found is None:
            await self._mint(rt, call)
        elif call.lease.rival is not None:
            call.collapsed, call.hit = True, False
        return found

    async def _compute(self, rt: Runtime, call: Call) -> Outcome:
        """Ask the origin, keep what it answers; where it fails, a stale answer may do."""
        outcome = await self._origin(rt, call)
        ok, value = outcome
        if isinstance(value, Recording):  # `stream_over` does the rest, when it is
            self.holdoffs.end(call.digest)
            return outcome
        down = not ok and self._rescues(call) and transient(value)
        if ok:
            self.holdoffs.end(call.digest)
            await self.keep(rt, call, value)
        elif down or call.behind:
            self.holdoffs.begin(call.digest if down else _BEHIND + call.digest, self.store.now())
        await self._give_back(rt, call, failed=not ok, down=down)
        return (self._rescue(call, type(value).__name__) if down else None) or outcome

    async def _give_back(self, rt: Runtime, call: Call, *, failed: bool, down: bool) -> None:
        """Let others have the lease of a computation that is over, unless the commit has done so."""
        lease = call.lease
        if lease is None:
            return
        RENEWALS.drop(lease)
        if call.stored or call.unreachable:
            if not call.stored:
                RENEWALS.give_up(lease)
            return
        word = None if call.detail in _LATE else lease.ending(failed, down)
        try:
            await claims.release(partial(self._ask, rt, call), lease, word)
        except StoreError as error:
            self._store_failed(call, error)

    # Stale answers ---------------------------------------------------------------------------------------------------

    def _stale(self, rt: Runtime, call: Call) -> Outcome | None:
        """Return a stale answer that may be served while it is refreshed, and see to it that it is."""
        entry, policy = call.current.stale, call.facts.policy
        if entry is None or not revalidates(entry, policy, self.store.now()):
            return None
        outcome = self._served(call, entry, "stale")
        if outcome is None or not call.mode.stores or self._left_alone(call):
            return outcome
        again = call.repeated()
        place, longest = (self.address, call.digest), policy.max_compute
        if REFRESHES.start(rt, place, lambda: self._refresh(rt, again), longest):
            return outcome
        call.hit, call.stale, call.entry, call.usage, call.detail = False, False, None, None, None
        return None

    def _left_alone(self, call: Call) -> bool:
        """Has a refresh of this key failed a moment ago?"""
        now = self.store.now()
        return any(self.holdoffs.holds(key, now) for key in (call.digest, _BEHIND + call.digest))

    async def _refresh(self, rt: Runtime, call: Call) -> None:
        """Compute again what somebody was served stale."""
        ok, value = await fly(rt, call, self.address, Steps(_nothing, partial(self._load, rt, call)))
        if isinstance(value, Recording):
            ok, value = await streams.to_the_end(value)
        counts = call.facts.counts
        spend(counts, call.origin_seconds, call.usage)
        counts.stored += call.stored
        counts.refused += call.refused
        counts.errors += call.errors
        if not ok:
            call.facts.warn(
                "refresh", "%s: a refresh behind its callers raised %s", call.facts.name, type(value).__name__
            )

    def _rescues(self, call: Call) -> bool:
        """Is there a stale answer that may be served if the origin fails?"""
        entry = call.current.stale
        return entry is not None and rescues(entry, call.facts.policy, self.store.now())

    def _rescue(self, call: Call, why: str) -> Outcome | None:
        return self._served(call, call.current.stale, f"stale: {why}") if self._rescues(call) else None

    def _served(self, call: Call, entry: Entry | None, detail: str) -> Outcome | None:
        outcome = None if entry is None else self.hit(call, entry)
        if outcome is not None:
            call.stale, call.detail = True, detail
        return outcome

    # The origin ------------------------------------------------------------------------------------------------------

    async def _origin(self, rt: Runtime, call: Call) -> Outcome:
        started = rt.monotonic()
        token = CURRENT.set(call.current)
        try:
            return await self._attempts(rt, call)
        finally:
            restore(CURRENT, token)
            call.origin_seconds = rt.monotonic() - started

    async def _attempts(self, rt: Runtime, call: Call) -> Outcome:
        async def attempt() -> Outcome:
            if call.lane is not None and (call.mode.stores or call.flight is not None) and not call.changed:
                call.changed = _changed(call)
            outcome = await rt.call(call.function, call.args, call.kwargs)
            if not outcome[0] or type(outcome[1]) in streams.PLAIN:
                return outcome
            return await self._streamed(rt, call, outcome)

        option, longest = call.facts.policy.retry, call.facts.policy.max_compute
        # A tenacity Retrying: its own rules from the first attempt on, but where a stale answer may do.
        if not isinstance(option, int) and not self._rescues(call):
            return await rt.again(option, None, attempt, longest)
        started = rt.monotonic()
        ok, value = await attempt()
        once = option is False or (option == 1 and option is not True)  # since True == 1
        if (
            ok
            or once
            or self._rescues(call)
            or not transient(value)
            or (option is True and call.facts.retries_by_itself())
        ):
            return ok, value
        return await rt.again(option, value, attempt, longest - (rt.monotonic() - started))

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
        failed = recording.state == FAILED
        if recording.state == ENDED:
            await self._tag(rt, call)
            await self._store(rt, call, stream_entry(call, recording.tape, recording.payload, self.store.now()))
        if recording.state == LEFT:
            call.detail = "abandoned"
            if call.lease is not None:
                RENEWALS.give_up(call.lease)
        else:
            await self._give_back(rt, call, failed=failed, down=False)
        if not call.behind:
            self._count(rt, call, rt.monotonic() - call.origin_seconds, (not failed, recording.error))
        elif failed:
            self.holdoffs.begin(call.digest, self.store.now())

    # Keeping the answer ----------------------------------------------------------------------------------------------

    async def keep(self, rt: Runtime, call: Call, value: Any) -> None:
        """Store an answer if the rules allow it; whatever goes wrong is a word in the status, since it is paid for."""
        measure(call, value)
        late = bool(call.current.tags) and await self._tag(rt, call)
        entry = entry_of(call, value, self.store.now())
        if late:  # who has come since then waits for another answer
            call.made = None
        await self._store(rt, call, entry)

    async def put(self, rt: Runtime, call: Call, value: Any) -> bool:
        """Keep *value* as the answer to this call; tell whether it was kept."""
        if call.lane is None:
            return False
        cancel_joins(key=(self.address, call.digest))
        if self.store.swaps:
            call.lease, call.ordered = self._new_lease(rt, call), True
        await self._mint(rt, call)
        note(call)
        if call.streams:
            tape = streams.tape_of(call, value)
            payload = partial(tape.payload, "stream", None, asynchronous=not rt.blocking)
            await self._store(rt, call, stream_entry(call, tape, payload, self.store.now()))
        else:
            await self.keep(rt, call, value)
        call.facts.counts.errors += call.errors
        return call.stored

    # Telling ---------------------------------------------------------------------------------------------------------

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


async def _nothing() -> None:
    """Find nothing: who refreshes knows what is there."""
