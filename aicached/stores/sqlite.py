"""
The embedded default: one SQLite file, shared by all threads and processes of a machine.

Law: a read waits 50 ms at most and a write about as long as the time-out. A row's number is only a part of its key, so
the whole key is compared: a clash is a miss, never a wrong answer. The bounds hold after every write.
"""

from __future__ import annotations

import asyncio
import atexit
import math
import os
import random
import struct
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from ..errors import StoreError
from ..living import Living
from .base import HEAD, KEY, Head, Puts, Store, added, last_number, lists, place
from .sqlite_file import Run, SQLiteFile

__all__ = ["SQLiteStore"]

_Result = TypeVar("_Result")
_VALUE = ord("v")
_AT_ONCE = 8  # keys per select
_TOUCHES = 64  # last uses that are noted in one transaction
_SWEEP_EVERY, _SWEEP_ROWS = 64, 256
_MOVE_EVERY = 256  # writes after which the log is moved into the file, behind the writers: it takes milliseconds
_STAMP_BYTES = 16
_SHARES = 2048  # a hundred processes that fill a file at once pass its bounds by 5 % at most
_FIRST = -(2**63)  # below the numbers of all rows

_UPSERT = """insert into entry values(?, ?, ?, ?, ?, ?, ?) on conflict(id) do update set key = excluded.key,
    gone = excluded.gone, used = excluded.used, size = excluded.size, part = excluded.part, data = excluded.data"""
_MINT = _UPSERT + " where entry.key <> excluded.key or entry.gone <= ?"
_DELETE = "delete from entry where id = ? and key = ?"
_FETCH = "select data from entry where id = ? and key = ?"
# One row, however many keys there are: this is for people who look.
_KEYS = "select group_concat(hex(key), '') from entry where used is not null and gone > ?"
_TOUCH = "update entry set used = ? where id = ? and used < ?"
_OLDEST = "select id, size from entry where part = ? and used is not null order by used"
_TOTAL = "select entries, bytes from total where part = ?"
_SWEPT = f"select max(id) from (select id from entry where id > ? order by id limit {_SWEEP_ROWS})"
_SWEEP = "delete from entry where id > ? and id <= ? and gone <= ?"


def _selecting(count: int, *columns: str) -> str:
    """Write the statement that reads *count* rows as one: outer joins are quicker than sub-selects or ``in``."""
    places = range(count)
    listed = ", ".join(column.replace("e.", f"e{place}.") for column in columns for place in places)
    joins = (f"left join entry e{place} on e{place}.id = ?{place + 1}" for place in places)
    return f"select {listed} from (select 1) {' '.join(joins)}"


# A row's number is the first 8 bytes of its key: kind and digest. So the rows of one kind lie together, and the few
# stamps on few pages.
_NUMBERS = [struct.Struct(">" + "q25x" * count).unpack for count in range(_AT_ONCE + 1)]
_SELECT = ["", *(_selecting(count, "e.key", "e.gone", "e.data") for count in range(1, _AT_ONCE + 1))]
_HEADS = ["", *(_selecting(count, "e.key", "e.gone", f"substr(e.data, 1, {HEAD})") for count in range(1, 4))]
_NO_HEAD = Head(None)


def _number(key: bytes) -> int:
    number: int = _NUMBERS[1](key)[0]
    return number


def _as_expected(head: Head, expected: bytes | None) -> bool:
    return head.data is None if expected is None else head.data is not None and head.data.startswith(expected)


class SQLiteStore(Store):
    """
    Keep bytes in the SQLite file at *path*, made with its folder if it is not there.

    Args:
        path: of the file; relative to the present working directory.
        max_bytes: bound on the lengths of all values of the partition together; None = no bound.
        max_entries: bound on the number of values; None = no bound.
        partition: 32 bytes that stand for the part of the file that the bounds are about.
        timeout: seconds that a write, or opening the file, waits for other processes.
    """

    reads_inline = True
    swaps = True
    forgets = False  # the bounds are about values alone

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_bytes: int | None = None,
        max_entries: int | None = None,
        partition: bytes = bytes(32),
        timeout: float = 0.25,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(clock=clock)
        self._file = SQLiteFile(path, timeout)
        self.path = self._file.path
        self.max_bytes, self.max_entries = max_bytes, max_entries
        self._part = int.from_bytes(partition[:8], "big", signed=True)
        self._bounded = max_bytes is not None or max_entries is not None
        self._touched: dict[int, float] = {}  # last uses that are not in the file yet
        self._noted: dict[bytes, float] = {}  # when a last use was noted
        self._moment = 0.0
        self._room = 0.0, 0.0  # entries and bytes that may be added before the totals are read again
        self._looked = 0.0  # when the totals were read
        self._writes = 0
        self._swept = random.randrange(_FIRST, -_FIRST)  # number of the last row that was looked at
        _stores.add(self)

    @property
    def address(self) -> str:
        return self._file.address

    def get(self, key: bytes) -> Any:
        return self.get_many((key,))[0]

    def get_many(self, keys: Sequence[bytes]) -> list[Any]:
        if not 0 < len(keys) <= _AT_ONCE:
            parts = (keys[start : start + _AT_ONCE] for start in range(0, len(keys), _AT_ONCE))
            return [data for part in parts for data in self.get_many(part)]
        now, names = self.clock(), tuple(keys)
        known = self._file.known(names)
        if known is None or known[1] <= now:
            known = self._read(names, now)
        found = list(known[0])
        if self._bounded and names[0][0] == _VALUE and found[0] is not None and not lists(names):
            self._note(names[0], now)
        return found

    def _read(self, keys: tuple[bytes, ...], now: float) -> tuple[list[Any], float]:
        """Return what is under a few keys, and when the first of it ends."""
        count = len(keys)
        row = self._file.row(_SELECT[count], _NUMBERS[count](b"".join(keys)))
        rows = zip(keys, row[:count], row[count : 2 * count], row[2 * count :], strict=True)
        found, first = list[Any](), math.inf
        for key, name, gone, data in rows:
            there = name == key and gone > now
            found.append(data if there else None)
            if there and gone < first:
                first = gone
        self._file.keep(keys, (found, first), sum(map(len, filter(None, found))))
        return found, first

    def set(self, key: bytes, data: Any, lifetime: float | None) -> None:
        with self._file.transaction() as run:
            self._put(run, key, data, lifetime)

    def swap(self, expected: Mapping[bytes, bytes | None], puts: Puts, news: bytes = b"") -> list[Head] | None:
        with self._file.transaction() as run:
            if expected:
                heads = self._heads(run, expected)
                if not all(map(_as_expected, heads, expected.values())):
                    return heads
            for key, put in puts.items():
                if put is None:
                    run(_DELETE, (_number(key), key))
                else:
                    self._put(run, key, *put)
            return None

    def _heads(self, run: Run, keys: Collection[bytes]) -> list[Head]:
        """Return what is under a few keys, read in one statement."""
        now, count = self.clock(), len(keys)
        row = run(_HEADS[count], _NUMBERS[count](b"".join(keys))).fetchone()
        found = zip(keys, row[:count], row[count : 2 * count], row[2 * count :], strict=True)
        return [
            Head(head, None if gone == math.inf else gone - now) if name == key and gone > now and head else _NO_HEAD
            for key, name, gone, head in found
        ]

    def add(self, key: bytes, amounts: Mapping[str, int], lifetime: float | None) -> None:
        with self._file.transaction() as run:
            found = run(f"{_FETCH} and gone > ?", (_number(key), key, self.clock())).fetchone()
            self._put(run, key, added(found[0] if found else None, amounts), lifetime)

    def append(self, log: bytes, data: Any, lifetime: float | None, limit: int) -> None:
        with self._file.transaction() as run:
            found = run(_FETCH, (_number(log), log)).fetchone()
            number = last_number(found and found[0]) + 1
            self._put(run, place(log, number), data, lifetime)
            self._put(run, log, b"%d" % number, None if lifetime is None else 2 * lifetime)
            if number > limit:
                gone = place(log, number - limit)
                run(_DELETE, (_number(gone), gone))

    def keys(self) -> list[bytes]:
        found = bytes.fromhex(self._file.row(_KEYS, (self.clock(),))[0] or "")
        return [found[at : at + KEY] for at in range(0, len(found), KEY)]

    def _put(self, run: Run, key: bytes, data: Any, lifetime: float | None) -> None:
        now, number = self.clock(), _number(key)
        gone = math.inf if lifetime is None else now + lifetime
        used = self._tick(now) if key[0] == _VALUE else None
        if used is not None and self.max_bytes is not None and len(data) > self.max_bytes:
            run(_DELETE, (number, key))
        else:
            run(_UPSERT, (number, key, gone, used, len(data), self._part, data))
        if used is not None and self._bounded:
            self._noted.pop(key, None)
            self._shrink(run, len(data))
        self._tidy(run, now)

    def delete(self, key: bytes) -> None:
        with self._file.transaction() as run:
            run(_DELETE, (_number(key), key))

    def stamps(self, keys: Sequence[bytes]) -> list[bytes]:
        found = self.get_many(keys)
        if None in found:
            self._mint(keys)
            found = self._minted(self.get_many(keys))
        return found

    def close(self) -> None:
        self._flush()
        self._file.close()

    async def aget(self, key: bytes) -> Any:
        # In the loop: a read takes 5 µs, a thread to do it 100.
        return self.get(key)

    async def aget_many(self, keys: Sequence[bytes]) -> list[Any]:
        return self.get_many(keys)

    async def aread(self, log: bytes, since: int, count: int) -> tuple[int, int, list[Any]]:
        return self.read(log, since, count)

    async def astamps(self, keys: Sequence[bytes]) -> list[bytes]:
        found = self.get_many(keys)
        if None in found:
            await self._apart(self._mint, keys)
            found = self._minted(self.get_many(keys))
        return found

    def fork_begins(self) -> None:
        self._file.fork_begins()

    def fork_ends(self, child: bool) -> None:
        self._file.fork_ends(child)

    async def _apart(self, method: Callable[..., _Result], *args: Any) -> _Result:
        try:
            done = asyncio.get_running_loop().run_in_executor(_writer_thread(), method, *args)
        except RuntimeError:  # the interpreter is shutting down and starts no thread any more
            return method(*args)
        return await done

    def _mint(self, keys: Sequence[bytes]) -> None:
        with self._file.transaction() as run:
            for key in keys:
                fresh = (_number(key), key, math.inf, None, _STAMP_BYTES, self._part, os.urandom(_STAMP_BYTES))
                run(_MINT, (*fresh, self.clock()))

    def _tick(self, now: float) -> float:
        """Make a moment later than all before it, so that the order of uses shows even where the clock stands."""
        self._moment = moment = max(now, self._moment + 1e-6)
        return moment

    def _note(self, key: bytes, now: float) -> None:
        last = self._noted.get(key)
        if last is not None and now - last < 1:
            return
        self._noted[key] = now
        self._touched[_number(key)] = self._tick(now)
        if len(self._touched) % _TOUCHES == 0:
            with suppress(RuntimeError):  # the interpreter is shutting down: `close` will do it
                _writer_thread().submit(self._flush)

    def _flush(self) -> None:
        if not self._touched:
            return
        try:
            with self._file.transaction() as run:
                self._settle(run)
        except StoreError:
            # It costs a better choice of what goes first, no more. Both, as a file that can be read alone would let
            # them grow for ever.
            self._touched.clear()
            self._noted.clear()

    def _settle(self, run: Run) -> None:
        now = self.clock()
        self._noted = {key: at for key, at in self._noted.copy().items() if now - at < 1}
        with suppress(KeyError):
            while True:
                # One at a time, as readers add to the same dictionary meanwhile.
                number, used = self._touched.popitem()
                run(_TOUCH, (used, number, used))

    def _shrink(self, run: Run, added: int) -> None:
        now = self.clock()
        self._room = self._room[0] - 1, self._room[1] - added
        if min(self._room) >= 0 and 0 <= now - self._looked < 1:  # later, others may have filled what was left
            return
        self._looked = now
        entries, size = run(_TOTAL, (self._part,)).fetchone() or (0, 0)
        self._room = self._share(self.max_entries, entries), self._share(self.max_bytes, size)
        if not self._crowded(entries, size):
            return
        self._settle(run)
        victims: list[int] = []
        for number, length in run(_OLDEST, (self._part,)):
            victims.append(number)
            entries, size = entries - 1, size - length
            if not self._crowded(entries, size):
                break
        for number in victims:
            run("delete from entry where id = ?", (number,))

    @staticmethod
    def _share(bound: int | None, taken: int) -> float:
        """Return how much of what is left this process may fill before it looks again, others doing the same."""
        return math.inf if bound is None else max(0, bound - taken) // _SHARES

    def _crowded(self, entries: int, size: int) -> bool:
        return (self.max_entries is not None and entries > self.max_entries) or (
            self.max_bytes is not None and size > self.max_bytes
        )

    def _tidy(self, run: Run, now: float) -> None:
        """Do, now and then, what keeps the file small and its log short."""
        self._writes += 1
        if self._writes % _MOVE_EVERY == 0:
            with suppress(RuntimeError):  # the interpreter is shutting down: the last connection to close does it
                _writer_thread().submit(self._file.checkpoint)
        if self._writes % _SWEEP_EVERY == 0:
            self._sweep(run, now)

    def _sweep(self, run: Run, now: float) -> None:
        """
        Delete what has expired of the next few rows.

        An index of when rows expire would find them without looking, and cost every write as much as its own page.
        """
        (upto,) = run(_SWEPT, (self._swept,)).fetchone()
        if upto is None:
            self._swept = _FIRST
        else:
            run(_SWEEP, (self._swept, upto, now))
            self._swept = upto


@atexit.register
def _close_all() -> None:
    """Put last uses into the files, and close them, before the interpreter takes its modules apart."""
    for store in _stores:
        store.close()


_stores: Living[SQLiteStore] = Living()
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
