"""
Answers of the known SDKs in short: plain dicts, and the SDK's own validator to make objects of them again.

Law: exact, or not at all. Raw state costs a Python step per model; the validator is compiled, but it may change what it
is given. So when an answer is stored it is rebuilt right away, and only where the raw state of that is the same, byte
for byte, is it written in short, together with the releases that this was seen with. Others read it as a miss. Classes
of users are never made so: their validators are code that may do anything.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable, Collection
from enum import Enum
from typing import Any

from .. import providers
from .classes import Classes, Undecodable
from .objects import reference, resolve

__all__ = ["NotPlain", "alike", "finished", "maker", "name_of", "quick", "spelled"]

_LEAVES = frozenset((type(None), bool, int, float, str, bytes, datetime.datetime, datetime.date))


class NotPlain(Exception):
    """Say that an answer holds something that only its raw state can tell."""


def name_of(kind: type) -> list[Any] | None:
    """Return what names an SDK's class and the releases that know it so; None for a class of anybody else's."""
    module = _homes.get(kind, "")
    if module == "":
        if len(_homes) > 1000:  # classes made at run time
            _homes.clear()
        module = _homes[kind] = _home(kind)
    if module is None:
        return None
    releases = [getattr(sys.modules.get(name), "__version__", None) for name in (module, "pydantic")]
    return ["v", reference(kind), releases] if all(isinstance(each, str) for each in releases) else None


#: Class -> package of the SDK that owns it, None where none does; asked for each model in each chunk of a stream.
_homes: dict[type, str | None] = {}


def _home(kind: type) -> str | None:
    generic = getattr(kind, "__pydantic_generic_metadata__", None) or {}
    provider = providers.of_class(kind)
    if provider is None or generic.get("origin") or generic.get("parameters") or not provider.owns(kind):
        return None
    return provider.module


def maker(name: Any, classes: Classes) -> Callable[[Any], Any]:
    """
    Return what makes an object from plain values.

    Raises:
        Undecodable: the class is not allowed, or the SDK is of another release.
    """
    cls = resolve(name[1], classes)
    if cls is None or name_of(cls) != name:
        raise Undecodable(f"class {name[1]!r} of this release is not allowed")
    make: Callable[[Any], Any] = cls.__pydantic_validator__.validate_python  # type: ignore[attr-defined]
    return make


def spelled(value: Any) -> list[Any]:
    """
    Return an answer in plain values, what the SDK noted on it beside its fields (`_request_id`), and the places of its
    models whose unknown fields do not stand among those that were set: an SDK says so, its validator does not.

    Raises:
        NotPlain: it holds something else.
    """
    declared = type(value).__pydantic_fields__
    loose: list[list[Any]] = []
    plain = _plain(value, [], loose)
    return [plain, {name: _leaf(each) for name, each in vars(value).items() if name not in declared}, loose]


def finished(made: Any, notes: dict[str, Any], loose: list[list[Any]]) -> Any:
    """Return what the validator made, with what only `spelled` knows."""
    if notes:
        made.__dict__.update(notes)
    for path in loose:
        model = made
        for step in path:
            model = model[step] if isinstance(step, int) else model.__dict__[step]
        model.__pydantic_fields_set__.difference_update(model.__pydantic_extra__)
    return made


def quick(value: Any) -> list[Any] | None:
    """Return what `spelled` does, by the SDK's compiled serializer: for most answers right, and to be compared."""
    try:
        plain = type(value).__pydantic_serializer__.to_python(value, exclude_unset=True, by_alias=True, warnings=False)
    except Exception:
        return None
    return [plain, {}, []]


def alike(one: Any, other: Any) -> bool:
    """Are these the same, type by type, state by state? False also where that is not seen at once."""
    kind = type(one)
    if kind is not type(other):
        return False
    if kind is str or kind is int:
        return bool(one == other)
    if kind is list:
        return len(one) == len(other) and _all_alike(one, other)
    if kind is dict:
        return list(one) == list(other) and _all_alike(one.values(), other.values())
    if hasattr(kind, "__pydantic_fields__"):
        return (
            one.__pydantic_fields_set__ == other.__pydantic_fields_set__
            and list(one.__dict__) == list(other.__dict__)
            and _all_alike(one.__dict__.values(), other.__dict__.values())
            and _all_alike(_beside(one), _beside(other))
        )
    return one is other


def _beside(model: Any) -> tuple[Any, Any]:
    return model.__pydantic_extra__, model.__pydantic_private__


def _all_alike(some: Collection[Any], others: Collection[Any]) -> bool:
    for one, other in zip(some, others, strict=True):
        if one is other:
            continue
        if one.__class__ is str:  # most are: spared a call
            if other.__class__ is not str or one != other:
                return False
        elif not alike(one, other):
            return False
    return True


def _plain(value: Any, path: list[Any], loose: list[list[Any]]) -> Any:
    kind = type(value)
    if kind is list:
        return [_plain(item, [*path, place], loose) for place, item in enumerate(value)]
    if kind is dict:
        return {_leaf(key): _plain(item, [*path, key], loose) for key, item in value.items()}
    if hasattr(kind, "__pydantic_fields__"):
        return _fields(value, kind, path, loose)
    if isinstance(value, Enum) and providers.of_class(kind) is not None:
        return _leaf(value.value)
    return _leaf(value)


def _fields(value: Any, kind: Any, path: list[Any], loose: list[list[Any]]) -> dict[str, Any]:
    if _homes.get(kind) is None and name_of(kind) is None:
        raise NotPlain
    declared, names = kind.__pydantic_fields__, value.__pydantic_fields_set__
    made = {}
    for name, item in value.__dict__.items():
        if name in names and name in declared:
            made[declared[name].alias or name] = _plain(item, [*path, name], loose)
    extra = value.__pydantic_extra__ or {}
    if extra and not names & extra.keys():
        loose.append(path)
    return {**made, **{name: _plain(item, [*path, name], loose) for name, item in extra.items()}}


def _leaf(value: Any) -> Any:
    if type(value) not in _LEAVES:
        raise NotPlain
    return value
