"""
Connections to a Redis server, lent to one thread at a time; tasks have theirs in `redis_loops`.

Law: a connection is kept only after its reply was read whole; whoever is cut short drops it, so nobody is handed
somebody else's answer. No operation takes much longer than the time-out. No connection is used by another process than
the one it was made in.

redis-py's `Redis` costs more than the round trip itself, so commands go through its `Connection` alone, which does the
rest: addresses, TLS, passwords, replies.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import redis

from ..errors import StoreError

__all__ = ["Wire", "bulk", "command", "demoted", "packed"]

_THREADS = 64  # connections of all threads together
_POLL = 0.002


def bulk(part: bytes) -> bytes:
    """Write one part of a command as the protocol wants it; redis-py's own packing takes three times as long."""
    return b"$%d\r\n%b\r\n" % (len(part), part)


def command(*parts: bytes) -> bytes:
    """Write a command from parts that `bulk` has written."""
    return b"*%d\r\n%b" % (len(parts), b"".join(parts))


def packed(*parts: bytes) -> bytes:
    """Write one command."""
    return command(*map(bulk, parts))


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

    def ask(self, request: bytes, rides: bytes = b"") -> Any:
        """Return the reply to *request*; *rides* is a command that travels with it, whose failure is nobody's."""
        try:
            connection, kept = self._idle.pop(), True
        except IndexError:
            connection, kept = self._lend()
        try:
            try:
                reply = _exchange(connection, request, rides)
            except redis.ConnectionError:
                if not kept:
                    raise
                # The server may have closed it while it lay here; and every command of a store may be sent twice.
                connection.disconnect()
                reply = _exchange(connection, request, rides)
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
                free = self._open < _THREADS
                self._open += free
            if free:
                return self._made(), False
            # Polled, as a condition would cost every caller something, and few programs have so many threads.
            time.sleep(_POLL)
            with suppress(IndexError):
                return self._idle.pop(), True
            if time.monotonic() > deadline:
                raise StoreError(f"all {_THREADS} connections are in use")

    def _made(self) -> Any:
        # Not under the lock: a finalizer may ask in the middle of it.
        try:
            return self._make()
        except BaseException:
            with self._lock:
                self._open -= 1
            raise

    def _take_back(self, connection: Any, error: redis.ResponseError) -> None:
        if demoted(error):
            self._discard(connection)  # a former master: connecting anew may lead to the present one
        else:
            self._idle.append(connection)

    def _discard(self, connection: Any) -> None:
        with self._lock:
            self._open -= 1
        connection.disconnect()


def demoted(error: redis.ResponseError) -> bool:
    """Is the server a master no more? A script says so in the middle of a sentence."""
    return isinstance(error, redis.ReadOnlyError) or "-READONLY " in str(error)


def _exchange(connection: Any, request: bytes, rides: bytes) -> Any:
    connection.send_packed_command((request + rides,), check_health=False)
    if not rides:
        return connection.read_response()
    refusal = None
    try:
        reply = connection.read_response()
    except redis.ResponseError as error:
        refusal = error
    with suppress(redis.ResponseError):
        connection.read_response()
    if refusal is not None:
        raise refusal
    return reply
