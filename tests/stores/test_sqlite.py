"""The store in a SQLite file: threads, processes, forks, kills, bounds, and files that are not what they should be."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aicached.errors import StoreError, StoreUnavailable, WriteRefused
from aicached.stores import sqlite_file
from aicached.stores.sqlite import SQLiteStore
from aicached.stores.sqlite_file import SQLiteFile
from aicached.testing.clock import FakeClock
from aicached.testing.conformance import StoreConformance

FORK = multiprocessing.get_context("fork") if hasattr(os, "fork") else multiprocessing.get_context()
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def value(name: int) -> bytes:
    return b"v" + random.Random(name).randbytes(32)


def kept(store: SQLiteStore, names: range) -> list[int]:
    """Tell which of *names* are there, by a look that uses none of them."""
    with sqlite3.connect(store.path) as connection:
        keys = {key for (key,) in connection.execute("select key from entry")}
    connection.close()
    return [name for name in names if value(name) in keys]


def sound(path: Path) -> bool:
    """Tell whether the file is intact and its totals are those of its rows."""
    connection = sqlite3.connect(path)
    try:
        (verdict,) = connection.execute("pragma integrity_check").fetchone()
        counted = connection.execute("select count(*), ifnull(sum(size), 0) from entry where used is not null")
        total = connection.execute("select entries, bytes from total")
        return (verdict, counted.fetchone()) == ("ok", total.fetchone())
    finally:
        connection.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "store.db"


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    store = SQLiteStore(path)
    yield store
    store.close()


class TestSQLiteStore(StoreConformance):
    @pytest.fixture(autouse=True)
    def places(self, path: Path) -> None:
        self.path = path
        self.clock = FakeClock()

    def make_store(self) -> SQLiteStore:
        return SQLiteStore(self.path, clock=self.clock)

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def break_store(self, store: SQLiteStore) -> None:
        store.path.parent.mkdir(parents=True, exist_ok=True)
        store.path.write_bytes(b"this is no database at all, but it is long enough to be looked at" * 100)


class TestBoundedSQLiteStore(TestSQLiteStore):
    def make_store(self) -> SQLiteStore:
        return SQLiteStore(self.path, clock=self.clock, max_bytes=2**30, max_entries=10**6)


def test_the_address_is_the_url_of_the_resolved_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert f"sqlite:///{tmp_path.resolve()}/a.db" == SQLiteStore("x/../a.db").address
    assert SQLiteStore(tmp_path / "a.db").address == SQLiteStore("a.db").address


def test_nothing_is_opened_before_the_first_use(path: Path) -> None:
    SQLiteStore(path).close()
    assert not path.parent.exists()


@pytest.mark.skipif(os.name == "nt", reason="needs permissions of POSIX")
def test_folder_and_files_are_for_their_owner_alone(store: SQLiteStore, path: Path) -> None:
    before = os.umask(0)
    try:
        store.set(value(1), b"x", None)
    finally:
        os.umask(before)
    modes = {place.name: stat.S_IMODE(place.stat().st_mode) for place in (path.parent, *path.parent.iterdir())}
    assert {"cache": 0o700, "store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600} == modes


@pytest.mark.skipif(os.name == "nt", reason="needs permissions of POSIX")
def test_a_folder_that_was_there_keeps_its_permissions(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    store = SQLiteStore(tmp_path / "store.db")
    store.set(value(1), b"x", None)
    store.close()
    assert 0o755 == stat.S_IMODE(tmp_path.stat().st_mode)


def test_it_is_a_write_ahead_log_that_reads_do_not_pin(store: SQLiteStore, path: Path) -> None:
    store.set(value(1), b"x", None)
    store.get_many([value(1), value(2)])
    connection = sqlite3.connect(path)
    try:
        assert "wal" == connection.execute("pragma journal_mode").fetchone()[0]
        assert 0 == connection.execute("pragma wal_checkpoint(truncate)").fetchone()[0]
    finally:
        connection.close()


def test_a_clash_of_numbers_is_a_miss(store: SQLiteStore) -> None:
    first, second = b"v" + b"same number" + bytes(21), b"v" + b"same number" + b"\xff" * 21
    store.set(first, b"first", None)
    assert [b"first", None] == store.get_many([first, second])
    store.delete(second)
    assert store.get(first) == b"first", "deleting a key must not delete the one it clashes with"
    store.set(second, b"second", None)
    assert [None, b"second"] == store.get_many([first, second])


def test_a_stamp_that_clashes_is_minted_all_the_same(store: SQLiteStore) -> None:
    first, second = b"t" + b"same number" + bytes(21), b"t" + b"same number" + b"\xff" * 21
    (old,) = store.stamps([first])
    (new,) = store.stamps([second])
    assert (16, True) == (len(new), new != old)
    assert [None, new] == store.get_many([first, second])


def test_what_is_written_survives_the_process(path: Path) -> None:
    code = f"""
from aicached.stores.sqlite import SQLiteStore
SQLiteStore({str(path)!r}).set({value(1)!r}, b"from elsewhere", 3600)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
    store = SQLiteStore(path)
    assert store.get(value(1)) == b"from elsewhere"
    store.close()


class TestBounds:
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def small(self, path: Path, clock: FakeClock) -> Iterator[SQLiteStore]:
        store = SQLiteStore(path, max_entries=3, max_bytes=100, clock=clock)
        yield store
        store.close()
        assert sound(path)

    def test_the_least_recently_used_entry_goes_first_though_the_clock_stands(self, small: SQLiteStore) -> None:
        for name in range(3):
            small.set(value(name), b"x", None)
        small.get(value(0))
        small.get_many([value(1), b"t" + bytes(32)])
        small.set(value(3), b"x", None)
        assert [0, 1, 3] == kept(small, range(4))

    def test_a_use_soon_after_a_write_is_noted_though_one_before_it_was(self, small: SQLiteStore) -> None:
        small.set(value(0), b"x", None)
        small.get(value(0))
        small.set(value(0), b"y", None)
        small.set(value(1), b"x", None)
        small.get(value(0))
        small.set(value(2), b"x", None)
        small.set(value(3), b"x", None)
        assert [0, 2, 3] == kept(small, range(4))

    def test_uses_are_noted_once_a_second(self, small: SQLiteStore, clock: FakeClock) -> None:
        small.set(value(0), b"x", None)
        for noted in (True, False, False):
            small._touched.clear()
            small.get(value(0))
            assert noted is bool(small._touched)
            clock.advance(0.3)
        clock.advance(0.5)
        small.get(value(0))
        assert small._touched

    def test_bytes_are_bounded_over_writes_overwrites_and_deletes(self, small: SQLiteStore) -> None:
        small.max_entries = None
        for name in range(10):
            small.set(value(name), bytes(20), None)
        assert [5, 6, 7, 8, 9] == kept(small, range(10))
        small.set(value(9), bytes(60), None)
        assert [7, 8, 9] == kept(small, range(10))
        small.delete(value(9))
        for name in range(20, 23):
            small.set(value(name), bytes(20), None)
        assert [7, 8, 20, 21, 22] == kept(small, range(30))

    def test_what_alone_is_too_big_is_not_kept_and_pushes_nothing_out(self, small: SQLiteStore) -> None:
        small.set(value(1), bytes(50), None)
        small.set(value(2), bytes(10), None)
        small.set(value(2), bytes(101), None)
        assert [None, bytes(50)] == small.get_many([value(2), value(1)])

    def test_stamps_do_not_count_and_are_not_pushed_out(self, small: SQLiteStore) -> None:
        marks = [b"t" + os.urandom(32) for _ in range(20)]
        stamps = small.stamps(marks)
        for name in range(5):
            small.set(value(name), bytes(30), None)
        assert stamps == small.stamps(marks)
        assert [2, 3, 4] == kept(small, range(5))

    def test_a_process_keeps_to_the_bound_whatever_others_write(self, small: SQLiteStore, clock: FakeClock) -> None:
        other = SQLiteStore(small.path, clock=clock)
        small.set(value(0), b"x", None)
        for name in range(1, 20):
            clock.advance(1)
            other.set(value(name), b"x", None)
        clock.advance(1)
        small.set(value(20), b"x", None)
        other.close()
        assert [18, 19, 20] == kept(small, range(21))

    def test_many_uses_are_put_into_the_file_behind(self, path: Path) -> None:
        store = SQLiteStore(path, max_entries=1000)
        for name in range(200):
            store.set(value(name), b"x", None)
        for name in range(150):
            store.get(value(name))
        deadline = time.monotonic() + 10
        while len(store._touched) > 64 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(store._touched) <= 64
        store.close()
        smaller = SQLiteStore(path, max_entries=150)
        smaller.set(value(200), b"x", None)
        smaller.close()
        assert set(range(150)) - set(kept(store, range(201))) == {0}

    def test_closing_puts_the_last_uses_into_the_file(self, small: SQLiteStore, clock: FakeClock) -> None:
        for name in range(3):
            small.set(value(name), b"x", None)
        small.get(value(0))
        small.close()
        clock.advance(1)
        other = SQLiteStore(small.path, max_entries=3, clock=clock)
        other.set(value(3), b"x", None)
        other.close()
        assert [0, 2, 3] == kept(small, range(4))

    def test_uses_that_cannot_be_put_into_the_file_do_not_pile_up(
        self, small: SQLiteStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        small.set(value(0), b"x", None)
        small.get(value(0))
        monkeypatch.setattr(small._file, "transaction", lambda: small._file.row("no statement", ()))
        small._flush()
        monkeypatch.undo()
        assert ({}, {}) == (small._touched, small._noted)

    def test_expired_rows_are_removed_now_and_then(self, path: Path) -> None:
        clock = FakeClock()
        store = SQLiteStore(path, clock=clock)
        for name in range(100):
            store.set(value(name), b"x", 10)
        clock.advance(11)
        for name in range(100, 400):  # as many as it takes to come round, wherever the first look was
            store.set(value(name), b"x", None)
        store.close()
        assert [] == kept(store, range(100))
        assert list(range(100, 400)) == kept(store, range(100, 400))

    def test_many_who_fill_a_file_at_once_stay_within_its_bound(self, path: Path, clock: FakeClock) -> None:
        stores = [SQLiteStore(path, max_entries=800, clock=clock) for _ in range(8)]
        names = iter(range(10_000))
        for store in (*stores, *[stores[0]] * 800, *stores[1:] * 12):
            store.set(value(next(names)), b"x", None)
        assert 800 <= len(stores[0].keys()) <= 840
        for store in stores:
            store.close()


class TestWhatWasReadBefore:
    """It is given again while nobody has committed since, and no longer."""

    @pytest.fixture
    def warm(self, path: Path) -> Iterator[SQLiteStore]:
        store = SQLiteStore(path)
        store.set(value(1), b"x", None)
        for _ in range(3):
            assert b"x" == store.get(value(1))
        yield store
        store.close()

    def test_another_connection_commits(self, warm: SQLiteStore) -> None:
        other = SQLiteStore(warm.path)
        other.set(value(1), b"y", None)
        assert [b"y"] * 3 == [warm.get(value(1)) for _ in range(3)]
        other.close()

    def test_its_own_writer_commits(self, warm: SQLiteStore) -> None:
        warm.delete(value(1))
        assert [None] * 3 == [warm.get(value(1)) for _ in range(3)]

    def test_its_connection_is_closed_by_another_thread_and_another_commits(self, warm: SQLiteStore) -> None:
        closing = threading.Thread(target=warm.close)
        closing.start()
        closing.join()
        other = SQLiteStore(warm.path)
        other.delete(value(1))
        assert [None] * 3 == [warm.get(value(1)) for _ in range(3)]
        other.close()

    def test_a_child_commits(self, warm: SQLiteStore) -> None:
        child = os.fork()
        if child == 0:
            try:
                warm.delete(value(1))
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert [None] * 3 == [warm.get(value(1)) for _ in range(3)]

    def test_it_expires(self, path: Path) -> None:
        clock = FakeClock()
        store = SQLiteStore(path, clock=clock)
        store.set(value(1), b"x", 10)
        assert [b"x"] * 3 == [store.get(value(1)) for _ in range(3)]
        clock.advance(10)
        assert [None] * 3 == [store.get(value(1)) for _ in range(3)]
        store.close()

    def test_what_is_not_there_takes_no_room_without_bound(self, warm: SQLiteStore) -> None:
        for name in range(50_000):
            for _ in range(2):
                warm.get(value(name))
        assert len(warm._file._local.link.rows._known) < 25_000  # type: ignore[union-attr]


class TestTrouble:
    def test_a_read_that_cannot_have_the_file_gives_up_soon(self, path: Path) -> None:
        store = SQLiteStore(path, timeout=5)
        store.set(value(1), b"x", None)
        store.close()
        other = sqlite3.connect(path, isolation_level=None)
        # With a log, nothing keeps readers out; so do without.
        other.execute("pragma journal_mode = delete")
        assert store.get(value(1)) == b"x"
        other.execute("begin exclusive")
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="locked"):
            store.get(value(1))
        assert time.monotonic() - began < 5 / 3
        other.execute("rollback")
        other.close()
        assert store.get(value(1)) == b"x"
        store.close()

    def test_opening_waits_for_another_process_and_then_gives_up(self, path: Path) -> None:
        store = SQLiteStore(path, timeout=0.3)
        store.set(value(1), b"x", None)
        store.close()
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("pragma locking_mode = exclusive")
        other.execute("begin exclusive")
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="locked"):
            store.get(value(1))
        assert 0.1 < time.monotonic() - began < 1.8
        store._file.timeout = 20
        release = threading.Timer(0.1, other.close)
        release.start()
        assert store.get(value(1)) == b"x"
        release.join()
        store.close()

    def test_opening_is_tried_again_where_sqlite_does_not_wait(
        self, store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of processes that make the file at the same moment, some are told at once that it is locked."""
        prepare, tries = sqlite_file._prepare, []

        def locked_twice(connection: sqlite3.Connection, patience: float) -> None:
            tries.append(1)
            if len(tries) <= 2:
                raise sqlite3.OperationalError("database is locked")
            prepare(connection, patience)

        monkeypatch.setattr(sqlite_file, "_prepare", locked_twice)
        store._file.timeout = 20
        assert store.get(value(1)) is None
        assert 3 == len(tries)

    @pytest.mark.parametrize("asynchronous", [False, True])
    def test_a_write_waits_for_another_process_and_then_gives_up(self, asynchronous: bool, path: Path) -> None:
        store = SQLiteStore(path, timeout=0.3)
        store.set(value(1), b"old", None)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("begin immediate")

        def write(data: bytes) -> None:
            if asynchronous:
                asyncio.run(store.aset(value(1), data, None))
            else:
                store.set(value(1), data, None)

        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="locked"):
            write(b"lost")
        assert 0.1 < time.monotonic() - began < 0.9
        assert store.get(value(1)) == b"old", "reads go on beside a writer"
        other.execute("rollback")
        other.close()
        write(b"new")
        assert store.get(value(1)) == b"new"
        store.close()

    @pytest.mark.parametrize("content", [b"no database" * 1000, b"SQLite format 3\x00" + b"\xff" * 5000])
    def test_a_file_that_is_no_database_is_named_and_left_alone(self, content: bytes, path: Path) -> None:
        path.parent.mkdir()
        path.write_bytes(content)
        store = SQLiteStore(path)
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match=r"store\.db: .*; move the file away"):
                store.get(value(1))
            with pytest.raises(StoreUnavailable, match=r"store\.db: .*; move the file away"):
                store.set(value(1), b"x", None)
        assert content == path.read_bytes()
        path.unlink()
        store.set(value(1), b"x", None)
        assert store.get(value(1)) == b"x", "once it is out of the way, the store works"
        store.close()

    @pytest.mark.parametrize("folder", ["unlocked", "fullstack", "readonly"])
    def test_a_path_is_not_taken_for_words_of_sqlite(self, folder: str, tmp_path: Path) -> None:
        path = tmp_path / folder / "store.db"
        path.parent.mkdir()
        path.write_bytes(b"no database" * 1000)
        with pytest.raises(StoreUnavailable, match="move the file away"):
            SQLiteStore(path).get(value(1))

    def test_a_file_of_another_format_is_left_alone(self, path: Path) -> None:
        path.parent.mkdir()
        connection = sqlite3.connect(path)
        connection.execute("pragma user_version = 77")
        connection.close()
        with pytest.raises(StoreUnavailable, match="format 77"):
            SQLiteStore(path).get(value(1))

    def test_a_place_that_cannot_be_written_to_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        store = SQLiteStore(tmp_path / "file" / "store.db")
        with pytest.raises(StoreUnavailable, match=r"store\.db"):
            store.set(value(1), b"x", None)
        with pytest.raises(StoreUnavailable):
            SQLiteStore(tmp_path).get(value(1))

    def test_a_full_disk_refuses_writes_and_reads_go_on(self, store: SQLiteStore) -> None:
        store.set(value(1), b"x", None)
        assert store._file._writer is not None
        store._file._writer.run("pragma max_page_count = 1")
        with pytest.raises(WriteRefused, match="full"):
            store.set(value(2), bytes(100_000), None)
        assert [b"x", None] == store.get_many([value(1), value(2)])
        store._file._writer.run("pragma max_page_count = 1000000")
        store.set(value(2), b"y", None)
        assert store.get(value(2)) == b"y"

    def test_what_cannot_be_bound_is_a_store_error_and_no_half_a_write(self, store: SQLiteStore) -> None:
        store.set(value(1), b"x", None)
        with pytest.raises(StoreError):
            store.set(value(1), [object()], None)
        assert store.get(value(1)) == b"x"
        store.set(value(1), b"y", None)
        assert store.get(value(1)) == b"y"

    def test_a_deleted_file_is_made_anew(self, store: SQLiteStore, path: Path) -> None:
        store.set(value(1), b"x", None)
        assert store.get(value(1)) == b"x"
        for place in path.parent.iterdir():
            place.unlink()
        path.parent.rmdir()
        assert store.get(value(1)) == b"x"
        store.set(value(2), b"y", None)
        assert [None, b"y"] == store.get_many([value(1), value(2)])
        assert [2] == kept(store, range(3))


class TestThreads:
    def test_connections_end_with_their_threads(self, store: SQLiteStore) -> None:
        store.set(value(1), b"x", None)
        for _ in range(50):
            thread = threading.Thread(target=store.get, args=(value(1),))
            thread.start()
            thread.join()
        gc.collect()
        assert len(list(store._file._links)) == 1

    def test_closing_closes_the_connections_of_threads_that_live_on(self, store: SQLiteStore, path: Path) -> None:
        store.set(value(1), b"x", None)
        answers, go, done = [], threading.Semaphore(0), threading.Semaphore(0)

        def body() -> None:
            for _ in range(2):
                answers.append(store.get(value(1)))
                done.release()
                go.acquire()

        thread = threading.Thread(target=body)
        thread.start()
        done.acquire()
        store.close()
        # The last connection takes the log with it.
        assert ["store.db"] == [place.name for place in path.parent.iterdir()]
        go.release()
        done.acquire()
        go.release()
        thread.join()
        assert [b"x", b"x"] == answers

    def test_closing_in_the_middle_of_everything_harms_nobody(self, path: Path) -> None:
        store, errors, done = SQLiteStore(path, max_entries=50), [], time.monotonic() + 1.0

        def body(number: int) -> None:
            try:
                while time.monotonic() < done:
                    if number == 0:
                        store.close()
                    else:
                        store.set(value(number), b"%d" % number, None)
                        assert [b"%d" % number, None] == store.get_many([value(number), value(1000)])
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=body, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        store.close()
        assert [] == errors
        assert sound(path)

    def test_async_writes_come_from_one_thread_and_reads_from_the_loop(
        self, store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        threads: dict[str, set[str]] = {"read": set(), "write": set()}
        file, row, transaction = store._file, store._file.row, store._file.transaction
        monkeypatch.setattr(
            file, "row", lambda *args: (threads["read"].add(threading.current_thread().name), row(*args))[1]
        )
        monkeypatch.setattr(
            file, "transaction", lambda: (threads["write"].add(threading.current_thread().name), transaction())[1]
        )

        async def work() -> None:
            await asyncio.gather(*(store.aset(value(name), b"x", None) for name in range(20)))
            await store.astamps([b"t" + bytes(32)])
            await store.arenew(b"t" + bytes(32))
            await store.adelete(value(3))
            assert [b"x", None] == await store.aget_many([value(1), value(3)])

        asyncio.run(work())
        assert {threading.current_thread().name} == threads["read"]
        assert 1 == len(threads["write"])
        assert threads["read"] != threads["write"]

    def test_a_write_that_was_awaited_is_in_the_file(self, store: SQLiteStore) -> None:
        asyncio.run(store.aset(value(1), b"x", None))
        assert [1] == kept(store, range(3))


def _write_and_read(path: Path, number: int, turns: int) -> int:
    """Write own keys and shared ones; return how many reads were wrong."""
    store, wrong = SQLiteStore(path, max_entries=400, timeout=20), 0
    for turn in range(turns):
        own, shared = value(1000 * number + 1000 + turn), value(turn % 50)
        store.set(own, b"%d/%d" % (number, turn), 3600)
        store.set(shared, b"shared %d" % (turn % 50), 3600)
        found = store.get_many([own, shared])
        wrong += found[0] not in (None, b"%d/%d" % (number, turn))
        wrong += found[1] not in (None, b"shared %d" % (turn % 50))
    store.close()
    return wrong


def _write_for_ever(path: Path) -> None:
    store = SQLiteStore(path, max_entries=100, timeout=20)
    for name in range(1_000_000):
        store.set(value(name % 300), os.urandom(5000), 3600)


def _stamp(path: Path, marks: list[bytes]) -> list[bytes]:
    return SQLiteStore(path, timeout=20).stamps(marks)


class TestProcesses:
    def test_eight_at_once_from_the_first_moment(self, path: Path) -> None:
        with FORK.Pool(8) as pool:
            wrong = pool.starmap(_write_and_read, [(path, number, 150) for number in range(8)], chunksize=1)
        assert [0] * 8 == wrong
        assert sound(path)

    def test_all_see_the_stamps_of_the_first(self, path: Path) -> None:
        marks = [b"t" + os.urandom(32) for _ in range(5)]
        with FORK.Pool(8) as pool:
            seen = pool.starmap(_stamp, [(path, marks)] * 8, chunksize=1)
        assert 1 == len({tuple(stamps) for stamps in seen})

    def test_a_writer_killed_at_any_moment_damages_nothing(self, path: Path) -> None:
        store = SQLiteStore(path, timeout=20)
        store.set(value(-1), b"mine", None)
        for turn in range(8):
            writer = FORK.Process(target=_write_for_ever, args=(path,))
            writer.start()
            time.sleep(0.05 + 0.013 * turn)
            os.kill(writer.pid or 0, signal.SIGKILL)
            writer.join()
            writer.close()
            store.set(value(-2), b"turn %d" % turn, None)
            assert store.get(value(-2)) == b"turn %d" % turn
        store.close()
        assert sound(path)

    def test_a_read_in_the_middle_of_a_read_takes_nothing_from_it(self, path: Path) -> None:
        """From Python 3.12 on, a finalizer may run between a statement and the fetching of its row."""
        store = SQLiteStore(path, timeout=20)
        store.set(value(1), b"one", None)
        store.set(value(2), b"two", None)
        assert store.get(value(3)) is None
        link: Any = store._file._local.link
        run, inside = link.run, list[Any]()

        def interrupted(*args: Any) -> Any:
            cursor, link.run = run(*args), run
            inside.append(store.get(value(2)))
            return cursor

        link.run = interrupted
        assert b"one" == store.get(value(1))
        assert [b"two"] == inside
        store.close()

    def test_no_connection_is_closed_before_its_first_use(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """One fork closes a reader's connection, and the next one, right behind it, would close what he then opens."""
        store = SQLiteStore(path, timeout=20)
        store.set(value(1), b"one", None)
        closing: list[threading.Thread] = []
        opened = SQLiteFile._open

        def close_what_is_opened(file: SQLiteFile, *args: Any, **kwargs: Any) -> Any:
            link = opened(file, *args, **kwargs)
            closing.append(threading.Thread(target=store.close))
            closing[-1].start()
            closing[-1].join(0.1)
            return link

        monkeypatch.setattr(SQLiteFile, "_open", close_what_is_opened)
        assert store.get(value(1)) == b"one"
        assert 1 == len(closing)
        closing[0].join()

    @needs_fork
    def test_no_connection_crosses_a_fork(self, path: Path) -> None:
        """The parent, with threads, goes on; the child opens its own; neither deletes the other's log."""
        store = SQLiteStore(path, timeout=20)
        store.set(value(1), b"parent", None)
        stop = threading.Event()
        errors: list[BaseException] = []

        def busy() -> None:
            try:
                while not stop.is_set():
                    assert store.get(value(1)) == b"parent"
                    store.set(value(2), b"busy", None)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=busy) for _ in range(3)]
        for thread in threads:
            thread.start()
        children = []
        for number in range(10, 20):
            child = os.fork()
            if child == 0:
                try:
                    assert store.get(value(1)) == b"parent"
                    store.set(value(number), b"child", None)
                    asyncio.run(store.aset(value(number + 100), b"child", None))
                    assert [b"child"] * 2 == store.get_many([value(number), value(number + 100)])
                    store.close()
                    os._exit(0)
                finally:
                    os._exit(1)
            children.append(child)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        stop.set()
        for thread in threads:
            thread.join()
        assert [0] * 10 == codes
        assert [] == errors
        store.close()
        assert list(range(10, 20)) == kept(store, range(10, 20))
        assert list(range(110, 120)) == kept(store, range(110, 120))
        assert sound(path)

    @needs_fork
    def test_what_a_child_writes_outlives_the_parents_closing(self, path: Path) -> None:
        """SQLite counts locks per process: a child that trusted inherited ones would lose its log here."""
        store = SQLiteStore(path, timeout=20)
        store.set(value(1), b"parent", None)
        go_read, go_write = os.pipe()
        ready_read, ready_write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                store.set(value(2), b"before", None)
                os.write(ready_write, b"x")
                os.read(go_read, 1)
                store.set(value(3), b"after", None)
                os._exit(0)
            finally:
                os._exit(1)
        os.read(ready_read, 1)
        store.close()
        os.write(go_write, b"x")
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        for end in (go_read, go_write, ready_read, ready_write):
            os.close(end)
        assert [b"parent", b"before", b"after"] == store.get_many([value(1), value(2), value(3)])
        store.close()
        assert sound(path)


class TestPartitions:
    def test_each_has_bounds_of_its_own(self, path: Path) -> None:
        stores = [SQLiteStore(path, max_entries=bound, partition=bytes([bound or 1]) * 32) for bound in (5, None, 3)]
        for store, first in zip(stores, (0, 100, 200), strict=True):
            for n in range(10):
                store.set(value(first + n), b"x", None)
        there = [sum(stores[0].get(value(first + n)) is not None for n in range(10)) for first in (0, 100, 200)]
        assert [5, 10, 3] == there
        for store in stores:
            store.close()

    def test_a_value_that_changes_its_partition_counts_in_the_new_one_alone(self, path: Path) -> None:
        one, other = (SQLiteStore(path, max_entries=2, partition=bytes([n]) * 32) for n in (1, 2))
        for n in range(2):
            one.set(value(n), b"x", None)
            other.set(value(n), b"y", None)
        one.set(value(2), b"x", None)
        one.set(value(3), b"x", None)
        assert [b"y", b"y", b"x", b"x"] == one.get_many([value(n) for n in range(4)])
        one.close()
        other.close()

    def test_a_file_of_the_first_format_is_emptied(self, path: Path) -> None:
        path.parent.mkdir()
        connection = sqlite3.connect(path)
        connection.executescript(
            "create table entry(id integer primary key, key blob); create table total(id integer primary key);"
            "insert into total values(1); pragma user_version = 1;"
        )
        connection.close()
        store = SQLiteStore(path, max_entries=2)
        store.set(value(1), b"x", None)
        assert b"x" == store.get(value(1))
        store.close()
