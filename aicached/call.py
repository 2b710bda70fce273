"""
One invocation on its way through the engine, and what it comes to.

Law: none is made where a memory hit answers; what happens to a call is written on it, and read once, at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .codec.classes import NONE, Classes
from .codec.values import holds_objects
from .context import CurrentCall, Mode
from .entry import Entry
from .errors import StoreError
from .flight import Flight
from .keys.keyer import Keyer
from .keys.lanes import Lane
from .latest import Latest
from .lease import Lease
from .policy import Policy
from .savings import Prices
from .status import CacheStatus, Counts, Usage

__all__ = ["Call", "Facts"]


#: How many misses without a hit are worth a warning.
MISSES = 50


class Streak:
    """Watch the misses of one function until its first hit, for an argument that is new each time."""

    __slots__ = ("length", "over", "seen")

    def __init__(self) -> None:
        self.length = 0
        self.over = False
        #: What each part was so far, of those that were never the same twice; None before the first miss.
        self.seen: Mapping[str, set[bytes]] | None = None

    def missed(self, parts: Mapping[str, bytes]) -> tuple[str, ...]:
        """Take in a miss; return, once, after 50, the names of the parts that were new each time."""
        if self.over:
            return ()
        seen = {name: set() for name in parts} if self.seen is None else self.seen
        self.seen = {
            name: {*digests, parts[name]}
            for name, digests in seen.items()
            if name in parts and parts[name] not in digests
        }
        self.length += 1
        if self.length < MISSES:
            return ()
        names = tuple(self.seen)
        self.end()
        return names

    def end(self) -> None:
        """Watch no longer: there was a hit, or a warning."""
        self.over, self.seen = True, {}


class Outlook:
    """
    Expect of the next look-up in a store that has to be waited for what the last one came to.

    Args:
        claims: where there is nothing, the claim of a lease finds out what has come since.
        reserves: the store can look and take a lease in one step.
    """

    __slots__ = ("_claims", "_reserves", "guesses", "hopes")

    def __init__(self, claims: bool, reserves: bool) -> None:
        self._claims, self._reserves = claims, claims and reserves
        #: There will be a hit: tasks need be in no flight.
        self.hopes = False
        #: There will be none, and the lease may as well be taken. One call at a time guesses so, as those who look
        #: together travel together.
        self.guesses = False

    def learn(self, hit: bool) -> None:
        """Take in what a call came to."""
        self.hopes, self.guesses = hit and self._claims, not hit and self._reserves


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """
    Hold what all calls of one function on one cache have in common.

    Args:
        name: ``module:qualname``.
        namespace: of the cache.
        keyer: makes the keys.
        policy: the declared rules.
        prices: of the cache.
        keep_arguments: are they stored in clear?
        max_value_bytes: larger payloads are passed through.
        retries_by_itself: does a client that the function uses retry failed requests?
        hooks: callables of one `CacheStatus`.
        warn: logs a message once per subject: ``warn(subject, message, *args)``.
        counts: of this function, in this process.
        rules: digest of what decides whether a value is kept.
        latest: takes in the keys of what was stored.
        streak: watches misses that follow one another.
        outlook: expects hits, or misses.
        matcher: finds near matches; None without ``semantic=``.
        streams: does it return a stream, whatever its arguments?
        verified: classes of which one object was encoded, decoded and encoded again to the same bytes.
    """

    name: str
    namespace: str
    keyer: Keyer
    policy: Policy
    prices: Prices
    max_value_bytes: int
    keep_arguments: bool
    retries_by_itself: Callable[[], bool]
    hooks: tuple[Callable[[CacheStatus], Any], ...]
    warn: Callable[..., None]
    counts: Counts
    rules: bytes
    latest: Latest
    streak: Streak
    outlook: Outlook
    matcher: Any = None
    streams: bool = False
    verified: set[type] = field(default_factory=set)


class Call:
    """
    Carry one invocation.

    Args:
        facts: what all calls of the function have in common.
        function: the origin, bound; args, kwargs: what it gets.
        mode: what the mode lets this call do.
        lane, digest: of the key; None where the call has none.
        keyed: what the keyer takes: instance, args, kwargs, scope, sample.
        allowed: () -> what may be made when decoding.
        traces: lists that want its status.
    """

    # Defaults of the class, not of each: most calls never touch them.

    entry: Entry | None = None
    #: What is under its stamps.
    stamps: list[bytes | None] | None = None
    #: What was under the stamp of all tags when the computation began.
    epoch: bytes | None = None
    usage: Usage | None = None
    fwd: str | None = None
    detail: str | None = None
    #: The answer encoded: when, kind, payload, and the value itself where that needs no copy; None where it cannot be.
    made: tuple[float, str, bytes, tuple[Any, ...]] | None = None
    flight: Flight | None = None
    #: Stands for a computation that nobody joins, so that an invalidation meets it too.
    apart: Flight | None = None
    #: The flight that the call is aboard of already, and whether it leads it; what it asked for and found already.
    boarded: tuple[Flight | None, bool] | None = None
    asked: tuple[bytes, ...] = ()
    found: list[Any] | StoreError | None = None
    #: What is known of near matches, and what came of the look for one; None where nobody looked.
    near: Any = None
    decision: Any = None
    #: Under which it computes; None where processes do not share this computation.
    lease: Lease | None = None
    #: First bytes of the value that its look-up found, of whatever use that was.
    seen: bytes | None = None
    #: It is a refresh that nobody waits for.
    behind = False
    #: It computes beside somebody who takes too long.
    deputy = False
    #: The answer was put here, and stands over whatever is computed.
    ordered = False
    #: The store has failed this call once, and is not asked again.
    unreachable = False
    collapsed = False
    #: Short digests of what the key is made of, packed, and the arguments in clear; None until they are noted.
    parts: bytes | None = None
    shown = b""
    #: What failed in the store; counted at the end, where the call is one that counts.
    errors = 0
    hit = stale = stored = refused = changed = False
    store_seconds = origin_seconds = 0.0

    def __init__(
        self,
        facts: Facts,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        mode: Mode,
        lane: Lane | None,
        digest: bytes,
        keyed: tuple[Any, ...],
        allowed: Callable[[], Classes],
        traces: tuple[list[CacheStatus], ...] = (),
    ) -> None:
        self.facts = facts
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.mode = mode
        self.lane = lane
        self.digest = digest
        self.keyed = keyed
        self.allowed = allowed
        self.traces = traces
        self.current = CurrentCall()
        #: The tags that are known before the origin runs; the store keys of its stamps.
        self.names: tuple[str, ...] = () if callable(facts.policy.tags) else facts.policy.tags
        self.places: tuple[bytes, ...] = () if lane is None else lane.stamps

    def repeated(self) -> Call:
        """Return the same call once more, to be made behind the caller of this one."""
        about = (self.facts, self.function, self.args, self.kwargs, self.mode, self.lane, self.digest)
        made = Call(*about, self.keyed, self.allowed)
        made.behind, made.fwd, made.seen, made.stamps = True, "stale", self.seen, self.stamps
        made.names, made.places, made.epoch = self.names, self.places, self.epoch
        made.current.stale = self.current.stale
        return made

    def digest_again(self) -> bytes:
        """Make the digest anew, to see whether the arguments have changed."""
        return self.facts.keyer.key(*self.keyed)[1]

    @property
    def classes(self) -> Classes:
        """What may be made when decoding; put together when it is asked for."""
        return self.allowed()

    def classes_of(self, entry: Entry) -> Classes:
        """Return what may be made when *entry* is decoded, without putting it together where it holds no objects."""
        return self.allowed() if holds_objects(entry.payload) else NONE

    @property
    def streams(self) -> bool:
        """Will the answer be a stream, as far as that can be told before it is there?"""
        return self.facts.streams or self.kwargs.get("stream") is True

    @property
    def key(self) -> bytes:
        """The store key of the value."""
        return b"v" + self.digest

    def refuse(self, why: str) -> None:
        """Note why the answer is not kept."""
        self.refused = True
        self.detail = why

    def count(self, *, hit: bool) -> None:
        """Add the call to its function's counts."""
        counts = self.facts.counts
        counts.errors += self.errors
        if self.fwd != "bypass" and not self.unreachable:  # who did not look, or got no answer, has learnt nothing
            self.facts.outlook.learn(hit)
        if hit and self.entry is not None:
            counts.hits += 1
            counts.stale += self.stale
            save(counts, self.entry)
        elif self.fwd == "bypass":
            counts.bypassed += 1
        else:
            counts.misses += 1
            counts.collapsed += self.collapsed
            counts.stored += self.stored
            counts.refused += self.refused
            counts.expired += self.fwd == "stale"
            counts.requested += self.fwd == "request"
            if not self.collapsed:
                spend(counts, self.origin_seconds, self.usage)

    def status(self, seconds: float, now: float, error: BaseException | None) -> CacheStatus:
        """Return what happened, as a value."""
        entry = self.entry
        return CacheStatus(
            function=self.facts.name,
            namespace=self.facts.namespace,
            hit=self.hit,
            fwd=None if self.hit else self.fwd,
            stored=self.stored,
            collapsed=self.collapsed,
            ttl=None if entry is None or entry.ttl is None else entry.until - now,
            age=None if entry is None else entry.age(now),
            key=self.digest.hex() if self.lane is not None else None,
            detail=self.detail,
            seconds=seconds,
            store_seconds=self.store_seconds,
            origin_seconds=self.origin_seconds,
            usage=self.usage,
            error=None if error is None else type(error).__name__,
            semantic=self.decision,
        )


def save(counts: Counts, entry: Entry) -> None:
    """Add what a hit on *entry* saved."""
    meta = entry.meta
    counts.seconds_saved += meta.seconds
    if meta.usage is not None:
        counts.tokens_saved += meta.usage.tokens_in + meta.usage.tokens_out
        counts.tokens_in_saved += meta.usage.tokens_in
        counts.cost_saved += meta.usage.cost or 0.0


def spend(counts: Counts, seconds: float, usage: Usage | None) -> None:
    """Add what a call of the origin took."""
    counts.seconds_spent += seconds
    if usage is not None:
        counts.tokens_spent += usage.tokens
        counts.cost_spent += usage.cost or 0.0
