"""
What every store must do, as a test class to inherit from.

Law: a check uses nothing but the methods of `Store`, keys of 33 bytes and the hooks below, and it can fail. Async
checks bring their own event loop, so no plugin is needed.

    class TestMine(StoreConformance):
        def make_store(self):
            return MyStore()
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any

from ..errors import StoreError
from ..stores.base import Store

__all__ = ["StoreConformance"]

_THREADS = 8
_ROUNDS = 40
_BINARY = bytes(range(256)) + b"\r\n$-1\r\n\x00\xff{}'\"%s"


def _key(kind: str = "v") -> bytes:
    return kind.encode() + os.urandom(32)


def _keys() -> tuple[bytes, bytes, bytes]:
    """Make the keys of value, lease and generation of one digest."""
    digest = os.urandom(32)
    return b"v" + digest, b"l" + digest, b"g" + digest


class StoreConformance:
    """Check one store; override `make_store`, and the other hooks where they fit better."""

    #: Seconds that one entry of the checks lives; shorter than a store can tell apart would make them fail.
    lifetime = 0.2

    def make_store(self) -> Store:
        """Return a new, empty store."""
        raise NotImplementedError

    def wait(self, seconds: float) -> None:
        """Let *seconds* pass for the store; override it where a fake clock does."""
        time.sleep(seconds)

    def break_store(self, store: Store) -> None:
        """Make *store* fail from now on; a store that cannot leaves this as it is."""
        raise NotImplementedError

    def pack(self, data: bytes) -> Any:
        """Return what the store keeps for *data*; override it where that is no bytes."""
        return data

    @cached_property
    def store(self) -> Store:
        # Made at its first use, so that fixtures of the subclass have run.
        return self.make_store()

    def teardown_method(self) -> None:
        if "store" in vars(self):
            self.store.close()

    def test_a_key_that_was_never_set_is_none(self) -> None:
        assert self.store.get(_key()) is None

    def test_what_was_set_comes_back(self) -> None:
        key, data = _key(), self.pack(b"answer")
        self.store.set(key, data, None)
        assert data == self.store.get(key)

    def test_the_last_write_wins(self) -> None:
        key, first, last = _key(), self.pack(b"a longer answer"), self.pack(b"short")
        self.store.set(key, first, 60)
        self.store.set(key, last, None)
        assert last == self.store.get(key)

    def test_bytes_of_all_kinds_come_back_as_they_were(self) -> None:
        for data in (_BINARY, os.urandom(100_000), b"\x00" * 10):
            key = _key()
            self.store.set(key, self.pack(data), None)
            assert self.pack(data) == self.store.get(key)

    def test_no_bytes_are_not_nothing(self) -> None:
        key, empty = _key(), self.pack(b"")
        self.store.set(key, empty, None)
        assert empty == self.store.get(key)
        assert [empty] == self.store.get_many([key])

    def test_a_digest_may_be_any_bytes(self) -> None:
        keys = [b"v" + bytes([byte]) * 32 for byte in (0, 10, 13, 32, 123, 125, 127, 128, 255)]
        for key in keys:
            self.store.set(key, self.pack(key), None)
        assert [self.pack(key) for key in keys] == self.store.get_many(keys)

    def test_digests_that_begin_alike_do_not_mix(self) -> None:
        start = os.urandom(16)
        keys = [b"v" + start + bytes([byte]) * 16 for byte in range(3)]
        self.store.set(keys[0], self.pack(b"0"), None)
        assert [self.pack(b"0"), None, None] == self.store.get_many(keys)
        self.store.delete(keys[1])
        assert self.pack(b"0") == self.store.get(keys[0])

    def test_sums_add_up_by_name_whoever_adds(self) -> None:
        key = _key("s")
        assert {} == self.store.sums(key)
        self.store.add(key, {"hits": 2, "größe": -1}, None)
        asyncio.run(self.store.aadd(key, {"hits": 3, "misses": 2**40}, None))
        assert {"hits": 5, "größe": -1, "misses": 2**40} == self.store.sums(key) == asyncio.run(self.store.asums(key))
        assert {} == self.store.sums(_key("s"))

    def test_sums_pass_and_begin_anew(self) -> None:
        key = _key("s")
        self.store.add(key, {"hits": 1}, self.lifetime)
        assert {"hits": 1} == self.store.sums(key)
        self.wait(1.5 * self.lifetime)
        self.store.add(key, {"hits": 5}, 60)
        assert {"hits": 5} == self.store.sums(key)

    def test_a_lifetime_passes(self) -> None:
        short, long, endless = _key(), _key(), _key()
        self.store.set(short, self.pack(b"short"), self.lifetime)
        self.store.set(long, self.pack(b"long"), 3600)
        self.store.set(endless, self.pack(b"endless"), None)
        assert self.pack(b"short") == self.store.get(short)
        self.wait(1.5 * self.lifetime)
        assert self.store.get(short) is None
        assert [None, self.pack(b"long"), self.pack(b"endless")] == self.store.get_many([short, long, endless])

    def test_a_write_without_lifetime_ends_the_old_one(self) -> None:
        key = _key()
        self.store.set(key, self.pack(b"short"), self.lifetime)
        self.store.set(key, self.pack(b"endless"), None)
        self.wait(1.5 * self.lifetime)
        assert self.pack(b"endless") == self.store.get(key)

    def test_a_very_long_lifetime_is_taken(self) -> None:
        key = _key()
        self.store.set(key, self.pack(b"old"), 1e15)
        assert self.pack(b"old") == self.store.get(key)

    def test_deleting_forgets_and_may_be_repeated(self) -> None:
        key, other = _key(), _key()
        self.store.set(key, self.pack(b"answer"), None)
        self.store.set(other, self.pack(b"other"), None)
        for _ in range(2):
            self.store.delete(key)
            assert self.store.get(key) is None
        assert self.pack(b"other") == self.store.get(other)

    def test_kinds_do_not_mix(self) -> None:
        digest = os.urandom(32)
        keys = [kind.encode() + digest for kind in "vtlg"]
        for key in keys:
            assert self.store.get(key) is None
            self.store.set(key, self.pack(key[:1] * 16), 60)
        assert [self.pack(key[:1] * 16) for key in keys] == self.store.get_many(keys)
        self.store.delete(keys[0])
        assert [None, *(self.pack(key[:1] * 16) for key in keys[1:])] == self.store.get_many(keys)

    def test_many_come_in_their_order_with_gaps(self) -> None:
        keys = [_key() for _ in range(40)]
        for key in keys[::2]:
            self.store.set(key, self.pack(key), None)
        expected = [self.pack(key) if place % 2 == 0 else None for place, key in enumerate(keys)]
        assert expected == self.store.get_many(keys)
        assert expected[::-1] == self.store.get_many(keys[::-1])
        assert [expected[0], expected[0], None] == self.store.get_many([keys[0], keys[0], keys[1]])
        assert [] == self.store.get_many([])

    def test_stamps_are_minted_once(self) -> None:
        keys = [_key("t"), _key("t")]
        first = self.store.stamps(keys[:1])
        both = self.store.stamps(keys)
        assert first == both[:1]
        assert both == self.store.stamps(keys)
        assert both == self.store.get_many(keys)
        assert [16, 16] == [len(stamp) for stamp in both]
        assert both[0] != both[1]

    def test_a_renewed_stamp_is_another(self) -> None:
        keys = [_key("t"), _key("t"), _key("t")]
        before = self.store.stamps(keys[:2])
        self.store.renew(keys[0])
        self.store.renew(keys[2])
        after = self.store.stamps(keys)
        assert before[0] != after[0]
        assert before[1] == after[1]
        assert 16 == len(after[0]) == len(after[2])

    def test_who_finds_nothing_may_take_a_free_place_in_the_same_step(self) -> None:
        reserve, areserve = self.store.reserve, lambda *about: asyncio.run(self.store.areserve(*about))
        for ask in (reserve, areserve):
            value, lease, generation = _keys()
            stamp, said = b"t" + value[1:], self.pack(b"stamp")
            self.store.set(stamp, said, None)
            able = self.store.reserves
            puts, theirs = ({lease: (data, 60.0), generation: (data, 60.0)} for data in (b"mine", b"theirs"))
            assert ([None, said], able) == ask((value, stamp), puts)
            assert [b"mine" if able else None] * 2 == self.store.get_many([lease, generation])
            assert ([None, said], False) == (ask((value, stamp), theirs) if able else ([None, said], False))
            self.store.delete(lease)
            self.store.set(value, self.pack(b"there"), 60)
            assert ([self.pack(b"there"), said], False) == ask((value, stamp), theirs)
            assert [None, b"mine" if able else None] == self.store.get_many([lease, generation])

    # Compare and set: for stores that can -----------------------------------------------------------------------------

    def test_what_is_as_expected_is_swapped_at_once(self) -> None:
        if not self._swaps():
            return
        value, lease, generation = _keys()
        assert self.store.swap({value: None, lease: None}, {lease: (b"mine", 60), generation: (b"one", None)}) is None
        assert [b"mine", b"one"] == self.store.get_many([lease, generation])
        assert self.store.swap({lease: b"mi", generation: b"one"}, {value: (b"x" * 100, 60), lease: None}) is None
        assert [b"x" * 100, None, b"one"] == self.store.get_many([value, lease, generation])

    def test_what_is_not_as_expected_is_told_and_nothing_is_written(self) -> None:
        if not self._swaps():
            return
        value, lease, generation = _keys()
        self.store.set(value, b"v" * 100, None)
        self.store.set(lease, b"theirs", 60)
        puts = {value: (b"new", None), lease: (b"mine", 60), generation: None}
        for expected in (
            {value: b"v", lease: b"mine", generation: None},
            {value: None, lease: b"theirs", generation: None},
            {value: b"v", lease: b"theirs", generation: b"one"},
        ):
            found = self.store.swap(expected, puts)
            assert found is not None
            assert [b"v" * 32, b"theirs", None] == [head.data for head in found]
            assert found[0].left is None
            assert 0 < (found[1].left or 0) <= 60
        assert [b"v" * 100, b"theirs", None] == self.store.get_many([value, lease, generation])

    def test_what_is_empty_counts_as_nothing_when_it_is_compared(self) -> None:
        if not self._swaps():
            return
        value, lease, _ = _keys()
        self.store.set(value, b"", 60)
        found = self.store.swap({value: b"x"}, {lease: (b"mine", 60)})
        assert [None] == [head.data for head in found or ()]
        assert self.store.swap({value: None}, {lease: (b"mine", 60)}) is None

    def test_a_swap_that_expects_nothing_is_an_order(self) -> None:
        if not self._swaps():
            return
        value, lease, generation = _keys()
        self.store.set(value, b"old", None)
        assert self.store.swap({}, {value: None, generation: (b"two", 60)}, news=lease) is None
        assert [None, b"two"] == self.store.get_many([value, generation])

    def test_a_lifetime_ends_what_was_swapped(self) -> None:
        if not self._swaps():
            return
        _, lease, _ = _keys()
        assert self.store.swap({lease: None}, {lease: (b"mine", self.lifetime)}) is None
        assert self.store.swap({lease: None}, {lease: (b"other", 60)}) is not None
        self.wait(2 * self.lifetime)
        assert self.store.swap({lease: None}, {lease: (b"other", 60)}) is None

    def test_of_threads_that_swap_at_once_one_wins(self) -> None:
        if not self._swaps():
            return
        _, lease, _ = _keys()
        won = self._together(lambda number: self.store.swap({lease: None}, {lease: (b"%d" % number, 60)}) is None)
        assert 1 == sum(won)
        assert b"%d" % won.index(True) == self.store.get(lease)

    def test_watchers_are_woken_where_news_come(self) -> None:
        if not self._swaps():
            return
        _, lease, _ = _keys()
        woken = threading.Event()
        told = self.store.watch(lease, woken.set)
        if told:
            assert woken.wait(10)  # once at the beginning
            woken.clear()
        self.store.swap({}, {lease: (b"mine", 60)}, news=lease)
        assert told == woken.wait(10 if told else 0)
        self.store.unwatch(lease, woken.set)

    def _swaps(self) -> bool:
        """Can this store compare and set? One that cannot says so."""
        if not self.store.swaps:
            try:
                self.store.swap({}, {})
            except StoreError:
                return False
            raise AssertionError("a store that swaps says so: swaps = True")
        return True

    def test_threads_agree_on_stamps(self) -> None:
        keys = [_key("t") for _ in range(4)]
        self._together(lambda _: self.store.stamps(keys))
        assert 1 == len(set(self._together(lambda _: tuple(self.store.stamps(keys)))))

    def test_threads_do_not_get_each_others_answers(self) -> None:
        shared = _key()

        def work(number: int) -> int:
            wrong = 0
            for turn in range(_ROUNDS):
                key, data = _key(), self.pack(b"%d/%d" % (number, turn))
                self.store.set(key, data, 60)
                self.store.set(shared, self.pack(shared), 60)
                wrong += [data, self.pack(shared), None] != self.store.get_many([key, shared, _key()])
                self.store.delete(key)
                wrong += self.store.get(key) is not None
            return wrong

        assert [0] * _THREADS == self._together(work)

    def test_both_colours_see_the_same(self) -> None:
        plain, other, mark = _key(), _key(), _key("t")

        async def work() -> list[Any]:
            await self.store.aset(other, self.pack(b"async"), None)
            both = [self.pack(b"sync"), self.pack(b"async")] == await self.store.aget_many([plain, other])
            stamps = await self.store.astamps([mark])
            await self.store.arenew(mark)
            await self.store.adelete(plain)
            return [both, stamps, await self.store.aget(plain), await self.store.aget(other)]

        self.store.set(plain, self.pack(b"sync"), None)
        before = self.store.stamps([mark])
        assert [True, before, None, self.pack(b"async")] == asyncio.run(work())
        assert before != self.store.stamps([mark])
        assert [None, self.pack(b"async")] == self.store.get_many([plain, other])

    def test_lifetimes_pass_in_async_code(self) -> None:
        key = _key()
        asyncio.run(self.store.aset(key, self.pack(b"short"), self.lifetime))
        self.wait(1.5 * self.lifetime)
        assert asyncio.run(self.store.aget(key)) is None

    def test_event_loops_may_follow_each_other(self) -> None:
        keys = [_key() for _ in range(20)]

        async def work() -> list[Any]:
            await asyncio.gather(*(self.store.aset(key, self.pack(key), 60) for key in keys))
            return await asyncio.gather(*(self.store.aget(key) for key in keys))

        for _ in range(2):
            assert [self.pack(key) for key in keys] == asyncio.run(work())

    def test_event_loops_may_run_side_by_side(self) -> None:
        async def work() -> int:
            wrong = 0
            for _ in range(_ROUNDS // 4):
                key = _key()
                await self.store.aset(key, self.pack(key), 60)
                wrong += self.pack(key) != await self.store.aget(key)
            return wrong

        assert [0] * _THREADS == self._together(lambda _: asyncio.run(work()))

    def test_a_log_gives_what_came_since(self) -> None:
        log, other = _key("n"), _key("n")
        assert (0, 0, []) == self.store.read(log, 0, 10)
        first, second, third = (self.pack(data) for data in (b"first", b"second", b"third"))
        for data in (first, second):
            self.store.append(log, data, 60, 10)
        self.store.append(other, self.pack(b"other"), None, 10)
        assert (2, 2, [first, second]) == self.store.read(log, 0, 10)
        self.store.append(log, third, None, 10)
        assert (3, 3, [third]) == self.store.read(log, 2, 10)
        assert (3, 3, []) == self.store.read(log, 3, 10)
        assert (2, 3, [second]) == self.store.read(log, 1, 1)
        assert (1, 1, [self.pack(b"other")]) == self.store.read(other, 0, 10)

    def test_a_log_keeps_its_newest_records_alone(self) -> None:
        log = _key("n")
        for number in range(5):
            self.store.append(log, self.pack(b"%d" % number), 60, 2)
        assert (5, 5, [self.pack(b"3"), self.pack(b"4")]) == self.store.read(log, 0, 10)

    def test_records_of_a_log_pass(self) -> None:
        log = _key("n")
        self.store.append(log, self.pack(b"short"), self.lifetime, 10)
        self.store.append(log, self.pack(b"long"), 3600, 10)
        self.wait(1.5 * self.lifetime)
        assert (2, 2, [self.pack(b"long")]) == self.store.read(log, 0, 10)

    def test_a_log_is_one_in_both_colours(self) -> None:
        log = _key("n")

        async def work() -> Any:
            await self.store.aappend(log, self.pack(b"async"), 60, 10)
            return await self.store.aread(log, 0, 10)

        self.store.append(log, self.pack(b"sync"), 60, 10)
        assert (2, 2, [self.pack(b"sync"), self.pack(b"async")]) == asyncio.run(work())

    def test_closing_twice_is_fine_and_using_it_again_as_well(self) -> None:
        key = _key()
        self.store.set(_key(), self.pack(b"before"), 60)
        for _ in range(2):
            self.store.close()
        self.store.set(key, self.pack(b"after"), 60)
        assert self.pack(b"after") == self.store.get(key)

    def test_closing_twice_is_fine_in_async_code_too(self) -> None:
        key = _key()

        async def work() -> Any:
            await self.store.aset(key, self.pack(b"before"), 60)
            for _ in range(2):
                await self.store.aclose()
            await self.store.aset(key, self.pack(b"after"), 60)
            answer = await self.store.aget(key)
            await self.store.aclose()
            return answer

        assert self.pack(b"after") == asyncio.run(work())

    def test_the_address_stays_and_time_goes_on(self) -> None:
        address, moment = self.store.address, self.store.now()
        self.wait(self.lifetime)
        assert address == self.store.address
        assert 0 < self.store.now() - moment

    def test_failures_are_store_errors(self) -> None:
        try:
            self.break_store(self.store)
        except NotImplementedError:
            return
        key, mark = _key(), _key("t")
        plain: list[Callable[[], Any]] = [
            lambda: self.store.get(key),
            lambda: self.store.get_many([key, mark]),
            lambda: self.store.set(key, self.pack(b"x"), 60),
            lambda: self.store.delete(key),
            lambda: self.store.stamps([mark]),
            lambda: self.store.renew(mark),
            lambda: self.store.append(key, self.pack(b"x"), 60, 10),
            lambda: self.store.read(key, 0, 10),
        ]
        asynchronous: list[Callable[[], Any]] = [
            lambda: asyncio.run(self.store.aget(key)),
            lambda: asyncio.run(self.store.aget_many([key, mark])),
            lambda: asyncio.run(self.store.aset(key, self.pack(b"x"), 60)),
            lambda: asyncio.run(self.store.adelete(key)),
            lambda: asyncio.run(self.store.astamps([mark])),
            lambda: asyncio.run(self.store.arenew(mark)),
            lambda: asyncio.run(self.store.aappend(key, self.pack(b"x"), 60, 10)),
            lambda: asyncio.run(self.store.aread(key, 0, 10)),
        ]
        assert ["StoreError"] * 16 == [_outcome(call) for call in plain + asynchronous]

    def _together(self, work: Callable[[int], Any]) -> list[Any]:
        """Run *work* in eight threads that start at the same moment, and return their results."""
        assert self.store is not None  # made here, where no two threads can make one each
        results: list[Any] = [None] * _THREADS
        start = threading.Barrier(_THREADS)

        def body(number: int) -> None:
            start.wait()
            try:
                results[number] = work(number)
            except BaseException as error:
                results[number] = error

        threads = [threading.Thread(target=body, args=(number,)) for number in range(_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results


def _outcome(call: Callable[[], Any]) -> str:
    try:
        call()
    except StoreError:
        return "StoreError"
    except Exception as error:
        return repr(error)
    return "no error"
