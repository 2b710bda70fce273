"""
Functions, classes and type expressions -> canonical forms: what they are called, and what they are made of.

Law: by content, never by address: a function by its code and what it holds, a class by its schema or its parts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from enum import Enum
from functools import cached_property, lru_cache
from typing import Any

from ..errors import UnkeyableArgument
from .canonical import RECOGNIZERS, TABLE, form, sequence, tagged
from .code import code_digest
from .naming import identity

__all__ = [
    "cells",
    "distribution_of",
    "function_form",
    "layers",
    "plain_function",
]

CONSTANTS = (str, int, float, bool, complex, bytes, type(None))


def is_constant(value: Any) -> bool:
    """Is *value* a string, number, boolean, bytes, None, or a tuple or frozenset of these?"""
    return type(value) in CONSTANTS or (type(value) in (tuple, frozenset) and all(map(is_constant, value)))


# Functions -----------------------------------------------------------------------------------------------------------


def plain_function(value: Any) -> Any:
    """Return the function of ours inside *value*: through ``__wrapped__`` of a cached function, else *value* itself."""
    return getattr(value, "__wrapped__", value) if getattr(value, "__aicached__", False) else value


def layers(function: Any) -> list[types.FunctionType]:
    """Return the plain functions in a stack of decorators, the outermost first: along ``__wrapped__``."""
    found: list[types.FunctionType] = []
    for _ in range(50):
        function = getattr(function, "__func__", function)
        if isinstance(function, types.FunctionType):
            found.append(function)
        if (function := getattr(function, "__wrapped__", None)) is None or function in found:
            break
    return found


def cells(function: types.FunctionType) -> list[tuple[str, Any]]:
    """Return the names that *function* closes over with their values; an empty cell holds ``...``."""
    result = []
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            result.append((name, plain_function(cell.cell_contents)))
        except ValueError:  # a name that is not bound yet
            result.append((name, ...))
    return result


def function_form(
    function: types.FunctionType, within: tuple[Any, ...] = (), held: Callable[[Any], Any] = form
) -> list[Any]:
    """
    Return the form of a function: name, code, annotations, defaults, and what it closes over.

    The release of an installed package stands for code, annotations and defaults of its functions, except for those
    that one of its functions has made.

    Args:
        function: a plain function.
        within: the functions whose closures lead here: one of them met again stands for itself by its depth, so that a
            recursive inner function has a form.
        held: what makes the forms of its defaults and of what it closes over.
    """
    chain = (*within, function)
    closure: dict[str, Any] = {}
    for name, value in cells(function):
        if isinstance(value, types.FunctionType):
            met = chain.index(value) if value in chain else None
            closure[name] = function_form(value, chain, held) if met is None else tagged("recursion", met)
        else:
            closure[name] = held(value)
    release = distribution_of(function.__module__ or "")
    if release is not None and "<locals>" not in function.__qualname__:
        return tagged("function", *identity(function), release, mapping_of_forms(closure))
    return tagged(
        "function", *identity(function), release or code_digest(function.__code__), _annotations(function),
        [held(value) for value in function.__defaults__ or ()],
        mapping_of_forms({name: held(value) for name, value in (function.__kwdefaults__ or {}).items()}),
        mapping_of_forms(closure),
    )  # fmt: skip


def mapping_of_forms(forms: dict[str, Any]) -> dict[str, Any]:
    """Return *forms*, which are forms already, in sorted order."""
    return {name: forms[name] for name in sorted(forms)}


@lru_cache(maxsize=4096)
def distribution_of(module: str) -> str | None:
    """
    Return ``"name major"`` of the distribution that *module* was installed with, None for code of the user's own.

    The distribution is looked up by the package's name, which is right for the SDKs; asking every distribution for its
    packages takes a third of a second. One of another name counts by its code.
    """
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    if "site-packages" not in file and "dist-packages" not in file:
        return None
    parts = module.split(".")
    for name in (parts[0], "-".join(parts[:2])):
        try:
            return f"{name} {importlib.metadata.version(name).split('.')[0]}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


# Classes and type expressions ----------------------------------------------------------------------------------------

#: id -> (the classes that the form was made of, each with its members then; the form).
_class_forms: dict[int, tuple[list[tuple[type, dict[str, Any]]], Any]] = {}
#: The classes met so far while the form of one is being made.
_met: ContextVar[list[tuple[type, dict[str, Any]]] | None] = ContextVar("aicached classes met", default=None)


def class_form(cls: type) -> Any:
    """
    Return the form of a class: name, JSON schema where it has one, else annotations, constants, code and bases.

    A form is remembered while the members of every class in it are the same objects. A class met again within one form
    stands there by its name.
    """
    if cls.__module__ == "builtins":
        return tagged("class", *identity(cls), None)
    met = _met.get()
    if met is not None:
        if any(cls is each for each, _ in met):
            return tagged("class", *identity(cls))
        met.append((cls, dict(vars(cls))))
        return tagged("class", *identity(cls), _class_content(cls))
    known = _class_forms.get(id(cls))
    if known is None or not all(_unchanged(vars(each), members) for each, members in known[0]):
        known = _remembered(cls)
    return known[1]


def _remembered(cls: type) -> tuple[list[tuple[type, dict[str, Any]]], Any]:
    met = [(cls, dict(vars(cls)))]
    token = _met.set(met)
    try:
        made = tagged("class", *identity(cls), _class_content(cls))
    finally:
        _met.reset(token)
    if len(_class_forms) >= 1000:  # classes made at run time, one per request
        _class_forms.clear()
    _class_forms[id(cls)] = (met, made)
    return met, made


def _unchanged(members: Mapping[str, Any], last: dict[str, Any]) -> bool:
    return len(members) == len(last) and all(members.get(name, last) is value for name, value in last.items())


def _class_content(cls: type) -> Any:
    if (schema := _schema(cls)) is not None:
        return form(schema)
    if (release := distribution_of(cls.__module__)) is not None:
        return release
    if cls.__module__.partition(".")[0] in sys.stdlib_module_names:
        return None
    if issubclass(cls, Enum):
        return [[name, _member(member.value)] for name, member in cls.__members__.items()]
    members = {name: _member(value) for name, value in sorted(vars(cls).items()) if not _incidental(cls, name)}
    return [
        _annotations(cls),
        {name: made for name, made in members.items() if made is not None},
        [class_form(base) for base in cls.__bases__ if base is not object],
    ]


def _incidental(cls: type, name: str) -> bool:
    if name == "__doc__" and dataclasses.is_dataclass(cls):  # one that `dataclass` wrote holds the repr of defaults
        return (cls.__doc__ or "").startswith(f"{cls.__name__}(")
    return name in ("__module__", "__qualname__", "__firstlineno__", "__static_attributes__", "__dict__", "__weakref__")


def _schema(cls: type) -> Any:
    """Return the JSON schema of a pydantic model; None where there is none or it cannot be made."""
    if not hasattr(cls, "__pydantic_fields__") or not hasattr(cls, "model_json_schema"):
        return None
    try:
        return cls.model_json_schema()
    except Exception:  # a field type without a schema: annotations and code tell the class instead
        return None


def _annotations(thing: Any) -> dict[str, Any]:
    """Return the forms of a class's or function's annotations; of those that are text, what they say, where it is."""
    made = {}
    for name, value in sorted(inspect.get_annotations(thing).items()):
        made[name] = _type_form(value)
        if isinstance(value, str):
            with contextlib.suppress(Exception):  # a name under TYPE_CHECKING, or of a function's own scope
                made[name] = [value, _type_form(_evaluated(thing, value))]
    return made


def _evaluated(thing: Any, text: str) -> Any:
    if isinstance(thing, type):
        return eval(_compiled(text), vars(sys.modules[thing.__module__]), dict(vars(thing)))  # noqa: S307
    return eval(_compiled(text), thing.__globals__)  # noqa: S307


@lru_cache(maxsize=4096)
def _compiled(text: str) -> types.CodeType:
    return compile(text, "<annotation>", "eval")


def _type_form(value: Any) -> Any:
    """Return the form of an annotation; of what has none, such as ``Field(gt=0)``, the type."""
    try:
        return form(value)
    except UnkeyableArgument:
        return tagged("type", *identity(type(value)), [_type_form(part) for part in typing.get_args(value)])


def _member(value: Any) -> Any:
    """Return the form of a class's member where it is a constant or code; None for anything else."""
    if isinstance(value, (classmethod, staticmethod)):
        value = value.__func__
    if isinstance(value, property):
        parts = (value.fget, value.fset, value.fdel)
        return ["property", *(_member(part) for part in parts)]
    if isinstance(value, cached_property):
        value = value.func
    value = plain_function(value)
    if isinstance(value, types.FunctionType):
        return tagged("code", code_digest(value.__code__), _annotations(value), _constants(value))
    return form(value) if is_constant(value) else None


def _constants(function: types.FunctionType) -> list[Any]:
    """Return the constants among a method's defaults and what it closes over, each with its place."""
    held = [*enumerate(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).items(), *cells(function)]
    return [[place, form(value)] for place, value in held if is_constant(value)]


def _expression(value: Any) -> list[Any]:
    """Return the form of ``list[int]``, ``int | None``, ``Literal["a"]``, ``Annotated[str, "x"]``."""
    origin = typing.get_origin(value)
    metadata = getattr(value, "__metadata__", ())
    return tagged("type", form(origin), sequence(typing.get_args(value)), sequence(metadata))


def _type_kind(kind: type) -> Callable[[Any], Any] | None:
    if issubclass(kind, type):
        return class_form
    if kind.__module__ in ("typing", "typing_extensions", "types", "collections.abc") and kind.__name__ in (
        "_GenericAlias", "GenericAlias", "_LiteralGenericAlias", "_AnnotatedAlias", "_UnionGenericAlias", "UnionType",
        "Union", "_CallableGenericAlias", "_ConcatenateGenericAlias", "_UnpackGenericAlias",
    ):  # fmt: skip
        return _expression
    if kind.__module__ in ("typing", "typing_extensions"):
        return lambda value: tagged("type", *identity(kind), getattr(value, "__name__", None) or str(value))
    return None


TABLE[type] = class_form
TABLE[types.FunctionType] = function_form
TABLE[types.CodeType] = lambda value: tagged("code", code_digest(value))
RECOGNIZERS.append(_type_kind)
