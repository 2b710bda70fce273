"""The store in memory: its bounds, its lifetimes, and many threads without a lock on reads."""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from aicached.stores.memory import MemoryStore
from aicached.testing.clock import FakeClock
from aicached.testing.conformance import StoreConformance


def value(name: int) -> bytes:
    return b"v" + name.to_bytes(32, "big")


def kept(store: MemoryStore, names: range) -> list[int]:
    """Tell which of *names* are there, by a look that moves none of them."""
    return [name for name in names if value(name) in store._values]


class TestMemoryStore(StoreConformance):
    def make_store(self) -> MemoryStore:
        self.clock = FakeClock()
        return MemoryStore(clock=self.clock)

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)


@pytest.fixture
def quick_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_it_never_blocks_and_keeps_objects_as_they_are() -> None:
    store, thing = MemoryStore(), (1, 2, 3)
    store.set(value(1), thing, None)
    assert store.get(value(1)) is thing
    assert (False, True) == (store.blocking, store.opened)


def test_two_stores_are_two_addresses() -> None:
    assert MemoryStore().address != MemoryStore().address


def test_the_least_recently_used_entry_goes_first() -> None:
    store = MemoryStore(max_entries=3)
    for name in range(3):
        store.set(value(name), b"x", None)
    store.get(value(0))
    store.get_many([value(1)])
    store.set(value(3), b"x", None)
    assert [0, 1, 3] == kept(store, range(4))


def test_the_bytes_are_bounded_over_writes_overwrites_and_deletes() -> None:
    store = MemoryStore(max_bytes=100)
    for name in range(10):
        store.set(value(name), bytes(20), None)
    assert [5, 6, 7, 8, 9] == kept(store, range(10))
    store.set(value(9), bytes(60), None)
    assert [7, 8, 9] == kept(store, range(10))
    store.delete(value(9))
    for name in range(20, 23):
        store.set(value(name), bytes(20), None)
    assert [7, 8, 20, 21, 22] == kept(store, range(30))


def test_what_alone_is_too_big_is_not_kept_and_pushes_nothing_out() -> None:
    store = MemoryStore(max_bytes=100)
    store.set(value(1), bytes(50), None)
    store.set(value(2), bytes(10), None)
    store.set(value(2), bytes(101), None)
    assert store.get(value(2)) is None, "an old value must not outlive its overwriting"
    assert store.get(value(1)) == bytes(50)


def test_no_bound_is_no_bound() -> None:
    store = MemoryStore(max_bytes=None)
    for name in range(100):
        store.set(value(name), bytes(1000), None)
    assert list(range(100)) == kept(store, range(100))


def test_stamps_do_not_count_and_are_not_pushed_out() -> None:
    store, marks = MemoryStore(max_entries=2, max_bytes=64), [b"t" + os.urandom(32) for _ in range(20)]
    stamps = store.stamps(marks)
    for name in range(5):
        store.set(value(name), bytes(30), None)
    assert stamps == store.stamps(marks)
    assert [3, 4] == kept(store, range(5))


def test_what_has_expired_is_dropped_on_sight() -> None:
    clock = FakeClock()
    store = MemoryStore(clock=clock)
    store.set(value(1), bytes(10), 5)
    store.set(b"l" + bytes(32), b"lease", 5)
    clock.advance(5)
    assert [None, None] == store.get_many([value(1), b"l" + bytes(32)])
    assert (0, 0, 0) == (len(store._values), len(store._marks), store._bytes)


def test_writes_clear_away_what_has_expired_at_the_old_end() -> None:
    clock = FakeClock()
    store = MemoryStore(clock=clock)
    for name in range(100):
        store.set(value(name), bytes(10), 5)
    clock.advance(6)
    for name in range(100, 300):
        store.set(value(name), bytes(10), None)
    assert list(range(100, 300)) == kept(store, range(300))


def test_an_expired_entry_does_not_take_its_successor_along() -> None:
    """A reader that saw the old entry expired must not drop what was written meanwhile."""
    store = MemoryStore()
    store.set(value(1), b"old", 5)
    old = store._values[value(1)]
    store.set(value(1), b"new", None)
    store._drop(value(1), old)
    assert store.get(value(1)) == b"new"


@pytest.mark.usefixtures("quick_switches")
def test_reads_without_a_lock_survive_writers_and_evictions() -> None:
    store = MemoryStore(max_entries=50, max_bytes=50_000)
    errors: list[BaseException] = []
    hits = [0]
    done = time.monotonic() + 1.0

    def body(number: int) -> None:
        luck = random.Random(number)
        try:
            while time.monotonic() < done:
                name = luck.randrange(100)
                if number < 3:
                    store.set(value(name), b"%d:" % name + bytes(luck.randrange(2000)), luck.choice([None, 0.0, 60.0]))
                    if luck.random() < 0.2:
                        store.delete(value(luck.randrange(100)))
                elif (data := store.get(value(name))) is not None:
                    hits[0] += 1
                    assert data.startswith(b"%d:" % name)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=body, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == errors
    assert hits[0] > 1000
    assert store._bytes == sum(entry.size for entry in store._values.values())
    assert len(store._values) <= 50


@pytest.mark.usefixtures("quick_switches")
def test_threads_that_mint_at_once_get_one_stamp() -> None:
    store = MemoryStore()
    for _ in range(200):
        mark, seen, start = b"t" + os.urandom(32), [], threading.Barrier(4)

        def body(mark: bytes = mark, seen: list[bytes] = seen, start: threading.Barrier = start) -> None:
            start.wait()
            seen.extend(store.stamps([mark]))

        threads = [threading.Thread(target=body) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 1 == len(set(seen))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_lock_that_is_held_during_a_fork_is_free_in_the_child() -> None:
    store = MemoryStore()
    taken, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with store._lock:
            taken.set()
            leave.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait()
    child = os.fork()
    if child == 0:
        try:
            store.set(value(1), b"x", None)
            os._exit(0)
        finally:
            os._exit(1)
    leave.set()
    holder.join()
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    store.set(value(2), b"x", None)
    assert store.get(value(2)) == b"x"
