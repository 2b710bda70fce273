"""
Invalidations that a store did not take: kept, one per key, and delivered when it is back.

Law: who has invalidated something never sees it again, whether it was delivered or not: until then, what is read of its
key in this process is nothing, and nothing is written before. Others see it until it is delivered, which a thread sees
to that tries while anything is owed.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from typing import Any

from ..errors import StoreError
from ..living import Living

__all__ = ["Owed", "forgive"]

log = logging.getLogger("aicached")

#: The method, and what it takes.
Debt = tuple[str, tuple[Any, ...]]

_MOST = 10_000
_EVERY = 0.5


class Owed:
    """
    Hold what is owed to one store.

    Args:
        pay: calls the store's method of that name, and raises where that fails.
        apay: twin of *pay*.
        address: what to call the store in a log.
    """

    def __init__(self, pay: Callable[..., None], apay: Callable[..., Awaitable[None]], address: str) -> None:
        self._pay, self._apay, self._address = weakref.WeakMethod(pay), weakref.WeakMethod(apay), address
        self.debts: dict[bytes, Debt] = {}
        self.begin()
        _all.add(self)

    def __bool__(self) -> bool:
        return bool(self.debts)

    def begin(self) -> None:
        """Begin in a new process: what is owed is owed by it, too."""
        # Re-entrant, as a finalizer may invalidate something in the middle of anything; two couriers do no harm.
        self._lock = threading.RLock()
        self._courier: threading.Thread | None = None

    def add(self, key: bytes, verb: str, *args: Any) -> None:
        """Owe the store a call of its method *verb*, which takes the place of what was owed under *key*."""
        with self._lock:
            self.debts.pop(key, None)
            self.debts[key] = (verb, args)
            if len(self.debts) > _MOST:
                oldest, *_ = list(self.debts)
                self.debts.pop(oldest, None)
                log.warning(
                    "store %s: more than %d invalidations wait for it, the oldest is lost", self._address, _MOST
                )
            if self._courier is None:
                courier = threading.Thread(target=self._deliver_some_day, name="aicached-owed", daemon=True)
                with suppress(RuntimeError):  # the interpreter is shutting down: `_deliver_all` is about to try
                    courier.start()
                    self._courier = courier

    def hide(self, keys: Sequence[bytes], found: list[Any], before: Collection[bytes]) -> list[Any]:
        """
        Return what was found without what was invalidated.

        Args:
            before: what was owed when the store was asked: it may have been paid since, but after the reading.
        """
        return [None if key in self.debts or key in before else data for key, data in zip(keys, found, strict=True)]

    def deliver(self) -> None:
        """Pay everything, or raise the first `StoreError`."""
        for key, debt in self.debts.copy().items():
            pay = self._pay()
            if pay is not None:
                pay(debt[0], *debt[1])
            self.settle(key, debt)

    async def adeliver(self) -> None:
        """Twin of `deliver`."""
        for key, debt in self.debts.copy().items():
            pay = self._apay()
            if pay is not None:
                await pay(debt[0], *debt[1])
            self.settle(key, debt)

    def settle(self, key: bytes, debt: Debt) -> None:
        """Owe a debt no more that was paid, or whose like was; what came to be owed meanwhile stays."""
        with self._lock:
            if self.debts.get(key) is not debt:  # another has come in the meantime
                return
            # Or it comes now, from a finalizer: then it is put back.
            taken = self.debts.pop(key, None)
            if taken is not None and taken is not debt:
                self.debts.setdefault(key, taken)

    def _deliver_some_day(self) -> None:
        while True:
            time.sleep(_EVERY)
            with suppress(StoreError):
                self.deliver()
            with self._lock:
                # In this order: what a finalizer owes in between finds no courier, and starts one.
                self._courier = None
                if not self.debts:
                    return
                self._courier = threading.current_thread()


_all: Living[Owed] = Living()


def forgive() -> None:
    """Owe nothing to anybody any more."""
    for owed in _all:
        owed.debts.clear()


@atexit.register
def _deliver_all() -> None:
    for owed in _all:
        with suppress(StoreError):
            owed.deliver()
