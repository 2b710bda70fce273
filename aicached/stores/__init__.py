"""
Stores by url; each is imported when it is first asked for.
"""

from __future__ import annotations

from typing import Any

from ..errors import ConfigurationError
from .base import Store

__all__ = ["Store", "open_store"]

_ALLOWED = "memory://, sqlite:///relative/path, sqlite:////absolute/path, redis://, rediss:// and unix://"


def open_store(url: str, *, timeout: float, max_entries: int | None, max_bytes: int | None, partition: bytes) -> Store:
    """
    Return the store that *url* names.

    Args:
        timeout: seconds per operation, for stores that wait.
        partition: 32 bytes that stand for the part of the store that the bounds are about.
        max_entries, max_bytes: bounds, least recently used goes first; None = none (memory://: 1 GiB).

    Raises:
        ConfigurationError: there is no store of that kind.
    """
    scheme, separator, rest = url.partition("://")
    bounds: dict[str, Any] = {"max_entries": max_entries, "max_bytes": max_bytes}
    if separator and scheme == "memory":
        from .memory import MemoryStore

        return MemoryStore(**{name: bound for name, bound in bounds.items() if bound is not None})
    if separator and scheme == "sqlite" and len(rest) > 1 and rest.startswith("/"):
        from .sqlite import SQLiteStore

        return SQLiteStore(rest[1:], timeout=timeout, partition=partition, **bounds)
    if separator and scheme in ("redis", "rediss", "unix"):
        from .redis import RedisStore

        return RedisStore(url, timeout=timeout, partition=partition, **bounds)
    # A url may hold a password: of one that cannot be read, nothing but a plain scheme is repeated.
    named = f"by {scheme}://" if separator and scheme.isalnum() else "by that url"
    raise ConfigurationError(f"cache: no store is known {named}; there are {_ALLOWED}")
