"""
What a url says of a Redis server: how to connect to it, what to call it, and what its errors mean.

Law: nothing of a password is ever in an address or in a message, nor is any of what was to be kept; no error of
redis-py gets out.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import redis
import redis.asyncio
from redis.asyncio.connection import parse_url as parse_async_url
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection, parse_url
from redis.exceptions import ClusterDownError, NoPermissionError, TryAgainError
from redis.retry import Retry

from ..errors import ConfigurationError, StoreError, StoreUnavailable, WriteRefused

__all__ = ["Server"]

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
_KINDS: dict[str, type[Exception]] = {
    "OOM": redis.OutOfMemoryError,
    "READONLY": redis.ReadOnlyError,
    "NOPERM": NoPermissionError,
    "MISCONF": redis.ResponseError,
    "NOREPLICAS": redis.ResponseError,
}
#: What to do about it, for the log.
_HINTS: tuple[tuple[type[Exception], str], ...] = (
    (redis.OutOfMemoryError, "; maxmemory-policy allkeys-lru makes room by itself"),
    (redis.ReadOnlyError, "; the url leads to a replica, answers are kept by its master"),
    (NoPermissionError, "; docs/redis.md says what its user must be allowed"),
)


class Server:
    """Make connections to the server at *url*: `connection` for a thread, `line` for an event loop; neither is open."""

    def __init__(self, url: str, timeout: float, options: dict[str, Any]) -> None:
        settings, loop_settings = _settings(url, timeout, options)
        try:
            self.connection = redis.ConnectionPool(**settings).make_connection
            self.line = redis.asyncio.ConnectionPool(**loop_settings).make_connection
            for make in (self.connection, self.line):
                make()  # the object alone, which knows what its options may be
        except (TypeError, ValueError, redis.RedisError) as error:
            # A password with an & in it has become an option.
            named = "one of those in the url" if "password=" in url else error
            raise ConfigurationError(f"not an option of a Redis connection: {named}") from None
        self.address = _address(url, settings)
        #: Equal for servers that are connected to in the same way.
        self.identity = (url, timeout, repr(sorted(options.items())))
        self._timeout = timeout
        self._secrets = [settings[name] for name in ("password", "ssl_password") if settings.get(name)]

    def failure(self, error: Exception) -> StoreError:
        """Say in the words of a store what *error* means."""
        if isinstance(error, StoreError):
            return type(error)(*error.args)
        self._hush(error)
        error = _unwrapped(error)
        hint = next((hint for kind, hint in _HINTS if isinstance(error, kind)), "")
        text = f"{self.address}: {error}{hint}"
        if isinstance(error, redis.AuthenticationError):
            return StoreUnavailable(f"{text}; user and password are written redis://user:password@host")
        if "CERTIFICATE_VERIFY_FAILED" in text:
            return StoreUnavailable(f"{text}; an authority of your own is named by ?ssl_ca_certs=/path in the url")
        if isinstance(error, asyncio.TimeoutError):
            return StoreUnavailable(f"{self.address}: no answer within {self._timeout} s")
        if isinstance(error, _ABSENT) or str(error).startswith(_ABSENT_CODES):
            return StoreUnavailable(text)
        if isinstance(error, _READ_ONLY) or str(error).startswith(_READ_ONLY_CODES):
            return WriteRefused(text)
        return StoreError(text)

    def _hush(self, error: Exception) -> None:
        """
        Take from *error* itself, which will be shown as a cause, what it quotes of the command.

        A server that does not know AUTH, or a proxy that forbids it, repeats the password; with SET, an answer.
        """
        text = str(error).partition(", with args beginning with")[0]
        if any(str(secret) in text for secret in self._secrets):
            text = type(error).__name__
        if text != str(error):
            error.args = (text,)


def _unwrapped(error: Exception) -> Exception:
    """Return what went wrong, where it is told in other words: in the middle of a script's, or of a long command."""
    if "unauthenticated" in str(error):
        return redis.AuthenticationError("Authentication required")
    if "user executing the script" in str(error):
        return NoPermissionError(f"this user may not run what a script runs ({error})")
    _, inside, reason = str(error).rpartition(": -")
    kind = _KINDS.get(reason.partition(" ")[0])
    return kind(reason) if inside and kind else error


def _settings(url: str, timeout: float, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Put together what connections of threads, and those of event loops, are made of."""
    said, said_to_loops = _parsed(url)
    ours = {"decode_responses": False, "protocol": 2, "health_check_interval": 0, **_NO_GREETING}
    ours |= {"socket_connect_timeout": timeout, "retry_on_timeout": False, "max_connections": sys.maxsize}
    plain = options | said | ours | {"socket_timeout": timeout, "retry": Retry(NoBackoff(), 0)}
    # No time-outs of redis-py's, which would set one for each step: a single limit does for all, and knows late loops.
    asynchronous = options | said_to_loops | ours | {"socket_timeout": None, "socket_connect_timeout": None}
    asynchronous["connection_class"] = _aborting(asynchronous.get("connection_class", redis.asyncio.Connection))
    return plain, asynchronous


def _parsed(url: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the url as both halves of redis-py do, which differ in the class of connection they name."""
    try:
        _check(url)
        plain: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
        return plain, {**parse_async_url(url)}
    except ValueError:
        # Without its text, which may quote a part of a password.
        raise ConfigurationError(
            "not the url of a Redis server: redis://[user:password@]host[:port][/database], rediss://... or "
            "unix://path; special characters in it are written as %xx"
        ) from None


def _check(url: str) -> None:
    """Refuse a url where a plain ``/``, ``?`` or ``#`` in the password has made host, port, path or option of it."""
    parts = urlsplit(url)
    shown = parts.query + parts.fragment
    if parts.scheme == "unix" or parts.port is not None or "@" in parts.netloc:
        shown += parts.path
    if parts.netloc and "@" in shown:
        raise ValueError("an @ comes late")


def _aborting(base: Any) -> Any:
    """
    Make a connection class of redis-py that does not wait when it is told not to, and that can be cut by others.

    A server that hangs takes no bytes: closed the usual way, a half-written command would stay open until it does.
    """

    def cut(line: Any) -> None:
        if (writer := getattr(line, "_writer", None)) is not None:
            with suppress(RuntimeError):  # its loop has ended
                writer.transport.abort()

    async def disconnect(line: Any, nowait: bool = False, **details: Any) -> None:
        if nowait:
            cut(line)
        await base.disconnect(line, nowait=nowait, **details)

    return type(base.__name__, (base,), {"cut": cut, "disconnect": disconnect})


def _address(url: str, settings: dict[str, Any]) -> str:
    """Write the url without user, password and options."""
    scheme, database = url.split(":", 1)[0].lower(), settings.get("db", 0)
    if scheme == "unix":
        return f"unix://{settings.get('path', '')}?db={database}"
    host = settings.get("host", "localhost")
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.get('port', 6379)}/{database}"
