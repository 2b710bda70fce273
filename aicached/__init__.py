"""
Put a cache around functions that call AI models, by one decorator.

    from aicached import ai_cached

    @ai_cached(ttl="1d")
    def ask(prompt: str, *, model: str = "gpt-4o-mini"): ...

Law: importing this imports nothing heavy: stores, SDKs and tenacity come in when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .cache import Cache, configure
from .codec.taught import register_value
from .context import current_call, mode, sample, scope, trace
from .decorator import ai_cached
from .entry import Entry, EntryInfo
from .errors import (
    AICachedError,
    ConfigurationError,
    StoreError,
    StoreUnavailable,
    UnkeyableArgument,
    UnstorableValue,
)
from .keys.canonical import register_key
from .patching import patch
from .savings import Savings, calculate_savings
from .status import CacheInfo, CacheStatus, Stats, Usage

if TYPE_CHECKING:
    from .explain import Explanation
    from .semantic import Semantic
    from .stores.near import Near
    from .warming import args

__version__ = "0.1.0"

__all__ = [
    "AICachedError",
    "Cache",
    "CacheInfo",
    "CacheStatus",
    "ConfigurationError",
    "Entry",
    "EntryInfo",
    "Explanation",
    "Near",
    "Savings",
    "Semantic",
    "Stats",
    "StoreError",
    "StoreUnavailable",
    "UnkeyableArgument",
    "UnstorableValue",
    "Usage",
    "ai_cached",
    "args",
    "calculate_savings",
    "configure",
    "current_call",
    "mode",
    "patch",
    "register_key",
    "register_value",
    "sample",
    "scope",
    "trace",
]

#: Names that most programs do without: their modules come in when they are asked for.
_LATER = {"Explanation": ".explain", "Near": ".stores.near", "Semantic": ".semantic", "args": ".warming"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
