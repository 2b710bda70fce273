"""Interleavings of threads, finalizers and forks that were bugs, each forced by hand."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from aicached import cache as caches
from aicached.behind import TaskBehind
from aicached.counters import Ledger
from aicached.errors import WriteRefused
from aicached.semantic.index import Indexes
from aicached.stores.breaker import Breaker
from aicached.stores.memory import MemoryStore
from aicached.stores.redis import RedisStore

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def _of_bounds() -> Callable[[], Any]:
    store: Any = RedisStore("redis://127.0.0.1:1", max_entries=10)
    return lambda: store._bounds._lock


def _of_indexes() -> Callable[[], Any]:
    indexes = Indexes(10)
    return lambda: indexes.lock


LOCKS: dict[str, Callable[[], Callable[[], Any]]] = {
    "caches": lambda: lambda: caches._lock,
    "bounds": _of_bounds,
    "indexes": _of_indexes,
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("whose", list(LOCKS))
def test_a_forked_child_waits_for_no_lock_that_another_thread_held(whose: str) -> None:
    lock, held, over = LOCKS[whose](), threading.Event(), threading.Event()

    def hold() -> None:
        with lock():
            held.set()
            over.wait(30)

    holding = threading.Thread(target=hold)
    holding.start()
    assert held.wait(10)
    child = os.fork()
    if child == 0:
        os._exit(0 if lock().acquire(timeout=3) else 1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    over.set()
    holding.join()
    assert code == 0


def test_a_breaker_that_another_thread_shuts_in_the_middle_of_a_look_raises_nothing_foreign() -> None:
    def clock() -> float:
        breaker._refused_until = breaker._retry_at = None
        return 0.0

    breaker = Breaker("somewhere", clock)
    breaker._refused_until = 1.0
    with pytest.raises(WriteRefused):
        breaker.enter_write()
    breaker.enter_write()
    breaker._retry_at = 1.0
    assert not breaker.available
    assert breaker.available


def test_a_flush_in_the_middle_of_a_flush_counts_nothing_twice() -> None:
    class Interrupted(MemoryStore):
        def add(self, key: bytes, amounts: Mapping[str, int], lifetime: float | None) -> None:
            ledger.flush()
            super().add(key, amounts, lifetime)

    store = Interrupted()
    ledger = Ledger(store, "ns")
    ledger._owed = {"all": {"f\tmisses": 1}, "2026-01-01": {"f\tmisses": 1}}
    ledger.flush()
    assert {} == ledger._owed
    for sheet in ("all", "2026-01-01"):
        assert {"f\tmisses": 1} == store.sums(ledger._key(sheet))


def test_a_task_does_not_wait_for_itself() -> None:
    async def closing() -> str:
        task = asyncio.current_task()
        assert task is not None
        await TaskBehind(task).asettle(0.1)
        return "went on"

    assert asyncio.run(closing()) == "went on"
