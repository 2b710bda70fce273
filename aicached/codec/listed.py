"""
The types that come back by their parts: those of the standard library, and numpy's arrays.

Law: exact types; the parts say everything, and one code on the wire stands for one type for ever.
"""

from __future__ import annotations

import collections
import datetime
import pathlib
import sys
from collections.abc import Callable
from typing import Any

from ..errors import UnstorableValue
from ..keys.arrays import SCALARS
from . import arrays
from .classes import Undecodable, shown

__all__ = ["BY_CODE", "BY_TYPE", "INT", "PACKED", "SETS", "STR"]

#: Codes of the extension types that are written as bytes, not as packed parts; and those of sets.
INT, STR, PACKED = 1, 2, 3
SETS: dict[type, int] = {set: 4, frozenset: 5}


def _module(name: str, attribute: str) -> Callable[..., Any]:
    """Return a maker that finds its class when it is called: nothing is imported for a type that nobody uses."""

    def make(*parts: Any) -> Any:
        __import__(name)  # of the standard library, named here and not by any bytes
        return getattr(sys.modules[name], attribute)(*parts)

    return make


def _made(kind: type, make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """
    Make something of parts of exactly this type.

    Of others it could be anything: all numbers of a range, a billion zeros, a fraction that takes an hour to reduce.
    """

    def made(parts: Any) -> Any:
        if type(parts) is not kind:
            raise Undecodable(f"{kind.__name__} expected")
        return make(parts)

    return made


def _deque(parts: list[Any]) -> Any:
    items, most = parts
    return _made(list, lambda items: collections.deque(items, most))(items)


def _default(parts: list[Any]) -> Any:
    name, items = parts
    return _made(dict, lambda items: collections.defaultdict(_FACTORIES.get(name), items))(items)


def _ratio(parts: list[Any]) -> Any:
    above, below = parts
    if type(above) is not int or type(below) is not int or max(above.bit_length(), below.bit_length()) > _RATIO_BITS:
        raise Undecodable("a fraction of other parts")
    return _module("fractions", "Fraction")(above, below)


def _ratio_parts(value: Any) -> list[int]:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > _RATIO_BITS:
        raise UnstorableValue("a fraction of more than a million bits")
    return [value.numerator, value.denominator]


#: To reduce a fraction takes time that grows with the square of these: a second for a million.
_RATIO_BITS = 2**20


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

_LISTED: list[tuple[int, Any, Callable[[Any], Any], Callable[[Any], Any]]] = [
    (6, tuple, list, _made(list, tuple)),
    (7, bytearray, bytes, _made(bytes, bytearray)),
    (8, complex, lambda v: [v.real, v.imag], lambda p: complex(*p)),
    (9, range, lambda v: [v.start, v.stop, v.step], lambda p: range(*p)),
    (10, collections.OrderedDict, lambda v: [[k, i] for k, i in v.items()], _made(list, collections.OrderedDict)),
    (11, collections.deque, lambda v: [list(v), v.maxlen], _deque),
    (12, collections.defaultdict, _default_parts, _default),
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
    (18, collections.Counter, dict, _made(dict, collections.Counter)),
    (19, type(...), lambda v: None, lambda p: ...),
    (20, ("decimal", "Decimal"), str, _made(str, _module("decimal", "Decimal"))),
    (21, ("fractions", "Fraction"), _ratio_parts, _ratio),
    (22, ("uuid", "UUID"), str, _module("uuid", "UUID")),
    (23, type(pathlib.PurePosixPath()), str, pathlib.PurePosixPath),
    (24, type(pathlib.PureWindowsPath()), str, pathlib.PureWindowsPath),
    (25, type(pathlib.Path()), str, pathlib.Path),
    (29, ("numpy", "ndarray"), arrays.array_parts, arrays.array),
    *((30, ("numpy", name), arrays.scalar_parts, arrays.scalar) for name in sorted(SCALARS)),
]
BY_CODE: dict[int, Callable[[Any], Any]] = {
    INT: lambda data: int.from_bytes(data, "big", signed=True),
    STR: lambda data: data.decode("utf-8", "surrogatepass"),
    PACKED: lambda value: value,
    SETS[set]: _made(list, set),
    SETS[frozenset]: _made(list, frozenset),
    **{code: make for code, _, _, make in _LISTED},
}


_BY_NAME = {kind: (code, take) for code, kind, take, _ in _LISTED if isinstance(kind, tuple)}


class _Listed(dict[type, tuple[int, Callable[[Any], Any]]]):
    """Look a type up by itself, and by name where it was not imported when this was read."""

    def get(self, kind: type, default: Any = None) -> Any:
        found = dict.get(self, kind)
        return found if found is not None else _BY_NAME.get((kind.__module__, kind.__qualname__), default)


BY_TYPE = _Listed({kind: (code, take) for code, kind, take, _ in _LISTED if isinstance(kind, type)})
