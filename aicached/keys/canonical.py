"""
A value -> its canonical form: a tree of plain msgpack values that stands for this content and no other.

Law: injective and typed. None, bool, int, float, str and bytes are themselves, a list is a list, a dict with string
keys is a dict in sorted order; everything else is a list that begins with an `ExtType`, and no `ExtType` of a caller's
ever enters a tree. Never `str()` of the unknown, `repr()`, an address or anything that `PYTHONHASHSEED` moves: what has
no content is unkeyable.

Two ways in: `form` makes the tree (types are looked up by exact type, so a known type costs one dict look-up), `pack`
makes bytes of it. A type that is met for the first time finds its way in `resolve`.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import functools
import pathlib
import re
import types
from collections.abc import Callable, Iterable, Mapping
from enum import Enum, Flag
from typing import Any

import msgpack
from msgpack import ExtType

from .. import providers
from ..errors import UnkeyableArgument
from . import files
from .naming import identity

__all__ = ["TABLE", "form", "pack", "register_key", "tagged"]

#: One packer for everybody: without a ``default=`` hook it is C from end to end, and nothing can re-enter it.
native = msgpack.Packer(strict_types=True, use_bin_type=True).pack
PLAIN: frozenset[type] = frozenset((str, int, float, bool, type(None)))

_TAGS: dict[str, ExtType] = {}


def tagged(name: str, *content: Any) -> list[Any]:
    """Return a form that no argument can imitate: an `ExtType` that holds *name*, then the content."""
    tag = _TAGS.get(name)
    if tag is None:
        tag = _TAGS[name] = ExtType(1, name.encode())
    return [tag, *content]


def form(value: Any) -> Any:
    """
    Return the canonical form of *value*.

    Raises:
        UnkeyableArgument: something in it has no content; the message names its type alone (see `keys.place`).
    """
    kind = type(value)
    if kind in PLAIN:
        return value
    return TABLE.get(kind, _unknown)(value)


def sequence(value: Iterable[Any]) -> list[Any]:
    """Return the forms of the items, in order."""
    result = []
    for item in value:
        kind = type(item)
        result.append(item if kind in PLAIN else TABLE.get(kind, _unknown)(item))
    return result


def mapping(value: Mapping[Any, Any]) -> Any:
    """Return a dict in sorted order, or the pairs where a key is no plain string."""
    try:
        names = sorted(value)
    except TypeError:
        return _odd_mapping(value)
    result = {}
    for name in names:
        # Exactly str: frozensets compare without an error and sort at random.
        if type(name) is not str:
            return _odd_mapping(value)
        item = value[name]
        kind = type(item)
        result[name] = item if kind in PLAIN else TABLE.get(kind, _unknown)(item)
    return result


def _odd_mapping(value: Mapping[Any, Any]) -> list[Any]:
    return tagged("dict", *sorted(([form(k), form(v)] for k, v in value.items()), key=lambda pair: pack(pair[0])))


def pack(tree: Any) -> bytes:
    """Return the bytes of a canonical form."""
    try:
        try:
            return native(tree)  # type: ignore[no-any-return]
        except (OverflowError, UnicodeEncodeError):
            return native(_spelled(tree))  # type: ignore[no-any-return]
    except (ValueError, RecursionError):
        raise UnkeyableArgument("nested too deep, or in a circle") from None


def _spelled(tree: Any) -> Any:
    """Spell what msgpack cannot say: integers beyond 64 bits, and lone surrogates."""
    if isinstance(tree, ExtType):
        return tree
    if isinstance(tree, list):
        return [_spelled(item) for item in tree]
    if isinstance(tree, dict):
        pairs = [[_spelled(key), _spelled(item)] for key, item in tree.items()]
        if all(type(key) is str for key, _ in pairs):
            return dict(pairs)
        return tagged("dict", *sorted(pairs, key=lambda pair: native(pair[0])))
    if type(tree) is int and not -(2**63) <= tree < 2**64:
        return tagged("int", tree.to_bytes(tree.bit_length() // 8 + 1, "big", signed=True))
    if type(tree) is str:
        raw = tree.encode("utf-8", "surrogatepass")
        return tree if len(raw) == len(tree.encode("utf-8", "ignore")) else tagged("str", raw)
    return tree


NO_CONTENT = "has no content to make a key of"


def _unkeyable(value: Any, why: str = "") -> UnkeyableArgument:
    return UnkeyableArgument(f"a {'.'.join(identity(type(value)))} {NO_CONTENT}{why}")


# What the types of the standard library are made of ------------------------------------------------------------------


def _unordered(name: str) -> Callable[[Any], Any]:
    return lambda value: tagged(name, *sorted((form(item) for item in value), key=pack))


def _zone(value: Any) -> Any:
    """Return the form of a time zone: a name where it has one in the zone database, else what it says at this time."""
    zone = value.tzinfo
    if zone is None:
        return None
    if (key := getattr(zone, "key", None)) is not None and type(key) is str:
        return ["zone", key]
    offset = value.utcoffset()
    if offset is None:
        raise _unkeyable(zone, ": its offset depends on the date")
    return [*identity(type(zone)), offset.total_seconds(), value.tzname()]


def _moment(value: Any) -> list[Any]:
    plain = value.replace(tzinfo=None)
    return tagged(type(value).__name__, plain.isoformat(), value.fold, _zone(value))


def _partial(value: Any) -> list[Any]:
    return tagged("partial", form(value.func), sequence(value.args), mapping(value.keywords))


def _method(value: types.MethodType) -> list[Any]:
    return tagged("method", form(value.__func__), form(value.__self__))


def _builtin(value: Any) -> list[Any]:
    owner = getattr(value, "__self__", None)
    if owner is None or isinstance(owner, (types.ModuleType, type)):
        return tagged("builtin", *identity(value))
    return tagged("builtin", *identity(type(owner)), value.__name__, form(owner))


def _path(value: pathlib.PurePath) -> list[Any]:
    content = files.content(value) if isinstance(value, pathlib.Path) else None
    return tagged("path", type(value).__name__, str(value), content)


TABLE: dict[type, Callable[[Any], Any]] = {
    **dict.fromkeys((*PLAIN, bytes), lambda value: value),
    list: sequence,
    dict: mapping,
    tuple: lambda value: tagged("tuple", *sequence(value)),
    set: _unordered("set"),
    frozenset: _unordered("frozenset"),
    bytearray: lambda value: tagged("bytearray", bytes(value)),
    memoryview: lambda value: tagged("memoryview", value.format, list(value.shape or ()), value.tobytes()),
    complex: lambda value: tagged("complex", value.real, value.imag),
    range: lambda value: tagged("range", *map(form, (value.start, value.stop, value.step))),
    slice: lambda value: tagged("slice", form(value.start), form(value.stop), form(value.step)),
    type(...): lambda value: tagged("..."),
    type(NotImplemented): lambda value: tagged("NotImplemented"),
    collections.OrderedDict: lambda value: tagged("OrderedDict", *([form(k), form(v)] for k, v in value.items())),
    collections.deque: lambda value: tagged("deque", value.maxlen, *sequence(value)),
    collections.defaultdict: lambda value: tagged("defaultdict", form(value.default_factory), mapping(value)),
    collections.Counter: lambda value: tagged("Counter", mapping(value)),
    types.MappingProxyType: lambda value: tagged("mappingproxy", mapping(value)),
    types.SimpleNamespace: lambda value: tagged("SimpleNamespace", mapping(vars(value))),
    datetime.date: lambda value: tagged("date", value.isoformat()),
    datetime.time: _moment,
    datetime.datetime: _moment,
    datetime.timedelta: lambda value: tagged("timedelta", value.days, value.seconds, value.microseconds),
    datetime.timezone: lambda value: tagged("timezone", value.utcoffset(None).total_seconds(), value.tzname(None)),
    **dict.fromkeys((pathlib.PosixPath, pathlib.WindowsPath, pathlib.PurePosixPath, pathlib.PureWindowsPath), _path),
    re.Pattern: lambda value: tagged("pattern", form(value.pattern), value.flags),
    functools.partial: _partial,
    types.MethodType: _method,
    types.BuiltinFunctionType: _builtin,
    types.MethodDescriptorType: lambda value: tagged("builtin", *identity(value)),
    types.WrapperDescriptorType: lambda value: tagged("builtin", *identity(value)),
    types.ModuleType: lambda value: tagged("module", value.__name__),
}

#: By name, so that nothing is imported for them.
_BY_NAME: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("decimal", "Decimal"): lambda value: tagged("Decimal", str(value)),
    ("fractions", "Fraction"): lambda value: tagged("Fraction", form(value.numerator), form(value.denominator)),
    ("uuid", "UUID"): lambda value: tagged("UUID", value.bytes),
    ("zoneinfo", "ZoneInfo"): lambda value: tagged("ZoneInfo", value.key) if value.key else _raise(_unkeyable(value)),
    ("array", "array"): lambda value: tagged("array", value.typecode, value.tobytes()),
    **{
        ("ipaddress", f"IPv{version}{what}"): lambda value: tagged(type(value).__name__, str(value))
        for version in (4, 6)
        for what in ("Address", "Network", "Interface")
    },
}


def _raise(error: Exception) -> Any:
    raise error


# Types met for the first time ----------------------------------------------------------------------------------------

_taught: dict[type, Callable[[Any], Any]] = {}
#: Asked in turn for a type that is not in the table: type -> the way to its form, or None. Others may add theirs.
RECOGNIZERS: list[Callable[[type], Callable[[Any], Any] | None]] = []


def register_key(kind: type, function: Callable[[Any], Any]) -> None:
    """
    Teach a type: calls with a *kind* (or a subclass) in their arguments are told apart by what *function* makes of it.

    Args:
        kind: the class.
        function: value -> anything keyable: a str, a tuple, a dict ...
    """
    _taught[kind] = function
    _resolved_types.clear()


_resolved_types: dict[type, Callable[[Any], Any]] = {}


def _unknown(value: Any) -> Any:
    kind = type(value)
    way = _resolved_types.get(kind)
    if way is None:
        way = resolve(kind)
        if len(_resolved_types) > 10_000:  # classes made at run time, one per request
            _resolved_types.clear()
        _resolved_types[kind] = way
    return way(value)


def resolve(kind: type) -> Callable[[Any], Any]:
    """Return the way from a value of *kind* to its form, for a kind that is not in the table."""
    for base in kind.__mro__:
        if base in _taught:
            return _content(_taught[base])
    if callable(getattr(kind, "__cache_key__", None)):
        return _content(kind.__cache_key__)  # type: ignore[attr-defined]
    if (found := _BY_NAME.get((kind.__module__, kind.__qualname__))) is not None:
        return found
    for recognize in (_enum, _client_kind, *RECOGNIZERS, _record, _named_tuple, _model, _subclass):
        if (way := recognize(kind)) is not None:
            return way
    return lambda value: _raise(_unkeyable(value))


def _content(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: tagged("object", *identity(type(value)), form(function(value)))


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


def _client_kind(kind: type) -> Callable[[Any], Any] | None:
    """Recognize clients of the SDKs; what only looks like one at second sight is unkeyable."""
    if providers.of_class(kind) is None or hasattr(kind, "model_dump"):
        return None

    def client(value: Any) -> Any:
        provider = providers.of_client(value)
        if provider is None:
            raise _unkeyable(value)
        return client_form(value, provider.describe(value))

    return client


def client_form(client: Any, description: list[Any]) -> Any:
    """Return the form of an SDK's client, or resource, that is described so."""
    return tagged("client", *identity(type(client)), form(description))


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
        if (way := _BY_NAME.get((base.__module__, base.__qualname__))) is not None:
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
        raise _unkeyable(value, f": it has {', '.join(sorted(own))} beside its {'fields' if declared else 'content'}")
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
