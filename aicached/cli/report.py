"""``aicached report``: one self-contained page about what the cache does."""

from __future__ import annotations

import heapq
import os
import statistics
import tempfile
import time
from contextlib import suppress
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import typer

from ..cache import Cache
from ..codec.classes import Classes
from ..codec.values import Undecodable, decode
from ..counters import Figures, saved
from ..inquiry import standing
from ..keys.keyer import stamp_key
from ..runtime import BLOCKING, drive
from .report_page import Facts, Valuable, page
from .shared import JsonOption, NamespaceOption, UrlOption, ask, cache_of, print_json

__all__ = ["run"]

_DAYS = 30
_VALUABLE = 10


def run(
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")] = Path("report.html"),
    url: UrlOption = None,
    namespace: NamespaceOption = "default",
    as_json: JsonOption = False,
) -> int:
    """Write a page about what the cache does.

    Hit rate, savings, latency, misses by reason, most valuable entries.
    """
    with cache_of(url, namespace) as cache:
        facts = _facts(cache)
    _write(output, page(facts))
    if as_json:
        print_json({"file": str(output), "hit_rate": facts.stats.hit_rate, "savings": facts.savings._asdict()})
    else:
        print(f"written: {output}")
    return 0


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _facts(cache: Cache) -> Facts:
    days = cache.ledger.days(_DAYS)
    looked, valuable, count = _entries(cache)
    return Facts(
        store=cache.engine.address,
        namespace=cache.namespace,
        written=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        stats=cache.stats(),
        savings=cache.savings(),
        days={day: _day(figures) for day, figures in days.items()},
        reasons=_reasons(days),
        look_up=looked,
        entries=count,
        valuable=valuable,
    )


def _day(figures: Figures) -> dict[str, float]:
    """Return what is plotted of a day."""
    total = {name: sum(each.get(name, 0) for each in figures.values()) for name in ("hits", "misses", "bypassed")}
    savings = saved(figures)
    return {**total, "cost": savings.cost, "tokens": savings.tokens, "seconds": savings.seconds}


def _reasons(days: dict[date, Figures]) -> dict[str, int]:
    """Tell the misses apart; each is in one line of these, bypassed calls beside them."""
    total: dict[str, int] = {}
    for figures in days.values():
        for numbers in figures.values():
            for name, number in numbers.items():
                total[name] = total.get(name, 0) + number
    told = {name: total.get(name, 0) for name in ("expired", "requested", "collapsed", "bypassed")}
    new = total.get("misses", 0) - told["expired"] - told["requested"] - told["collapsed"]
    return {
        "not stored yet": max(new, 0),
        "waited for another caller": told["collapsed"],
        "no longer fresh": told["expired"],
        "a new answer was asked for": told["requested"],
        "the cache was not consulted": told["bypassed"],
    }


def _entries(cache: Cache) -> tuple[float | None, list[Valuable], int]:
    """Return how long a hit takes, measured now; the entries whose hits save most; and how many there are."""

    async def all_of_them() -> tuple[list[Any], int]:
        best: list[Any] = []
        count = 0
        async for digest, entry in standing(cache.engine, BLOCKING, stamp_key(cache.namespace)):
            count += 1
            usage = entry.meta.usage
            worth = ((usage.cost or 0.0) if usage else 0.0, entry.meta.seconds, count)
            heapq.heappush(best, (*worth, digest, entry))
            if len(best) > _VALUABLE:
                heapq.heappop(best)
        return sorted(best, reverse=True), count

    best, count = drive(all_of_them())
    now = cache.engine.store.now()
    valuable = [
        Valuable(entry.meta.function, digest.hex(), cost, entry.meta.usage, seconds, entry.age(now))
        for cost, seconds, _, digest, entry in best
    ]
    return _look_up(cache, [digest for *_, digest, _ in best]), valuable, count


def _look_up(cache: Cache, digests: list[bytes]) -> float | None:
    taken = []
    for digest in digests * 5:
        started = time.perf_counter()
        data, _ = ask(cache, "get_many", [b"v" + digest, stamp_key(cache.namespace)])
        entry = cache.engine.opened(data, digest)
        if entry is not None:
            with suppress(Undecodable):
                decode(entry.payload, Classes([], []))
            taken.append(time.perf_counter() - started)
    return statistics.median(taken) if taken else None
