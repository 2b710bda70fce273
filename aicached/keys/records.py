"""
Enums, dataclasses, attrs classes, named tuples, pydantic models, and subclasses of listed types -> canonical forms.

Law: a class and all of its content, or no key: an instance that carries more than its fields or its plain value say is
unkeyable, since what is not seen may change the answer.
"""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Callable, Iterable
from enum import Enum, Flag
from typing import Any

from ..errors import UnkeyableArgument
from .canonical import BY_NAME, RECOGNIZERS, TABLE, form, mapping, sequence, tagged, unkeyable
from .naming import identity

__all__: list[str] = []


def _enum(kind: type) -> Callable[[Any], Any] | None:
    if issubclass(kind, Flag):  # a composite flag has no name of its own
        return lambda value: tagged("enum", *identity(kind), form(value.value))
    if issubclass(kind, Enum):
        return lambda value: tagged("enum", *identity(kind), value.name, _worth(value.value))
    return None


def _worth(value: Any) -> Any:
    """Return the form of a member's value; where it has none, the member's name tells it alone."""
    try:
        return [form(value)]
    except UnkeyableArgument:
        return None


def _record(kind: type) -> Callable[[Any], Any] | None:
    """Recognize dataclasses and attrs classes: a class, its fields, and its items where it is a list or a dict too."""
    if dataclasses.is_dataclass(kind):
        names = sorted(field.name for field in dataclasses.fields(kind))
    elif isinstance(getattr(kind, "__attrs_attrs__", None), tuple):
        names = sorted(field.name for field in kind.__attrs_attrs__)  # type: ignore[attr-defined]
    else:
        return None
    base = _listed(kind)

    def fields(value: Any) -> Any:
        own = _own(value, kind, object, names)
        values = {name: form(getattr(value, name)) for name in names if hasattr(value, name)}
        items = [] if base is None else [_plainly(value, base)]
        return tagged("object", *identity(kind), values, *items, *own)

    return fields


def _named_tuple(kind: type) -> Callable[[Any], Any] | None:
    if not (issubclass(kind, tuple) and isinstance(getattr(kind, "_fields", None), tuple)):
        return None
    names = sequence(kind._fields)  # type: ignore[attr-defined]
    return lambda value: tagged("object", *identity(kind), names, _plainly(value, tuple), *_own(value, kind, tuple))


def _model(kind: type) -> Callable[[Any], Any] | None:
    """Recognize pydantic models (version 2) by shape: class, field values, extras; not which fields were set."""
    if not (hasattr(kind, "__pydantic_fields__") and hasattr(kind, "model_dump")):
        return None

    name = _model_name(kind)

    def fields(value: Any) -> Any:
        declared = kind.__pydantic_fields__
        values = {name: form(value.__dict__[name]) for name in sorted(declared) if name in value.__dict__}
        return tagged("object", *name, values, mapping(value.__pydantic_extra__ or {}))

    return fields


def _model_name(kind: Any) -> list[Any]:
    """Name a generic by its origin and arguments: it claims to be of the module that asked for `Box[int]` first."""
    generic = getattr(kind, "__pydantic_generic_metadata__", None) or {}
    try:
        return [*identity(generic.get("origin") or kind), *map(form, generic.get("args") or ())]
    except UnkeyableArgument:
        return [*identity(kind)]


def _subclass(kind: type) -> Callable[[Any], Any] | None:
    """Recognize an instance of a subclass of a listed type: its class and its content, no attributes of its own."""
    base = _listed(kind)
    if base is None:
        return None
    return lambda value: tagged("object", *identity(kind), _plainly(value, base), *_own(value, kind, base))


def _listed(kind: type) -> type | None:
    """Return the listed type that *kind* derives from, None where there is none."""
    for base in kind.__mro__[1:-1]:
        if (way := BY_NAME.get((base.__module__, base.__qualname__))) is not None:
            TABLE.setdefault(base, way)
        if base in TABLE and base is not types.ModuleType:
            return base
    return None


def _plainly(value: Any, base: type) -> Any:
    return TABLE[base](_EXACT[base](value) if base in _EXACT else value)


#: The plain value inside an instance of a subclass, past whatever ``__str__``, ``__iter__`` and the like say there.
_EXACT: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__pos__,
    float: float.__pos__,
    complex: complex.__pos__,
    list: lambda value: list.__getitem__(value, slice(None)),
    tuple: lambda value: tuple.__getitem__(value, slice(None)),
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    bytearray: lambda value: bytearray.__getitem__(value, slice(None)),
    set: lambda value: [*set.__iter__(value)],
    frozenset: lambda value: [*frozenset.__iter__(value)],
    dict: lambda value: dict(dict.items(value)),
}


def _own(value: Any, kind: type, base: type, declared: Iterable[str] = ()) -> list[Any]:
    """
    Return the type arguments that an instance was made with (``Box[int](1)``), if any.

    Raises:
        UnkeyableArgument: it has attributes of its own, beside the declared ones and what is worked out from them.
    """
    found = [*getattr(value, "__dict__", ()), *_filled_slots(value, kind, base)]
    own = [name for name in found if name not in declared and not _derived(kind, name)]
    if own == ["__orig_class__"]:
        return [form(value.__orig_class__)]
    if own:
        raise unkeyable(value, f": it has {', '.join(sorted(own))} beside its {'fields' if declared else 'content'}")
    return []


def _derived(kind: type, name: str) -> bool:
    return isinstance(getattr(kind, name, None), functools.cached_property)


def _filled_slots(value: Any, kind: type, base: type) -> Iterable[str]:
    for above in kind.__mro__[: kind.__mro__.index(base)]:
        if "__attrs_attrs__" in above.__dict__:  # its slots are its fields, and what it works out from them
            continue
        slots = above.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            hidden = name.startswith("__") and not name.endswith("__")
            slot = f"_{above.__name__.lstrip('_')}{name}" if hidden else name
            if slot not in ("__dict__", "__weakref__") and hasattr(value, slot):
                yield slot


# Last of all: an array, a client or a class says more than that it derives from a number or has fields.
RECOGNIZERS += [_enum, _record, _named_tuple, _model, _subclass]
