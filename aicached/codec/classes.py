"""
The classes that decoding may make.

Law: bytes in a store never choose a class by themselves. A class is made only where the function's annotations, its
arguments, an SDK known here or ``Cache(trust=...)`` allow it, it is found by name among what the program has already
imported, and nothing is ever imported for it.
"""

from __future__ import annotations

import dataclasses
import sys
import typing
from collections.abc import Collection, Iterable, Iterator
from enum import Enum
from typing import Any

from .. import providers
from ..keys.definitions import plain_function
from ..keys.naming import identity, main_name

__all__ = ["NONE", "Classes", "Undecodable", "annotated_classes", "classes_within", "shown"]

_SCALARS = frozenset((str, int, float, bool, bytes, type(None)))
#: Arguments that hold no class; asked of each argument at each hit on an answer with objects in it.
_PLAIN = _SCALARS | {dict}
_PLAIN_MODULES = ("builtins", "typing", "types", "collections", "collections.abc")


class Undecodable(Exception):
    """Say that a payload cannot be read, or names a class that may not be made: a miss."""


class Classes:
    """
    Find a class by module and qualified name among those that are allowed.

    Args:
        allowed: the classes themselves; what their fields are annotated with is allowed too.
        modules: names of modules whose classes, and those of their submodules, are allowed; ``"__main__"`` is the
            running script.
    """

    def __init__(self, allowed: Iterable[type] = (), modules: Iterable[str] = ()) -> None:
        self.known: dict[tuple[str, str], type] = {}
        #: Bytes that name a class -> what makes its objects; filled by the decoder.
        self.makers: dict[bytes, Any] = {}
        #: Bytes that name an SDK's class and releases -> its validator.
        self.answers: dict[bytes, Any] = {}
        for cls in allowed:
            self.allow(cls)
        self.modules = tuple(main_name() if name == "__main__" else name for name in modules)

    def allow(self, cls: type) -> None:
        """Allow *cls* and the classes that its fields and parameters are annotated with."""
        for each in _reachable(cls):
            self.known.setdefault(identity(each), each)

    def beside(self, more: Iterable[type]) -> Classes:
        """Return these and *more*, which stand before those of the same name."""
        joined = Classes(more)
        joined.modules = self.modules
        joined.known = {**self.known, **joined.known}
        return joined

    def find(self, module: str, name: str) -> type | None:
        """Return the allowed class of that name, None where there is none or it is not allowed."""
        known = self.known.get((module, name))
        if known is not None:
            return known
        cls = _imported(module, name)
        if cls is None:
            return None
        trusted = any(module == each or module.startswith(each + ".") for each in self.modules)
        if trusted or (_may_answer(cls) and providers.of_class(cls) is not None):
            self.known[module, name] = cls
            return cls
        return None


def _may_answer(cls: type) -> bool:
    """May an SDK's class stand in an answer: is it a model, or an enum?"""
    return hasattr(cls, "__pydantic_fields__") or issubclass(cls, Enum)


#: What may be made of a payload that holds no objects.
NONE = Classes()


def _imported(module: str, name: str) -> type | None:
    found: Any = sys.modules.get("__main__" if module == main_name() else module)
    for step in name.split("."):
        found = vars(found).get(step) if found is not None and hasattr(found, "__dict__") else None
    return found if isinstance(found, type) else None


def annotated_classes(function: Any) -> list[type]:
    """Return the classes in a function's annotations, those that can be resolved; the return type's above all."""
    try:
        hints = typing.get_type_hints(function)
    except Exception:  # a name under TYPE_CHECKING, a forward reference to nothing: take those that are no text
        hints = {k: v for k, v in (getattr(function, "__annotations__", None) or {}).items() if not isinstance(v, str)}
    return [cls for hint in hints.values() for cls in _in_expression(hint)]


def classes_within(values: Iterable[Any]) -> list[type]:
    """Return the classes among arguments: ``response_format=Answer``, ``list[Answer]``, or those of a list of tools."""
    found: list[type] = []
    for value in values:
        if type(value) in _SCALARS:
            continue
        for each in _within(value):
            if type(each) in _PLAIN:
                continue
            if isinstance(each, type) or typing.get_origin(each) is not None:
                found += _in_expression(each)
    return found


def _within(value: Any) -> Collection[Any]:
    """Return the items of a list, or the values of settings: ``config={"response_schema": Answer}``."""
    if isinstance(value, (list, tuple)):
        return value
    if type(value) is dict:
        return list(value.values())
    if hasattr(type(value), "__pydantic_fields__"):
        return list(vars(value).values())
    return (value,)


def _in_expression(hint: Any) -> Iterator[type]:
    if isinstance(hint, type) and typing.get_origin(hint) is None:
        if hint.__module__ not in _PLAIN_MODULES:
            yield hint
        return
    for inner in (typing.get_origin(hint), *typing.get_args(hint)):
        if inner is not None:
            yield from _in_expression(inner)


def _reachable(cls: type) -> list[type]:
    """Return *cls* and every class that its fields, and theirs, are annotated with."""
    found, waiting = [], [cls]
    while waiting:
        each = waiting.pop()
        if each in found:
            continue
        found.append(each)
        waiting += _field_classes(each)
    return found


def _field_classes(cls: type) -> list[type]:
    generic = getattr(cls, "__pydantic_generic_metadata__", None) or {}
    inner = [generic.get("origin"), *generic.get("args", ())]
    declared = getattr(cls, "__pydantic_fields__", None)
    if isinstance(declared, dict):
        inner += [info.annotation for info in declared.values()]
    elif dataclasses.is_dataclass(cls) or hasattr(cls, "_fields") or hasattr(cls, "__attrs_attrs__"):
        return [*annotated_classes(cls), *(c for hint in inner if hint is not None for c in _in_expression(hint))]
    elif issubclass(cls, Enum):
        inner = []
    return [c for hint in inner if hint is not None for c in _in_expression(hint)]


def shown(cls: type) -> str:
    """Name a class for people."""
    return ".".join(identity(plain_function(cls)))
