"""
The embedded default: one SQLite file, shared by all threads and processes of a machine.

Law: a read waits 50 ms at most and a write about as long as the time-out, and no error of sqlite3 gets out. A row's
number is only a part of its key, so the whole key is compared: a clash is a miss, never a wrong answer. No connection
is ever in two processes: all are closed before a fork, as SQLite's locks are its process's and are not inherited.
"""

from __future__ import annotations

import asyncio
import atexit
import math
import os
import sqlite3
import struct
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from ..errors import StoreError, StoreUnavailable, WriteRefused
from .base import Store

__all__ = ["SQLiteStore"]

_Result = TypeVar("_Result")
_VALUE = ord("v")
_READ_PATIENCE = 0.05
_AT_ONCE = 8  # keys per select
_TOUCHES = 64  # last uses that are noted in one transaction
_SWEEP_EVERY, _SWEEP_ROWS = 64, 256
_STAMP_BYTES = 16
_FORMAT = 1

# `used` is null where the bounds do not count. The totals are kept by triggers, so they hold for all processes alike
# and a write need not count rows.
_SCHEMA = f"""
begin immediate;
create table if not exists entry(
    id integer primary key, key blob not null, gone real not null, used real, size integer not null, data blob not null
);
create index if not exists entry_used on entry(used, size) where used is not null;
create index if not exists entry_gone on entry(gone) where gone < 9e999;
create table if not exists total(id integer primary key, entries integer not null, bytes integer not null);
insert or ignore into total values(1, 0, 0);
create trigger if not exists entry_added after insert on entry when new.used is not null begin
    update total set entries = entries + 1, bytes = bytes + new.size;
end;
create trigger if not exists entry_removed after delete on entry when old.used is not null begin
    update total set entries = entries - 1, bytes = bytes - old.size;
end;
create trigger if not exists entry_changed after update of size on entry begin
    update total set
        entries = entries + (new.used is not null) - (old.used is not null),
        bytes = bytes + (new.used is not null) * new.size - (old.used is not null) * old.size;
end;
pragma user_version = {_FORMAT};
commit;
"""
_UPSERT = """insert into entry values(?, ?, ?, ?, ?, ?) on conflict(id) do update set
    key = excluded.key, gone = excluded.gone, used = excluded.used, size = excluded.size, data = excluded.data"""
_MINT = _UPSERT + " where entry.key <> excluded.key or entry.gone <= ?"
_DELETE = "delete from entry where id = ? and key = ?"
_TOUCH = "update entry set used = ? where id = ? and used < ?"
_OLDEST = "select id, size from entry where used is not null order by used"
_SWEEP = f"""delete from entry where id in
    (select id from entry where gone < 9e999 and gone <= ? limit {_SWEEP_ROWS})"""


def _selecting(count: int) -> str:
    """Write the statement that reads *count* rows as one: outer joins are quicker than sub-selects or ``in``."""
    places = range(count)
    columns = ", ".join(f"e{place}.{column}" for column in ("key", "data") for place in places)
    joins = (f"left join entry e{place} on e{place}.id = ?{place + 2} and e{place}.gone > ?1" for place in places)
    return f"select {columns} from (select 1) {' '.join(joins)}"


# A row's number is the first 8 bytes of its key: kind and digest. So the rows of one kind lie together, and the few
# stamps on few pages.
_NUMBERS = [struct.Struct(">" + "q25x" * count).unpack for count in range(_AT_ONCE + 1)]
_SELECT = ["", *(_selecting(count) for count in range(1, _AT_ONCE + 1))]


def _number(key: bytes) -> int:
    number: int = _NUMBERS[1](key)[0]
    return number


class _Link:
    """Hold one connection: closed by `close`, or with the thread that held it."""

    __slots__ = ("__weakref__", "_connection", "file", "lock", "run")

    def __init__(self, connection: sqlite3.Connection, file: tuple[int, int] | None) -> None:
        self._connection = connection
        self.file = file
        self.run: Callable[..., sqlite3.Cursor] = connection.cursor().execute
        # Held while a statement runs, as closing a connection in the middle of one crashes. Re-entrant, as a
        # finalizer may read in the middle of a read.
        self.lock = threading.RLock()

    def close(self) -> None:
        if self.lock.acquire(timeout=1):
            try:
                self._connection.close()
            finally:
                self.lock.release()

    def __del__(self) -> None:
        with suppress(sqlite3.Error):
            self._connection.close()


class _Local(threading.local):
    link: _Link | None = None


class SQLiteStore(Store):
    """
    Keep bytes in the SQLite file at *path*, made with its folder if it is not there.

    Args:
        path: of the file; relative to the present working directory.
        max_bytes: bound on the lengths of all values together; None = no bound.
        max_entries: bound on the number of values; None = no bound.
        timeout: seconds that a write, or opening the file, waits for other processes.
    """

    reads_inline = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_bytes: int | None = None,
        max_entries: int | None = None,
        timeout: float = 0.25,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(clock=clock)
        self.path = Path(path).resolve()
        self.max_bytes, self.max_entries, self.timeout = max_bytes, max_entries, timeout
        self._bounded = max_bytes is not None or max_entries is not None
        self._touched: dict[int, float] = {}  # last uses that are not in the file yet
        self._noted: dict[int, float] = {}  # when a last use was noted
        self._moment = 0.0
        self._writes = 0
        self._begin()
        _stores.add(self)

    def _begin(self) -> None:
        self._local = _Local()
        self._links: weakref.WeakSet[_Link] = weakref.WeakSet()
        self._writer: _Link | None = None
        self._opening = threading.Lock()
        # Not re-entrant: a finalizer that writes in the middle of a write must not end its transaction. It waits for
        # the time-out and fails.
        self._writing = threading.Lock()
        self._held: list[threading.Lock] = []

    @property
    def address(self) -> str:
        return f"sqlite:///{self.path}"

    def get(self, key: bytes) -> Any:
        return self.get_many((key,))[0]

    def get_many(self, keys: Sequence[bytes]) -> list[Any]:
        if not 0 < len(keys) <= _AT_ONCE:
            parts = (keys[start : start + _AT_ONCE] for start in range(0, len(keys), _AT_ONCE))
            return [data for part in parts for data in self.get_many(part)]
        now = self.clock()
        count, names = len(keys), tuple(keys)
        numbers = _NUMBERS[count](b"".join(keys))
        row = self._row(_SELECT[count], (now, *numbers))
        found = list(row[count:])
        if row[:count] != names:
            found = [data if row[place] == names[place] else None for place, data in enumerate(found)]
        if self._bounded:
            for place, key in enumerate(keys):
                if key[0] == _VALUE and found[place] is not None:
                    self._note(numbers[place], now)
        return found

    def set(self, key: bytes, data: Any, lifetime: float | None) -> None:
        now, number = self.clock(), _number(key)
        gone = math.inf if lifetime is None else now + lifetime
        used = self._tick(now) if key[0] == _VALUE else None
        with self._transaction() as run:
            if used is not None and self.max_bytes is not None and len(data) > self.max_bytes:
                run(_DELETE, (number, key))
            else:
                run(_UPSERT, (number, key, gone, used, len(data), data))
            if used is not None and self._bounded:
                self._noted.pop(number, None)
                self._shrink(run)
            self._sweep(run, now)

    def delete(self, key: bytes) -> None:
        with self._transaction() as run:
            run(_DELETE, (_number(key), key))

    def stamps(self, keys: Sequence[bytes]) -> list[bytes]:
        found = self.get_many(keys)
        if None in found:
            self._mint(keys)
            found = self._minted(self.get_many(keys))
        return found

    def close(self) -> None:
        self._flush()
        for lock in self._halt():
            lock.release()

    async def aget(self, key: bytes) -> Any:
        # In the loop: a read takes 5 µs, a thread to do it 100.
        return self.get(key)

    async def aget_many(self, keys: Sequence[bytes]) -> list[Any]:
        return self.get_many(keys)

    async def astamps(self, keys: Sequence[bytes]) -> list[bytes]:
        found = self.get_many(keys)
        if None in found:
            await self._apart(self._mint, keys)
            found = self._minted(self.get_many(keys))
        return found

    def fork_begins(self) -> None:
        self._held = self._halt()

    def fork_ends(self, child: bool) -> None:
        held = self._held
        if child:
            # What could not be closed in time is kept for ever: closing it here would drop the parent's locks.
            _inherited.extend(self._links)
            self._begin()
        for lock in held:
            lock.release()

    async def _apart(self, method: Callable[..., _Result], *args: Any) -> _Result:
        try:
            done = asyncio.get_running_loop().run_in_executor(_writer_thread(), method, *args)
        except RuntimeError:  # the interpreter is shutting down and starts no thread any more
            return method(*args)
        return await done

    def _row(self, sql: str, values: tuple[Any, ...]) -> Any:
        link = self._local.link or self._open_reader()
        try:
            try:
                with link.lock:
                    return link.run(sql, values).fetchone()
            except sqlite3.ProgrammingError:
                # Closed by another thread; or a finalizer reads in the middle of a read, on the same cursor.
                link = self._open_reader()
                with link.lock:
                    return link.run(sql, values).fetchone()
        except sqlite3.Error as error:
            raise self._failure(error, link) from error

    def _open_reader(self) -> _Link:
        self._local.link = link = self._open(_READ_PATIENCE)
        return link

    def _open(self, patience: float) -> _Link:
        if not self._opening.acquire(timeout=self.timeout):
            raise StoreUnavailable(f"{self.address}: opening it takes too long")
        try:
            link = _Link(_connect(self.path, self.timeout, patience), _identity(self.path))
            self._links.add(link)
            return link
        except (sqlite3.Error, OSError) as error:
            raise self._failure(error) from error
        finally:
            self._opening.release()

    @contextmanager
    def _transaction(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        if not self._writing.acquire(timeout=self.timeout):
            raise StoreUnavailable(f"{self.address}: other writes of this process take too long")
        try:
            link = self._writer = self._present_writer() or self._open(self.timeout)
            try:
                link.run("begin immediate")
                yield link.run
                link.run("commit")
            except BaseException as error:
                with suppress(sqlite3.Error):  # where begin itself has failed
                    link.run("rollback")
                if isinstance(error, sqlite3.Error):
                    raise self._failure(error, link) from error
                raise
        finally:
            self._writing.release()

    def _present_writer(self) -> _Link | None:
        """Give the open connection, unless its file was deleted: SQLite would go on without it, and see nobody else."""
        deleted = self._writer is not None and self._writer.file != _identity(self.path)
        if deleted and self._opening.acquire(timeout=self.timeout):
            try:
                self._close_links()
            finally:
                self._opening.release()
        return self._writer

    def _failure(self, error: Exception, link: _Link | None = None) -> StoreError:
        """Say in the words of a store what *error* means; a *link* that is no good any more is closed."""
        text = f"{self.address}: {error}"
        if "locked" in text:
            return StoreUnavailable(text)
        if "full" in text:
            return WriteRefused(text)
        if link is not None:
            # The file may have been deleted, replaced or repaired: the next call opens what is there then.
            link.close()
            self._writer = None if link is self._writer else self._writer
        if "readonly" in text:
            return WriteRefused(text)
        if isinstance(error, sqlite3.OperationalError | OSError):
            return StoreUnavailable(text)
        if type(error) is sqlite3.DatabaseError:
            return StoreUnavailable(f"{text}; move the file away, and a new one is made")
        return StoreError(text)

    def _mint(self, keys: Sequence[bytes]) -> None:
        with self._transaction() as run:
            for key in keys:
                fresh = (_number(key), key, math.inf, None, _STAMP_BYTES, os.urandom(_STAMP_BYTES))
                run(_MINT, (*fresh, self.clock()))

    def _tick(self, now: float) -> float:
        """Make a moment later than all before it, so that the order of uses shows even where the clock stands."""
        self._moment = moment = max(now, self._moment + 1e-6)
        return moment

    def _note(self, number: int, now: float) -> None:
        last = self._noted.get(number)
        if last is not None and now - last < 1:
            return
        self._noted[number] = now
        self._touched[number] = self._tick(now)
        if len(self._touched) % _TOUCHES == 0:
            with suppress(RuntimeError):  # the interpreter is shutting down: `close` will do it
                _writer_thread().submit(self._flush)

    def _flush(self) -> None:
        if not self._touched:
            return
        try:
            with self._transaction() as run:
                self._settle(run)
        except StoreError:
            self._touched.clear()  # it costs a better choice of what goes first, no more

    def _settle(self, run: Callable[..., sqlite3.Cursor]) -> None:
        now = self.clock()
        self._noted = {number: at for number, at in self._noted.copy().items() if now - at < 1}
        with suppress(KeyError):
            while True:
                # One at a time, as readers add to the same dictionary meanwhile.
                number, used = self._touched.popitem()
                run(_TOUCH, (used, number, used))

    def _shrink(self, run: Callable[..., sqlite3.Cursor]) -> None:
        self._settle(run)
        entries, size = run("select entries, bytes from total").fetchone()
        victims: list[int] = []
        if self._crowded(entries, size):
            for number, length in run(_OLDEST):
                victims.append(number)
                entries, size = entries - 1, size - length
                if not self._crowded(entries, size):
                    break
        for number in victims:
            run("delete from entry where id = ?", (number,))

    def _crowded(self, entries: int, size: int) -> bool:
        return (self.max_entries is not None and entries > self.max_entries) or (
            self.max_bytes is not None and size > self.max_bytes
        )

    def _sweep(self, run: Callable[..., sqlite3.Cursor], now: float) -> None:
        self._writes += 1
        if self._writes % _SWEEP_EVERY == 0:
            run(_SWEEP, (now,))

    def _halt(self) -> list[threading.Lock]:
        """Close every connection, and return the locks that keep new ones from being opened."""
        held = [lock for lock in (self._writing, self._opening) if lock.acquire(timeout=1)]
        if len(held) == 2:
            self._close_links()
        return held

    def _close_links(self) -> None:
        """Close every connection; the threads that held them find out, and open new ones."""
        for link in list(self._links):
            link.close()
        self._writer = None


def _connect(path: Path, timeout: float, patience: float) -> sqlite3.Connection:
    """Open the file within *timeout* seconds; statements will wait *patience* seconds for its locks."""
    deadline = time.monotonic() + timeout
    while True:
        _create(path)
        connection = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection, patience)
            return connection
        except BaseException as error:
            connection.close()
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.005)  # SQLite itself does not wait where the journal's mode is changed


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _create(path: Path) -> None:
    """Make the file for its owner alone; SQLite gives the same permissions to those beside it."""
    path.parent.parent.mkdir(parents=True, exist_ok=True)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    # Only where it is not there: closing a second descriptor of a file drops all locks this process has on it.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _prepare(connection: sqlite3.Connection, patience: float) -> None:
    (version,) = connection.execute("pragma user_version").fetchone()
    if version == 0:
        connection.execute("pragma journal_mode = wal")
        connection.executescript(_SCHEMA)
    elif version != _FORMAT:
        raise sqlite3.DatabaseError(f"the file has format {version}, not {_FORMAT}")
    connection.execute("pragma synchronous = normal")
    connection.execute(f"pragma busy_timeout = {round(patience * 1000)}")


@atexit.register
def _close_all() -> None:
    """Put last uses into the files, and close them, before the interpreter takes its modules apart."""
    for store in list(_stores):
        store.close()


_inherited: list[_Link] = []
_stores: weakref.WeakSet[SQLiteStore] = weakref.WeakSet()
_thread: ThreadPoolExecutor | None = None


def _writer_thread() -> ThreadPoolExecutor:
    """Give the one thread that writes for all event loops of this process."""
    global _thread
    if _thread is None:
        # Two threads that get here at once may make two: the other one ends with its last write.
        _thread = ThreadPoolExecutor(1, thread_name_prefix="aicached-sqlite")
    return _thread


def _forget_thread() -> None:
    global _thread
    _thread = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_thread)
