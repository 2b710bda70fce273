"""
The circuit breaker before a store: while it is down, nobody waits for it.

Law: the breaker opens after three `StoreUnavailable` in a row and lets one caller try again after a second, later after
two, four and five. Any answer, a refusal too, proves that the store lives; `WriteRefused` pauses writes alone. There is
one warning for each change of state, and for each kind of refusal.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType

from ..errors import StoreError, StoreUnavailable, WriteRefused

__all__ = ["Breaker"]

_FAILURES = 3
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 5.0
_WRITE_PAUSE = 1.0
_REFUSALS = 20  # kinds of refusals that are logged

_log = logging.getLogger("aicached")


class _Pass:
    """Watch how one kind of operation ends; one object serves all callers, as it keeps nothing about any of them."""

    __slots__ = ("breaker",)

    def __init__(self, breaker: Breaker) -> None:
        self.breaker = breaker

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._answered()
        elif isinstance(error, StoreUnavailable):
            self._failed(error)
        elif isinstance(error, Exception):
            self._answered()
            self.breaker._translate(error)
        else:
            self._left()

    def _answered(self) -> None:
        self.breaker._failures = 0

    def _failed(self, error: StoreUnavailable) -> None:
        self.breaker._count(error)

    def _left(self) -> None:
        """Conclude nothing: the caller was cancelled or interrupted."""


class _WritePass(_Pass):
    """Watch a write: one that succeeds ends the pause of writes."""

    __slots__ = ()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self.breaker._refused_until is not None:
            self.breaker._write_resumed()
        super().__exit__(kind, error, trace)


class _Trial(_Pass):
    """Watch the one operation that is let through while the breaker is open."""

    __slots__ = ()

    def _answered(self) -> None:
        self.breaker._shut()

    def _failed(self, error: StoreUnavailable) -> None:
        self.breaker._prolong()

    def _left(self) -> None:
        self.breaker._retry_at = self.breaker.clock()


class Breaker:
    """
    Know how a store is, and who may ask it.

    Args:
        address: what to call the store.
        clock: tells seconds, of which only differences mean anything.
    """

    def __init__(self, address: str, clock: Callable[[], float]) -> None:
        self.address, self.clock = address, clock
        self._failures = 0
        self._retry_at: float | None = None  # None: the breaker is closed
        self._pause = _FIRST_PAUSE
        self._refused_until: float | None = None  # None: writes go through
        self._foreign: set[type[Exception]] = set()
        self._refusals: set[str] = set()
        self._reads, self._writes = _Pass(self), _WritePass(self)
        self.begin()

    def begin(self) -> None:
        """Begin in a new process, which has no other thread."""
        self._lock = threading.RLock()

    @property
    def available(self) -> bool:
        """Tell whether an operation would be tried now, without trying one."""
        retry_at = self._retry_at  # read once, as another thread may close it
        return retry_at is None or self.clock() >= retry_at

    def enter(self) -> _Pass:
        """Return what watches an operation; raise `StoreUnavailable` where it is not to be tried now."""
        return self._reads if self._retry_at is None else self._try()

    def enter_write(self) -> _Pass:
        """Return what watches a write; raise `WriteRefused` where the store took none a moment ago."""
        until = self._refused_until  # read once, as another thread may end the pause
        if until is not None and self.clock() < until:
            raise WriteRefused(f"store {self.address} took no writes a moment ago")
        return self._writes if self._retry_at is None else self._try()

    def watch(self) -> _Pass:
        """Return what watches an operation that is tried in any case."""
        return self._reads

    def _try(self) -> _Pass:
        """Let one caller through when the pause is over; the others find the next try in the future."""
        with self._lock:
            if self._retry_at is None:
                return self._reads
            now = self.clock()
            if now < self._retry_at:
                raise StoreUnavailable(f"store {self.address} did not answer a moment ago")
            # No flag "somebody is trying": who died while trying, with its thread or loop, would hold it for ever.
            self._retry_at = now + _LONGEST_PAUSE
        return _Trial(self)

    def _count(self, error: StoreUnavailable) -> None:
        with self._lock:
            self._failures += 1
            if self._failures < _FAILURES or self._retry_at is not None:
                return
            self._pause = _FIRST_PAUSE
            self._retry_at = self.clock() + self._pause
        _log.warning("store %s is unavailable (%s): calls go on without it", self.address, self._reason(error))

    def _prolong(self) -> None:
        with self._lock:
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            self._retry_at = self.clock() + self._pause

    def _shut(self) -> None:
        with self._lock:
            if self._retry_at is None:
                return
            self._failures, self._retry_at = 0, None
        _log.warning("store %s is available again", self.address)

    def _translate(self, error: Exception) -> None:
        if isinstance(error, WriteRefused):
            self._write_refused(error)
        elif isinstance(error, StoreError):
            self._refused(error)
        else:
            self._name(error)
            raise StoreError(f"store {self.address}: {type(error).__name__}") from error

    def _refused(self, error: StoreError) -> None:
        """Log what a store that is well says no to, the first time that it is said."""
        reason = self._reason(error)
        kind = reason.partition(" ")[0]
        with self._lock:
            if kind in self._refusals or len(self._refusals) >= _REFUSALS:
                return
            self._refusals.add(kind)
        _log.warning("store %s refused an operation (%s): such calls go on without it", self.address, reason)

    def _name(self, error: Exception) -> None:
        """Log a foreign error the first time its type is seen, without its text, which may quote data."""
        with self._lock:
            if type(error) in self._foreign:
                return
            self._foreign.add(type(error))
        _log.warning("store %s raised %s, which is no StoreError", self.address, type(error).__qualname__)

    def _reason(self, error: StoreError) -> str:
        return str(error).removeprefix(f"{self.address}: ")

    def _write_refused(self, error: WriteRefused) -> None:
        with self._lock:
            known, self._refused_until = self._refused_until, self.clock() + _WRITE_PAUSE
        if known is None:
            _log.warning("store %s takes no writes (%s): reads go on", self.address, self._reason(error))

    def _write_resumed(self) -> None:
        with self._lock:
            if self._refused_until is None:
                return
            self._refused_until = None
        _log.warning("store %s takes writes again", self.address)
