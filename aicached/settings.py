"""
What a cache is told: checked, and made into a store and an engine.

Law: a setting that cannot be meant is refused when the cache is made, and the message says what is allowed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from typing import Any

from .codec.envelope import Codec
from .engine import Engine
from .errors import ConfigurationError
from .keys.keyer import stamp_key
from .policy import plain, seconds
from .status import CacheStatus
from .stores import Store, open_store
from .stores.embedded import embedded_store, project_folder
from .stores.guarded import GuardedStore

__all__ = ["count_of", "engine_on", "flag_of", "hooks_of", "store_of", "timeout_of", "trusted_of"]

log = logging.getLogger("aicached")


def count_of(value: Any, name: str) -> int | None:
    """Return a whole number, 1 or more, or None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{name}: it takes a whole number, 1 or more, not {value!r}")
    return value


def flag_of(value: Any, name: str) -> bool:
    """Return True or False."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name}: it takes True or False, not {value!r}")
    return value


def timeout_of(value: Any) -> float:
    """Return the seconds that a store has for an operation."""
    timeout = seconds(value, "timeout")
    if not timeout:
        raise ConfigurationError("timeout: it takes more than 0 seconds, so that the store can answer at all")
    return timeout


def hooks_of(hooks: Any) -> tuple[Callable[[CacheStatus], Any], ...]:
    """Return the hooks, of which one alone may stand by itself."""
    given = [hooks] if callable(hooks) else hooks
    if not isinstance(given, Iterable) or not all(map(callable, given)):
        raise ConfigurationError("hooks: it takes callables of one CacheStatus")
    return tuple(plain(hook, "hooks") for hook in given)


def trusted_of(trust: Any) -> tuple[list[type], list[str]]:
    """Return the classes and the names of modules among what is trusted."""
    items = [trust] if isinstance(trust, (str, type)) else trust
    if not isinstance(items, Iterable) or not all(isinstance(item, (str, type)) for item in items):
        raise ConfigurationError("trust: it takes classes, and names of modules")
    return [t for t in items if isinstance(t, type)], [t for t in items if isinstance(t, str)]


def store_of(url: Any, namespace: str, timeout: float, bounds: dict[str, int | None]) -> tuple[Store, str]:
    """Return the store, and the namespace in it: on the embedded default that holds the project's folder too."""
    if isinstance(url, Store):
        return url, namespace
    named = url if url is not None else os.environ.get("AICACHED_URL") or os.environ.get("REDIS_URL") or None
    if named is None:
        folder = project_folder()
        return embedded_store(timeout=timeout, **bounds), f"{namespace} {folder}" if folder else namespace
    if not isinstance(named, str):
        raise ConfigurationError(f"cache: it takes a url or a Store, not a {type(named).__name__}")
    store = open_store(named, timeout=timeout, partition=stamp_key(namespace)[1:], **bounds)
    if url is None and not os.environ.get("AICACHED_URL"):
        # The store's address is the url without its password; no other way to cut one out is sure.
        log.info("answers are shared through the Redis that REDIS_URL names: %s", store.address)
    return store, namespace


def engine_on(guarded: GuardedStore, codec: Codec, near: Any, bounded: bool) -> Engine:
    """Put an engine on a store behind its guard, and behind the near tier where there is one."""
    store = guarded.store
    if near is not False:
        from .stores.near import NearStore, near_of

        near = near_of(near)
    if not store.blocking:
        return Engine(guarded, codec, store)
    if store.reads_inline:
        return Engine(guarded, codec, guarded)
    if near is False:
        return Engine(guarded, codec)
    if not hasattr(store, "listener"):
        raise ConfigurationError(f"near: it takes Redis, which tells what changes; not a {type(store).__name__}")
    kept = NearStore(guarded, store.listener, codec.open, near)
    kept.kept.note = getattr(store, "note", None) if bounded else None
    return Engine(kept, codec, kept.kept)
