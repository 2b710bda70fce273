"""
A value <-> its payload: msgpack, with an extension type for everything that msgpack cannot say.

Law: a value comes back as exactly what it was, type by type, or is refused when it is stored; a subclass that is not
listed is refused, not flattened. No pickle, no import, no constructor of a foreign class: an object is restored from
its raw state.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import pathlib
import sys
from collections.abc import Callable
from enum import Enum, Flag
from functools import cached_property
from typing import Any

import msgpack
from msgpack import ExtType

from ..errors import UnstorableValue
from ..keys.naming import identity
from .classes import Classes, shown

__all__ = ["IMMUTABLE", "Undecodable", "decode", "encode", "holds_objects"]

native = msgpack.Packer(strict_types=True, use_bin_type=True).pack
#: Values that need no copy: a hit may hand out the very object.
IMMUTABLE = frozenset((type(None), bool, int, float, str, bytes))


class Undecodable(Exception):
    """Say that a payload cannot be read, or names a class that may not be made: a miss."""


def encode(value: Any, classes: Classes, seen: set[type] | None = None) -> bytes:
    """
    Return the payload of *value*.

    Args:
        classes: what decoding will be allowed to make.
        seen: gets the classes whose objects are in the value.

    Raises:
        UnstorableValue: something in it would not come back as it was.
    """
    try:
        return _Encoder(classes, set() if seen is None else seen).whole(value)
    except UnstorableValue:
        raise
    except RecursionError:
        raise UnstorableValue("a value nested too deep, or in a circle") from None
    except Exception as error:  # foreign code: a property, a __getattr__
        raise UnstorableValue(f"a value that raised {type(error).__name__} when looked at") from error


def decode(payload: bytes, classes: Classes) -> Any:
    """
    Return the value of a payload.

    Raises:
        Undecodable: the bytes are damaged, or name a class that *classes* does not allow.
    """
    try:
        return msgpack.unpackb(payload, ext_hook=_Decoder(classes).hook, strict_map_key=False)
    except Undecodable:
        raise
    except Exception as error:
        raise Undecodable(type(error).__name__) from error


def holds_objects(payload: bytes) -> bool:
    """Will decoding *payload* make objects of some class?"""
    at = _TYPE_AT.get(payload[0])
    return at is not None and payload[at] == _OBJECTS


#: First byte of an extension type in msgpack -> where its code stands.
_TYPE_AT = {0xC7: 2, 0xC8: 3, 0xC9: 5}


class _Encoder:
    def __init__(self, classes: Classes, seen: set[type]) -> None:
        self.classes = classes
        self.seen = seen
        self.careful = False

    def whole(self, value: Any) -> bytes:
        """Pack a value; one with objects in it is wrapped, so that plain ones are decoded without looking for them."""
        packed = self.payload(value)
        return native(ExtType(_OBJECTS, packed)) if self.seen else packed

    def payload(self, value: Any) -> bytes:
        """Pack at msgpack's speed; what it cannot say (long integers, lone surrogates) is spelled on a second walk."""
        try:
            return native(self.tree(value))  # type: ignore[no-any-return]
        except (OverflowError, UnicodeEncodeError):
            self.careful = True
            return native(self.tree(value))  # type: ignore[no-any-return]
        except ValueError:
            raise UnstorableValue("a value nested too deep") from None

    def tree(self, value: Any) -> Any:
        """Return *value* as msgpack can say it."""
        kind = type(value)
        if kind in IMMUTABLE:
            return self._spelled(value) if self.careful else value
        if kind is list:
            return [self.tree(item) for item in value]
        if kind is dict:
            return {self.tree(key): self.tree(item) for key, item in value.items()}
        known = _BY_TYPE.get(kind)
        if known is not None:
            code, take = known
            return ExtType(code, self.payload(take(value)))
        return self._object(value, kind)

    def _spelled(self, value: Any) -> Any:
        if type(value) is int and not -(2**63) <= value < 2**64:
            return ExtType(_INT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))
        if type(value) is str:
            try:
                value.encode()
            except UnicodeEncodeError:
                return ExtType(_STR, value.encode("utf-8", "surrogatepass"))
        return value

    def _object(self, value: Any, kind: type) -> Any:
        if kind in (set, frozenset):  # in the order of their packed elements, since their own depends on history
            return ExtType(_SETS[kind], native([ExtType(_PACKED, item) for item in sorted(map(self.payload, value))]))
        for shape in _SHAPES:
            if shape.fits(kind):
                return self._state(value, kind, shape)
        raise UnstorableValue(f"a {shown(kind)} would not come back as it was")

    def _state(self, value: Any, kind: type, shape: _Shape) -> list[Any]:
        """Return a list that begins with an extension type: no list of a caller's does."""
        name = _reference(kind)
        allowed = _resolve(name, self.classes)
        if allowed is None or allowed not in (kind, _open_origin(kind)):
            raise UnstorableValue(
                f"a {shown(kind)} may not be made when decoding: annotate the function's result with it, "
                f"or name it in Cache(trust=({kind.__name__},))"
            )
        self.seen.add(kind)
        return [ExtType(_OBJECT, native([shape.letter, name])), self.tree(shape.state(value))]


class _Maker:
    """Make objects of one class from their states."""

    __slots__ = ("cls", "restore")

    def __init__(self, cls: type, restore: Callable[[type, Any], Any]) -> None:
        self.cls = cls
        self.restore = restore


class _Decoder:
    __slots__ = ("classes", "lists")

    def __init__(self, classes: Classes) -> None:
        self.classes = classes
        self.lists: Callable[[list[Any]], Any] | None = None

    def hook(self, code: int, data: bytes) -> Any:
        if code == _OBJECT:
            return self.classes.makers.get(data) or self._maker(data)
        if code == _OBJECTS:
            self.lists = _listed
            return self.unpack(data)
        make = _BY_CODE.get(code)
        if make is None:
            raise Undecodable(f"unknown extension type {code}")
        return make(data if code in (_INT, _STR) else self.unpack(data))

    def unpack(self, data: bytes) -> Any:
        return msgpack.unpackb(data, ext_hook=self.hook, list_hook=self.lists, strict_map_key=False)

    def _maker(self, data: bytes) -> _Maker:
        letter, name = msgpack.unpackb(data)
        cls = _resolve(name, self.classes)
        if cls is None:
            raise Undecodable(f"class {name!r} is not allowed")
        maker = self.classes.makers[data] = _Maker(cls, _BY_LETTER[letter].restore)
        return maker


def _listed(items: list[Any]) -> Any:
    """Make the object that a list stands for where it begins with a maker, which nothing but `_Encoder` puts there."""
    if items and items[0].__class__ is _Maker:
        maker = items[0]
        return maker.restore(maker.cls, items[1])
    return items


# Types of the standard library: exact type -> code, parts; code -> value from parts ----------------------------------

_OBJECT, _INT, _STR, _PACKED, _OBJECTS = 0, 1, 2, 3, 26
_SETS: dict[type, int] = {set: 4, frozenset: 5}


def _module(name: str, attribute: str) -> Callable[..., Any]:
    """Return a maker that finds its class when it is called: nothing is imported for a type that nobody uses."""

    def make(*parts: Any) -> Any:
        __import__(name)  # of the standard library, named here and not by any bytes
        return getattr(sys.modules[name], attribute)(*parts)

    return make


def _zone_parts(zone: Any) -> Any:
    if zone is None or type(zone) is datetime.timezone:
        return zone
    if type(zone).__module__.startswith("zoneinfo") and zone.key:
        return zone.key
    raise UnstorableValue(f"a time zone of {shown(type(zone))}")


def _zone(parts: Any) -> Any:
    return _module("zoneinfo", "ZoneInfo")(parts) if isinstance(parts, str) else parts


def _clock_parts(value: Any) -> list[Any]:
    return [value.replace(tzinfo=None, fold=0).isoformat(), value.fold, _zone_parts(value.tzinfo)]


def _clock(kind: Any) -> Callable[[Any], Any]:
    return lambda parts: kind.fromisoformat(parts[0]).replace(fold=parts[1], tzinfo=_zone(parts[2]))


def _default_parts(value: Any) -> list[Any]:
    if value.default_factory is not None and value.default_factory not in _FACTORIES.values():
        raise UnstorableValue("a defaultdict of something that is no built-in type")
    return [getattr(value.default_factory, "__name__", None), dict(value)]


_FACTORIES = {kind.__name__: kind for kind in (list, dict, set, int, float, str, bool, tuple, bytes)}

_fraction = _module("fractions", "Fraction")
_LISTED: list[tuple[int, Any, Callable[[Any], Any], Callable[[Any], Any]]] = [
    (6, tuple, list, tuple),
    (7, bytearray, bytes, bytearray),
    (8, complex, lambda v: [v.real, v.imag], lambda p: complex(*p)),
    (9, range, lambda v: [v.start, v.stop, v.step], lambda p: range(*p)),
    (10, collections.OrderedDict, lambda v: [[k, i] for k, i in v.items()], collections.OrderedDict),
    (11, collections.deque, lambda v: [list(v), v.maxlen], lambda p: collections.deque(*p)),
    (12, collections.defaultdict, _default_parts, lambda p: collections.defaultdict(_FACTORIES.get(p[0]), p[1])),
    (13, datetime.date, datetime.date.isoformat, datetime.date.fromisoformat),
    (14, datetime.time, _clock_parts, _clock(datetime.time)),
    (15, datetime.datetime, _clock_parts, _clock(datetime.datetime)),
    (16, datetime.timedelta, lambda v: [v.days, v.seconds, v.microseconds], lambda p: datetime.timedelta(*p)),
    (
        17,
        datetime.timezone,
        lambda v: [v.utcoffset(None), v.tzname(None), v is datetime.timezone.utc],
        lambda p: datetime.timezone.utc if p[2] else datetime.timezone(p[0], p[1]),
    ),
    (18, collections.Counter, dict, collections.Counter),
    (19, type(...), lambda v: None, lambda p: ...),
    (20, ("decimal", "Decimal"), str, _module("decimal", "Decimal")),
    (21, ("fractions", "Fraction"), lambda v: [v.numerator, v.denominator], lambda p: _fraction(*p)),
    (22, ("uuid", "UUID"), str, _module("uuid", "UUID")),
    (23, type(pathlib.PurePosixPath()), str, pathlib.PurePosixPath),
    (24, type(pathlib.PureWindowsPath()), str, pathlib.PureWindowsPath),
    (25, type(pathlib.Path()), str, pathlib.Path),
]
_BY_CODE: dict[int, Callable[[Any], Any]] = {
    _INT: lambda data: int.from_bytes(data, "big", signed=True),
    _STR: lambda data: data.decode("utf-8", "surrogatepass"),
    _PACKED: lambda value: value,
    _SETS[set]: set,
    _SETS[frozenset]: frozenset,
    **{code: make for code, _, _, make in _LISTED},
}


_BY_NAME = {kind: (code, take) for code, kind, take, _ in _LISTED if isinstance(kind, tuple)}


class _Listed(dict[type, tuple[int, Callable[[Any], Any]]]):
    """Look a type up by itself, and by name where it was not imported when this was read."""

    def get(self, kind: type, default: Any = None) -> Any:
        found = dict.get(self, kind)
        return found if found is not None else _BY_NAME.get((kind.__module__, kind.__qualname__), default)


_BY_TYPE = _Listed({kind: (code, take) for code, kind, take, _ in _LISTED if isinstance(kind, type)})


# Objects: shape of the class -> raw state ----------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class _Shape:
    letter: str
    fits: Callable[[type], bool]
    state: Callable[[Any], Any]
    restore: Callable[[type, Any], Any]


def _reference(kind: type) -> Any:
    """Return what names a class: module and name, or those of a generic's origin with its arguments."""
    generic = getattr(kind, "__pydantic_generic_metadata__", None) or {}
    origin, args = generic.get("origin"), generic.get("args") or ()
    if origin is not None and args and all(isinstance(arg, type) for arg in args):
        return [*_reference(origin), [_reference(arg) for arg in args]]
    return list(identity(kind if origin is None else origin))


def _open_origin(kind: type) -> type | None:
    """Return the origin of a generic that was given no classes, such as openai's ``ParsedChatCompletion[T]``."""
    generic = getattr(kind, "__pydantic_generic_metadata__", None) or {}
    return None if all(isinstance(arg, type) for arg in generic.get("args") or ()) else generic.get("origin")


_BUILTINS: dict[str, type] = {
    kind.__name__: kind for kind in (str, int, float, bool, bytes, list, dict, tuple, set, frozenset, type(None))
}


def _resolve(name: Any, classes: Classes) -> type | None:
    module, qualname, *args = name
    if module == "builtins":
        return _BUILTINS.get(qualname)
    cls = classes.find(module, qualname)
    if cls is None or not args:
        return cls
    inner = [_resolve(arg, classes) for arg in args[0]]
    return None if None in inner else cls[tuple(inner)]  # type: ignore[index]


def _restored(cls: type, attributes: dict[str, Any]) -> Any:
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
    made: Any = object.__new__(cls)
    object.__setattr__(made, "__dict__", attributes)
    object.__setattr__(made, "__pydantic_fields_set__", set(names))
    # A RootModel has these two as None on the class; set on the object, they would stand among its fields.
    if cls.__pydantic_extra__ is not extra:
        object.__setattr__(made, "__pydantic_extra__", extra)
    if cls.__pydantic_private__ is not private:
        object.__setattr__(made, "__pydantic_private__", private)
    return made


def _builtin_base(kind: type) -> bool:
    """Does an instance hold content that its fields do not say: a dict, a list, an exception inside?"""
    return kind.__base__ is not object and any(
        base.__module__ == "builtins" and base is not object for base in kind.__mro__
    )


_SHAPES = [
    _Shape("f", lambda k: issubclass(k, Flag), lambda v: v.value, lambda cls, s: cls(s)),
    _Shape("e", lambda k: issubclass(k, Enum), lambda v: v.name, lambda cls, s: cls[s]),  # type: ignore[index]
    _Shape("n", lambda k: issubclass(k, tuple) and hasattr(k, "_fields"), _tuple_state, _named_tuple),
    _Shape("p", _is_model, _model_state, _model),
    _Shape(
        "d",
        lambda k: dataclasses.is_dataclass(k) and not _builtin_base(k),
        lambda v: _record_state([f.name for f in dataclasses.fields(v)], v),
        _restored,
    ),
    _Shape(
        "a",
        lambda k: isinstance(getattr(k, "__attrs_attrs__", None), tuple) and not _builtin_base(k),
        lambda v: _record_state([f.name for f in v.__attrs_attrs__], v),
        _restored,
    ),
]
_BY_LETTER = {shape.letter: shape for shape in _SHAPES}
