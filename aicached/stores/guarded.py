"""
A store behind a circuit breaker: while it is down, nobody waits for it.

Law: the breaker opens after three `StoreUnavailable` in a row and lets one caller try again after a second, later after
two, four and five. Any answer, a refusal too, proves that the store lives; `WriteRefused` pauses writes alone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from ..errors import StoreError, StoreUnavailable, WriteRefused
from .base import Head, Puts, Store
from .owed import Owed

__all__ = ["GuardedStore"]

_FAILURES = 3
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 5.0
_WRITE_PAUSE = 1.0
_REFUSALS = 20  # kinds of refusals that are logged

_log = logging.getLogger("aicached")


class _Pass:
    """Watch how one kind of operation ends; one object serves all callers, as it keeps nothing about any of them."""

    __slots__ = ("guard",)

    def __init__(self, guard: GuardedStore) -> None:
        self.guard = guard

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
            self.guard._translate(error)
        else:
            self._left()

    def _answered(self) -> None:
        self.guard._failures = 0

    def _failed(self, error: StoreUnavailable) -> None:
        self.guard._count(error)

    def _left(self) -> None:
        """Conclude nothing: the caller was cancelled or interrupted."""


class _WritePass(_Pass):
    """Watch a write: one that succeeds ends the pause of writes."""

    __slots__ = ()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self.guard._refused_until is not None:
            self.guard._write_resumed()
        super().__exit__(kind, error, trace)


class _Trial(_Pass):
    """Watch the one operation that is let through while the breaker is open."""

    __slots__ = ()

    def _answered(self) -> None:
        self.guard._shut()

    def _failed(self, error: StoreUnavailable) -> None:
        self.guard._prolong()

    def _left(self) -> None:
        self.guard._retry_at = self.guard.clock()


class GuardedStore(Store):
    """Stand before *store*: every operation ends as the store's own, or at once while it is known to be down."""

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock=clock)
        self.store = store
        self.blocking = store.blocking
        self.reads_inline = store.reads_inline
        self.opened = store.opened
        self.swaps, self.forgets, self.poll = store.swaps, store.forgets, store.poll
        self._failures = 0
        self._retry_at: float | None = None  # None: the breaker is closed
        self._pause = _FIRST_PAUSE
        self._refused_until: float | None = None  # None: writes go through
        self._foreign: set[type[Exception]] = set()
        self._refusals: set[str] = set()
        self._lock = threading.RLock()
        self.owed = Owed(self._pay, self._apay, self.address)
        self._reads, self._writes = _Pass(self), _WritePass(self)

    @property
    def address(self) -> str:
        return self.store.address

    @property
    def available(self) -> bool:
        """Tell whether an operation would be tried now, without trying one."""
        return self._retry_at is None or self.clock() >= self._retry_at

    def now(self) -> float:
        return self.store.now()

    def get(self, key: bytes) -> Any:
        return (self.get_many((key,)))[0]

    def set(self, key: bytes, data: Any, lifetime: float | None) -> None:
        if self.owed.debts:
            self.owed.deliver()
        with self._enter_write():
            self.store.set(key, data, lifetime)

    def append(self, log: bytes, data: Any, lifetime: float | None, limit: int) -> None:
        with self._enter_write():
            self.store.append(log, data, lifetime, limit)

    def read(self, log: bytes, since: int, count: int) -> tuple[int, int, list[Any]]:
        with self._enter():
            return self.store.read(log, since, count)

    def keys(self) -> list[bytes]:
        with self._enter():
            return self.store.keys()

    def add(self, key: bytes, amounts: Mapping[str, int], lifetime: float | None) -> None:
        with self._enter_write():
            self.store.add(key, amounts, lifetime)

    def sums(self, key: bytes) -> dict[str, int]:
        with self._enter():
            return self.store.sums(key)

    def delete(self, key: bytes) -> None:
        try:
            self._pay("delete", key)
        except (StoreUnavailable, WriteRefused):
            self.owed.add(key, "delete", key)
            raise
        self.owed.debts.pop(key, None)

    def get_many(self, keys: Sequence[bytes]) -> list[Any]:
        with self._enter():
            found = self.store.get_many(keys)
        return self.owed.hide(keys, found) if self.owed.debts else found

    def stamps(self, keys: Sequence[bytes]) -> list[bytes]:
        if self.owed.debts:
            self.owed.deliver()
        with self._enter():
            return self.store.stamps(keys)

    def renew(self, key: bytes) -> None:
        try:
            self._pay("renew", key)
        except (StoreUnavailable, WriteRefused):
            self.owed.add(key, "renew", key)
            raise
        self.owed.debts.pop(key, None)

    def _pay(self, verb: str, *args: Any) -> None:
        with self._enter():
            getattr(self.store, verb)(*args)

    def _owe(self, expected: Mapping[bytes, bytes | None], puts: Puts) -> None:
        """Owe an order to forget a value; what was to be kept under a condition is not worth that."""
        for key, put in puts.items() if not expected else ():
            if put is None and key[:1] == b"v":
                self.owed.add(key, "swap", expected, puts)

    def swap(self, expected: Mapping[bytes, bytes | None], puts: Puts, news: bytes = b"") -> list[Head] | None:
        if self.owed.debts and expected:
            self.owed.deliver()
        try:
            with self._enter_swap(expected):
                return self.store.swap(expected, puts, news)
        except (StoreUnavailable, WriteRefused):
            self._owe(expected, puts)
            raise

    def watch(self, key: bytes, wake: Callable[[], None]) -> bool:
        return self.store.watch(key, wake)

    def unwatch(self, key: bytes, wake: Callable[[], None]) -> None:
        self.store.unwatch(key, wake)

    def close(self) -> None:
        with self._reads:
            self.store.close()

    async def aget(self, key: bytes) -> Any:
        return (await self.aget_many((key,)))[0]

    async def aset(self, key: bytes, data: Any, lifetime: float | None) -> None:
        if self.owed.debts:
            await self.owed.adeliver()
        with self._enter_write():
            await self.store.aset(key, data, lifetime)

    async def aappend(self, log: bytes, data: Any, lifetime: float | None, limit: int) -> None:
        with self._enter_write():
            await self.store.aappend(log, data, lifetime, limit)

    async def aread(self, log: bytes, since: int, count: int) -> tuple[int, int, list[Any]]:
        with self._enter():
            return await self.store.aread(log, since, count)

    async def akeys(self) -> list[bytes]:
        with self._enter():
            return await self.store.akeys()

    async def aadd(self, key: bytes, amounts: Mapping[str, int], lifetime: float | None) -> None:
        with self._enter_write():
            await self.store.aadd(key, amounts, lifetime)

    async def asums(self, key: bytes) -> dict[str, int]:
        with self._enter():
            return await self.store.asums(key)

    async def adelete(self, key: bytes) -> None:
        try:
            await self._apay("delete", key)
        except (StoreUnavailable, WriteRefused):
            self.owed.add(key, "delete", key)
            raise
        self.owed.debts.pop(key, None)

    async def aget_many(self, keys: Sequence[bytes]) -> list[Any]:
        with self._enter():
            found = await self.store.aget_many(keys)
        return self.owed.hide(keys, found) if self.owed.debts else found

    async def astamps(self, keys: Sequence[bytes]) -> list[bytes]:
        if self.owed.debts:
            await self.owed.adeliver()
        with self._enter():
            return await self.store.astamps(keys)

    async def arenew(self, key: bytes) -> None:
        try:
            await self._apay("renew", key)
        except (StoreUnavailable, WriteRefused):
            self.owed.add(key, "renew", key)
            raise
        self.owed.debts.pop(key, None)

    async def _apay(self, verb: str, *args: Any) -> None:
        with self._enter():
            await getattr(self.store, f"a{verb}")(*args)

    async def aswap(self, expected: Mapping[bytes, bytes | None], puts: Puts, news: bytes = b"") -> list[Head] | None:
        if self.owed.debts and expected:
            await self.owed.adeliver()
        try:
            with self._enter_swap(expected):
                return await self.store.aswap(expected, puts, news)
        except (StoreUnavailable, WriteRefused):
            self._owe(expected, puts)
            raise

    async def aclose(self) -> None:
        with self._reads:
            await self.store.aclose()

    def fork_ends(self, child: bool) -> None:
        if child:
            self._lock = threading.RLock()
            self.owed.begin()

    def _enter(self) -> _Pass:
        return self._reads if self._retry_at is None else self._try()

    def _enter_write(self) -> _Pass:
        # Only new values pause. Deleting and renewing a stamp are invalidations: they are worth a round trip each.
        if self._refused_until is not None and self.clock() < self._refused_until:
            raise WriteRefused(f"store {self.address} took no writes a moment ago")
        return self._writes if self._retry_at is None else self._try()

    def _enter_swap(self, expected: Mapping[bytes, bytes | None]) -> _Pass:
        # One that expects nothing is an order, such as to forget: it does not pause with the writes.
        return self._enter_write() if expected else self._enter()

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
