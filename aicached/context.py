"""
What surrounds a call: mode, scope, sample, traces; and, inside the origin, the call itself.

Law: the surroundings are one frozen value in one context variable, so that a call takes them with a single read when it
is *called*, and a wrapper that finds `PLAIN` has nothing more to ask.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, Token
from typing import Any, NamedTuple

from .entry import Entry
from .errors import ConfigurationError
from .status import CacheStatus

__all__ = [
    "AMBIENT",
    "MODES",
    "PLAIN",
    "Ambient",
    "CurrentCall",
    "current_call",
    "mode",
    "restore",
    "sample",
    "scope",
    "trace",
]


class Mode(NamedTuple):
    """
    Say what a mode lets a call do.

    Args:
        reads: may a stored answer be served?
        calls_only: is the cache left alone?
        stores: may a new answer be stored?
        shares: may callers of one key share a computation?
    """

    reads: bool
    calls_only: bool
    stores: bool
    shares: bool


MODES = {
    "on": Mode(reads=True, calls_only=False, stores=True, shares=True),
    "off": Mode(reads=False, calls_only=True, stores=False, shares=False),
    "refresh": Mode(reads=False, calls_only=False, stores=True, shares=True),
    "read_only": Mode(reads=True, calls_only=False, stores=False, shares=True),
    "write_only": Mode(reads=False, calls_only=False, stores=True, shares=False),
}


class Ambient(NamedTuple):
    """Hold the surroundings of a call."""

    mode: str | None = None
    scope: tuple[str, ...] = ()
    sample: int = 0
    traces: tuple[list[CacheStatus], ...] = ()


PLAIN = Ambient()
AMBIENT: ContextVar[Ambient] = ContextVar("aicached.ambient", default=PLAIN)


@contextmanager
def _surroundings(change: Callable[[Ambient], Ambient]) -> Iterator[None]:
    """Change the surroundings for a block, from what they are when the block is entered."""
    token = AMBIENT.set(change(AMBIENT.get()))
    try:
        yield
    finally:
        AMBIENT.reset(token)


def valid_mode(name: object, where: str) -> str:
    """Return *name* if it is a mode; *where* says who named it."""
    if not isinstance(name, str) or name not in MODES:
        raise ConfigurationError(f"{where}: no mode {name!r}; there are {', '.join(map(repr, MODES))}")
    return name


def valid_scope(name: object, where: str) -> str:
    """Return *name* if it can name a scope."""
    if not isinstance(name, str) or not name:
        shown = "an empty one" if name == "" else f"a {type(name).__name__}"
        raise ConfigurationError(f"{where}: a scope is a non-empty string, not {shown}")
    return name


def mode(name: str) -> AbstractContextManager[None]:
    """
    Run the calls inside in another mode: ``with mode("refresh"): ask("hi")``.

    Args:
        name: ``"on"``; ``"off"`` (the cache is left alone); ``"refresh"`` (calls, and stores); ``"read_only"`` (serves,
            and calls on a miss, but stores nothing); ``"write_only"`` (calls and stores, without waiting for others).

    Raises:
        ConfigurationError: no such mode.
    """
    valid_mode(name, "mode()")
    return _surroundings(lambda ambient: ambient._replace(mode=name))


def scope(name: str) -> AbstractContextManager[None]:
    """
    Partition the cache for the calls inside; nested scopes add up: ``with scope("tenant-7"): ask("hi")``.

    Context variables do not reach threads that were started without a copy of the context.
    """
    valid_scope(name, "scope()")
    return _surroundings(lambda ambient: ambient._replace(scope=(*ambient.scope, name)))


def sample(index: int) -> AbstractContextManager[None]:
    """
    Ask for one of several independent answers: ``with sample(2): ask("hi")``; ``sample(0)`` is the plain call.

    Args:
        index: 0 or more.
    """
    if isinstance(index, bool) or not isinstance(index, int) or index < 0:
        raise ConfigurationError(f"sample(): an index is a whole number, 0 or more, not {index!r}")
    return _surroundings(lambda ambient: ambient._replace(sample=index))


@contextmanager
def trace() -> Iterator[list[CacheStatus]]:
    """Collect the `CacheStatus` of every call inside, in order of completion: ``with trace() as calls: ...``."""
    calls: list[CacheStatus] = []
    with _surroundings(lambda ambient: ambient._replace(traces=(*ambient.traces, calls))):
        yield calls


_process_mode: str | None = None


def process_mode() -> str:
    """Return the mode that ``AICACHED_MODE`` names, ``"on"`` without it; read once, since reading costs 0.7 µs."""
    global _process_mode
    if _process_mode is None:
        _process_mode = valid_mode(os.environ.get("AICACHED_MODE") or "on", "AICACHED_MODE")
    return _process_mode


def forget_process_mode() -> None:
    """Read ``AICACHED_MODE`` again at the next call."""
    global _process_mode
    _process_mode = None


class CurrentCall:
    """
    Let the origin say something about the answer that it is making.

    Attributes:
        ttl: seconds, timedelta or string for this answer; unset leaves the policy's.
        tags: names to add to the policy's.
        stale: the `Entry` that is being replaced; None where there is none.
    """

    __slots__ = ("seen", "skipped", "stale", "tags", "ttl", "watching")

    def __init__(self, stale: Entry | None = None) -> None:
        self.ttl: Any = ...
        self.tags: set[str] = set()
        self.stale = stale
        self.skipped: str | None = None
        self.seen: Any = None
        #: Sees all that is shown of a stream, of which `seen` is only the last.
        self.watching: Callable[[Any], None] | None = None

    def skip(self, why: str = "skipped by the function") -> None:
        """Keep nothing of this answer; *why* stands in the status."""
        self.skipped = why

    def saw(self, response: Any) -> Any:
        """Show the cache the provider's answer behind a text, for its usage and completeness; return *response*."""
        self.seen = response
        if self.watching is not None:
            self.watching(response)
        return response


CURRENT: ContextVar[CurrentCall | None] = ContextVar("aicached.current", default=None)


def restore(variable: ContextVar[Any], token: Token[Any]) -> None:
    """Give a context variable its former value, except where a collected coroutine is closed in another context."""
    try:  # noqa: SIM105, as every miss comes here twice
        variable.reset(token)
    except ValueError:
        pass


def current_call() -> CurrentCall:
    """Return the call that is being computed; outside of one, an object whose settings go nowhere."""
    return CURRENT.get() or CurrentCall()
