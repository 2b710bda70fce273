"""``aicached stats``: what the calls of all processes came to."""

from __future__ import annotations

from ..status import CacheInfo
from .shared import JsonOption, NamespaceOption, UrlOption, cache_of, print_json, print_table

__all__ = ["run"]


def run(url: UrlOption = None, namespace: NamespaceOption = "default", as_json: JsonOption = False) -> int:
    """Show hits, misses and errors of all processes, by function."""
    with cache_of(url, namespace) as cache:
        stats = cache.stats()
        if as_json:
            functions = {name: info._asdict() for name, info in stats.items()}
            print_json(
                {
                    "store": cache.engine.address,
                    "namespace": cache.namespace,
                    "hit_rate": stats.hit_rate,
                    "total": stats.total._asdict(),
                    "functions": functions,
                }
            )
            return 0
        if not stats:
            print(f"Nothing was counted yet in {cache.engine.address}, namespace {cache.namespace!r}.")
            return 0
        print_table(
            ("function", ">hits", ">misses", ">hit rate", ">stale", ">collapsed", ">bypassed", ">errors"),
            [_row(name, info) for name, info in stats.items()],
            _row("all", stats.total),
        )
    return 0


def _row(name: str, info: CacheInfo) -> list[str]:
    calls = info.hits + info.misses + info.bypassed
    rate = f"{info.hits / calls:.1%}" if calls else "-"
    rest = (info.stale, info.collapsed, info.bypassed, info.errors)
    return [name, f"{info.hits:,}", f"{info.misses:,}", rate, *(f"{number:,}" for number in rest)]
