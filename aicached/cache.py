"""
Settings put together: a store, its guard, an engine, and the options that functions on this cache share.

Law: one url is one `Cache` per process, so that two functions with ``cache="memory://"`` share it; a `Cache` made by
hand is one of its own. The default is looked up at each call, and can be replaced at any time.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from types import MethodType, TracebackType
from typing import TYPE_CHECKING, Any, Literal, overload

from .codec.envelope import Codec
from .context import forget_process_mode, valid_scope
from .counters import Ledger
from .engine import Engine
from .entry import EntryInfo
from .errors import ConfigurationError
from .keys.keyer import stamp_key, tag_keys
from .policy import declare, names_of, plain, seconds
from .purging import Choice, Purging
from .refreshes import REFRESHES
from .runtime import ASYNCIO, BLOCKING, Runtime, drive
from .savings import Prices, Savings, checked_prices
from .site import Site
from .status import CacheStatus, Counts, Stats
from .stores import Store, open_store
from .stores.embedded import embedded_store, project_folder
from .stores.guarded import GuardedStore
from .stores.owed import forgive

if TYPE_CHECKING:
    from .stores.near import Near

__all__ = ["Cache", "configure", "default_cache"]

log = logging.getLogger("aicached")


class Cache:
    """
    Keep the answers of any number of functions in one store.

    Args:
        url: ``memory://``, ``sqlite:///path``, ``redis://``, ``rediss://``, ``unix://``, or a `Store`; None = what
            ``AICACHED_URL`` or ``REDIS_URL`` names, else a SQLite file in the user's cache folder.
        namespace: a partition of the store; two namespaces share nothing.
        near: True: the entries used most lately are also kept in this process, and kept right by the server's messages
            (Redis 6 or later); `Near` says how many. Stores on this machine need none.
        max_entries, max_bytes: bounds of the store, least recently used goes first; None = none, but 1 GiB in memory
            and in the embedded default.
        max_value_bytes: of one answer; a larger one is passed through and not kept.
        compression: bytes from which an answer is compressed in the store; None = never.
        signing_keys: bytes of 32 or more; the first signs, all verify, and unsigned entries are misses.
        encryption_keys: bytes of 32; the first encrypts, all decrypt.
        timeout: seconds per store operation.
        trust: classes, or names of modules (submodules included), whose objects may be made when decoding.
        require_scope: True: a call outside of every `scope` is not cached.
        keep_arguments: True: arguments are stored in clear beside the entry, for `entries`.
        hooks: callables of one `CacheStatus`, after each call; an exception in one is counted, not raised.
        prices: ``{"model": (dollars per million tokens in, out)}``.
        **defaults: options of `ai_cached` for all functions on this cache.

    Raises:
        ConfigurationError: a setting that cannot be meant; the message says what is allowed.
    """

    def __init__(
        self,
        url: str | Store | None = None,
        *,
        namespace: str = "default",
        near: bool | Near = False,
        max_entries: int | None = None,
        max_bytes: int | None = None,
        max_value_bytes: int = 16 * 2**20,
        compression: int | None = 16 * 2**10,
        signing_keys: Sequence[bytes] = (),
        encryption_keys: Sequence[bytes] = (),
        timeout: float = 0.25,
        trust: Iterable[type | str] = (),
        require_scope: bool = False,
        keep_arguments: bool = False,
        hooks: Iterable[Callable[[CacheStatus], Any]] = (),
        prices: Prices | None = None,
        **defaults: Any,
    ) -> None:
        if not isinstance(namespace, str) or not namespace:
            raise ConfigurationError("namespace: it takes a non-empty string")
        if "colour" in defaults:
            raise ConfigurationError("Cache(): colour is a matter of each function; say it to ai_cached()")
        self.defaults = declare(defaults, "Cache()")
        if max_value_bytes is None:
            raise ConfigurationError("max_value_bytes: it takes a whole number, 1 or more, not None")
        self.max_value_bytes = _count(max_value_bytes, "max_value_bytes") or 0
        self.require_scope = _flag(require_scope, "require_scope")
        self.keep_arguments = _flag(keep_arguments, "keep_arguments")
        self.hooks = _hooks(hooks)
        self.prices: Prices = {} if prices is None else checked_prices(prices)
        self.trusted_classes, self.trusted_modules = _trusted(trust)
        bounds = {"max_entries": _count(max_entries, "max_entries"), "max_bytes": _count(max_bytes, "max_bytes")}
        self.store, self.namespace = _store_of(url, namespace, _timeout(timeout), bounds)
        codec = Codec(
            signing_keys=signing_keys,
            encryption_keys=encryption_keys,
            compression=_count(compression, "compression"),
            limit=self.max_value_bytes,
        )
        guarded = GuardedStore(self.store)
        self.engine = _engine(guarded, codec, near, any(bounds.values()))
        self.ledger = Ledger(self.engine.store, self.namespace)
        #: What calls that belong to no function come to.
        self.counts = Counts()
        self.purging = Purging(guarded, self.engine.opened, self.namespace, self.counts)
        #: What was decorated here: identity and version -> what its functions close over and nobody follows.
        self.unfollowed: dict[tuple[str, bytes], dict[str, int]] = {}
        self._sites: OrderedDict[tuple[int, ...], Site] = OrderedDict()

    def call(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call a function through this cache, without decorating it: ``cache.call(ask, "hi")``."""
        # By identity: two callables that are equal need not answer alike. A bound method is made anew at each access.
        if getattr(function, "__aicached__", False):
            raise ConfigurationError(f"Cache.call(): {function.__qualname__}() is cached already; call it by itself")
        parts = (function.__func__, function.__self__) if isinstance(function, MethodType) else (function,)
        mark = tuple(map(id, parts))
        site = self._sites.get(mark)
        if site is None:
            site = self._sites[mark] = Site(function, {}, lambda: self)  # the site keeps the ids alive
            if len(self._sites) > 1000:
                self._sites.popitem(last=False)
        return site.answer(function, None, args, kwargs)

    def clear(self, scope: str | None = None) -> None:
        """
        Forget every entry of this namespace, or of one scope in it.

        The bytes stay until they expire or are pushed out; from now on they are misses, for all processes.
        """
        drive(self._clear(BLOCKING, scope))

    async def aclear(self, scope: str | None = None) -> None:
        """Twin of `clear`."""
        await self._clear(ASYNCIO, scope)

    async def _clear(self, rt: Runtime, scope: str | None) -> None:
        names = () if scope is None else ("scope", valid_scope(scope, "clear()"))
        await self.engine.clear(rt, self.counts, stamp_key(self.namespace, *names))

    def invalidate_tags(self, *names: str) -> None:
        """
        Forget every entry that carries one of these tags, for all processes; it takes as long for one as for a million.

        An answer that is being computed meanwhile is not kept, where it has such a tag.

        Args:
            names: tags, as ``tags=`` or ``current_call().tags`` gave them.
        """
        drive(self._invalidate_tags(BLOCKING, names))

    async def ainvalidate_tags(self, *names: str) -> None:
        """Twin of `invalidate_tags`."""
        await self._invalidate_tags(ASYNCIO, names)

    async def _invalidate_tags(self, rt: Runtime, names: tuple[str, ...]) -> None:
        places = tag_keys(self.namespace, names_of(names, "invalidate_tags()"))
        if places:
            # The stamp of all tags first: who sees the new stamp of a tag must see that something was invalidated.
            await self.engine.clear(rt, self.counts, stamp_key(self.namespace, "tags"), *places)

    @overload
    def purge(self, scope: str | None = None, older_than: Any = None, *, wait: Literal[True] = True) -> int: ...

    @overload
    def purge(self, scope: str | None = None, older_than: Any = None, *, wait: Literal[False]) -> None: ...

    def purge(self, scope: str | None = None, older_than: Any = None, *, wait: bool = True) -> int | None:
        """
        Delete the bytes of entries, and return of how many; `clear` and the like only make misses of them.

        It goes through all that is stored, in a thread of its own and at a pace that holds nobody up. Who stops waiting
        does not stop it; closing the cache does, and so does the end of the process.

        Args:
            scope: everything in this scope; None = in the namespace.
            older_than: everything that is older: seconds, a timedelta, or a string such as ``"30d"``. With neither of
                the two, what can be no answer any more: expired or invalidated.
            wait: False: return None at once; what goes wrong behind is counted, not raised.

        Raises:
            StoreError: the store is in trouble, or cannot list; or the cache was closed meanwhile.
        """
        asked = self._ask_purge(scope, older_than)
        return asked.result() if wait else None

    @overload
    async def apurge(self, scope: str | None = None, older_than: Any = None, *, wait: Literal[True] = True) -> int: ...

    @overload
    async def apurge(self, scope: str | None = None, older_than: Any = None, *, wait: Literal[False]) -> None: ...

    async def apurge(self, scope: str | None = None, older_than: Any = None, *, wait: bool = True) -> int | None:
        """Twin of `purge`."""
        asked = self._ask_purge(scope, older_than)
        if not wait:
            return None
        told: asyncio.Future[int] = asyncio.wrap_future(asked)
        return await told

    def _ask_purge(self, scope: str | None, older_than: Any) -> Future[int]:
        name = None if scope is None else valid_scope(scope, "purge()")
        age = None if older_than is None else seconds(older_than, "purge(): older_than")
        return self.purging.ask(Choice(name, age))

    def entries(self, limit: int = 100) -> list[EntryInfo]:
        """
        List what is stored in this namespace, the newest first; arguments only where the cache keeps them.

        Args:
            limit: how many at most.

        Raises:
            StoreError: the store is in trouble, or cannot list.
        """
        return drive(self._entries(BLOCKING, limit))

    async def aentries(self, limit: int = 100) -> list[EntryInfo]:
        """Twin of `entries`."""
        return await self._entries(ASYNCIO, limit)

    async def _entries(self, rt: Runtime, limit: int) -> list[EntryInfo]:
        if limit is None:
            raise ConfigurationError("entries(): limit takes a whole number, 1 or more, not None")
        from .inquiry import entries

        return await entries(self.engine, rt, stamp_key(self.namespace), _count(limit, "limit") or 0)

    def stats(self) -> Stats:
        """
        Return what the calls of all processes came to, by function; calls of a moment ago in other processes are late.

        Raises:
            StoreError: the store is in trouble.
        """
        return self.ledger.stats()

    async def astats(self) -> Stats:
        """Twin of `stats`."""
        return await asyncio.to_thread(self.stats)

    def savings(self, since: Any = None) -> Savings:
        """
        Return what hits saved, in all processes: calls, tokens, dollars and seconds.

        Args:
            since: a date or datetime; or how long ago, in seconds, as a timedelta, or as ``"30d"``: from the beginning
                of that day on (UTC); 400 days are kept. None = all there was.

        Raises:
            StoreError: the store is in trouble.
        """
        return self.ledger.savings(since)

    async def asavings(self, since: Any = None) -> Savings:
        """Twin of `savings`."""
        return await asyncio.to_thread(self.savings, since)

    def save(self, path: str | os.PathLike[str]) -> int:
        """
        Write every entry of this namespace into a file, and return how many; it is there whole or not at all.

        Signed and encrypted as in the store; `load` wants the same keys and the same namespace.

        Raises:
            StoreError: the store is in trouble, or cannot list.
            OSError: the file cannot be written.
        """
        from .saving import save

        return drive(save(self.engine, BLOCKING, self.namespace, stamp_key(self.namespace), path))

    async def asave(self, path: str | os.PathLike[str]) -> int:
        """Twin of `save`."""
        return await asyncio.to_thread(self.save, path)

    def load(self, path: str | os.PathLike[str]) -> int:
        """
        Put the entries of a file that `save` wrote into this cache, and return how many.

        They are as old as they are: what is over stays out, and so does what this cache has newer, and what is damaged
        or signed by others.

        Raises:
            ConfigurationError: no such file was written by `save`, or it holds another namespace.
            StoreError: the store is in trouble.
            OSError: the file cannot be read.
        """
        from .saving import load

        return drive(load(self.engine, BLOCKING, self.namespace, stamp_key(self.namespace), path))

    async def aload(self, path: str | os.PathLike[str]) -> int:
        """Twin of `load`."""
        return await asyncio.to_thread(self.load, path)

    def close(self) -> None:
        """
        Let go of files and connections; a call after this opens them anew.

        Refreshes that run behind callers have five seconds to end.
        """
        self.purging.settle()
        REFRESHES.settle(self.engine.address)
        self.ledger.flush()
        drive(BLOCKING.ask(self.engine.store, "close"))

    async def aclose(self) -> None:
        """Twin of `close`."""
        await self.purging.asettle()
        await REFRESHES.asettle(self.engine.address)
        await self.ledger.aflush()
        await ASYNCIO.ask(self.engine.store, "close")

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Cache:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<Cache {self.store.address} namespace={self.namespace!r}>"


def _engine(guarded: GuardedStore, codec: Codec, near: Any, bounded: bool) -> Engine:
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


def _count(value: Any, name: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{name}: it takes a whole number, 1 or more, not {value!r}")
    return value


def _flag(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name}: it takes True or False, not {value!r}")
    return value


def _timeout(value: Any) -> float:
    timeout = seconds(value, "timeout")
    if not timeout:
        raise ConfigurationError("timeout: it takes more than 0 seconds, so that the store can answer at all")
    return timeout


def _hooks(hooks: Any) -> tuple[Callable[[CacheStatus], Any], ...]:
    given = [hooks] if callable(hooks) else hooks
    if not isinstance(given, Iterable) or not all(map(callable, given)):
        raise ConfigurationError("hooks: it takes callables of one CacheStatus")
    return tuple(plain(hook, "hooks") for hook in given)


def _trusted(trust: Any) -> tuple[list[type], list[str]]:
    items = [trust] if isinstance(trust, (str, type)) else trust
    if not isinstance(items, Iterable) or not all(isinstance(item, (str, type)) for item in items):
        raise ConfigurationError("trust: it takes classes, and names of modules")
    return [t for t in items if isinstance(t, type)], [t for t in items if isinstance(t, str)]


def _store_of(url: Any, namespace: str, timeout: float, bounds: dict[str, int | None]) -> tuple[Store, str]:
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


_lock = threading.RLock()
_default: Cache | None = None
_by_url: dict[str, Cache] = {}


def default_cache() -> Cache:
    """Return the cache of functions that name none, making it at the first call."""
    global _default
    if _default is None:
        with _lock:
            if _default is None:
                _default = Cache()
    return _default


def configure(url: str | Store | None = None, **settings: Any) -> Cache:
    """
    Replace the default cache, and return the new one: ``configure("redis://localhost")``.

    Args:
        url, **settings: as `Cache` takes them.
    """
    global _default
    made = Cache(url, **settings)
    with _lock:
        before, _default = _default, made
    if before is not None:
        before.close()
    return made


def cache_for(option: Any) -> Cache | None:
    """Return the cache that ``cache=`` names: a `Cache`, the one for a url, or None for the default."""
    if option is None or isinstance(option, Cache):
        return option
    if not isinstance(option, str):
        raise ConfigurationError(f"cache: it takes a Cache, a url or None, not a {type(option).__name__}")
    with _lock:
        if option not in _by_url:
            _by_url[option] = Cache(option)
        return _by_url[option]


def forget_default() -> None:
    """Close and forget the default cache and those made for urls, as if the process had just begun."""
    global _default
    forget_process_mode()
    with _lock:
        caches = [*_by_url.values(), *([_default] if _default is not None else [])]
        _by_url.clear()
        _default = None
    forgive()
    for cache in caches:
        cache.close()
