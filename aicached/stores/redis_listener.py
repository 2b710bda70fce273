"""
What a Redis server tells by itself: which keys have changed, to all near tiers of this process over one connection.

Law: what is heard is passed on in the server's order. `Listener.sure` is the moment until which nothing that happened
longer than `BOUND` seconds ago can have been missed: only the answer to a PING proves that all messages before it have
come. Whoever keeps anything is told to forget it all whenever the link is new.

The messages are those of client tracking in broadcast mode (Redis 6, https://redis.io/docs/latest/develop/reference/client-side-caching/),
redirected to the connection itself: with the tracking on another one, messages just stop when that one dies.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import redis
from redis.exceptions import NoPermissionError

from ..living import Living

__all__ = ["Hearer", "Listener"]

log = logging.getLogger("aicached")

#: Seconds for which an answered PING is good, counted from when it was sent.
BOUND = 2.0
_EVERY = 1.0
_PATIENCE = 1.0
_LOOK = 0.25
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0
_CHANNEL = b"__redis__:invalidate"


class Hearer(Protocol):
    """What listens: it drops a name that has changed, or everything."""

    def changed(self, name: bytes) -> None: ...
    def flush(self) -> None: ...


class Listener:
    """
    Listen to one server for all who keep copies of what it holds, in a thread that ends when there are none.

    Args:
        make: returns a connection that is not open, of RESP2.
        address: what to call the server in a log.
        prefixes: of the names to hear about.
    """

    def __init__(self, make: Callable[[], Any], address: str, prefixes: tuple[str, ...]) -> None:
        self._make, self._address, self._prefixes = make, address, prefixes
        self._hearers = Living[Any]()
        self._lock = threading.RLock()  # a finalizer may close a cache in the middle of it
        self._thread: threading.Thread | None = None
        self.sure = 0.0  # of time.monotonic
        #: It is known whether the server can be heard: set by the first attempt, whatever it came to.
        self.tried = threading.Event()
        self._heard = True  # nothing was said in the log yet

    def join(self, hearer: Hearer) -> None:
        """Tell *hearer* of changes from now on; it is forgotten with its last reference."""
        with self._lock:
            self._hearers.add(hearer)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="aicached-near", daemon=True)
                thread.start()
                self._thread = thread

    def leave(self, hearer: Hearer) -> None:
        """Tell *hearer* nothing any more."""
        with self._lock:
            self._hearers.discard(hearer)

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while self._wanted():
            try:
                self._listen()
                return
            except Exception as error:
                pause = _FIRST_PAUSE if self.sure else min(2 * pause, _LONGEST_PAUSE)
                self.sure = 0.0
                self._forget()
                if self._hearers:
                    self._lost(error)
                self.tried.set()
            time.sleep(pause)

    def _wanted(self) -> bool:
        """Does anybody listen? Where nobody does, this thread is none any more: who joins now starts another."""
        if self._hearers:
            return True
        with self._lock:
            if not self._hearers:
                self._thread, self.sure = None, 0.0
                self.tried.clear()
            return self._thread is not None

    def _listen(self) -> None:
        line = self._make()
        try:
            self._attach(line)
            pinged, answered = 0.0, True
            while self._wanted():
                now = time.monotonic()
                if answered and now - pinged >= _EVERY:
                    line.send_command("PING", check_health=False)
                    pinged, answered = now, False
                elif not answered and now - pinged > _PATIENCE:
                    raise redis.ConnectionError("no answer to PING")
                if line.can_read(timeout=_LOOK):
                    message = line.read_response()
                    if message[0] == b"pong":
                        answered = True
                        self._prove(pinged + BOUND)
                    elif message[:2] == [b"message", _CHANNEL]:
                        self._tell(message[2])
        finally:
            with suppress(Exception):
                line.disconnect()

    def _attach(self, line: Any) -> None:
        line.connect()
        line.send_command("CLIENT", "ID", check_health=False)
        me = line.read_response()
        prefixes = [word for prefix in self._prefixes for word in ("PREFIX", prefix)]
        line.send_command("CLIENT", "TRACKING", "ON", "REDIRECT", me, "BCAST", *prefixes, check_health=False)
        line.read_response()
        line.send_command("SUBSCRIBE", _CHANNEL, check_health=False)
        line.read_response()
        self._forget()  # what was kept before nobody has watched

    def _prove(self, until: float) -> None:
        self.sure = until
        self.tried.set()
        if not self._heard:
            self._heard = True
            log.warning("store %s: its messages are heard again, the near tier is in use", self._address)

    def _lost(self, error: Exception) -> None:
        if self._heard:
            self._heard = False
            log.warning(
                "store %s: its messages are not heard (%s), the near tier is out of use%s",
                self._address,
                type(error).__name__ if isinstance(error, redis.AuthenticationError) else error,
                "; its user needs +client|id +client|tracking +subscribe &__redis__:invalidate"
                if isinstance(error, NoPermissionError)
                else "",
            )

    def _forget(self) -> None:
        for hearer in self._hearers:
            hearer.flush()

    def _tell(self, names: list[bytes] | None) -> None:
        if names is None:  # FLUSHALL
            self._forget()
            return
        for hearer in self._hearers:
            for name in names:
                hearer.changed(name)


_listeners: dict[Any, Listener] = {}
_lock = threading.RLock()


def listener_of(server: Any, make: Callable[[], Any], address: str, prefixes: tuple[str, ...]) -> Listener:
    """Return the one listener of this process to a server; *server* is equal for equal urls and options."""
    with _lock:
        if server not in _listeners:
            _listeners[server] = Listener(make, address, prefixes)
        return _listeners[server]


def _begin() -> None:
    global _lock
    _lock = threading.RLock()
    _listeners.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin)
