"""
Functions, classes and type expressions -> canonical forms: what they are called, and what they are made of.

Law: by code object, never by source text. A file can have changed since it was imported, and then the running old code
would get the new source's digest; decorators, line numbers and file names say nothing about the answer either.
"""

from __future__ import annotations

import dis
import hashlib
import importlib.metadata
import inspect
import sys
import types
import typing
import weakref
from collections.abc import Callable, Iterator
from enum import Enum
from functools import cached_property, lru_cache
from typing import Any

from .canonical import RECOGNIZERS, TABLE, form, mapping, pack, sequence, tagged
from .errors import UnkeyableArgument
from .naming import identity

__all__ = ["cells", "code_digest", "code_names", "distribution_of", "function_form", "plain_function"]

CONSTANTS = (str, int, float, bool, complex, bytes, type(None))


def is_constant(value: Any) -> bool:
    """Is *value* a string, number, boolean, bytes, None, or a tuple or frozenset of these?"""
    return type(value) in CONSTANTS or (type(value) in (tuple, frozenset) and all(map(is_constant, value)))


# Code ----------------------------------------------------------------------------------------------------------------


def _constant(value: Any) -> Any:
    if isinstance(value, types.CodeType):
        return tagged("code", code_digest(value))
    if isinstance(value, (tuple, frozenset)):
        items = [_constant(item) for item in value]
        # The order of a frozenset follows the hash seed.
        return tagged("tuple", *items) if isinstance(value, tuple) else tagged("frozenset", *sorted(items, key=pack))
    return form(value)


@lru_cache(maxsize=4096)
def code_digest(code: types.CodeType) -> bytes:
    """Return a digest of what *code* does: bytecode, constants, nested code, names, and how it takes its arguments."""
    parts = (
        code.co_code,
        getattr(code, "co_exceptiontable", b""),
        [_constant(value) for value in code.co_consts],
        [list(names) for names in (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)],
        [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags],
    )
    return hashlib.sha256(pack(list(parts))).digest()


def nested(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield *code* and all code inside of it."""
    yield code
    for value in code.co_consts:
        if isinstance(value, types.CodeType):
            yield from nested(value)


_LOADS = frozenset(("LOAD_GLOBAL", "LOAD_NAME"))
_ATTRIBUTES = frozenset(("LOAD_ATTR", "LOAD_METHOD"))
_STORES = frozenset(("STORE_GLOBAL", "DELETE_GLOBAL"))


@lru_cache(maxsize=4096)
def code_names(code: types.CodeType) -> tuple[tuple[str, ...], ...]:
    """
    Return the globals that *code* names and does not assign, each with the attributes read from it: ``("np", "pi")``.

    A name such as ``__file__`` says where code lives, not what it does, and is left out.
    """
    chains: set[tuple[str, ...]] = set()
    assigned: set[str] = set()
    for part in nested(code):
        chain: tuple[str, ...] = ()
        for step in dis.get_instructions(part):
            if chain and step.opname in _ATTRIBUTES:
                chain = (*chain, str(step.argval))
                continue
            chains.add(chain)
            chain = (str(step.argval),) if step.opname in _LOADS else ()
            if step.opname in _STORES:
                assigned.add(str(step.argval))
        chains.add(chain)
    kept = (chain for chain in chains if chain and chain[0] not in assigned and not chain[0].startswith("__"))
    return tuple(sorted(kept))


# Functions -----------------------------------------------------------------------------------------------------------


def plain_function(value: Any) -> Any:
    """Return the function of ours inside *value*: through ``__wrapped__`` of a cached function, else *value* itself."""
    return getattr(value, "__wrapped__", value) if getattr(value, "__aicached__", False) else value


def cells(function: types.FunctionType) -> list[tuple[str, Any]]:
    """Return the names that *function* closes over with their values; an empty cell holds ``...``."""
    result = []
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            result.append((name, plain_function(cell.cell_contents)))
        except ValueError:  # a name that is not bound yet
            result.append((name, ...))
    return result


def _code_form(function: types.FunctionType) -> Any:
    """Return what stands for a function's code: the release of its distribution, or its own digest."""
    return distribution_of(function.__module__ or "") or code_digest(function.__code__)


def function_form(function: types.FunctionType, within: tuple[Any, ...] = ()) -> list[Any]:
    """
    Return the form of a function given as an argument: name, code, defaults, and what it closes over.

    *within* are the functions whose closures lead here: one of them met again stands for itself by its depth, so that a
    recursive inner function has a form.
    """
    chain = (*within, function)
    closure = {}
    for name, value in cells(function):
        if isinstance(value, types.FunctionType):
            met = chain.index(value) if value in chain else None
            closure[name] = function_form(value, chain) if met is None else tagged("recursion", met)
        else:
            closure[name] = form(value)
    defaults = [form(function.__defaults__), mapping(function.__kwdefaults__ or {})]
    return tagged("function", *identity(function), _code_form(function), defaults, mapping_of_forms(closure))


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

_class_forms: weakref.WeakKeyDictionary[type, Any] = weakref.WeakKeyDictionary()


def class_form(cls: type) -> Any:
    """Return the form of a class: name, JSON schema where it has one, else annotations, constants, code and bases."""
    known = _class_forms.get(cls)
    if known is None:
        known = _class_forms[cls] = tagged("class", *identity(cls), _class_content(cls))
    return known


def _class_content(cls: type) -> Any:
    if cls.__module__ == "builtins":
        return None
    if (schema := _schema(cls)) is not None:
        return form(schema)
    if (release := distribution_of(cls.__module__)) is not None:
        return release
    if cls.__module__.partition(".")[0] in sys.stdlib_module_names:
        return None
    if issubclass(cls, Enum):
        return [[name, _member(member.value)] for name, member in cls.__members__.items()]
    members = {name: _member(value) for name, value in sorted(vars(cls).items()) if not _incidental(name)}
    return [
        _annotations(cls),
        {name: made for name, made in members.items() if made is not None},
        [class_form(base) for base in cls.__bases__ if base is not object],
    ]


def _incidental(name: str) -> bool:
    return name in ("__module__", "__qualname__", "__firstlineno__", "__static_attributes__", "__dict__", "__weakref__")


def _schema(cls: type) -> Any:
    """Return the JSON schema of a pydantic model; None where there is none or it cannot be made."""
    if not hasattr(cls, "__pydantic_fields__") or not hasattr(cls, "model_json_schema"):
        return None
    try:
        return cls.model_json_schema()
    except Exception:  # a field type without a schema: annotations and code tell the class instead
        return None


def _annotations(cls: type) -> dict[str, Any]:
    return {name: _type_form(value) for name, value in sorted(inspect.get_annotations(cls).items())}


def _type_form(value: Any) -> Any:
    try:
        return form(value)
    except UnkeyableArgument:
        return tagged("type", *identity(type(value)))


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
        return tagged("code", code_digest(value.__code__), _constants(value))
    return form(value) if is_constant(value) else None


def _constants(function: types.FunctionType) -> list[Any]:
    return [form(value) for value in function.__defaults__ or () if is_constant(value)]


def _expression(value: Any) -> list[Any]:
    """Return the form of ``list[int]``, ``int | None``, ``Literal["a"]``, ``Annotated[str, "x"]``."""
    origin = typing.get_origin(value)
    metadata = getattr(value, "__metadata__", ())
    return tagged("type", form(origin), sequence(typing.get_args(value)), sequence(metadata))


def _type_kind(kind: type) -> Callable[[Any], Any] | None:
    if issubclass(kind, type):
        return class_form
    if kind.__module__ in ("typing", "typing_extensions", "types") and kind.__name__ in (
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
