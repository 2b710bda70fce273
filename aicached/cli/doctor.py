"""
``aicached doctor``: what is configured, does the store answer, how fast, and what to change.

Law: whatever it advises, a store that answers is exit code 0.
"""

from __future__ import annotations

import importlib.util
import os
import sqlite3
import statistics
import sys
import time
from typing import Any

from .. import __version__
from ..cache import Cache
from ..errors import StoreError
from .shared import JsonOption, NamespaceOption, UrlOption, ask, cache_of, print_json, print_table

__all__ = ["run"]

_EXTRAS = {
    "cryptography": "crypto",
    "genai_prices": "prices",
    "hiredis": "hiredis",
    "opentelemetry": "otel",
    "prometheus_client": "prometheus",
    "zstandard": "zstd",
}


def run(url: UrlOption = None, namespace: NamespaceOption = "default", as_json: JsonOption = False) -> int:
    """Check the store, and say what to change."""
    source = "--url" if url else next((n for n in ("AICACHED_URL", "REDIS_URL") if os.environ.get(n)), "default")
    with cache_of(url, namespace) as cache:
        about: dict[str, Any] = {
            "aicached": __version__,
            "python": sys.version.split()[0],
            "store": cache.engine.address,
            "named by": source,
            "namespace": cache.namespace,
            **_latency(cache),
        }
        advice: list[str] = []
        address = cache.engine.address
        kind = address.partition("://")[0]
        if kind == "sqlite":
            about.update(_sqlite(cache, advice))
        elif kind in {"redis", "rediss", "unix"}:
            about.update(_redis(url or os.environ.get("AICACHED_URL") or os.environ["REDIS_URL"], advice))
        about.setdefault("near tier", "for Redis alone")
        about["processes share computations"] = "yes" if getattr(cache.engine.store, "swaps", False) else "no"
        about["mode"] = os.environ.get("AICACHED_MODE") or "on"
        about["extras"] = ", ".join(sorted(e for m, e in _EXTRAS.items() if importlib.util.find_spec(m))) or "none"
    if about["mode"] != "on":
        advice.append(f"AICACHED_MODE is {about['mode']}: unset it to read and store answers")
    if as_json:
        print_json({**about, "advice": advice})
        return 0
    print_table(("", ""), [(name, str(value)) for name, value in about.items()])
    print("\n".join(["", *(f"- {line}" for line in advice)]) if advice else "\nNothing to change.")
    return 0


def _latency(cache: Cache) -> dict[str, str]:
    """Measure look-ups; raises `StoreError` where the store does not answer."""
    taken = []
    for _ in range(21):
        started = time.perf_counter()
        ask(cache, "get_many", [b"v" + bytes(32), b"t" + bytes(32)])
        taken.append(time.perf_counter() - started)
    return {"look-up": f"{statistics.median(taken) * 1e3:.3f} ms (median of {len(taken)})"}


def _sqlite(cache: Cache, advice: list[str]) -> dict[str, str]:
    size = os.path.getsize(path) if os.path.exists(path := cache.engine.address.removeprefix("sqlite:///")) else 0
    if size > 2 * 2**30:
        advice.append("the file is larger than 2 GiB: set max_bytes= or delete it")
    return {"version": f"SQLite {sqlite3.sqlite_version}", "file": f"{size / 2**20:,.1f} MiB"}


def _redis(url: str, advice: list[str]) -> dict[str, str]:
    import redis

    try:
        with redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as client:
            info: Any = client.info()
    except redis.ResponseError:
        advice.append("this user may not ask for INFO, so version and eviction could not be checked")
        return {}
    except redis.RedisError as error:
        raise StoreError(f"the store does not answer INFO ({type(error).__name__})") from error
    policy, limit = info.get("maxmemory_policy", "?"), info.get("maxmemory", 0)
    if not limit:
        advice.append("no memory limit: redis-server --maxmemory 256mb --maxmemory-policy allkeys-lru")
    elif policy == "noeviction":
        advice.append("full means that nothing is stored any more: --maxmemory-policy allkeys-lru")
    elif not policy.startswith("allkeys"):
        advice.append(f"{policy} evicts entries with a ttl alone: allkeys-lru suits a cache")
    version = info.get("redis_version", "0")
    if int(version.split(".")[0]) < 6:
        advice.append(f"Redis {version} tells nobody of invalidations: the near tier needs 6 or later")
    used = f"{info.get('used_memory_human', '?')} of {info.get('maxmemory_human', '?') if limit else 'no limit'}"
    near = "Redis 6 or later" if int(version.split(".")[0]) < 6 else "possible: Cache(url, near=True)"
    return {"version": f"Redis {version}", "memory": used, "eviction": policy, "near tier": near}
