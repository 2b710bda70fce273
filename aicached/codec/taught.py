"""
The types that a program teaches: `register_value`.

Law: looked up by exact type, written under module and name, and never trusted: each value is decoded and encoded again
before it is stored. What nobody has taught this process is a miss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from ..errors import ConfigurationError
from ..keys.naming import identity
from .listed import BY_TYPE

__all__ = ["TAUGHT", "Teaching", "register_value", "taught_as"]

T = TypeVar("T")


class Teaching(NamedTuple):
    """Say how values of one type are taken apart and put together."""

    kind: type
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


TAUGHT: dict[type, Teaching] = {}
_names: dict[tuple[str, str], Teaching] = {}
#: What needs no teaching, and would not be asked.
_KNOWN = (type(None), bool, int, float, str, bytes, list, dict, set, frozenset)


def register_value(kind: type[T], encode: Callable[[T], Any], decode: Callable[[Any], T]) -> None:
    """
    Teach a type: answers of exactly this class are kept as what *encode* makes of them.

    Each value is decoded and encoded again before it is stored; where that gives something else, it is not kept. A
    process that decodes must have taught the same type, by the same name.

    Args:
        kind: the class.
        encode: value -> anything that can be stored: a str, a tuple, a dict ...
        decode: that -> value.

    Raises:
        ConfigurationError: this is no class, or one that needs no teaching, or these are no functions.
    """
    if not isinstance(kind, type) or not callable(encode) or not callable(decode):
        raise ConfigurationError("register_value: it takes a class, and two functions: encode and decode")
    if kind in _KNOWN or BY_TYPE.get(kind) is not None:
        raise ConfigurationError(f"register_value: a {kind.__qualname__} comes back as it was without it")
    TAUGHT[kind] = _names[identity(kind)] = Teaching(kind, encode, decode)


def taught_as(name: Any) -> Teaching | None:
    """Return how the type of that module and name was taught, None where it was not."""
    module, qualname = name
    return _names.get((module, qualname))
