"""
What the calls of one function on one cache need, put together once.

Law: everything that a call depends on is taken when it is made: mode, scope, sample, key. A hit in a store that may
be asked in place is answered by `Plan.peek`, without a coroutine, a `Call` or a status.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from . import providers
from .call import Call, Facts, Outlook, Streak, save
from .codec.classes import Classes, annotated_classes, classes_within
from .codec.values import Undecodable, decode, holds_objects
from .context import MODES, PLAIN, Ambient, Mode, process_mode
from .counters import Ledger
from .engine import Engine
from .entry import Entry
from .errors import ConfigurationError, UnkeyableArgument
from .flight import Landing, close, join, land
from .keys.binding import check_names
from .keys.keyer import Keyer, tag_keys
from .keys.lanes import Lane
from .lease import Lease
from .look import Look
from .policy import Policy, names_of
from .renewal import RENEWALS
from .runtime import Runtime
from .savings import Prices
from .status import CacheStatus, Counts
from .turns import new_lease

__all__ = ["MISS", "Home", "Plan", "check_semantic"]

log = logging.getLogger("aicached")

#: What `Plan.peek` returns where there is no hit; None is a value.
MISS: Any = object()


def check_semantic(keyer: Keyer) -> None:
    """Refuse a ``semantic=`` whose text is no parameter, or does not count."""
    rules: Any = keyer.rules
    name = rules.semantic.text
    check_names(keyer.binder, (name,), "semantic", keyer.subject.function)
    counts = not keyer.chosen and name not in rules.ignore and (rules.key is None or name in rules.key)
    if not counts:
        raise ConfigurationError(f"semantic: {name!r} has to be in the key; here key= or ignore= leaves it out")


class Home(Protocol):
    """What a plan needs of a `Cache`."""

    engine: Engine
    ledger: Ledger
    namespace: str
    defaults: dict[str, Any]
    max_value_bytes: int
    keep_arguments: bool
    require_scope: bool
    hooks: tuple[Callable[[CacheStatus], Any], ...]
    prices: Prices
    trusted_classes: list[type]
    trusted_modules: list[str]
    unfollowed: dict[tuple[str, bytes], dict[str, int]]


class Plan:
    """
    Hold what the calls of one function on one cache need, made once.

    Args:
        function: the callable as it was given.
        policy: the declared rules.
        home: the cache.
        counts: of the function on this cache.
        streams: does it return a stream, whatever its arguments?
    """

    def __init__(self, function: Any, policy: Policy, home: Home, counts: Counts, *, streams: bool = False) -> None:
        self.home = home
        self.engine = home.engine
        self.policy = policy
        self.keyer = Keyer(function, policy, home.namespace, self.engine.codec.secret)
        if isinstance(policy.key, tuple):  # of the cache's defaults, too: without its names all calls would be one
            check_names(self.keyer.binder, policy.key, "key", self.keyer.subject.function)
        self.warned: set[str] = set()
        self.classes = Classes(home.trusted_classes, home.trusted_modules)
        claims = self.engine.store.swaps and policy.coalesce
        self.outlook = Outlook(claims, self.engine.store.reserves and policy.semantic is None)
        self.facts = Facts(
            name=self.keyer.name,
            namespace=home.namespace,
            keyer=self.keyer,
            policy=policy,
            prices=home.prices,
            max_value_bytes=home.max_value_bytes,
            retries_by_itself=self.retries_by_itself,
            hooks=home.hooks,
            warn=self.warn,
            counts=counts,
            rules=policy.rules(),
            keep_arguments=home.keep_arguments,
            latest=home.ledger.latest(self.keyer.log),
            streak=Streak(),
            outlook=self.outlook,
            matcher=self._matcher(),
            streams=streams,
        )
        self.annotated = False
        self.with_given: dict[tuple[type, ...], Classes] = {}
        #: The store has to be waited for, and callers of one key share a look.
        self.waits = self.engine.waits and policy.coalesce
        #: Nothing but the ambient can make a call of this plan special.
        self.plain = (
            (self.engine.near is not None or self.waits)
            and policy.mode is None
            and policy.scope is None
            and not home.hooks
            and not home.require_scope
        )
        #: There is a store that may be asked in place.
        self.inline = self.engine.near is not None
        #: What is read in place need not be read again: the claim of a lease finds out what has come since.
        self.settles = self.engine.near is self.engine.store and claims
        #: The tags of every call; None where they depend on its arguments.
        self.tags = None if callable(policy.tags) else policy.tags
        self._warn_of_twins()

    def _matcher(self) -> Any:
        if self.policy.semantic is None:
            return None
        check_semantic(self.keyer)
        from .semantic.matcher import Matcher

        return Matcher(self.policy.semantic, self.engine.store, self.engine.codec)

    def warn(self, subject: str, message: str, *args: Any) -> None:
        """Log a warning, once per subject."""
        if subject not in self.warned:
            self.warned.add(subject)
            log.warning(message, *args)

    def retries_by_itself(self) -> bool:
        """Does a client that the function is bound to, or reads, retry failed requests by itself?"""
        values = [*self.keyer.fingerprint.view.clients, *self.keyer.subject.lead[:1]]
        found = ((providers.of_client(value), value) for value in values)
        return any(provider is not None and provider.retries_by_itself(value) for provider, value in found)

    def _warn_of_twins(self) -> None:
        """Two functions of one factory that differ only in what is not followed would share their answers."""
        view = self.keyer.fingerprint.view
        if not view.unfollowed:
            return
        if len(self.home.unfollowed) >= 1000:  # functions made at run time, one per request
            self.home.unfollowed.clear()
        # By id alone, so that nothing is kept alive for a warning.
        held = {name: id(value) for name, value in view.unfollowed.items()}
        twins = self.home.unfollowed.setdefault((self.keyer.name, view.version), held)
        for name, value in view.unfollowed.items():
            if twins.get(name, id(value)) != id(value):
                self.warn(
                    "twins",
                    "two functions named %s differ only in %r, which is a %s that they close over and that is not "
                    "followed: they share their answers. Tell them apart with version=",
                    self.keyer.name,
                    name,
                    type(value).__name__,
                )

    # A call ------------------------------------------------------------------------------------------------------

    def mode(self, ambient: Ambient) -> Mode:
        """Return what this call may do: the function's own mode overrules the ambient one, and that the process's."""
        return MODES[self.policy.mode or ambient.mode or process_mode()]

    def call(
        self,
        wrapped: Any,
        instance: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        ambient: Ambient,
        mode: str | None = None,
    ) -> Call:
        """
        Return the call, with its key, or with none where it bypasses the cache.

        Raises:
            UnkeyableArgument: the policy says so; whatever ``key=``, ``normalize=`` and ``scope=`` raise.
        """
        allowed = self.mode(ambient) if mode is None else MODES[mode]
        lane, digest, scope, why = None, b"", None, None
        if not allowed.calls_only:
            scope, why = self._scope(instance, args, kwargs, ambient)
        if scope is not None:
            try:
                lane, digest = self.keyer.key(instance, args, kwargs, scope, ambient.sample)
            except UnkeyableArgument as error:
                why = self._bypass(error)
        keyed = (instance, args, kwargs, scope or (), ambient.sample)
        made = self._call(wrapped, allowed, lane, digest, keyed, ambient.traces)
        if lane is not None:
            tagged = self._tagged(lane, instance, args, kwargs)
            if tagged is None:
                made.current.skip("tags raised")
            else:
                made.names, made.places = tagged
        made.detail = why
        return made

    def _call(
        self,
        wrapped: Any,
        mode: Mode,
        lane: Lane | None,
        digest: bytes,
        keyed: tuple[Any, ...],
        traces: tuple[list[CacheStatus], ...] = (),
    ) -> Call:
        args, kwargs = keyed[1:3]
        classes = lambda: self.classes_for(args, kwargs)  # noqa: E731
        return Call(self.facts, wrapped, args, kwargs, mode, lane, digest, keyed, classes, traces)

    def _tagged(
        self, lane: Lane, instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[str, ...], tuple[bytes, ...]] | None:
        """Return a call's tags, and the store keys of its stamps; None where ``tags=`` raises: nothing is kept."""
        if self.tags is not None:
            return self.tags, lane.stamps
        try:
            args, kwargs, _ = self.keyer.arguments(instance, args, kwargs)  # as key= and scope= get them
            names = names_of(self.policy.tags(*args, **kwargs), "tags")
        except Exception as error:
            self.warn("tags", "%s: not stored, tags= raised %s", self.keyer.name, type(error).__name__)
            return None
        return names, lane.stamps + tag_keys(self.home.namespace, names)

    def _scope(
        self, instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], ambient: Ambient
    ) -> tuple[tuple[str, ...] | None, str | None]:
        """Return the scope of a call; None, and why, where a call without one is not cached."""
        scope = self.keyer.scope_of(instance, args, kwargs, ambient)
        if scope is None:
            self.warn("no scope", "%s: scope= yields None, so the call is not cached", self.keyer.name)
        elif self.home.require_scope and not scope:
            self.warn("no scope", "%s: called outside of every scope, which this cache requires", self.keyer.name)
        else:
            return scope, None
        return None, "no scope"

    def _bypass(self, error: UnkeyableArgument) -> str:
        if self.policy.on_unkeyable == "raise":
            raise error
        self.warn("unkeyable", "not cached: %s", str(error).partition(" Ways out")[0])
        return "unkeyable"

    def classes_for(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Classes:
        """Return what may be made when decoding, the classes that came in as arguments before all others."""
        if not self.annotated:  # at the first use, when forward references can be resolved
            for cls in annotated_classes(self.keyer.subject.function):
                self.classes.allow(cls)
            self.annotated = True  # only now, or another thread would go on without them
        given = tuple(classes_within((*args, *kwargs.values())))
        if not given:
            return self.classes
        classes = self.with_given.get(given)
        if classes is None:
            if len(self.with_given) >= 100:  # classes made at run time, one per request
                self.with_given.clear()
            classes = self.with_given[given] = self.classes.beside(given)
        return classes

    def peek(self, instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], ambient: Ambient) -> Any:
        """
        Return the value of a plain call's hit in a store that may be asked in place.

        Returns:
            The value; a `Look` where there is none, or where the store has to be waited for; `MISS` where the call is
            not plain.
        """
        if not (ambient is PLAIN and self.plain and process_mode() == "on"):
            return MISS
        try:
            lane, digest = self.keyer.key(instance, args, kwargs, (), 0)
        except UnkeyableArgument:
            return MISS
        tagged = (self.tags, lane.stamps) if self.tags is not None else self._tagged(lane, instance, args, kwargs)
        if tagged is None:
            return MISS
        look: Look | None = None
        if self.settles:
            look = Look(lane, digest, *tagged)
            look.found, entry = self.engine.read(self.asked(look), digest, self.facts.rules)
        else:
            entry = self.engine.peek(tagged[1], digest, self.facts.rules) if self.inline else None
        if entry is not None:
            value = self._value(entry, args, kwargs)
            if value is not MISS:
                return value
        return look or Look(lane, digest, *tagged)

    def asked(self, look: Look) -> tuple[bytes, ...]:
        """Return what a look-up asks the store for, and note it there."""
        look.asked = self.engine.asked(look.digest, look.places, self.keyer.epoch)
        return look.asked

    def board(self, look: Look, loop: Any = None) -> bool:
        """
        Share a look-up with all who want the same; tell whether it is for this caller to ask the store.

        Args:
            loop: the event loop that the caller lives in, if any.
        """
        look.boarded = flight, leading = join((self.engine.address, look.digest), look.places)
        if flight is None or not leading:
            return False
        flight.loop = loop
        return True

    def guess(self, look: Look, rt: Runtime) -> Lease | None:
        """Return the lease that is to be taken, should there be no answer; None: only look."""
        flight, leading = look.boarded or (None, False)
        if not self.outlook.guesses or flight is None or not leading:
            return None
        self.outlook.guesses = False
        look.lease = lease = new_lease(rt, self.engine.store, look.digest, None, self.policy.max_compute)
        RENEWALS.add(lease)
        flight.undo = partial(RENEWALS.give_up, lease)
        return lease

    def judge(self, look: Look, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Return the value in what the store gave, and end the look-up with it; `MISS` sends the call the long way."""
        data, *stamps, _ = look.found  # type: ignore[misc]
        entry = self.engine.plain_hit(data, stamps, look.digest, self.facts.rules)
        value = MISS if entry is None else self._value(entry, args, kwargs)
        if value is MISS:
            return MISS
        self.outlook.learn(True)
        flight, _ = look.boarded or (None, False)
        if flight is not None:
            if look.lease is not None:  # there was an answer, so that it was not taken
                RENEWALS.drop(look.lease)
                flight.undo = None
            if not close(flight):
                land(flight, Landing("entry", entry, hit=True))
        return value

    def missed(self, look: Look, wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
        """Return the call that goes on where a look-up has ended."""
        call = self._call(wrapped, MODES["on"], look.lane, look.digest, (instance, args, kwargs, (), 0))
        call.names, call.places = look.names, look.places
        call.asked, call.found, call.boarded, call.lease = look.asked, look.found, look.boarded, look.lease
        return call

    def _value(self, entry: Entry, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Return the value of a hit, and count it; `MISS` where it cannot be had, or is a stream."""
        if entry.kind != "value":
            return MISS
        if entry.whole:
            value = entry.whole[0]
        else:
            try:
                objects = holds_objects(entry.payload)
                value = decode(entry.payload, self.classes_for(args, kwargs) if objects else self.classes)
            except Undecodable:
                return MISS
        counts = self.facts.counts
        counts.hits += 1
        save(counts, entry)
        return value
