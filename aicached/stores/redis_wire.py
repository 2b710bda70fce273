"""
Connections to a Redis server, lent to one caller at a time: to threads by a wire, to tasks by the lines of their loop.

Law: a connection is kept only after its reply was read whole; whoever is cut short drops it, so nobody is handed
somebody else's answer. No operation takes much longer than the time-out. No connection is used by another event loop
or another process than the one it was made in.

redis-py's `Redis` costs more than the round trip itself, so commands go through its `Connection` alone, which does the
rest: addresses, TLS, passwords, replies.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

import redis

from ..errors import StoreError

__all__ = ["Loops", "Wire"]

# asyncio's own swallows cancellations before 3.11.3; redis-py depends on the other one there.
_time_limit: Any = (asyncio if sys.version_info >= (3, 11, 3) else import_module("async_timeout")).timeout

_THREADS = 64  # connections of all threads together
_LINES = 16  # connections of one event loop
_POLL = 0.002


class Wire:
    """Lend connections to threads: the one that came back last goes first."""

    def __init__(self, make: Callable[[], Any], timeout: float) -> None:
        self._make, self._timeout = make, timeout
        self.begin()

    def begin(self) -> None:
        """Begin without connections; those there were, after a fork, are the parent's."""
        self._idle: deque[Any] = deque()  # its pop and append are atomic
        self._lock = threading.Lock()
        self._open = 0

    def ask(self, command: bytes) -> Any:
        try:
            connection, kept = self._idle.pop(), True
        except IndexError:
            connection, kept = self._lend()
        try:
            reply = _insist(connection, command) if kept else _exchange(connection, command)
        except redis.ResponseError as error:
            self._take_back(connection, error)
            raise
        except BaseException:
            self._discard(connection)
            raise
        self._idle.append(connection)
        return reply

    def close(self) -> None:
        with suppress(IndexError):
            while True:
                self._discard(self._idle.pop())

    def _lend(self) -> tuple[Any, bool]:
        deadline = time.monotonic() + self._timeout
        while True:
            with self._lock:
                if self._open < _THREADS:
                    self._open += 1
                    return self._make(), False
            # Polled, as a condition would cost every caller something, and few programs have so many threads.
            time.sleep(_POLL)
            with suppress(IndexError):
                return self._idle.pop(), True
            if time.monotonic() > deadline:
                raise StoreError(f"all {_THREADS} connections are in use")

    def _take_back(self, connection: Any, error: redis.ResponseError) -> None:
        if isinstance(error, redis.ReadOnlyError):
            self._discard(connection)  # a former master: connecting anew may lead to the present one
        else:
            self._idle.append(connection)

    def _discard(self, connection: Any) -> None:
        with self._lock:
            self._open -= 1
        connection.disconnect()


def _insist(connection: Any, command: bytes) -> Any:
    """Exchange on a kept connection, which the server may have closed while it lay here."""
    try:
        return _exchange(connection, command)
    except redis.ConnectionError:
        # Every command of a store may be sent twice.
        connection.disconnect()
        return _exchange(connection, command)


def _exchange(connection: Any, command: bytes) -> Any:
    connection.send_packed_command((command,), check_health=False)
    return connection.read_response()


class Loops:
    """Lend connections to tasks, to each from its own event loop's."""

    def __init__(self, make: Callable[[], Any], timeout: float) -> None:
        self._make, self._timeout = make, timeout
        self._lines: dict[asyncio.AbstractEventLoop, _Lines] = {}

    def begin(self) -> None:
        """Begin without connections, after a fork: closing the parent's would need its loop, which does not run."""
        _inherited.extend(self._lines.values())
        self._lines = {}

    async def ask(self, command: bytes) -> Any:
        lines = self._lines.get(asyncio.get_running_loop()) or await self._settle()
        return await lines.ask(command)

    def close(self, here: asyncio.AbstractEventLoop | None = None) -> None:
        """Let loops other than *here* close their connections; those that do not run do so when they end."""
        for loop, lines in list(self._lines.items()):
            if loop is not here and loop.is_running() and self._lines.pop(loop, None) is lines:
                ending = lines.end()
                try:
                    asyncio.run_coroutine_threadsafe(ending, loop)
                except RuntimeError:  # it has ended meanwhile
                    ending.close()

    async def aclose(self) -> None:
        here = asyncio.get_running_loop()
        self.close(here)
        if (lines := self._lines.pop(here, None)) is not None:
            await lines.end()

    async def _settle(self) -> _Lines:
        """Make the connections of the running loop; nothing here suspends, so no other task comes in between."""
        for loop in list(self._lines):
            if loop.is_closed():
                self._lines.pop(loop, None)
        here = asyncio.get_running_loop()
        self._lines[here] = lines = _Lines(self._make, self._timeout)
        lines.holder = self._hold(here, lines)
        await anext(lines.holder)
        return lines

    async def _hold(self, loop: asyncio.AbstractEventLoop, lines: _Lines) -> AsyncGenerator[None, None]:
        """Close *lines* with their loop: asyncio ends the generators that are still open, this one among them."""
        try:
            yield
        finally:
            if self._lines.get(loop) is lines:
                del self._lines[loop]
            await lines.close()


class _Lines:
    """Lend connections to the tasks of one event loop; a task waits for one where all are out."""

    def __init__(self, make: Callable[[], Any], timeout: float) -> None:
        self._make, self._timeout = make, timeout
        self._closed = False
        self.holder: AsyncGenerator[None, None]
        self._free: asyncio.LifoQueue[Any] = asyncio.LifoQueue()
        for _ in range(_LINES):
            self._free.put_nowait(None)  # a place without a connection

    async def ask(self, command: bytes) -> Any:
        line = (self._free.get_nowait() if not self._free.empty() else await self._wait()) or self._make()
        try:
            async with _time_limit(self._timeout):
                reply = await (_ainsist if line.is_connected else _aexchange)(line, command)
        except redis.ResponseError as error:
            await self._take_back(line, isinstance(error, redis.ReadOnlyError))
            raise
        except BaseException:
            await self._take_back(line, True)
            raise
        if self._closed:
            await self._take_back(line, True)
        else:
            self._free.put_nowait(line)
        return reply

    async def close(self) -> None:
        self._closed = True
        lines = [self._free.get_nowait() for _ in range(self._free.qsize())]
        for line in lines:
            self._free.put_nowait(None)  # for those who wait, or come in the meantime
            if line is not None:
                with suppress(redis.RedisError):
                    await line.disconnect()

    async def end(self) -> None:
        """Close, from within their loop."""
        await self.holder.aclose()

    async def _wait(self) -> Any:
        try:
            async with _time_limit(self._timeout):
                return await self._free.get()
        except asyncio.TimeoutError:
            raise StoreError(f"all {_LINES} connections of this event loop are in use") from None

    async def _take_back(self, line: Any, broken: bool) -> None:
        if broken or self._closed:
            self._free.put_nowait(None)
            await line.disconnect(nowait=True)
        else:
            self._free.put_nowait(line)


_inherited: list[_Lines] = []


async def _ainsist(line: Any, command: bytes) -> Any:
    """Twin of `_insist`."""
    try:
        return await _aexchange(line, command)
    except redis.ConnectionError:
        await line.disconnect(nowait=True)
        return await _aexchange(line, command)


async def _aexchange(line: Any, command: bytes) -> Any:
    """Twin of `_exchange`."""
    await line.send_packed_command(command, check_health=False)
    return await line.read_response()
