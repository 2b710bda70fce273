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
import datetime
import functools
import pathlib
import re
import types
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any

from msgpack import ExtType

from .. import providers
from ..errors import UnkeyableArgument
from ..packing import native
from ..providers.settings import setting
from . import files
from .naming import identity

__all__ = ["RECOGNIZERS", "TABLE", "form", "pack", "register_key", "tagged", "unkeyable"]

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


def form_or(value: Any, otherwise: Any) -> Any:
    """Return the canonical form of *value*, *otherwise* where it has none."""
    try:
        made = form(value)
        pack(made)
    except (UnkeyableArgument, RecursionError):
        return otherwise
    return made


def sequence(value: Iterable[Any]) -> list[Any]:
    """Return the forms of the items, in order."""
    result = []
    for item in value:
        kind = type(item)
        result.append(item if kind in PLAIN else TABLE.get(kind, _unknown)(item))
    return result


def mapping(value: Mapping[Any, Any]) -> Any:
    """Return a dict in sorted order, or the pairs where a key is no plain string."""
    if type(value) is not dict:
        value = settled(dict, value)
    try:
        names = sorted(value)
    except TypeError:
        return _odd_mapping(value)
    result = {}
    for name in names:
        # Exactly str: frozensets compare without an error and sort at random.
        if type(name) is not str:
            return _odd_mapping(value)
        try:
            item = value[name]
        except KeyError:
            raise unkeyable(value, CHANGED) from None
        kind = type(item)
        result[name] = item if kind in PLAIN else TABLE.get(kind, _unknown)(item)
    return result


def _odd_mapping(value: Mapping[Any, Any]) -> list[Any]:
    return tagged("dict", *sorted(_pairs(value), key=lambda pair: pack(pair[0])))


def _pairs(value: Mapping[Any, Any]) -> list[list[Any]]:
    return [[form(key), form(item)] for key, item in settled(list, value.items())]


def pack(tree: Any) -> bytes:
    """Return the bytes of a canonical form."""
    try:
        try:
            return native(tree)
        except (OverflowError, UnicodeEncodeError):
            return native(_spelled(tree))
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
CHANGED = ": it is changed meanwhile, or was released"


def unkeyable(value: Any, why: str = "") -> UnkeyableArgument:
    """Return the error for a *value* without content, and why it has none."""
    return UnkeyableArgument(f"a {'.'.join(identity(type(value)))} {NO_CONTENT}{why}")


def settled(read: Callable[[Any], Any], value: Any) -> Any:
    """Return ``read(value)``, a look at something that another thread may change or release at the same time."""
    try:
        return read(value)
    except RecursionError:
        raise
    except (RuntimeError, ValueError):
        raise unkeyable(value, CHANGED) from None


# What the types of the standard library are made of ------------------------------------------------------------------


def _unordered(name: str) -> Callable[[Any], Any]:
    return lambda value: tagged(name, *sorted(map(form, settled(list, value)), key=pack))


def _zone(value: Any) -> Any:
    """Return the form of a time zone: a name where it has one in the zone database, else what it says at this time."""
    zone = value.tzinfo
    if zone is None:
        return None
    if (key := getattr(zone, "key", None)) is not None and type(key) is str:
        return ["zone", key]
    offset = value.utcoffset()
    if offset is None:
        raise unkeyable(zone, ": its offset depends on the date")
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


def _memory(value: memoryview) -> list[Any]:
    return tagged("memoryview", value.format, list(value.shape or ()), value.tobytes())


def _chosen(value: Any) -> list[Any]:
    """Return the form of an `operator.itemgetter` and the like, by what it was made with."""
    return tagged("operator", *map(form, value.__reduce__()))


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
    memoryview: lambda value: settled(_memory, value),
    complex: lambda value: tagged("complex", value.real, value.imag),
    range: lambda value: tagged("range", *map(form, (value.start, value.stop, value.step))),
    slice: lambda value: tagged("slice", form(value.start), form(value.stop), form(value.step)),
    type(...): lambda value: tagged("..."),
    type(NotImplemented): lambda value: tagged("NotImplemented"),
    collections.OrderedDict: lambda value: tagged("OrderedDict", *_pairs(value)),
    collections.deque: lambda value: tagged("deque", value.maxlen, *sequence(settled(list, value))),
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
BY_NAME: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("decimal", "Decimal"): lambda value: tagged("Decimal", str(value)),
    ("fractions", "Fraction"): lambda value: tagged("Fraction", form(value.numerator), form(value.denominator)),
    ("uuid", "UUID"): lambda value: tagged("UUID", value.bytes),
    ("zoneinfo", "ZoneInfo"): lambda value: tagged("ZoneInfo", value.key) if value.key else _raise(unkeyable(value)),
    ("array", "array"): lambda value: tagged("array", value.typecode, value.tobytes()),
    **dict.fromkeys((("operator", name) for name in ("itemgetter", "attrgetter", "methodcaller")), _chosen),
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
#: Asked in turn for a type that is not in the table: type -> the way to its form, or None. `definitions`, `arrays` and
#: `records` add theirs.
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
    if (found := BY_NAME.get((kind.__module__, kind.__qualname__))) is not None:
        return found
    for recognize in RECOGNIZERS:
        if (way := recognize(kind)) is not None:
            return way
    return lambda value: _raise(unkeyable(value))


def _content(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: tagged("object", *identity(type(value)), form(function(value)))


def _client_kind(kind: type) -> Callable[[Any], Any] | None:
    """Recognize clients of the SDKs; what only looks like one at second sight is unkeyable."""
    if providers.of_class(kind) is None or hasattr(kind, "model_dump") or issubclass(kind, Enum):
        return None

    def client(value: Any) -> Any:
        provider = providers.of_client(value)
        if provider is None:
            raise unkeyable(value)
        return client_form(value, provider.describe(value))

    return client


def _setting(kind: type) -> Callable[[Any], Any] | None:
    """Recognize what people pass to the SDKs besides text; by name alone, since each SDK claims it for its own."""
    parts = setting(kind)
    return None if parts is None else lambda value: tagged("setting", kind.__qualname__, form(parts(value)))


def client_form(client: Any, description: list[Any]) -> Any:
    """Return the form of an SDK's client, or resource, that is described so."""
    return tagged("client", *identity(type(client)), form(description))


RECOGNIZERS += [_setting, _client_kind]
