"""
What people pass to the SDKs besides text: "not given", timeouts, URLs, headers.

Law: by class name and package, nothing imported. Each SDK gives these classes its own name for a module, whichever of
them was imported last, so a class is what it is called and what it holds, never where it says that it is from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["is_sentinel", "setting"]

_HOMES = frozenset(("openai", "anthropic", "httpx", "httpx2", "groq"))
#: "Left out": no value at all, one per SDK.
_SENTINELS = frozenset(("NotGiven", "Omit"))
_SETTINGS: dict[str, Callable[[Any], list[Any]]] = {
    **dict.fromkeys(_SENTINELS, lambda value: []),
    "Timeout": lambda value: [value.connect, value.read, value.write, value.pool],
    "Limits": lambda value: [value.max_connections, value.max_keepalive_connections, value.keepalive_expiry],
    "URL": lambda value: [str(value)],
    "Headers": lambda value: [list(pair) for pair in value.multi_items()],
    # A dict with the class that it describes beside it.
    "PydanticFunctionTool": lambda value: [dict(value), value.model],
    "QueryParams": lambda value: [list(pair) for pair in value.multi_items()],
}


def setting(cls: type) -> Callable[[Any], list[Any]] | None:
    """Return what takes a value of *cls* apart into what has a key; None for a class that is no setting of an SDK."""
    return _SETTINGS.get(cls.__qualname__) if cls.__module__.partition(".")[0] in _HOMES else None


def is_sentinel(value: Any) -> bool:
    """Does *value* stand for a parameter that is left out?"""
    return type(value).__qualname__ in _SENTINELS and setting(type(value)) is not None
