"""
One decorated function: its options, its counts, and its plan on the cache that is current.

Law: a call is taken down when the function is *called*, in both colours, before anything runs; only then is it
answered, at once or when it is awaited.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

from . import providers
from .call import Call
from .context import AMBIENT
from .counters import Tally
from .errors import ConfigurationError
from .keys.binding import bottom_of, check_names, colour_of
from .keys.keyer import Keyer
from .look import Look
from .plan import MISS, Home, Plan, check_semantic
from .playback import Opening, asteps, played, steps
from .policy import Policy, declare
from .runtime import ASYNCIO, BLOCKING, Outcome, drive

__all__ = ["Site", "check_decorable", "declared_options", "given"]


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
        self, function: Any, declared: dict[str, Any], home: Callable[[], Home], counts: Tally | None = None
    ) -> None:
        self.function = function
        self.declared = declared
        self.home = home
        self.counts = Tally() if counts is None else counts
        self.colour = declared.get("colour") or colour_of(function)
        if self.colour == "sync" and providers.opens(function):
            self.colour = "async"
        self.streams = _is_generator(function) or _is_async_generator(function) or providers.streams(function)
        self.answer = self._answer()
        policy = Policy(**declared)
        keyer = Keyer(function, policy, "")
        self.name = keyer.name
        self.binder, self.lead = keyer.binder, keyer.subject.lead
        for option in ("key", "ignore", "normalize"):
            names = declared.get(option) or ()
            followed = keyer.fingerprint.names() if option == "ignore" else frozenset()
            if not callable(names):
                unknown = [name for name in names if name not in followed]
                check_names(keyer.binder, unknown, option, keyer.subject.function)
        if policy.semantic is not None:
            check_semantic(keyer)
        self._plan: Plan | None = None

    def _answer(self) -> Callable[..., Any]:
        """Return what answers a call: in which form depends on what the function gives back at once."""
        if _is_generator(self.function):
            return self.answer_steps
        if _is_async_generator(self.function):
            return self.answer_asteps
        if self.colour == "sync":
            return self.answer_sync
        bottom = bottom_of(self.function)
        return self.answer_async if inspect.iscoroutinefunction(bottom) else self.answer_opening

    def plan(self) -> Plan:
        """Return the plan on the cache that is current."""
        home = self.home()
        plan = self._plan
        if plan is None or plan.home is not home:
            policy = Policy(**{**home.defaults, **self.declared})
            plan = self._plan = Plan(
                self.function, policy, home, self.counts.on(home.ledger, self.name), streams=self.streams
            )
        return plan

    def check_bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """
        Refuse the arguments of a ``cache_*`` method that lack what the method is bound to.

        From Python 3.13 on, ``@classmethod`` above a decorator hides the class from the ``cache_*`` methods; a key
        without it would be another one, and nobody would be told.
        """
        first = self.binder.parameters[0].name if self.binder.parameters and not self.lead else ""
        if first in ("self", "cls") and self.binder.values(args, kwargs) is None:
            raise TypeError(f"{self.name}: pass {first} first, or put ai_cached above @classmethod")

    def answer_sync(self, wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Answer a call of a sync function."""
        plan = self.plan()
        ambient = AMBIENT.get()
        found = plan.peek(instance, args, kwargs, ambient)
        if type(found) is Look:
            return _looked(plan, found, wrapped, instance, args, kwargs)
        if found is not MISS:
            return found
        return given(drive(plan.engine.fetch(BLOCKING, plan.call(wrapped, instance, args, kwargs, ambient))))

    def answer_async(
        self, wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Coroutine[Any, Any, Any]:
        """Return a coroutine that answers a call of an async function; everything it depends on is taken now."""
        plan = self.plan()
        ambient = AMBIENT.get()
        try:
            found = plan.peek(instance, args, kwargs, ambient)
            if type(found) is Look:
                return _alooked(plan, found, wrapped, instance, args, kwargs)
            if found is not MISS:
                return _given(found)
            return _played(plan.engine.fetch, ASYNCIO, plan.call(wrapped, instance, args, kwargs, ambient))
        except Exception as error:
            return _raised(error)

    def answer_steps(self, wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Return a generator that answers a call of a generator function."""
        plan = self.plan()
        try:
            call = plan.call(wrapped, instance, args, kwargs, AMBIENT.get())
        except Exception as error:
            return steps(partial(finish, (False, error)))
        return steps(lambda: finish(drive(plan.engine.fetch(BLOCKING, call))), _sleep)

    def answer_asteps(self, wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Return an async generator that answers a call of an async generator function."""
        plan = self.plan()
        try:
            call = plan.call(wrapped, instance, args, kwargs, AMBIENT.get())
        except Exception as error:
            return asteps(partial(_raised, error))
        return asteps(partial(_finished, plan.engine.fetch, ASYNCIO, call))

    def answer_opening(self, wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Return what answers a call of a plain function that gives back something async, nobody knows yet what."""
        return Opening(partial(self.answer_async, wrapped, instance, args, kwargs))

    def made_call(
        self,
        wrapped: Any,
        instance: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        mode: str | None,
        sample: int | None = None,
    ) -> tuple[Plan, Call]:
        """Return a call that a ``cache_*`` method speaks of, in a mode of its own; None = the current one."""
        plan = self.plan()
        ambient = AMBIENT.get()
        if sample is not None:
            ambient = ambient._replace(sample=sample)
        if mode == "refresh" and not plan.mode(ambient).stores:
            mode = "off"
        return plan, plan.call(wrapped, instance, args, kwargs, ambient, mode)


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


async def _finished(story: Callable[..., Coroutine[Any, Any, Outcome]], *given: Any) -> Any:
    return finish(await story(*given))


def _looked(
    plan: Plan, look: Look, wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    """Answer a plain call of a sync function that has found nothing in place."""
    if plan.waits:
        with look:
            if plan.board(look):
                asked, lease = plan.asked(look), plan.guess(look, BLOCKING)
                if lease is None:
                    look.found = plan.engine.store.get_many(asked)
                else:
                    look.found, lease.mine = plan.engine.store.reserve(asked, lease.writes(BLOCKING.monotonic()))
                if (value := plan.judge(look, args, kwargs)) is not MISS:
                    return value
    return given(drive(plan.engine.fetch(BLOCKING, plan.missed(look, wrapped, instance, args, kwargs))))


async def _alooked(
    plan: Plan, look: Look, wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    """Twin of `_looked`: a hit makes no coroutine but the store's, and no flight where the claim of a lease will do."""
    look.found = None  # what was found when the function was called; this may be long ago
    if plan.waits:
        with look:
            if plan.outlook.hopes or plan.board(look, asyncio.get_running_loop()):
                asked, lease = plan.asked(look), plan.guess(look, ASYNCIO)
                if lease is None:
                    look.found = await plan.engine.store.aget_many(asked)
                else:
                    puts = lease.writes(ASYNCIO.monotonic())
                    look.found, lease.mine = await plan.engine.store.areserve(asked, puts)
                if (value := plan.judge(look, args, kwargs)) is not MISS:
                    return value
    return given(await plan.engine.fetch(ASYNCIO, plan.missed(look, wrapped, instance, args, kwargs)))


async def _played(story: Callable[..., Coroutine[Any, Any, Outcome]], *about: Any) -> Any:
    return given(await story(*about))


def given(outcome: Outcome) -> Any:
    """Return what a caller gets for an outcome: its value, something to iterate in place of a stream; or raise."""
    ok, value = outcome
    if ok:
        return played(value, _sleep)
    try:
        raise value
    finally:
        del value, outcome  # as in `finish`


def _sleep(seconds: float) -> None:
    BLOCKING.sleep(seconds)


def _is_generator(function: Any) -> bool:
    return inspect.isgeneratorfunction(getattr(function, "__func__", function))


def _is_async_generator(function: Any) -> bool:
    return inspect.isasyncgenfunction(getattr(function, "__func__", function))


def declared_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Validate the options of `ai_cached`; see `policy.declare`."""
    return declare(options, "ai_cached()")


def check_decorable(function: Any) -> None:
    """Refuse what is no function."""
    if not callable(function) and not isinstance(function, (classmethod, staticmethod)):
        raise ConfigurationError(f"ai_cached() decorates functions and other callables, not {type(function).__name__}")
