"""
Objects <-> the raw state that they are restored from: enums, named tuples, pydantic models, dataclasses, attrs classes.

Law: no constructor of a foreign class runs. An object is made empty, and gets what it had: all of it, or it is refused.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
import weakref
from collections.abc import Callable, Iterable
from enum import Enum, Flag
from functools import cached_property
from hashlib import sha256
from typing import Any

from ..errors import UnstorableValue
from ..keys.canonical import form_or, pack
from ..keys.naming import identity
from .classes import Classes, Undecodable, shown

__all__ = ["BY_LETTER", "Shape", "open_origin", "reference", "resolve", "shape_of"]


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    letter: str
    fits: Callable[[type], bool]
    state: Callable[[Any], Any]
    restore: Callable[[type, Any], Any]


def reference(kind: type) -> Any:
    """Return what names a class: module, name and outline, or those of a generic's origin with its arguments."""
    generic = getattr(kind, "__pydantic_generic_metadata__", None) or {}
    origin, args = generic.get("origin"), generic.get("args") or ()
    if origin is not None and args and _are_classes(args):
        return [*reference(origin), [reference(arg) for arg in args]]
    named = kind if origin is None else origin
    return [*identity(named), outline(named)]


def open_origin(kind: type) -> type | None:
    """Return the origin of a generic that was given no classes, such as openai's ``ParsedChatCompletion[T]``."""
    generic = getattr(kind, "__pydantic_generic_metadata__", None) or {}
    return None if _are_classes(generic.get("args") or ()) else generic.get("origin")


def _are_classes(args: Iterable[Any]) -> bool:
    """Are these classes, each with a name of its own? Python 3.10 takes ``list[int]`` for one as well."""
    return all(isinstance(arg, type) and typing.get_origin(arg) is None for arg in args)


_outlines: weakref.WeakKeyDictionary[type, bytes] = weakref.WeakKeyDictionary()


def outline(cls: type) -> bytes:
    """
    Return a digest of a class's fields and what they are annotated with, or of an enum's members.

    A state that was taken of another outline would make an object without the new field, or with a text where a list
    belongs.
    """
    known = _outlines.get(cls)
    if known is None:
        known = _outlines[cls] = sha256(pack(_fields(cls))).digest()[:8]
    return known


def _fields(cls: Any) -> Any:
    if issubclass(cls, Enum):
        return {name: form_or(member.value, None) for name, member in sorted(cls.__members__.items())}
    declared = getattr(cls, "__pydantic_fields__", None)
    if isinstance(declared, dict):
        return {name: _hint(info.annotation) for name, info in sorted(declared.items())}
    names = getattr(cls, "_fields", None) or [each.name for each in getattr(cls, "__attrs_attrs__", ())]
    if dataclasses.is_dataclass(cls):
        names = [field.name for field in dataclasses.fields(cls)]
    hints = {name: hint for base in reversed(cls.__mro__) for name, hint in _annotations(base).items()}
    return [[name, _hint(hints.get(name))] for name in names]


def _annotations(cls: type) -> dict[str, Any]:
    try:
        return inspect.get_annotations(cls)
    except Exception:  # a name that is not there yet
        return {}


def _hint(hint: Any) -> Any:
    """Return an annotation by its names alone: what the classes in it are made of is told by their own outlines."""
    if isinstance(hint, str) or hint is None:
        return hint
    if hint is Any:  # a class from Python 3.11 on
        return "Any"
    args = typing.get_args(hint)
    if args:
        origin = typing.get_origin(hint)
        return ["union" if origin in (typing.Union, types.UnionType) else _hint(origin), *map(_hint, args)]
    if isinstance(hint, (type, types.FunctionType)):
        return list(identity(hint))
    if isinstance(hint, (int, bytes, Enum)):  # in a Literal
        return form_or(hint, None)
    if type(hint).__module__ in ("typing", "typing_extensions"):  # Any, Literal, a type variable
        return str(hint)
    return list(identity(type(hint)))  # never its text, which may hold an address


_BUILTINS: dict[str, type] = {
    kind.__name__: kind
    for kind in (object, str, int, float, bool, bytes, list, dict, tuple, set, frozenset, type(None))
}


def resolve(name: Any, classes: Classes) -> type | None:
    """Return the class of that name where it is allowed and still has the outline that it had."""
    module, qualname, outlined, *args = name
    if module == "builtins":
        return _BUILTINS.get(qualname)
    cls = classes.find(module, qualname)
    if cls is None or outline(cls) != outlined:
        return None
    if not args:
        return cls
    inner = [resolve(arg, classes) for arg in args[0]]
    return None if None in inner else cls[tuple(inner)]  # type: ignore[index]


def _restored(cls: Any, attributes: dict[str, Any]) -> Any:
    fields = getattr(cls, "__dataclass_fields__", None) or {field.name for field in cls.__attrs_attrs__}
    if not attributes.keys() <= set(fields):
        raise Undecodable("an attribute that is no field")
    made: Any = object.__new__(cls)
    for name, value in attributes.items():
        object.__setattr__(made, name, value)
    return made


def _record_state(names: list[str], value: Any) -> dict[str, Any]:
    kind = type(value)
    extra = set(getattr(value, "__dict__", ())) - set(names)
    extra -= {name for name in extra if isinstance(getattr(kind, name, None), cached_property)}
    if extra:
        raise UnstorableValue(f"a {shown(kind)} with {', '.join(sorted(extra))} beside its fields")
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _tuple_state(value: Any) -> list[Any]:
    if getattr(value, "__dict__", None):
        raise UnstorableValue(f"a {shown(type(value))} with attributes beside its fields")
    return list(value)


def _named_tuple(cls: Any, items: Any) -> Any:
    if type(items) is not list or len(items) != len(cls._fields):
        raise Undecodable("a named tuple of another length")
    return tuple.__new__(cls, items)


def _is_model(kind: type) -> bool:
    return hasattr(kind, "__pydantic_fields__") and hasattr(kind, "model_dump")


def _model_state(value: Any) -> list[Any]:
    # Besides the fields, __dict__ holds what an SDK notes there (`_request_id`), and the values of cached properties.
    kind = type(value)
    attributes = {k: v for k, v in value.__dict__.items() if not isinstance(getattr(kind, k, None), cached_property)}
    private = value.__pydantic_private__
    return [attributes, value.__pydantic_extra__, sorted(value.__pydantic_fields_set__), private]


def _model(cls: Any, state: Any) -> Any:
    attributes, extra, names, private = state
    if (type(attributes), type(names)) != (dict, list) or not {type(extra), type(private)} <= {dict, type(None)}:
        raise Undecodable("a model of other parts")
    made: Any = object.__new__(cls)
    object.__setattr__(made, "__dict__", attributes)
    object.__setattr__(made, "__pydantic_fields_set__", set(names))
    # A RootModel has these two as None on the class; set on the object, they would stand among its fields.
    if cls.__pydantic_extra__ is not extra:
        object.__setattr__(made, "__pydantic_extra__", extra)
    if cls.__pydantic_private__ is not private:
        object.__setattr__(made, "__pydantic_private__", private)
    return made


def _member_state(value: Any) -> Any:
    """Return a member's name; of one that its class makes up for what it does not know, the value."""
    return value.name if type(value).__members__.get(value.name) is value else [value.value]


def _member(cls: Any, state: Any) -> Any:
    return cls[state] if isinstance(state, str) else cls(state[0])


def _builtin_base(kind: type) -> bool:
    """Does an instance hold content that its fields do not say: a dict, a list, an exception inside?"""
    return kind.__base__ is not object and any(
        base.__module__ == "builtins" and base is not object for base in kind.__mro__
    )


SHAPES = [
    Shape("f", lambda k: issubclass(k, Flag), lambda v: v.value, lambda cls, s: cls(s)),
    Shape("e", lambda k: issubclass(k, Enum), _member_state, _member),
    Shape("n", lambda k: issubclass(k, tuple) and hasattr(k, "_fields"), _tuple_state, _named_tuple),
    Shape("p", _is_model, _model_state, _model),
    Shape(
        "d",
        lambda k: dataclasses.is_dataclass(k) and not _builtin_base(k),
        lambda v: _record_state([f.name for f in dataclasses.fields(v)], v),
        _restored,
    ),
    Shape(
        "a",
        lambda k: isinstance(getattr(k, "__attrs_attrs__", None), tuple) and not _builtin_base(k),
        lambda v: _record_state([f.name for f in v.__attrs_attrs__], v),
        _restored,
    ),
]
BY_LETTER = {shape.letter: shape for shape in SHAPES}


def shape_of(kind: type) -> Shape | None:
    """Return how objects of *kind* are restored, None where they cannot be."""
    return next((shape for shape in SHAPES if shape.fits(kind)), None)
