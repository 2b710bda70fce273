"""
The decorator, and what it makes of a function.

Law: the decorated function keeps everything of the undecorated one that can be seen from outside: name, signature,
annotations, docstring, ``inspect.is*function``, its place in a class; copies are the function itself, and it pickles by
name. What it gains are the ``cache_*`` methods, in its own colour.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

import wrapt

from .cache import cache_for, default_cache
from .call import Call
from .context import sample
from .errors import ConfigurationError, UnkeyableArgument
from .plan import Plan
from .runtime import ASYNCIO, BLOCKING, Runtime, drive
from .site import Site, check_decorable, declared_options, given
from .status import CacheInfo
from .typing import AsyncCached, Cached, Decorator

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .cache import Cache
    from .typing import Options

__all__ = ["CachedFunction", "ai_cached"]

P = ParamSpec("P")
R = TypeVar("R")


if TYPE_CHECKING:

    class _Wrapper:
        """Say what a wrapper has; annotations in the real classes would stand before those of the function."""

        _self_site: Site
        __wrapped__: Any
else:
    _Wrapper = object


class _Methods(_Wrapper):
    """Give a wrapper, bound or not, its ``cache_*`` methods."""

    __slots__ = ()
    #: Lets the layers below look through the wrapper, without knowing it.
    __aicached__ = True

    def _self_target(self, args: tuple[Any, ...]) -> tuple[Any, Any, tuple[Any, ...]]:
        """Return the origin, what it is bound to, and the arguments without that."""
        return self.__wrapped__, None, args

    def _self_run(self, story: Callable[[Runtime], Coroutine[Any, Any, Any]]) -> Any:
        """Tell a story in the function's colour: done at once, or something to await."""
        return story(ASYNCIO) if self._self_site.colour == "async" else drive(story(BLOCKING))

    def _self_call(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], mode: str | None, index: int | None = None
    ) -> tuple[Plan, Call]:
        wrapped, instance, args = self._self_target(args)
        if instance is None:
            self._self_site.check_bound(args, kwargs)
        return self._self_site.made_call(wrapped, instance, args, kwargs, mode=mode, sample=index)

    def cache_info(self) -> CacheInfo:
        """Return the counts of this function in this process."""
        return self._self_site.counts.info()

    def cache_parameters(self) -> dict[str, Any]:
        """Return the options in force, what is in the key, which hidden inputs are followed, and which are not."""
        plan = self._self_site.plan()
        options = {name: getattr(plan.policy, name) for name in type(plan.policy).__slots__}
        view = plan.keyer.fingerprint.view
        return {
            **options,
            "parameters": [name.rstrip("?") for name in plan.keyer.binder.names],
            "followed": sorted(name.removeprefix("closure ") for name in view.followed),
            "not_followed": sorted(view.unfollowed),
            "namespace": plan.home.namespace,
        }

    def cache_key(self, *args: Any, **kwargs: Any) -> str:
        """
        Return the hex digest of exactly this call, in the scope and sample that are current.

        Raises:
            UnkeyableArgument: this call has no key; also where it would bypass the cache for want of one.
        """
        call = self._self_call(args, kwargs, "on")[1]
        if call.lane is None:
            raise UnkeyableArgument(f"{call.facts.name}(): this call has no key ({call.detail}); it bypasses the cache")
        return call.digest.hex()

    def cache_clear(self) -> Any:
        """Forget this function's entries and set its counts to zero; other functions keep theirs."""

        async def story(rt: Runtime) -> None:
            plan = self._self_site.plan()
            self._self_site.counts.reset()
            await plan.engine.clear(rt, plan.facts.counts, plan.keyer.stamps[-1])

        return self._self_run(story)

    def cache_explain(self, *args: Any, **kwargs: Any) -> Any:
        """Return an `Explanation`: would exactly this call hit; if not, what differs from the nearest stored one."""
        plan, call = self._self_call(args, kwargs, "on")
        from .inquiry import explain

        return self._self_run(lambda rt: explain(plan.engine, rt, call))

    def cache_contains(self, *args: Any, **kwargs: Any) -> Any:
        """Tell whether there is a fresh answer to exactly this call; counts nothing."""
        plan, call = self._self_call(args, kwargs, "on")
        return self._self_run(lambda rt: plan.engine.contains(rt, call))

    def cache_invalidate(self, *args: Any, **kwargs: Any) -> Any:
        """Forget the answer to exactly this call."""
        plan, call = self._self_call(args, kwargs, "on")
        return self._self_run(lambda rt: plan.engine.invalidate(rt, call))

    def cache_put(self, value: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Keep *value* as the answer to exactly this call, by the function's rules; tell whether it was kept."""
        plan, call = self._self_call(args, kwargs, "refresh")
        return self._self_run(lambda rt: plan.engine.put(rt, call, value))

    def cache_refresh(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function whatever is stored, keep the new answer, and return it."""
        plan, call = self._self_call(args, kwargs, "refresh")

        async def story(rt: Runtime) -> Any:
            return await plan.engine.fetch(rt, call)

        return self._self_finished(story)

    def cache_samples(self, n: int, /, *args: Any, **kwargs: Any) -> Any:
        """Return *n* independent answers to exactly this call, computing those that are missing."""
        if isinstance(n, bool) or not isinstance(n, int) or n < 0:
            raise ConfigurationError(f"cache_samples(): it takes a number of answers, 0 or more, not {n!r}")
        made = [(index, *self._self_call(args, kwargs, None, index)) for index in range(n)]

        async def answer(rt: Runtime, index: int, plan: Plan, call: Call) -> Any:
            with sample(index):  # for cached functions inside, too
                return await plan.engine.fetch(rt, call)

        async def story(rt: Runtime) -> Any:
            outcomes = await rt.together([answer(rt, *each) for each in made])
            failed = next((outcome for outcome in outcomes if not outcome[0]), None)
            return failed or (True, [given(outcome) for outcome in outcomes])

        return self._self_finished(story)

    def cache_warm(self, inputs: Any, /, *, concurrency: int = 8, progress: bool | None = None) -> Any:
        """
        Fill the cache: call the function with each of *inputs*; one that fails does not stop the rest.

        Args:
            inputs: `args`, or values for the first parameter; an iterator is taken from as calls are made.
            concurrency: how many calls are under way at most; a sync function is called in threads.
            progress: show how far it is on stderr; None = where that is a terminal.

        Returns:
            a report with ``.kept``, ``.hits`` and ``.failed``, a list of (input, exception).
        """
        from .warming import warm

        return self._self_run(lambda rt: warm(rt, self, inputs, concurrency, progress))

    def cache_map(self, inputs: Any, /, *, concurrency: int = 8, on_error: str = "raise") -> Any:
        """
        Return the answers to *inputs* in their order, computing those that are missing, as `cache_warm` does.

        Args:
            on_error: ``"raise"`` the first failure; ``"return"`` exceptions in their places.
        """
        from .warming import map_over

        return self._self_finished(lambda rt: map_over(rt, self, inputs, concurrency, on_error))

    def _self_finished(self, story: Callable[[Runtime], Coroutine[Any, Any, Any]]) -> Any:
        if self._self_site.colour == "sync":
            return given(drive(story(BLOCKING)))

        async def finished() -> Any:
            return given(await story(ASYNCIO))

        return finished()

    def __repr__(self) -> str:
        # No more than the name: what it is bound to may show a prompt.
        return f"<cached {self._self_site.name}>"

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        return self


class BoundCachedFunction(_Methods, wrapt.BoundFunctionWrapper):  # type: ignore[type-arg]
    """Be a cached function seen through an instance or a class."""

    @property
    def _self_site(self) -> Site:  # type: ignore[override]
        return self._self_parent._self_site  # type: ignore[no-any-return]

    def _self_target(self, args: tuple[Any, ...]) -> tuple[Any, Any, tuple[Any, ...]]:
        instance = self._self_instance
        if self._self_binding == "staticmethod":
            return self.__wrapped__, None, args
        if self._self_binding == "classmethod":
            return self.__wrapped__, getattr(self.__wrapped__, "__self__", instance), args
        if instance is not None:
            return self.__wrapped__, instance, args
        # Through the class: the instance is the first argument, as in a call.
        if not args:
            raise TypeError(f"{self.__qualname__}: pass the instance first, as in a call through the class")
        return functools.partial(self.__wrapped__, args[0]), args[0], args[1:]

    def cache_with(self, **options: Any) -> Any:
        """Return the same method with other options."""
        return self._self_parent.cache_with(**options).__get__(self._self_instance, self._self_owner)

    def __reduce_ex__(self, protocol: Any) -> Any:
        holder = self._self_instance if self._self_instance is not None else self._self_owner
        return getattr, (holder, self.__name__)


class CachedFunction(_Methods, wrapt.FunctionWrapper):  # type: ignore[type-arg]
    """Be a function with a cache around it."""

    __bound_function_wrapper__ = BoundCachedFunction

    def __init__(self, function: Any, site: Site) -> None:
        super().__init__(function, site.answer)
        self._self_site = site

    def cache_with(self, **options: Any) -> Any:
        """Return the same function with other options: ``ask.cache_with(mode="refresh")("hi")``."""
        site = self._self_site
        home = site.home
        if "cache" in options:
            home = _home(options.pop("cache"))
        declared = {**site.declared, **declared_options(options)}
        return CachedFunction(self.__wrapped__, Site(self.__wrapped__, declared, home, site.counts))

    def __cache_key__(self) -> Any:
        return self.__wrapped__

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.__wrapped__.__qualname__


def _home(cache: Any) -> Callable[[], Any]:
    fixed = cache_for(cache)
    return default_cache if fixed is None else lambda: fixed


def _refuse_decorated(function: Any) -> None:
    inner = function
    while isinstance(inner, (functools.partial, classmethod, staticmethod)):
        inner = inner.func if isinstance(inner, functools.partial) else inner.__func__
    if isinstance(inner, (CachedFunction, BoundCachedFunction)):
        raise ConfigurationError(
            f"{inner.__qualname__}() is cached already, by a decorator or by patch(): "
            "give it other options with cache_with(), or decorate its __wrapped__"
        )


if TYPE_CHECKING:

    @overload
    def ai_cached(  # type: ignore[overload-overlap]
        function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncCached[P, R]: ...
    @overload
    def ai_cached(function: Callable[P, R], /) -> Cached[P, R]: ...
    @overload
    def ai_cached(*, cache: Cache | str | None = None, **options: Unpack[Options]) -> Decorator: ...
    @overload
    def ai_cached(  # type: ignore[overload-overlap]
        function: Callable[P, Coroutine[Any, Any, R]],
        /,
        *,
        cache: Cache | str | None = None,
        **options: Unpack[Options],
    ) -> AsyncCached[P, R]: ...
    @overload
    def ai_cached(
        function: Callable[P, R], /, *, cache: Cache | str | None = None, **options: Unpack[Options]
    ) -> Cached[P, R]: ...


def ai_cached(function: Any = None, /, *, cache: Any = None, **options: Any) -> Any:
    """
    Put a cache around a function that calls a model.

    Args:
        function: a function, method, classmethod, staticmethod, or a callable that exists already
            (``client.chat.completions.create``), sync or async; None = return a decorator.
        ttl: how long an answer is fresh: seconds, a timedelta, a string such as ``"1d"`` (the default) or ``"1h30m"``;
            None = for ever; or a function of the answer that returns one of these.
        stale_while_revalidate: seconds after ttl in which the old answer is returned at once, while a new one is
            computed behind; 0 = never.
        stale_if_error: seconds after ttl in which the old answer is returned where the function fails with a transient
            error; 0 = never.
        key: a function over the same arguments that returns anything keyable, or a tuple of the names of the only
            parameters that count; None = every argument counts.
        ignore: names of parameters, or of followed globals and closed-over variables, that stay out of the key.
        normalize: ``{"prompt": str.strip}``: applied before the key is built, never to what the function gets.
        scope: a hard partition: a name, a function over the arguments, or a ContextVar; it adds to the ambient `scope`.
        version: None = follow the function's code and what it reads; any keyable value pins it by hand.
        tags: names, or a function over the arguments that returns names.
        retry: True = 3 attempts on transient failures; False; a number of attempts in all; or a tenacity Retrying.
        cache_if: answer -> whether to keep it; None = complete answers only.
        usage: answer -> `Usage`, for answers whose shape is not known.
        coalesce: share one computation among all callers of a key, in all processes; False: each computes.
        max_compute: seconds after which a computation no longer holds others back.
        on_abandon: ``"drop"``: a stream that nobody reads any more is closed; ``"finish"``: it is recorded to its end.
        stream_wait: how long a stream that another process receives is waited for: seconds, a timedelta, a string.
        replay_delay: seconds between two chunks of a replayed stream; 0 = as fast as they are read.
        colour: ``"sync"`` or ``"async"``, where it cannot be seen.
        mode: overrules `mode` and ``AICACHED_MODE`` for this function.
        semantic: a `Semantic`: after an exact miss, the answer to a call whose text means the same; None = exact only.
        on_unkeyable: ``"raise"``, or ``"bypass"`` to call without the cache where an argument has no content.
        cache: a `Cache`, a url, or None for the default cache, looked up at each call.

    Raises:
        ConfigurationError: an option that cannot be meant; the message says what is allowed.
    """
    declared, home = declared_options(options), _home(cache)

    def decorate(function: Any) -> CachedFunction:
        check_decorable(function)
        _refuse_decorated(function)
        return CachedFunction(function, Site(function, declared, home))

    return decorate if function is None else decorate(function)
