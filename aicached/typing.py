"""
The types that users meet: what `ai_cached` takes, and what it gives back.

Law: a decorated function has the parameters and the result of the undecorated one, for mypy and for pyright. Nothing
here runs; `Cached` and `AsyncCached` describe `decorator.CachedFunction` in its two colours.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextvars import ContextVar
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Protocol, TypedDict, TypeVar, overload

if TYPE_CHECKING:
    from .explain import Explanation
    from .semantic import Semantic
    from .status import CacheInfo
    from .warming import Warmed

__all__ = ["AsyncCached", "Cached", "Decorator", "Duration", "Options"]

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")

#: Seconds, a timedelta, or a string of parts: ``"90s"``, ``"1h30m"``, ``"7d"`` (ms s m h d w).
Duration = float | timedelta | str


class Options(TypedDict, total=False):
    """List the options of `ai_cached`; that is where they are explained."""

    ttl: Duration | Callable[[Any], Duration | None] | None
    stale_while_revalidate: Duration
    stale_if_error: Duration
    key: Callable[..., Any] | Iterable[str] | None
    ignore: Iterable[str]
    normalize: Mapping[str, Callable[[Any], Any]] | None
    scope: str | Callable[..., str | None] | ContextVar[Any] | None
    version: Any
    tags: Iterable[str] | Callable[..., Iterable[str]]
    retry: Any
    cache_if: Callable[[Any], bool] | None
    usage: Callable[[Any], Any] | None
    coalesce: bool
    max_compute: Duration
    colour: Literal["sync", "async"] | None
    mode: Literal["on", "off", "refresh", "read_only", "write_only"] | None
    semantic: Semantic | None
    on_abandon: Literal["drop", "finish"]
    stream_wait: Duration
    replay_delay: Duration
    on_unkeyable: Literal["raise", "bypass"]


class Cached(Protocol[P, R]):
    """Be a decorated sync function."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def __get__(self, instance: None, owner: Any = None, /) -> Cached[P, R]: ...
    @overload
    def __get__(self: Cached[Concatenate[Any, Q], R], instance: object, owner: Any = None, /) -> Cached[Q, R]: ...
    @property
    def __wrapped__(self) -> Callable[P, R]: ...
    def cache_info(self) -> CacheInfo: ...
    def cache_parameters(self) -> dict[str, Any]: ...
    def cache_key(self, *args: P.args, **kwargs: P.kwargs) -> str: ...
    def cache_clear(self) -> None: ...
    def cache_contains(self, *args: P.args, **kwargs: P.kwargs) -> bool: ...
    def cache_explain(self, *args: P.args, **kwargs: P.kwargs) -> Explanation: ...
    def cache_invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None: ...
    def cache_refresh(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    def cache_put(self, value: Any, /, *args: P.args, **kwargs: P.kwargs) -> bool: ...
    def cache_samples(self, n: int, /, *args: P.args, **kwargs: P.kwargs) -> list[R]: ...
    def cache_warm(self, inputs: Iterable[Any], /, *, concurrency: int = 8, progress: bool | None = None) -> Warmed: ...
    @overload
    def cache_map(
        self, inputs: Iterable[Any], /, *, concurrency: int = 8, on_error: Literal["raise"] = "raise"
    ) -> list[R]: ...
    @overload
    def cache_map(
        self, inputs: Iterable[Any], /, *, concurrency: int = 8, on_error: Literal["return"]
    ) -> list[R | BaseException]: ...
    def cache_with(self, **options: Any) -> Cached[P, R]: ...


class AsyncCached(Protocol[P, R]):
    """Be a decorated coroutine function."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]: ...
    @overload
    def __get__(self, instance: None, owner: Any = None, /) -> AsyncCached[P, R]: ...
    @overload
    def __get__(
        self: AsyncCached[Concatenate[Any, Q], R], instance: object, owner: Any = None, /
    ) -> AsyncCached[Q, R]: ...
    @property
    def __wrapped__(self) -> Callable[P, Coroutine[Any, Any, R]]: ...
    def cache_info(self) -> CacheInfo: ...
    def cache_parameters(self) -> dict[str, Any]: ...
    def cache_key(self, *args: P.args, **kwargs: P.kwargs) -> str: ...
    async def cache_clear(self) -> None: ...
    async def cache_contains(self, *args: P.args, **kwargs: P.kwargs) -> bool: ...
    async def cache_explain(self, *args: P.args, **kwargs: P.kwargs) -> Explanation: ...
    async def cache_invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None: ...
    async def cache_refresh(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    async def cache_put(self, value: Any, /, *args: P.args, **kwargs: P.kwargs) -> bool: ...
    async def cache_samples(self, n: int, /, *args: P.args, **kwargs: P.kwargs) -> list[R]: ...
    async def cache_warm(
        self, inputs: Iterable[Any], /, *, concurrency: int = 8, progress: bool | None = None
    ) -> Warmed: ...
    @overload
    async def cache_map(
        self, inputs: Iterable[Any], /, *, concurrency: int = 8, on_error: Literal["raise"] = "raise"
    ) -> list[R]: ...
    @overload
    async def cache_map(
        self, inputs: Iterable[Any], /, *, concurrency: int = 8, on_error: Literal["return"]
    ) -> list[R | BaseException]: ...
    def cache_with(self, **options: Any) -> AsyncCached[P, R]: ...


class Decorator(Protocol):
    """Be ``ai_cached(...)`` with options, waiting for its function."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncCached[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, function: Callable[P, R], /) -> Cached[P, R]: ...
