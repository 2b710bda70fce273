"""
One decorated function, put together with the cache that is current: what a call passes through before the engine.

Law: key, scope, sample and mode are taken when the function is *called*, in both colours, before anything runs. A hit
in a store that never blocks is answered here, without a coroutine, a `Call` or a status.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

from . import providers
from .binding import check_names
from .call import Call, Facts, save
from .classes import Classes, annotated_classes, classes_within
from .context import AMBIENT, MODES, PLAIN, Ambient, Mode, process_mode
from .engine import Engine
from .errors import ConfigurationError, UnkeyableArgument
from .keys import Keyer
from .lanes import Lane
from .policy import Policy, declare
from .runtime import ASYNCIO, BLOCKING, Outcome, drive
from .savings import Prices
from .status import CacheStatus, Counts
from .values import Undecodable, decode

__all__ = ["Home", "Plan", "Site", "colour_of"]

log = logging.getLogger("aicached")


class Home(Protocol):
    """What a site needs of a `Cache`."""

    engine: Engine
    namespace: str
    defaults: dict[str, Any]
    max_value_bytes: int
    require_scope: bool
    hooks: tuple[Callable[[CacheStatus], Any], ...]
    prices: Prices
    trusted_classes: list[type]
    trusted_modules: list[str]
    unfollowed: dict[tuple[str, bytes], Any]


def colour_of(call: Any) -> str:
    """
    Return ``"async"`` for what is a coroutine function or async generator function at the bottom, else ``"sync"``.

    The bottom is below partials, bound methods, classmethod and staticmethod objects, ``__call__`` and ``__wrapped__``:
    ``create`` of the async SDK clients is a plain function around a coroutine function.
    """
    for _ in range(50):
        if inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call):
            return "async"
        if isinstance(call, functools.partial):
            call = call.func
        elif hasattr(call, "__func__"):
            call = call.__func__
        elif hasattr(call, "__wrapped__"):
            call = call.__wrapped__
        elif not inspect.isroutine(call) and inspect.isfunction(getattr(type(call), "__call__", None)):  # noqa: B004
            call = type(call).__call__
        else:
            return "sync"
    return "sync"


class Plan:
    """
    Hold what the calls of one function on one cache need, made once.

    Args:
        function: the callable as it was given.
        policy: the declared rules.
        home: the cache.
        counts: of the function, whatever cache it is on.
    """

    def __init__(self, function: Any, policy: Policy, home: Home, counts: Counts) -> None:
        self.home = home
        self.engine = home.engine
        self.policy = policy
        self.keyer = Keyer(function, policy, home.namespace)
        self.warned: set[str] = set()
        classes = Classes([*home.trusted_classes], home.trusted_modules)
        self.facts = Facts(
            name=self.keyer.name,
            namespace=home.namespace,
            policy=policy,
            classes=classes,
            prices=home.prices,
            max_value_bytes=home.max_value_bytes,
            retries_by_itself=self.retries_by_itself,
            hooks=home.hooks,
            warn=self.warn,
            counts=counts,
            rules=policy.rules(),
        )
        self.annotated = False
        #: Nothing but the ambient can make a call of this plan special.
        self.plain = policy.mode is None and policy.scope is None and not home.hooks and not home.require_scope
        self._warn_of_twins()

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
        twins = self.home.unfollowed.setdefault((self.keyer.name, view.version), view.unfollowed)
        for name, value in view.unfollowed.items():
            if twins.get(name, value) is not value:
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
        lane: Lane | None = None
        digest, why = b"", None
        scope = None if allowed.calls_only else self.keyer.scope_of(instance, args, kwargs, ambient)
        if scope is None:
            why = None if allowed.calls_only else self._no_scope()
        elif self.home.require_scope and not scope:
            why = "no scope"
            self.warn(why, "%s: called outside of every scope, which this cache requires: not cached", self.keyer.name)
        else:
            try:
                lane, digest = self.keyer.key(instance, args, kwargs, scope, ambient.sample)
            except UnkeyableArgument as error:
                why = self._bypass(error)
        keyed = (instance, args, kwargs, scope or (), ambient.sample)
        facts = self.facts if lane is None else self.facts_for(args, kwargs)
        again = lambda: self.keyer.key(*keyed)[1]  # noqa: E731
        made = Call(facts, wrapped, args, kwargs, allowed, lane, digest, again, ambient.traces)
        made.detail = why
        return made

    def _no_scope(self) -> str:
        self.warn("no scope", "%s: scope= yields None, so the call is not cached", self.keyer.name)
        return "no scope"

    def _bypass(self, error: UnkeyableArgument) -> str:
        if self.policy.on_unkeyable == "raise":
            raise error
        self.warn("unkeyable", "not cached: %s", str(error).partition(" Ways out")[0])
        return "unkeyable"

    def facts_for(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Facts:
        """Return the facts, with the classes that came in as arguments (``response_format=Answer``) allowed."""
        if not self.annotated:  # at the first use, when forward references can be resolved
            self.annotated = True
            for cls in annotated_classes(self.keyer.subject.function):
                self.facts.classes.allow(cls)
        for cls in classes_within((*args, *kwargs.values())):
            self.facts.classes.allow(cls)
        return self.facts


class Site:
    """
    Be one decorated function: its declared options, its counts, its plan on the cache that is current.

    Args:
        function: the callable as it was given.
        declared: options as `policy.declare` returns them.
        home: () -> the cache; asked at each call.
        counts: None = new ones.

    Raises:
        ConfigurationError: a name in ``key``, ``ignore`` or ``normalize`` that the function lacks.
    """

    def __init__(
        self, function: Any, declared: dict[str, Any], home: Callable[[], Home], counts: Counts | None = None
    ) -> None:
        self.function = function
        self.declared = declared
        self.home = home
        self.counts = Counts() if counts is None else counts
        self.colour = declared.get("colour") or colour_of(function)
        self.answer = self.answer_async if self.colour == "async" else self.answer_sync
        policy = Policy(**declared)
        keyer = Keyer(function, policy, "")
        for option in ("key", "ignore", "normalize"):
            names = declared.get(option) or ()
            followed = keyer.fingerprint.names() if option == "ignore" else frozenset()
            if not callable(names):
                unknown = [name for name in names if name not in followed]
                check_names(keyer.binder, unknown, option, keyer.subject.function)
        self._plan: Plan | None = None

    def plan(self) -> Plan:
        """Return the plan on the cache that is current."""
        home = self.home()
        plan = self._plan
        if plan is None or plan.home is not home:
            policy = Policy(**{**home.defaults, **self.declared})
            plan = self._plan = Plan(self.function, policy, home, self.counts)
        return plan

    def answer_sync(self, wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Answer a call of a sync function."""
        plan = self.plan()
        ambient = AMBIENT.get()
        if ambient is PLAIN and plan.plain and plan.engine.near is not None and process_mode() == "on":
            found = peek(plan, instance, args, kwargs)
            if found is not MISS:
                return found
        return finish(drive(plan.engine.fetch(BLOCKING, plan.call(wrapped, instance, args, kwargs, ambient))))

    def answer_async(
        self, wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Coroutine[Any, Any, Any]:
        """Return a coroutine that answers a call of an async function; everything it depends on is taken now."""
        plan = self.plan()
        ambient = AMBIENT.get()
        try:
            if ambient is PLAIN and plan.plain and plan.engine.near is not None and process_mode() == "on":
                found = peek(plan, instance, args, kwargs)
                if found is not MISS:
                    return _given(found)
            return _fetched(plan, plan.call(wrapped, instance, args, kwargs, ambient))
        except Exception as error:
            return _raised(error)

    def made_call(
        self,
        wrapped: Any,
        instance: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        mode: str,
        sample: int = 0,
    ) -> tuple[Plan, Call]:
        """Return a call that a ``cache_*`` method speaks of, in a mode of its own."""
        plan = self.plan()
        ambient = AMBIENT.get()
        if sample:
            ambient = ambient._replace(sample=sample)
        return plan, plan.call(wrapped, instance, args, kwargs, ambient, mode)


MISS: Any = object()


def peek(plan: Plan, instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Return the value of a hit in a store that never blocks, else `MISS`."""
    try:
        lane, digest = plan.keyer.key(instance, args, kwargs, (), 0)
    except UnkeyableArgument:
        return MISS
    facts = plan.facts
    entry = plan.engine.peek(lane, digest, facts.rules)
    if entry is None:
        return MISS
    if entry.whole:
        value = entry.whole[0]
    else:
        try:
            value = decode(entry.payload, facts.classes)
        except Undecodable:
            return MISS
    facts.counts.hits += 1
    save(facts.counts, entry)
    return value


def finish(outcome: Outcome) -> Any:
    """Return an outcome's value, or raise its exception; the engine hands it on, so that StopIteration survives too."""
    ok, value = outcome
    if ok:
        return value
    try:
        raise value
    finally:
        del value, outcome  # the traceback holds this frame, and the frame would hold the exception


async def _given(value: Any) -> Any:
    return value


async def _raised(error: Exception) -> Any:
    try:
        raise error
    finally:
        del error


async def _fetched(plan: Plan, call: Call) -> Any:
    return finish(await plan.engine.fetch(ASYNCIO, call))


def declared_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Validate the options of `ai_cached`; see `policy.declare`."""
    return declare(options, "ai_cached()")


def check_decorable(function: Any) -> None:
    """Refuse what is no function, and what is a stream."""
    if not callable(function) and not isinstance(function, (classmethod, staticmethod)):
        raise ConfigurationError(f"ai_cached() decorates functions and other callables, not {type(function).__name__}")
    inner = getattr(function, "__func__", function)
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        raise ConfigurationError(
            f"{getattr(inner, '__qualname__', inner)}() is a generator, and streams are not cached yet: "
            "decorate a function that returns the whole answer"
        )
