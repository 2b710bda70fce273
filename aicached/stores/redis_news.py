"""
News from a Redis server: one connection that is subscribed to what somebody here waits for.

Law: news are a hint. They may come for no reason, or never: whoever waits for them looks by himself from time to time.
One thread reads for all waiters of a store, and ends when nobody has waited for a while.

The order of a waiter A and a computation B, that makes a waiter hear something at the beginning: A looks and finds
nothing; B stores and tells its watchers; the server takes A's subscription. So A is woken when that is taken.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import redis

__all__ = ["News"]

_FAILURES = (redis.RedisError, OSError, ValueError)  # ValueError: another thread has closed the socket
_TICK = 1.0
_IDLE = 30.0
_PAUSE = 0.2


class News:
    """
    Tell waiters what is said on their channels.

    Args:
        make: () -> a connection of redis-py, not yet open.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self.begin()

    def begin(self) -> None:
        """Begin without thread and connection; those there were, after a fork, are the parent's."""
        # Re-entrant, as a collected waiter may leave in the middle of anything.
        self._lock = threading.RLock()
        self._wakes: dict[bytes, list[Callable[[], None]]] = {}
        self._thread: threading.Thread | None = None
        self._line: Any = None

    def watch(self, name: bytes, wake: Callable[[], None]) -> None:
        with self._lock:
            known = name in self._wakes
            self._wakes.setdefault(name, []).append(wake)
            if not known:
                self._say(b"SUBSCRIBE", [name])
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._listen, name="aicached-news", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # no thread can be started: who waits looks by himself
                    self._thread = None
        if known:
            wake()

    def unwatch(self, name: bytes, wake: Callable[[], None]) -> None:
        with self._lock:
            wakes = self._wakes.get(name, [])
            with suppress(ValueError):
                wakes.remove(wake)
            if not wakes and self._wakes.pop(name, None) is not None:
                self._say(b"UNSUBSCRIBE", [name])

    def close(self) -> None:
        """End the thread and its connection; who watches is not told any more."""
        with self._lock:
            self._say(b"QUIT")  # the thread must not be asleep, and nobody else may close what it reads from
            self._line = self._thread = None

    def _say(self, command: bytes, names: Sequence[bytes] = ()) -> None:
        """Send a command; where that fails, the thread finds out and begins anew."""
        if self._line is not None:
            with suppress(*_FAILURES):
                self._line.send_command(command, *names, check_health=False)

    def _listen(self) -> None:
        while self._mine():
            line = None
            try:
                line = self._make()
                line.connect()
                self._read(line)
            except Exception:  # a line that a waiter's failed `_say` closes in the middle raises TypeErrors, too
                time.sleep(_PAUSE)
                if not self._wakes and self._retired():
                    return
            finally:
                with self._lock:
                    if self._line is line:
                        self._line = None
                if line is not None:
                    line.disconnect()

    def _mine(self) -> bool:
        return self._thread is threading.current_thread()

    def _read(self, line: Any) -> None:
        """Pass on what comes, until nobody has waited for a while."""
        socket = getattr(line, "_sock", None)  # before others know the line
        with self._lock:
            if not self._mine():
                return
            self._line = line
            if self._wakes:
                self._say(b"SUBSCRIBE", list(self._wakes))
        idle = 0.0
        while self._mine():
            # A waiter's `_say` that fails closes the socket, and redis-py opens another one by itself, in which nothing
            # is listened to; it has no public word for that.
            if getattr(line, "_sock", None) is not socket:
                raise redis.ConnectionError
            if line.can_read(timeout=_TICK):
                said = line.read_response()
                if isinstance(said, list):  # not the answer to a QUIT
                    self._tell(said[1])
            idle = 0.0 if self._wakes else idle + _TICK
            if idle >= _IDLE and self._retired():
                return

    def _retired(self) -> bool:
        with self._lock:
            if not self._wakes:
                self._thread = None
            return self._thread is None

    def _tell(self, name: bytes) -> None:
        with self._lock:
            wakes = list(self._wakes.get(name, ()))
        for wake in wakes:
            wake()
