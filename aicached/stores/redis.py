"""
One Redis server, shared by machines.

Law: a connection serves one caller at a time and is kept only after its reply was read whole; whoever is cut short
drops it, so nobody is handed somebody else's answer. No operation takes much longer than the time-out, and no error of
redis-py gets out.

redis-py's `Redis` costs more than the round trip itself, so commands go through its `Connection` alone, which does the
rest: addresses, TLS, passwords, replies.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.connection import parse_url as parse_async_url
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection, parse_url
from redis.exceptions import ClusterDownError, TryAgainError
from redis.retry import Retry

from ..errors import ConfigurationError, StoreError, StoreUnavailable, WriteRefused
from .base import Store

__all__ = ["RedisStore"]

# asyncio's own swallows cancellations before 3.11.3; redis-py depends on the other one there.
_time_limit: Any = (asyncio if sys.version_info >= (3, 11, 3) else import_module("async_timeout")).timeout

_THREADS = 64  # connections of all threads together
_LINES = 16  # connections of one event loop
_POLL = 0.002
_FOREVER = 1e12  # seconds from which a lifetime says nothing
_STAMP_BYTES = 16
# A new connection introduces itself with two commands, unless told not to; how it is told changed in redis-py 7.1.
_NO_GREETING: dict[str, Any] = (
    {"driver_info": None}
    if "driver_info" in inspect.signature(AbstractConnection.__init__).parameters
    else {"lib_name": None, "lib_version": None}
)
# The first: not there, not yet there, or in the middle of a change of masters.
_ABSENT = (redis.ConnectionError, redis.TimeoutError, OSError, ClusterDownError, TryAgainError)
_ABSENT_CODES = ("BUSY ", "CLUSTERDOWN ", "MASTERDOWN ", "TRYAGAIN ")
_READ_ONLY = (redis.OutOfMemoryError, redis.ReadOnlyError)
_READ_ONLY_CODES = ("MISCONF ", "NOREPLICAS ")


def _name(key: bytes) -> bytes:
    return b"ac1:%b:{%b}" % (key[:1], key[1:].hex().encode())


def _packed(*parts: bytes) -> bytes:
    """Write one command as the protocol wants it; redis-py's own packing takes three times as long."""
    return b"*%d\r\n" % len(parts) + b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])


def _fetching(keys: Sequence[bytes]) -> bytes:
    return _packed(b"MGET", *[_name(key) for key in keys])


def _keeping(key: bytes, data: bytes, lifetime: float | None) -> bytes:
    if lifetime is None or lifetime >= _FOREVER:
        return _packed(b"SET", _name(key), data)
    return _packed(b"SET", _name(key), data, b"PX", b"%d" % max(1, round(lifetime * 1000)))


def _minting(key: bytes) -> bytes:
    return _packed(b"SET", _name(key), os.urandom(_STAMP_BYTES), b"NX")


class RedisStore(Store):
    """
    Keep bytes in the Redis server at *url*: ``redis://``, ``rediss://`` (TLS) or ``unix://``.

    Args:
        url: may carry user, password, database and options of redis-py's `Connection`.
        timeout: seconds per operation; connecting and waiting for a free connection may take as long again.
        options: more options of redis-py's `Connection`; what stands in the url wins.
    """

    def __init__(
        self, url: str, *, timeout: float = 0.25, clock: Callable[[], float] = time.time, **options: Any
    ) -> None:
        # The wall clock, not the server's: machines that share a cache keep theirs within a second or so, and asking
        # for TIME would be a round trip.
        super().__init__(clock=clock)
        self.timeout = timeout
        settings, loop_settings = _settings(url, timeout, options)
        try:
            make = redis.ConnectionPool(**settings).make_connection
            self._make_line = redis.asyncio.ConnectionPool(**loop_settings).make_connection
            for connection in (make, self._make_line):
                connection()  # makes the object alone, which knows what its options may be
        except (TypeError, ValueError, redis.RedisError) as error:
            raise ConfigurationError(f"not an option of a Redis connection: {error}") from None
        self._address = _address(url, settings)
        self._wire = _Wire(make, timeout)
        self._loops: dict[asyncio.AbstractEventLoop, _Lines] = {}

    @property
    def address(self) -> str:
        return self._address

    def get(self, key: bytes) -> Any:
        return self._ask(_packed(b"GET", _name(key)))

    def get_many(self, keys: Sequence[bytes]) -> list[Any]:
        found: list[Any] = self._ask(_fetching(keys)) if keys else []
        return found

    def set(self, key: bytes, data: Any, lifetime: float | None) -> None:
        self._ask(_keeping(key, data, lifetime))

    def delete(self, key: bytes) -> None:
        self._ask(_packed(b"UNLINK", _name(key)))

    def stamps(self, keys: Sequence[bytes]) -> list[bytes]:
        found = self.get_many(keys)
        for key, stamp in zip(keys, found, strict=True):
            if stamp is None:
                self._ask(_minting(key))
        return self._minted(found if None not in found else self.get_many(keys))

    def close(self) -> None:
        self._wire.close()
        self._close_elsewhere(None)

    async def aget(self, key: bytes) -> Any:
        return await self._aask(_packed(b"GET", _name(key)))

    async def aget_many(self, keys: Sequence[bytes]) -> list[Any]:
        found: list[Any] = await self._aask(_fetching(keys)) if keys else []
        return found

    async def aset(self, key: bytes, data: Any, lifetime: float | None) -> None:
        await self._aask(_keeping(key, data, lifetime))

    async def adelete(self, key: bytes) -> None:
        await self._aask(_packed(b"UNLINK", _name(key)))

    async def astamps(self, keys: Sequence[bytes]) -> list[bytes]:
        found = await self.aget_many(keys)
        for key, stamp in zip(keys, found, strict=True):
            if stamp is None:
                await self._aask(_minting(key))
        return self._minted(found if None not in found else await self.aget_many(keys))

    async def arenew(self, key: bytes) -> None:
        await self.aset(key, os.urandom(_STAMP_BYTES), None)

    async def aclose(self) -> None:
        here = asyncio.get_running_loop()
        self._wire.close()
        self._close_elsewhere(here)
        if (lines := self._loops.pop(here, None)) is not None:
            await lines.end()

    def fork_ends(self, child: bool) -> None:
        if child:
            # The parent's: closing them here would need its loop, which does not run in this process.
            _inherited.extend(self._loops.values())
            self._loops = {}
            self._wire.begin()

    def _ask(self, command: bytes) -> Any:
        try:
            return self._wire.ask(command)
        except Exception as error:
            raise self._failure(error) from error

    async def _aask(self, command: bytes) -> Any:
        try:
            lines = self._loops.get(asyncio.get_running_loop()) or await self._settle()
            return await lines.ask(command)
        except Exception as error:
            raise self._failure(error) from error

    async def _settle(self) -> _Lines:
        """Make the connections of the running loop; nothing here suspends, so no other task comes in between."""
        for loop in list(self._loops):
            if loop.is_closed():
                self._loops.pop(loop, None)
        here = asyncio.get_running_loop()
        self._loops[here] = lines = _Lines(self._make_line, self.timeout)
        lines.holder = self._hold(here, lines)
        await anext(lines.holder)
        return lines

    async def _hold(self, loop: asyncio.AbstractEventLoop, lines: _Lines) -> AsyncGenerator[None, None]:
        """Close *lines* with their loop: asyncio ends the generators that are still open, this one among them."""
        try:
            yield
        finally:
            if self._loops.get(loop) is lines:
                del self._loops[loop]
            await lines.close()

    def _close_elsewhere(self, here: asyncio.AbstractEventLoop | None) -> None:
        """Let other loops close their connections; those that do not run do so when they end."""
        for loop, lines in list(self._loops.items()):
            if loop is not here and loop.is_running() and self._loops.pop(loop, None) is lines:
                ending = lines.end()
                try:
                    asyncio.run_coroutine_threadsafe(ending, loop)
                except RuntimeError:  # it has ended meanwhile
                    ending.close()

    def _failure(self, error: Exception) -> StoreError:
        """Say in the words of a store what *error* means."""
        if isinstance(error, StoreError):
            return error
        text = f"{self._address}: {error}"
        if isinstance(error, redis.AuthenticationError):
            return StoreUnavailable(f"{text}; user and password are written redis://user:password@host")
        if isinstance(error, asyncio.TimeoutError):
            return StoreUnavailable(f"{self._address}: no answer within {self.timeout} s")
        if isinstance(error, _ABSENT) or str(error).startswith(_ABSENT_CODES):
            return StoreUnavailable(text)
        if isinstance(error, _READ_ONLY) or str(error).startswith(_READ_ONLY_CODES):
            return WriteRefused(text)
        return StoreError(text)


def _settings(url: str, timeout: float, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Put together what connections of threads, and those of event loops, are made of."""
    try:
        plain: dict[str, Any] = {**options, **parse_url(url)}  # type: ignore[no-untyped-call]
        asynchronous: dict[str, Any] = {**options, **parse_async_url(url)}
    except ValueError:
        # Without its text, which may quote a part of a password.
        raise ConfigurationError(
            "not the url of a Redis server: redis://[user:password@]host[:port][/database], rediss://... or "
            "unix://path; special characters in it are written as %xx"
        ) from None
    ours = {"decode_responses": False, "protocol": 2, "health_check_interval": 0, **_NO_GREETING}
    ours |= {"socket_connect_timeout": timeout, "retry_on_timeout": False, "max_connections": sys.maxsize}
    plain |= ours | {"socket_timeout": timeout, "retry": Retry(NoBackoff(), 0)}
    # No socket_timeout: redis-py would set one for each write and each read; a single limit does for both.
    asynchronous |= ours | {"socket_timeout": None}
    asynchronous["connection_class"] = _aborting(asynchronous.get("connection_class", redis.asyncio.Connection))
    return plain, asynchronous


class _Wire:
    """Lend connections to threads: the one that came back last goes first."""

    def __init__(self, make: Callable[[], Any], timeout: float) -> None:
        self._make, self._timeout = make, timeout
        self.begin()

    def begin(self) -> None:
        self._idle: deque[Any] = deque()  # its pop and append are atomic
        self._lock = threading.Lock()
        self._open = 0

    def ask(self, command: bytes) -> Any:
        try:
            connection, kept = self._idle.pop(), True
        except IndexError:
            connection, kept = self._lend()
        try:
            try:
                reply = _exchange(connection, command)
            except redis.ConnectionError:
                if not kept:
                    raise
                # The server had closed it while it lay here. Every command of a store may be sent twice.
                connection.disconnect()
                reply = _exchange(connection, command)
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


def _exchange(connection: Any, command: bytes) -> Any:
    connection.send_packed_command((command,), check_health=False)
    return connection.read_response()


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
                reply = await self._exchange(line, command)
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

    async def _exchange(self, line: Any, command: bytes) -> Any:
        kept = line.is_connected
        try:
            await line.send_packed_command(command, check_health=False)
            return await line.read_response()
        except redis.ConnectionError:
            if not kept:
                raise
            await line.disconnect(nowait=True)
            await line.send_packed_command(command, check_health=False)
            return await line.read_response()

    async def _take_back(self, line: Any, broken: bool) -> None:
        if broken or self._closed:
            self._free.put_nowait(None)
            await line.disconnect(nowait=True)
        else:
            self._free.put_nowait(line)


def _aborting(base: Any) -> Any:
    """
    Make a connection class of redis-py that does not wait when it is told not to.

    A server that hangs takes no bytes: closed the usual way, a half-written command would stay open until it does.
    """

    async def disconnect(line: Any, nowait: bool = False, **details: Any) -> None:
        if nowait and (writer := getattr(line, "_writer", None)) is not None:
            writer.transport.abort()
        await base.disconnect(line, nowait=nowait, **details)

    return type(base.__name__, (base,), {"disconnect": disconnect})


_inherited: list[_Lines] = []


def _address(url: str, settings: dict[str, Any]) -> str:
    """Write the url without user, password and options."""
    scheme, database = url.split(":", 1)[0].lower(), settings.get("db", 0)
    if scheme == "unix":
        return f"unix://{settings.get('path', '')}?db={database}"
    host = settings.get("host", "localhost")
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.get('port', 6379)}/{database}"
