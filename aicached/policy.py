"""
The declared rules of one cached function, and the questions that they answer.

Law: options are validated once, when they are written down; after that every question is a pure function of a value and
the time. Durations are seconds.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from . import providers
from .context import valid_mode, valid_scope
from .entry import Entry
from .errors import ConfigurationError, UnkeyableArgument
from .keys.canonical import form, form_or, pack

__all__ = ["EXPIRED", "FRESH", "STALE", "Policy", "declare", "jittered", "judge", "rescues", "revalidates", "seconds"]

log = logging.getLogger("aicached")

FRESH, STALE, EXPIRED = "fresh", "stale", "expired"
JITTER, JITTER_FROM, JITTER_MOST = 0.05, 10.0, 600.0

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|[smhdw])\s*")


def seconds(value: Any, option: str) -> float:
    """
    Return a duration in seconds.

    Args:
        value: seconds >= 0, a timedelta, or a string of parts: ``"90s"``, ``"1h30m"``, ``"7d"`` (ms s m h d w).
        option: the name to use in an error.

    Raises:
        ConfigurationError: it is none of these.
    """
    if isinstance(value, timedelta):
        value = value.total_seconds()
    elif isinstance(value, str):
        parts = _PART.findall(value)
        if not parts or _PART.sub("", value).strip():
            raise _bad(option, value, 'a string of parts such as "90s", "1h30m" or "7d" (ms s m h d w)')
        value = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise _bad(option, value, 'seconds (0 or more), a timedelta, or a string such as "90s", "1h30m", "7d"')
    return float(value)


def _bad(option: str, value: Any, allowed: str) -> ConfigurationError:
    shown = repr(value) if isinstance(value, (str, int, float, bool, type(None))) else f"a {type(value).__name__}"
    return ConfigurationError(f"{option}: {shown} is not allowed; it takes {allowed}")


# One check per option: (value, the option's name) -> the value as the engine wants it --------------------------------


def _ttl(value: Any, option: str) -> Any:
    return plain(value, option) if value is None or callable(value) else seconds(value, option)


def plain(value: Any, option: str) -> Any:
    """Return a callback, unless it is async: nobody awaits it, and what it returns is always true."""
    if inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(getattr(value, "__call__", None)):  # noqa: B004
        raise _bad(option, value, "a plain function; one with async def would never be awaited")
    return value


def _positive(value: Any, option: str) -> float:
    found = seconds(value, option)
    if not found:
        raise _bad(option, value, 'more than 0 seconds, a timedelta, or a string such as "90s", "10m"')
    return found


def _callable(value: Any, option: str) -> Any:
    if value is not None and not callable(value):
        raise _bad(option, value, "a function, or None")
    return plain(value, option)


def names_of(value: Any, option: str) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, Iterable) or isinstance(names, (Mapping, bytes)):
        raise _bad(option, value, "a tuple of names")
    names = tuple(names)
    if not all(isinstance(name, str) and name for name in names):
        raise _bad(option, value, "a tuple of names")
    return names


def _key(value: Any, option: str) -> Any:
    if value is None or callable(value):
        return plain(value, option)
    if not isinstance(value, (tuple, list, str)):
        raise _bad(option, value, "a function over the same arguments, or a tuple of their names")
    names = names_of(value, option)
    if not names:
        raise _bad(option, names, "at least one name, since without any all calls would be one")
    return names


def _normalize(value: Any, option: str) -> Mapping[str, Callable[[Any], Any]]:
    if value is None:
        return MappingProxyType({})
    if not isinstance(value, Mapping) or not all(isinstance(k, str) and callable(v) for k, v in value.items()):
        raise _bad(option, value, 'a dict of parameter names and functions, such as {"prompt": str.strip}')
    return MappingProxyType({name: plain(function, option) for name, function in value.items()})


def _scope(value: Any, option: str) -> Any:
    if value is None or isinstance(value, ContextVar) or callable(value):
        return plain(value, option)
    return valid_scope(value, option)


def _version(value: Any, option: str) -> Any:
    try:
        form(value)
    except UnkeyableArgument as error:
        raise ConfigurationError(f"{option}: {error}; it takes None or any value with a content") from error
    return value


def _retry(value: Any, option: str) -> Any:
    if isinstance(value, bool) or (hasattr(value, "copy") and hasattr(value, "wraps") and hasattr(value, "stop")):
        return value
    if not isinstance(value, int) or value < 1:
        raise _bad(option, value, "True, False, a number of attempts in all (1 or more), or a tenacity Retrying")
    return value


def _one_of(*allowed: Any) -> Callable[[Any, str], Any]:
    def check(value: Any, option: str) -> Any:
        if value not in allowed:
            raise _bad(option, value, " or ".join(map(repr, allowed)))
        return value

    return check


def _flag(value: Any, option: str) -> bool:
    if not isinstance(value, bool):
        raise _bad(option, value, "True or False")
    return value


def _tags(value: Any, option: str) -> Any:
    return plain(value, option) if callable(value) else names_of(value, option)


def _mode(value: Any, option: str) -> str | None:
    return None if value is None else valid_mode(value, option)


def _semantic(value: Any, option: str) -> Any:
    # By shape: what it is stands above this layer.
    if value is not None and not (hasattr(value, "text") and hasattr(value, "threshold")):
        raise _bad(option, value, 'a Semantic: Semantic(text="prompt"), or None')
    return value


def _frozen_names(value: Any, option: str) -> frozenset[str]:
    return frozenset(names_of(value, option))


def _option(default: Any, check: Callable[[Any, str], Any]) -> Any:
    return field(default=default, metadata={"check": check})


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Hold the options of one cached function, validated; see `ai_cached` for what each means."""

    ttl: Any = _option(86400.0, _ttl)
    stale_while_revalidate: float = _option(0.0, seconds)
    stale_if_error: float = _option(0.0, seconds)
    key: Any = _option(None, _key)
    ignore: frozenset[str] = _option(frozenset(), _frozen_names)
    normalize: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict, metadata={"check": _normalize})
    scope: Any = _option(None, _scope)
    version: Any = _option(None, _version)
    tags: Any = _option((), _tags)
    retry: Any = _option(True, _retry)
    cache_if: Callable[[Any], bool] | None = _option(None, _callable)
    usage: Callable[[Any], Any] | None = _option(None, _callable)
    coalesce: bool = _option(True, _flag)
    max_compute: float = _option(600.0, _positive)
    colour: str | None = _option(None, _one_of(None, "sync", "async"))
    mode: str | None = _option(None, _mode)
    semantic: Any = _option(None, _semantic)
    on_abandon: str = _option("drop", _one_of("drop", "finish"))
    stream_wait: float = _option(1.0, seconds)
    replay_delay: float = _option(0.0, seconds)
    on_unkeyable: str = _option("raise", _one_of("raise", "bypass"))

    @property
    def windows(self) -> tuple[float, float]:
        """Seconds after ttl in which a stale answer is served: while it is refreshed, and if the origin fails."""
        return self.stale_while_revalidate, self.stale_if_error

    def rules(self) -> bytes:
        """Return a digest of what decides whether a value is kept: an entry admitted by other rules is asked again."""
        # Which rule it was that has no form cannot be told: today's is asked about every entry.
        rule = form_or(self.cache_if, os.urandom(16))
        return hashlib.sha256(pack([RULES, rule])).digest()[:8]

    def objection(self, value: Any, seen: Any = None) -> str | None:
        """
        Return why *value* is not kept, None where it is.

        Args:
            value: the origin's answer.
            seen: what the origin showed with `current_call().saw`; None where nothing.
        """
        if self.cache_if is not None:
            kept = self.cache_if(value)
            if inspect.isawaitable(kept):
                raise TypeError("cache_if= returned something to await")
            return None if kept else "refused by cache_if"
        answer = value if seen is None else seen
        provider = providers.of_answer(answer)
        reason = None if provider is None else provider.incomplete(answer)
        return None if reason is None else f"incomplete: {reason}"

    def lifetime(self, value: Any, asked: Any = ...) -> float | None:
        """
        Return for how many seconds *value* is fresh; None = for ever, less than 0 = it is not to be kept.

        The policy's own ttl is taken as it is: it was checked when the function was decorated.

        Args:
            asked: what the origin set with `current_call().ttl`; ``...`` where it did not.

        Raises:
            Exception: whatever a callable ttl raises.
        """
        ttl: Any = self.ttl if asked is ... else asked
        if callable(ttl):
            ttl = ttl(value)
            return -1.0 if ttl is None else seconds(ttl, "ttl")
        return ttl if ttl is None or asked is ... else seconds(ttl, "ttl")


#: Number of the built-in rules of completeness; raise it when they change.
RULES = 2
OPTIONS = {each.name: each.metadata["check"] for each in fields(Policy)}


def declare(options: Mapping[str, Any], where: str) -> dict[str, Any]:
    """
    Validate options and return them as `Policy` wants them.

    Raises:
        ConfigurationError: an unknown option, or a value that it cannot take.
    """
    for name in options:
        if name not in OPTIONS:
            raise ConfigurationError(f"{where}: there is no option {name!r}; there are {', '.join(OPTIONS)}, cache")
    return {name: OPTIONS[name](value, f"{where}: {name}") for name, value in options.items()}


def judge(entry: Entry, now: float) -> str:
    """Return the state of an entry at a moment, in the store's time: RFC 9111, section 4.2; RFC 5861."""
    if now < entry.until:
        return FRESH
    return STALE if now < entry.until + max(entry.windows) else EXPIRED


def revalidates(entry: Entry, policy: Policy, now: float) -> bool:
    """May a stale entry be served while it is refreshed: did the rules allow it then, and do they now? RFC 5861."""
    return now < entry.until + min(entry.windows[0], policy.stale_while_revalidate)


def rescues(entry: Entry, policy: Policy, now: float) -> bool:
    """May a stale entry be served where the origin fails? RFC 5861, section 4."""
    return now < entry.until + min(entry.windows[1], policy.stale_if_error)


def jittered(ttl: float | None, share: float) -> float | None:
    """
    Return *ttl* less a part of it, so that entries written together do not end together.

    Args:
        ttl: seconds; None and less than 10 s stay as they are.
        share: 0 to 1, of the most that may be taken: 5 %, at most 10 minutes.
    """
    if ttl is None or ttl < JITTER_FROM:
        return ttl
    return ttl - share * min(ttl * JITTER, JITTER_MOST)
