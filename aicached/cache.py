"""
Settings put together: a store, an engine, and the options that functions on this cache share; what people do with the
entries is in `holdings`.

Law: one url is one `Cache` per process, so that two functions with ``cache="memory://"`` share it; a `Cache` made by
hand is one of its own. The default is looked up at each call, and can be replaced at any time.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from types import MethodType, TracebackType
from typing import TYPE_CHECKING, Any

from .codec.envelope import Codec
from .context import forget_process_mode
from .errors import ConfigurationError
from .holdings import Holdings
from .policy import declare
from .refreshes import REFRESHES
from .runtime import ASYNCIO, BLOCKING, drive
from .savings import Prices, checked_prices
from .settings import count_of, engine_on, flag_of, hooks_of, store_of, timeout_of, trusted_of
from .site import Site
from .status import CacheStatus
from .stores import Store
from .stores.guarded import GuardedStore
from .stores.owed import forgive

if TYPE_CHECKING:
    from .stores.near import Near

__all__ = ["Cache", "configure", "default_cache"]


class Cache(Holdings):
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
        self.max_value_bytes = count_of(max_value_bytes, "max_value_bytes") or 0
        self.require_scope = flag_of(require_scope, "require_scope")
        self.keep_arguments = flag_of(keep_arguments, "keep_arguments")
        self.hooks = hooks_of(hooks)
        self.prices: Prices = {} if prices is None else checked_prices(prices)
        self.trusted_classes, self.trusted_modules = trusted_of(trust)
        bounds = {"max_entries": count_of(max_entries, "max_entries"), "max_bytes": count_of(max_bytes, "max_bytes")}
        self.store, namespace = store_of(url, namespace, timeout_of(timeout), bounds)
        codec = Codec(
            signing_keys=signing_keys,
            encryption_keys=encryption_keys,
            compression=count_of(compression, "compression"),
            limit=self.max_value_bytes,
        )
        guarded = GuardedStore(self.store)
        super().__init__(engine_on(guarded, codec, near, any(bounds.values())), guarded, namespace)
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


_lock = threading.RLock()
_default: Cache | None = None
_by_url: dict[str, Cache] = {}


def _remake_lock() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # another thread may hold it, which is not there in the child
    os.register_at_fork(after_in_child=_remake_lock)


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
