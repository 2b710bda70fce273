"""
What happened to one call, and what that adds up to.

Law: these are values. The engine makes a `CacheStatus` only where a trace or a hook asks for one, and publishes it
once, at the end of the call; the counts of a function are plain additions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ["CacheInfo", "CacheStatus", "Counts", "Stats", "Usage"]


class Usage(NamedTuple):
    """
    Say what one answer cost.

    Args:
        model: the model that served it, as the provider names it; None where that is not known.
        tokens_in: tokens of the prompt.
        tokens_out: tokens of the answer.
        cost: dollars; None lets the cache's ``prices`` decide.
    """

    model: str | None = None
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float | None = None

    @property
    def tokens(self) -> int:
        """Tokens in and out together."""
        return self.tokens_in + self.tokens_out


class CacheInfo(NamedTuple):
    """
    Count what one function's calls came to, in this process.

    ``hits + misses + bypassed`` is the number of calls. Stale hits are hits too; collapsed, refused and stored calls
    are misses too, but for what a refresh behind its callers has stored or refused. ``errors`` are the
    store's. Seconds and cost (dollars) are those of the origin: ``spent`` on misses, ``saved`` by hits.
    """

    hits: int = 0
    misses: int = 0
    bypassed: int = 0
    stale: int = 0
    collapsed: int = 0
    refused: int = 0
    stored: int = 0
    errors: int = 0
    seconds_spent: float = 0.0
    seconds_saved: float = 0.0
    tokens_spent: int = 0
    tokens_saved: int = 0
    cost_spent: float = 0.0
    cost_saved: float = 0.0


class Stats(dict[str, CacheInfo]):
    """
    Hold the counts of all processes: function -> `CacheInfo`.

    The fields of `total` can be read from it directly: ``cache.stats().hits``.
    """

    @property
    def total(self) -> CacheInfo:
        """The counts of all functions together."""
        return CacheInfo(*map(sum, zip(*self.values(), strict=True))) if self else CacheInfo()

    @property
    def hit_rate(self) -> float:
        """Hits among all calls, 0 to 1; 0 where there were none."""
        total = self.total
        calls = total.hits + total.misses + total.bypassed
        return total.hits / calls if calls else 0.0

    def __getattr__(self, name: str) -> Any:
        if name not in CacheInfo._fields:
            raise AttributeError(name)
        return getattr(self.total, name)


class Counts:
    """
    Add up what one function's calls on one cache come to, and never go back; `CacheInfo` is what people see of it.

    Plain additions on slots, which the interpreter's lock keeps exact. Beside the fields of `CacheInfo`: of the tokens
    saved those of prompts, and of the misses those that found an entry that was no longer fresh, and those for which
    the mode asked.
    """

    __slots__ = (*CacheInfo._fields, "expired", "requested", "tokens_in_saved")

    def __init__(self) -> None:
        self.hits = self.misses = self.bypassed = 0
        self.stale = self.collapsed = self.refused = self.stored = self.errors = 0
        self.seconds_spent = self.seconds_saved = 0.0
        self.expired = self.requested = 0
        self.tokens_spent = self.tokens_saved = self.tokens_in_saved = 0
        self.cost_spent = self.cost_saved = 0.0

    def info(self) -> CacheInfo:
        """Return the counts as a value."""
        return CacheInfo(*(getattr(self, name) for name in CacheInfo._fields))


@dataclass(frozen=True, slots=True)
class CacheStatus:
    """
    Tell what happened to one call, in the words of RFC 9211.

    Args:
        function: module and qualified name.
        namespace: the cache's namespace.
        hit: True where the answer came from the cache.
        fwd: why the origin was called: ``"uri-miss"`` (nothing stored), ``"stale"``, ``"request"`` (the mode asked for
            it), ``"bypass"`` (the cache was not consulted); None on a hit.
        stored: True where the new answer was kept.
        collapsed: True where the call waited for somebody else's computation.
        ttl: seconds the entry stays fresh, negative once it is stale; None for ever or where there is no entry.
        age: seconds since the entry was created; None where there is no entry.
        key: hex digest of the call; None where the call has no key.
        detail: what else there is to say, for people: ``"arguments-changed"``, ``"incomplete: length"``.
        seconds: the whole call; store_seconds, origin_seconds: parts of it.
        usage: tokens and cost of the answer, where known.
        error: name of the exception's class that the origin raised.
        semantic: the `Decision` about near matches; None where none was looked for.
    """

    function: str
    namespace: str
    hit: bool
    fwd: str | None = None
    stored: bool = False
    collapsed: bool = False
    ttl: float | None = None
    age: float | None = None
    key: str | None = None
    detail: str | None = None
    seconds: float = 0.0
    store_seconds: float = 0.0
    origin_seconds: float = 0.0
    usage: Usage | None = None
    error: str | None = None
    semantic: Any = None

    def __str__(self) -> str:
        """Return a Cache-Status header value (RFC 9211, section 2)."""
        parts = ["aicached"]
        if self.hit:
            parts.append("hit")
        elif self.fwd:
            parts.append(f"fwd={self.fwd}")
        parts += [name for name in ("stored", "collapsed") if getattr(self, name)]
        if self.ttl is not None:
            parts.append(f"ttl={int(self.ttl)}")
        if self.key is not None:
            parts.append(f'key="{self.key}"')
        if self.detail is not None:
            parts.append(f"detail={_quoted(self.detail)}")
        return "; ".join(parts)


def _quoted(text: str) -> str:
    """Return a Structured Field string (RFC 8941, section 3.3.3): printable ASCII, two characters escaped."""
    plain = "".join(c if " " <= c <= "~" else "?" for c in text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
