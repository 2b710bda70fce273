"""
A SQLite file that outlives whoever opens it: connections by thread, time-outs, forks, files that were deleted.

Law: no error of sqlite3 gets out. No connection is ever in two processes: all are closed before a fork, as SQLite's
locks are its process's and are not inherited. No connection is closed in the middle of a statement, which crashes.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

from ..errors import StoreError, StoreUnavailable, WriteRefused
from ..living import Living
from .sqlite_rows import Rows

__all__ = ["Run", "SQLiteFile"]

Run: TypeAlias = Callable[..., sqlite3.Cursor]

_READ_PATIENCE = 0.05
#: Pages of the write-ahead log at which a write itself moves them into the file, if nobody has done so behind it.
_LONGEST_LOG = 4000
_FORMAT = 3
#: What is done to formats from before: the first is emptied, since it is a cache.
_OLD = {1: "drop table if exists entry; drop table if exists total;", 2: "drop index if exists entry_gone;"}

# `used` is null where the bounds do not count. The totals of each part are kept by triggers, so they hold for all
# processes alike and a write need not count rows.
_SCHEMA = """
create table if not exists entry(
    id integer primary key, key blob not null, gone real not null, used real, size integer not null,
    part integer not null, data blob not null
);
create index if not exists entry_used on entry(part, used, size) where used is not null;
create table if not exists total(part integer primary key, entries integer not null, bytes integer not null);
create trigger if not exists entry_added after insert on entry when new.used is not null begin
    insert into total values(new.part, 1, new.size)
        on conflict(part) do update set entries = entries + 1, bytes = bytes + excluded.bytes;
end;
create trigger if not exists entry_removed after delete on entry when old.used is not null begin
    update total set entries = entries - 1, bytes = bytes - old.size where part = old.part;
end;
create trigger if not exists entry_changed after update of size, part on entry begin
    update total set entries = entries - 1, bytes = bytes - old.size where part = old.part and old.used is not null;
    insert into total select new.part, 1, new.size where new.used is not null
        on conflict(part) do update set entries = entries + 1, bytes = bytes + excluded.bytes;
end;
"""


class _Link:
    """Hold one connection: closed by `close`, or with the thread that held it."""

    __slots__ = ("__weakref__", "_connection", "_reading", "file", "lock", "rows", "run")

    def __init__(self, connection: sqlite3.Connection, file: tuple[int, int] | None) -> None:
        self._connection = connection
        self.file = file
        self.run: Run = connection.cursor().execute
        self.rows = Rows()
        self._reading = False
        # Held while a statement runs, as closing a connection in the middle of one crashes. Re-entrant, as a
        # finalizer may read in the middle of a read.
        self.lock = threading.RLock()
        # Not `__del__`: of a link in a circle of garbage the connection may be finalized first, which from Python 3.13
        # on warns that nobody has closed it. This keeps it out of the garbage until it is closed.
        weakref.finalize(self, connection.close).atexit = False

    def row(self, sql: str, values: tuple[Any, ...]) -> Any:
        """Read one row, under the lock; in the middle of a read, as a finalizer may, with a cursor of its own."""
        if self._reading:
            return self._connection.execute(sql, values).fetchone()
        self._reading = True
        try:
            return self.run(sql, values).fetchone()
        finally:
            self._reading = False

    def close(self) -> None:
        if self.lock.acquire(timeout=1):
            try:
                self._connection.close()
            finally:
                self.lock.release()


class _Local(threading.local):
    link: _Link | None = None


class SQLiteFile:
    """Read and write the file at *path*, made with its folder at the first use; a write waits *timeout* seconds."""

    def __init__(self, path: str | os.PathLike[str], timeout: float) -> None:
        self.path = Path(path).resolve()
        self.address = f"sqlite:///{self.path}"
        self.timeout = timeout
        self._begin()

    def _begin(self) -> None:
        self._local = _Local()
        self._links = Living[_Link]()
        self._writer: _Link | None = None
        self._opening = threading.Lock()
        # Not re-entrant: a finalizer that writes in the middle of a write must not end its transaction. It waits for
        # the time-out and fails.
        self._writing = threading.Lock()
        self._held: list[threading.Lock] = []

    def row(self, sql: str, values: tuple[Any, ...]) -> Any:
        """Read one row, on this thread's own connection."""
        link = self._local.link
        try:
            if link is not None:
                try:
                    with link.lock:
                        return link.row(sql, values)
                except sqlite3.ProgrammingError:
                    pass  # Closed by another thread.
            link = self._local.link = self._open(_READ_PATIENCE, held=True)
            try:
                return link.row(sql, values)
            finally:
                link.lock.release()
        except sqlite3.Error as error:
            raise self._failure(error, link) from error

    def known(self, keys: tuple[bytes, ...]) -> Any:
        """Return what this thread has read under *keys* and kept, if that is still so; None where it has to read."""
        link = self._local.link
        if link is None or not link.rows.expects(keys):
            return None
        try:
            with link.lock:
                (version,) = link.row("pragma data_version", ())
        except sqlite3.Error:  # it was closed meanwhile; reading opens another one, whose versions are its own
            return None
        return link.rows.find(keys, version)

    def keep(self, keys: tuple[bytes, ...], found: Any, size: int) -> None:
        """Take in what this thread has just read; where it was opened anew, its versions are other ones."""
        if (link := self._local.link) is not None:
            link.rows.keep(keys, found, size)

    def checkpoint(self) -> None:
        """Move what was written into the file proper, as far as that holds nobody up."""
        self.row("pragma wal_checkpoint(passive)", ())

    def transaction(self) -> SQLiteFile:
        """Write: all statements that are run in a ``with`` block of this, or none."""
        return self

    def __enter__(self) -> Run:
        # A class's own, as a generator's would take as long as one of the statements.
        if not self._writing.acquire(timeout=self.timeout):
            raise StoreUnavailable(f"{self.address}: other writes of this process take too long")
        try:
            link = self._writer = self._present_writer() or self._open(self.timeout)
            try:
                link.run("begin immediate")
            except sqlite3.Error as error:
                raise self._failure(error, link) from error
            return link.run
        except BaseException:
            self._writing.release()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        link = self._writer
        assert link is not None
        try:
            if error is None:
                try:
                    link.run("commit")
                    return
                except sqlite3.Error as raised:
                    error = raised
            with suppress(sqlite3.Error):
                link.run("rollback")
            if isinstance(error, sqlite3.Error):
                raise self._failure(error, link) from error
        finally:
            self._writing.release()

    def close(self) -> None:
        """Close every connection; what is asked afterwards opens new ones."""
        for lock in self._halt():
            lock.release()

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

    def _open(self, patience: float, held: bool = False) -> _Link:
        """Open a connection; one that is *held* is locked already, or a fork could close it before it is used."""
        if not self._opening.acquire(timeout=self.timeout):
            raise StoreUnavailable(f"{self.address}: opening it takes too long")
        try:
            link = _Link(_connect(self.path, self.timeout, patience), _identity(self.path))
            if held:
                link.lock.acquire()
            self._links.add(link)
            return link
        except (sqlite3.Error, OSError) as error:
            raise self._failure(error) from error
        finally:
            self._opening.release()

    def _present_writer(self) -> _Link | None:
        """Give the open connection, unless its file was deleted: SQLite would go on without it, and see nobody else."""
        deleted = self._writer is not None and self._writer.file != _identity(self.path)
        if deleted and self._opening.acquire(timeout=self.timeout):
            try:
                self._close_links()
            finally:
                self._opening.release()
        return self._writer

    def _halt(self) -> list[threading.Lock]:
        """Close every connection, and return the locks that keep new ones from being opened."""
        held = [lock for lock in (self._writing, self._opening) if lock.acquire(timeout=1)]
        if len(held) == 2:
            self._close_links()
        return held

    def _close_links(self) -> None:
        """Close every connection; the threads that held them find out, and open new ones."""
        for link in self._links:
            link.close()
        self._writer = None

    def _failure(self, error: Exception, link: _Link | None = None) -> StoreError:
        """Say in the words of a store what *error* means; a *link* that is no good any more is closed."""
        text = f"{self.address}: {error}"
        # SQLite's own words alone: a path may say "unlocked" or "fullstack".
        words = str(error) if isinstance(error, sqlite3.Error) else ""
        if "locked" in words:
            return StoreUnavailable(text)
        if "full" in words:
            return WriteRefused(text)
        if link is not None:
            # The file may have been deleted, replaced or repaired: the next call opens what is there then.
            link.close()
            self._writer = None if link is self._writer else self._writer
        if "readonly" in words:
            return WriteRefused(text)
        if isinstance(error, sqlite3.OperationalError | OSError):
            return StoreUnavailable(text)
        if type(error) is sqlite3.DatabaseError:
            return StoreUnavailable(f"{text}; move the file away, and a new one is made")
        return StoreError(text)


_inherited: list[_Link] = []


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
    if version == 0 or version in _OLD:
        connection.execute("pragma journal_mode = wal")
        connection.executescript(
            f"begin immediate; {_OLD.get(version, '')} {_SCHEMA} pragma user_version = {_FORMAT}; commit;"
        )
    elif version != _FORMAT:
        raise sqlite3.DatabaseError(f"the file has format {version}, not {_FORMAT}")
    connection.execute("pragma synchronous = normal")
    connection.execute(f"pragma wal_autocheckpoint = {_LONGEST_LOG}")
    connection.execute(f"pragma busy_timeout = {round(patience * 1000)}")
