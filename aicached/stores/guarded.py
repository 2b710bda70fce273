"""
A store behind a circuit breaker, and with what is owed to it: while it is down, nobody waits, and nothing that was
invalidated comes back.

Law: what stands around a verb is said once, for both colours, by its rule.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from typing import Any, NamedTuple

from ..errors import StoreUnavailable, WriteRefused
from .base import Head, Puts, Store
from .breaker import Breaker
from .owed import Owed

__all__ = ["GuardedStore"]


class _Rule(NamedTuple):
    """
    Say what stands around a verb.

    Args:
        pays: what is owed to the store goes first.
        pauses: it is not asked while the store takes no writes.
        owed: what the verb is given -> the key under which it is owed where it fails; None = it is not worth that.
    """

    pays: bool = False
    pauses: bool = False
    owed: Callable[..., bytes | None] | None = None


def _forgotten(_: Any, puts: Puts, __: bytes) -> bytes | None:
    return next((key for key, put in puts.items() if put is None and key[:1] == b"v"), None)


_NOTHING = nullcontext()
_READ, _WRITE = _Rule(), _Rule(pauses=True)
_ORDER = _Rule(owed=_forgotten)
#: Only new values pause: an invalidation is worth a round trip each.
_RULES = {
    "read": _READ,
    "keys": _READ,
    "sums": _READ,
    "stamps": _Rule(pays=True),
    "set": _Rule(pays=True, pauses=True),
    "append": _WRITE,
    "add": _WRITE,
    "delete": _Rule(owed=lambda key: key),
    "renew": _Rule(owed=lambda key: key),
}


def _guarded(verb: str, rule: _Rule) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return a verb under its rule, and its twin."""

    @wraps(getattr(Store, verb))
    def plain(self: GuardedStore, *args: Any) -> Any:
        return self._ask(verb, rule, *args)

    @wraps(getattr(Store, f"a{verb}"))
    async def twin(self: GuardedStore, *args: Any) -> Any:
        return await self._aask(verb, rule, *args)

    return plain, twin


class GuardedStore(Store):
    """Stand before *store*: every operation ends as the store's own, or at once while it is known to be down."""

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock=clock)
        self.store = store
        self.blocking = store.blocking
        self.reads_inline = store.reads_inline
        self.now = store.now  # type: ignore[method-assign]  # asked several times in each miss
        self.opened = store.opened
        self.swaps, self.forgets, self.poll = store.swaps, store.forgets, store.poll
        self.reserves = store.reserves
        self.breaker = Breaker(self.address, self._time)
        self._enter, self._enter_write = self.breaker.enter, self.breaker.enter_write
        self.owed = Owed(self._pay, self._apay, self.address)

    @property
    def address(self) -> str:
        return self.store.address

    @property
    def available(self) -> bool:
        """Tell whether an operation would be tried now, without trying one."""
        return self.breaker.available

    def _time(self) -> float:
        return self.clock()  # which may be another one by now

    def get(self, key: bytes) -> Any:
        return (self.get_many((key,)))[0]

    async def aget(self, key: bytes) -> Any:
        return (await self.aget_many((key,)))[0]

    # By hand, as every hit takes this way.
    def get_many(self, keys: Sequence[bytes]) -> list[Any]:
        owed = self.owed.debts and self.owed.debts.copy()
        with self._enter():
            found = self.store.get_many(keys)
        return self.owed.hide(keys, found, owed) if owed or self.owed.debts else found

    async def aget_many(self, keys: Sequence[bytes]) -> list[Any]:
        owed = self.owed.debts and self.owed.debts.copy()
        with self._enter():
            found = await self.store.aget_many(keys)
        return self.owed.hide(keys, found, owed) if owed or self.owed.debts else found

    # What is owed may be about these keys: then it is read with care, and nothing is put before it is paid.
    def reserve(self, keys: Sequence[bytes], puts: Mapping[bytes, tuple[bytes, float]]) -> tuple[list[Any], bool]:
        if self.owed.debts:
            return self.get_many(keys), False
        with self._enter():
            found, taken = self.store.reserve(keys, puts)
        return self.owed.hide(keys, found, ()) if self.owed.debts else found, taken

    async def areserve(
        self, keys: Sequence[bytes], puts: Mapping[bytes, tuple[bytes, float]]
    ) -> tuple[list[Any], bool]:
        if self.owed.debts:
            return await self.aget_many(keys), False
        with self._enter():
            found, taken = await self.store.areserve(keys, puts)
        return self.owed.hide(keys, found, ()) if self.owed.debts else found, taken

    # One that expects nothing is an order, such as to forget. The others are made by hand, as every miss takes them.
    def swap(self, expected: Mapping[bytes, bytes | None], puts: Puts, news: bytes = b"") -> list[Head] | None:
        if not expected:
            return self._ask("swap", _ORDER, expected, puts, news)  # type: ignore[no-any-return]
        if self.owed.debts:
            self.owed.deliver()
        with self._enter_write():
            return self.store.swap(expected, puts, news)

    async def aswap(self, expected: Mapping[bytes, bytes | None], puts: Puts, news: bytes = b"") -> list[Head] | None:
        if not expected:
            return await self._aask("swap", _ORDER, expected, puts, news)  # type: ignore[no-any-return]
        if self.owed.debts:
            await self.owed.adeliver()
        with self._enter_write():
            return await self.store.aswap(expected, puts, news)

    def _ask(self, verb: str, rule: _Rule, *args: Any) -> Any:
        if rule.pays and self.owed.debts:
            self.owed.deliver()
        with self._owing(verb, rule, args), self._enter_write() if rule.pauses else self._enter():
            return getattr(self.store, verb)(*args)

    async def _aask(self, verb: str, rule: _Rule, *args: Any) -> Any:
        if rule.pays and self.owed.debts:
            await self.owed.adeliver()
        with self._owing(verb, rule, args), self._enter_write() if rule.pauses else self._enter():
            return await getattr(self.store, f"a{verb}")(*args)

    def _owing(self, verb: str, rule: _Rule, args: tuple[Any, ...]) -> AbstractContextManager[None]:
        key = None if rule.owed is None else rule.owed(*args)
        return _NOTHING if key is None else self._owed_if_lost(key, verb, args)

    @contextmanager
    def _owed_if_lost(self, key: bytes, verb: str, args: tuple[Any, ...]) -> Iterator[None]:
        """Owe the store what it does not take; what it takes is owed no more."""
        there = self.owed.debts.get(key)
        try:
            yield
        except (StoreUnavailable, WriteRefused):
            self.owed.add(key, verb, *args)
            raise
        if there is not None:
            self.owed.settle(key, there)

    def _pay(self, verb: str, *args: Any) -> None:
        self._ask(verb, _READ, *args)

    async def _apay(self, verb: str, *args: Any) -> None:
        await self._aask(verb, _READ, *args)

    def watch(self, key: bytes, wake: Callable[[], None]) -> bool:
        return self.store.watch(key, wake)

    def unwatch(self, key: bytes, wake: Callable[[], None]) -> None:
        self.store.unwatch(key, wake)

    def close(self) -> None:
        with self.breaker.watch():
            self.store.close()

    async def aclose(self) -> None:
        with self.breaker.watch():
            await self.store.aclose()

    def fork_ends(self, child: bool) -> None:
        if child:
            self.breaker.begin()
            self.owed.begin()


for _verb, _rule in _RULES.items():
    _plain, _twin = _guarded(_verb, _rule)
    setattr(GuardedStore, _verb, _plain)
    setattr(GuardedStore, f"a{_verb}", _twin)
