"""The canonical form: injective, typed, by content."""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import ipaddress
import itertools
import math
import pathlib
import random
import re
import struct
import threading
import types
import typing
import uuid
import zoneinfo
from typing import Any, NamedTuple

import msgpack
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aicached import UnkeyableArgument, register_key
from aicached.keys import canonical
from tests.keys.calls import digest, python

attr = pytest.importorskip("attr")


def unkeyable(value: Any) -> str:
    with pytest.raises(UnkeyableArgument) as caught:
        digest(value)
    return str(caught.value)


class Colour(enum.Enum):
    RED = 1
    ROUGE = 1  # noqa: PIE796
    BLUE = 2


class Word(str, enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Right(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass
class Point:
    x: Any
    y: Any = 0

    @functools.cached_property
    def length(self):
        return math.hypot(self.x, self.y)


@dataclasses.dataclass
class Pixel:
    x: Any
    y: Any = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    x: Any


@dataclasses.dataclass
class Chat(list):
    model: str


class SlottedPoint(Point):
    __slots__ = ("secret",)


T = typing.TypeVar("T")


@dataclasses.dataclass
class Box(typing.Generic[T]):
    content: T


@attr.define
class Attrs:
    x: Any


@attr.s(auto_attribs=True)
class AttrsDict:
    x: Any


class Pair(NamedTuple):
    a: Any
    b: Any


class Couple(NamedTuple):
    a: Any
    b: Any


class OpenPair(Pair):
    pass


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    name: Any
    size: Any = 1


class OtherModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    name: Any
    size: Any = 1


class Page(pydantic.BaseModel, typing.Generic[T]):
    items: list[T] = []


class Text(str):
    def __str__(self):
        return "always"

    def __eq__(self, other):
        return True

    def __hash__(self):
        return 1

    def __repr__(self):
        return "always"

    def __len__(self):
        return 3


class Number(int):
    def __index__(self):
        return 7

    def __int__(self):
        return 7


class Real(float):
    pass


class Items(list):
    def __iter__(self):
        return iter(())


class Table(dict):
    def __iter__(self):
        return iter(())

    def items(self):
        return {}.items()

    def __getitem__(self, name):
        return None


class Bag(set):
    def __iter__(self):
        return iter(())


class Hidden(str):
    __slots__ = ("__secret",)

    def hide(self, secret):
        self.__secret = secret
        return self


class Price(decimal.Decimal):
    pass


class Where(type(pathlib.Path())):
    pass


class Taught:
    def __init__(self, name):
        self.name = name


class Keyed:
    def __init__(self, name):
        self.name = name

    def __cache_key__(self):
        return ("keyed", self.name)


class AlwaysEqual:
    def __eq__(self, other):
        return True

    __hash__ = None


BERLIN, PARIS = zoneinfo.ZoneInfo("Europe/Berlin"), zoneinfo.ZoneInfo("Europe/Paris")
NOON = datetime.datetime(2024, 10, 27, 2, 30)
UTC = datetime.timezone.utc

#: No two of these are one value: whatever they are compared with, their digests differ.
DIFFERENT = [
    1, 1.0, True, "1", b"1", None, "None", [1], (1,), {1}, frozenset((1,)), {1: None}, {"1": None}, {1: 1}, {1.0: 1},
    {True: 1}, 0, 0.0, -0.0, False, "", b"", (), [], {}, set(), frozenset(), [None], [[]], [()], ([],), math.inf,
    -math.inf,
    math.nan, "nan", 1j, complex(0, -0.0), complex(-0.0, 0.0), complex(0), "True", "true",
    ("ab", "c"), ("a", "bc"), ["ab", "c"], ["a", "bc"], "abc", ["abc"],
    "\u00e9", "e\u0301", "\ud800", "\udfff", "\\ud800", ["\ud800"], b"\xed\xa0\x80", "\x00", "a\x00",
    2**63, 2**64, 2**64 - 1, -(2**63), -(2**63) - 1, 2**64 + 1, 10**40, -(10**40), str(2**64), float(2**64),
    bytearray(b"1"), memoryview(b"1"), memoryview(b"abcd")[::2], bytearray(b""), array.array("b", [1]),
    array.array("B", [1]),
    msgpack.ExtType(1, b"tuple"), [msgpack.ExtType(1, b"tuple"), 1], msgpack.ExtType(1, b"1"), (1, b"1"),
    ["tuple", 1], {"tuple": [1]}, "\xc7\x05\x01tuple", b"\xc7\x05\x01tuple",
    collections.OrderedDict(a=1, b=2), collections.OrderedDict(b=2, a=1), {"a": 1, "b": 2},
    collections.Counter(a=1, b=2),
    collections.defaultdict(int, a=1, b=2), collections.defaultdict(list, a=1, b=2),
    types.MappingProxyType({"a": 1, "b": 2}),
    types.SimpleNamespace(a=1, b=2), [["a", 1], ["b", 2]], collections.deque([1]), collections.deque([1], 5),
    range(3), range(1, 3), range(0, 3, 2), [0, 1, 2], slice(1), slice(1, 2), slice(0, 1), ..., NotImplemented,
    datetime.date(2024, 10, 27), datetime.datetime(2024, 10, 27), datetime.time(2, 30), datetime.time(2, 30, fold=1),
    NOON,
    NOON.replace(fold=1), NOON.replace(tzinfo=UTC), NOON.replace(tzinfo=BERLIN), NOON.replace(tzinfo=BERLIN, fold=1),
    NOON.replace(tzinfo=PARIS), NOON.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=2))), NOON.isoformat(),
    UTC,
    NOON.replace(microsecond=1), NOON.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=2), "CEST")),
    datetime.time(2, 30, tzinfo=UTC), datetime.timedelta(1), datetime.timedelta(hours=1), datetime.timedelta(0),
    BERLIN, PARIS,
    decimal.Decimal(1), decimal.Decimal("1.0"), decimal.Decimal("-0"), decimal.Decimal("NaN"), fractions.Fraction(1),
    fractions.Fraction(1, 3), uuid.UUID(int=1), uuid.UUID(int=2), str(uuid.UUID(int=1)), uuid.UUID(int=1).bytes,
    ipaddress.ip_address("1.2.3.4"), ipaddress.ip_interface("1.2.3.4"), ipaddress.ip_network("1.2.3.4"), "1.2.3.4",
    pathlib.PurePosixPath("a"), pathlib.PureWindowsPath("a"), pathlib.Path("no such file"), Where("no such file"), "a",
    re.compile("a"), re.compile("a", re.IGNORECASE), re.compile(b"a"),
    Colour.RED, Colour.BLUE, Word.RED, "red", Level.LOW, Right.READ, Right.WRITE, Right.READ | Right.WRITE, Right(0),
    Point(1), Point(1.0), Point(1, True), Point(True), Pixel(1), Frozen(1), Attrs(1), Attrs("1"), AttrsDict(1),
    Pair(1, 2), (1, 2),
    Couple(1, 2), Pair(1, (2,)), {"x": 1, "y": 0}, Chat("a"), Box(1), Box[int](1), Box[str](1), Point(...), Point(None),
    Model(name=1), Model(name="1"), Model(name=1, size=2), Model(name=1, other=3), OtherModel(name=1),
    {"name": 1, "size": 1},
    Page(), Page[int](), Page[str](), Page[Point](), Page[int](items=[1]),
    Text("a"), Text("b"), Number(1), Number(2), Real(1), Real(-0.0), Real(0.0), Items([1]), Items([2]), Table(a=1),
    Table(a=2),
    Bag((1,)), Bag((2,)), Hidden("a"), Price("1"), Keyed("a"), Keyed("b"), ("keyed", "a"),
    len, abs, dict.fromkeys, dict.get, str.upper, "a".upper, "b".upper, [1].append, math.sin, math, int, str, type,
    object,
    functools.partial(len), functools.partial(int, "1"), functools.partial(int, base=2), functools.partial(int, base=3),
    Point(1).__eq__, Point(2).__eq__, Keyed.__cache_key__, Keyed("a").__cache_key__,
    Point, Pixel, Colour, Model, OtherModel, Page[int], Page[str], Page,
    list[int], list[str], set[int], int | None, int | str, typing.Optional[int], typing.Any,  # noqa: UP007, UP045
    typing.Literal[1], typing.Literal[True], typing.Literal["1"], typing.Annotated[int, "x"],
    typing.Annotated[int, "y"],
    collections.abc.Callable[[int], str], collections.abc.Callable[[int], int], T,
]  # fmt: skip


def test_what_differs_in_type_or_content_has_a_digest_of_its_own():
    seen: dict[bytes, Any] = {}
    for value in DIFFERENT:
        made = digest(value)
        assert made not in seen, f"{value!r} and {seen[made]!r} share a digest"
        seen[made] = value


def test_what_differs_still_differs_inside_of_something():
    for wrap in (lambda v: [v], lambda v: {"a": v}, lambda v: {1: v}, lambda v: (v,), Point, lambda v: Model(name=v)):
        made = [digest(wrap(value)) for value in DIFFERENT]
        assert len(made) == len(set(made))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({1: 1, "b": 2, None: 3}, {None: 3, "b": 2, 1: 1}),
        ({frozenset((1, 2)): 1, frozenset((3,)): 2}, {frozenset((3,)): 2, frozenset((2, 1)): 1}),
        ({9, 16}, {16, 9}),
        (frozenset("abcdef"), frozenset("fedcba")),
        ({"\ud800": 1, "a": 2}, {"a": 2, "\ud800": 1}),
        (Colour.RED, Colour.ROUGE),
        (Right.READ | Right.WRITE, Right.WRITE | Right.READ),
        (Point(x=1), Point(1, 0)),
        (Model(name=1), Model(size=1, name=1)),
        (Model(name=1, a=1, b=2), Model(name=1, b=2, a=1)),
        (types.SimpleNamespace(a=1, b=2), types.SimpleNamespace(b=2, a=1)),
        (functools.partial(int, "1", base=2), functools.partial(functools.partial(int, base=2), "1")),
        (collections.Counter("ab"), collections.Counter("ba")),
        ("".join(["pro", "mpt"]), "prompt"),
        (float("nan"), math.nan),
        (typing.Literal["a"], typing.Literal["a"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_one_content_spelled_in_two_ways_has_one_digest(one, other):
    assert digest(one) == digest(other)


def test_a_set_that_shrank_lists_its_items_in_another_order_and_has_the_same_digest():
    shrunk = set(range(100))
    shrunk -= shrunk - {9, 16}
    assert digest({16, 9}) == digest(shrunk)


# Subclasses and records ----------------------------------------------------------------------------------------------


def with_attribute(value: Any, name: str = "extra") -> Any:
    setattr(value, name, 1)
    return value


@pytest.mark.parametrize(
    "value",
    [
        with_attribute(Text("a")),
        with_attribute(Number(1)),
        with_attribute(Items([1])),
        with_attribute(Table(a=1)),
        with_attribute(Price("1")),
        with_attribute(Point(1)),
        with_attribute(SlottedPoint(1), "secret"),
        with_attribute(Chat("a")),
        with_attribute(AttrsDict(1)),
        with_attribute(OpenPair(1, 2)),
        Hidden("a").hide("b"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_instance_with_attributes_of_its_own_is_unkeyable(value):
    unkeyable(value)


def test_the_items_of_a_dataclass_that_is_a_list_too_count():
    full = Chat("a")
    full.append("hi")
    assert digest(Chat("a")) != digest(full)


def test_what_a_dataclass_has_worked_out_and_keeps_does_not_count():
    point = Point(3, 4)
    before = digest(point)
    assert point.length == 5
    assert digest(point) == before


def test_a_generic_model_has_one_digest_in_whatever_module_it_was_first_asked_for():
    def elsewhere(name):
        page = Page[tuple[int, int]]
        page.__module__ = name
        return page()

    assert digest(elsewhere("one")) == digest(elsewhere("two"))


def test_the_value_of_an_enum_member_counts():
    first = enum.Enum("Tone", {"KIND": "be kind"}, module=__name__)
    second = enum.Enum("Tone", {"KIND": "be very kind"}, module=__name__)
    assert digest(first.KIND) != digest(second.KIND)


# What has no content -------------------------------------------------------------------------------------------------


class Plain:
    def __init__(self):
        self.name = "content"


@pytest.mark.parametrize(
    "value",
    [
        object(), Plain(), AlwaysEqual(), threading.Lock(), (item for item in ()), iter([]), map(str, ()), {}.keys(),
        random.Random(1), random.random, threading.local(), Exception("e"), msgpack.Timestamp(1), Plain().__init__,
        itertools.count(),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_has_no_content_is_unkeyable_wherever_it_stands(value):
    for inside in (value, [value], {"a": value}, (value,), {"a": [{"b": value}]}, Point(value), Model(name=value)):
        unkeyable(inside)


def test_an_open_file_is_unkeyable(tmp_path):
    with (tmp_path / "file").open("w") as file:
        assert "TextIOWrapper" in unkeyable(file)


def test_a_time_zone_that_does_not_say_its_offset_is_unkeyable():
    class Nowhere(datetime.tzinfo):
        def utcoffset(self, at):
            return None

        def tzname(self, at):
            return None

    unkeyable(NOON.replace(tzinfo=Nowhere()))
    unkeyable({"at": datetime.time(1, tzinfo=Nowhere())})


def nested(kind: str, depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value] if kind == "list" else (value,) if kind == "tuple" else {"a": value}
    return value


@pytest.mark.parametrize("kind", ["list", "tuple", "dict"])
def test_nesting_of_5000_is_unkeyable(kind):
    assert "nested too deep" in unkeyable(nested(kind, 5000))


def test_nesting_beside_a_lone_surrogate_is_unkeyable_too():
    assert "nested too deep" in unkeyable([nested("list", 2000), "\ud800"])
    odd: Any = 1
    for _ in range(900):  # spelled out, each is two levels
        odd = {"\ud800": odd}
    with pytest.raises(UnkeyableArgument, match="nested too deep"):
        canonical.pack(odd)


def test_a_circle_is_unkeyable():
    for circle in ([], {}, collections.deque(), Point(1)):
        if isinstance(circle, dict):
            circle["self"] = circle
        elif isinstance(circle, Point):
            circle.x = circle
        else:
            circle.append(circle)
        assert "in a circle" in unkeyable(circle)


# Taught types --------------------------------------------------------------------------------------------------------


def test_register_key_teaches_a_type_and_its_subclasses(monkeypatch):
    class Sub(Taught):
        pass

    monkeypatch.setattr(canonical, "_taught", {})
    unkeyable(Taught("a"))
    register_key(Taught, lambda taught: taught.name)
    assert digest(Taught("a")) == digest(Taught("a"))
    assert len({digest(Taught("a")), digest(Taught("b")), digest(Sub("a")), digest("a")}) == 4
    canonical._resolved_types.clear()


def test_cache_key_may_hold_anything_keyable_and_nothing_else():
    assert digest(Keyed({"b": [1], "a": {2}})) == digest(Keyed({"a": {2}, "b": [1]}))
    unkeyable(Keyed(object()))


# Nested values against an independent picture of typed equality ------------------------------------------------------


def picture(value: Any) -> Any:
    """Return what equals another value's picture exactly where type and content are the same."""
    kind = type(value).__name__
    if isinstance(value, float):
        return kind, struct.pack("<d", value)
    if isinstance(value, complex):
        return kind, picture(value.real), picture(value.imag)
    if isinstance(value, collections.OrderedDict):
        return kind, tuple((picture(name), picture(item)) for name, item in value.items())
    if isinstance(value, dict):
        return kind, frozenset((picture(name), picture(item)) for name, item in value.items())
    if isinstance(value, (set, frozenset)):
        return kind, frozenset(map(picture, value))
    if isinstance(value, (list, tuple)):
        return kind, tuple(map(picture, value))
    if isinstance(value, (bytearray, memoryview)):
        return kind, bytes(value)
    if isinstance(value, decimal.Decimal):
        return kind, value.as_tuple()
    if isinstance(value, Attrs):
        return kind, picture(value.x)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return kind, tuple(picture(getattr(value, field.name)) for field in dataclasses.fields(value))
    if isinstance(value, pydantic.BaseModel):
        return kind, picture(dict(value))
    if isinstance(value, datetime.datetime):
        return kind, value.replace(tzinfo=None, fold=0).isoformat(), value.fold, str(value.tzinfo)
    return kind, value


TAGS = [
    "tuple", "dict", "set", "object", "int", "str", "raw", "\xc7\x05\x01tuple", "__aicached__", "\x00", "\ud800", "1",
    "",
    "\u00e9", "e\u0301",
]  # fmt: skip
texts = st.one_of(st.text(st.characters(codec=None), max_size=3), st.sampled_from(TAGS))
numbers = st.one_of(
    st.integers(-2, 2), st.sampled_from([2**63, 2**64, -(2**63) - 1, 2**70]), st.booleans(),
    st.sampled_from([0.0, -0.0, 1.0, math.nan, math.inf]), st.floats(width=16, allow_nan=False),
)  # fmt: skip
MEMBERS = [*Colour, *Right, Right(3), Level.LOW, Word.RED]
hashables = st.recursive(
    st.one_of(st.none(), numbers, texts, st.binary(max_size=2), st.sampled_from(MEMBERS)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2).map(tuple), st.frozensets(inner, max_size=2), st.builds(Frozen, inner),
        st.builds(Pair, inner, inner)
    ),
    max_leaves=4,
)  # fmt: skip
scalars = st.one_of(
    hashables, st.binary(max_size=2).map(bytearray), st.binary(max_size=2).map(memoryview),
    st.complex_numbers(width=32, allow_nan=False),
    st.binary(max_size=5).map(lambda data: msgpack.ExtType(1, data)), st.decimals(places=1, min_value=-2, max_value=2),
    st.dates(datetime.date(2024, 1, 1), datetime.date(2024, 1, 3)), st.timedeltas(max_value=datetime.timedelta(2)),
    st.builds(NOON.replace, fold=st.sampled_from([0, 1]), tzinfo=st.sampled_from([None, UTC, BERLIN, PARIS])),
    st.uuids(), st.sampled_from([pathlib.PurePosixPath("1"), 1j, Text, Point, int]),
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.lists(inner, max_size=2).map(tuple), st.sets(hashables, max_size=3),
        st.dictionaries(hashables, inner, max_size=3), st.dictionaries(texts, inner, max_size=3),
        st.dictionaries(texts, inner, max_size=2).map(collections.OrderedDict),
        st.builds(Point, inner, inner), st.builds(Pixel, inner), st.builds(Model, name=inner), st.builds(Attrs, inner),
    ),
    max_leaves=8,
)  # fmt: skip


def test_the_picture_itself_tells_apart_what_must_be():
    values = [
        1,
        1.0,
        True,
        "1",
        0.0,
        -0.0,
        [1],
        (1,),
        {1},
        {1: 1},
        {True: 1},
        Point(1),
        Pixel(1),
        b"1",
        bytearray(b"1"),
    ]
    assert len({picture(value) for value in values}) == len(values)
    assert picture({"a": 1, "b": 2}) == picture({"b": 2, "a": 1})


def changed(value: Any, how: Any) -> Any:
    """Return something near *value*: one part of another type, a part more, a part less, items in another order."""
    if isinstance(value, dict) and value:
        name = how.choice(list(value))
        return how.choice([
            lambda: {**value, name: changed(value[name], how)},
            lambda: dict(reversed(value.items())),
            lambda: {k: v for k, v in value.items() if k is not name},
            lambda: collections.OrderedDict(value),
        ])()  # fmt: skip
    if isinstance(value, (list, tuple)) and value and type(value) in (list, tuple):
        index = how.randrange(len(value))
        parts = [*value[:index], changed(value[index], how), *value[index + 1 :]]
        return how.choice([type(value)(parts), tuple(value), [*value], type(value)(value[1:]), [value]])
    if isinstance(value, Point):
        return how.choice([Pixel(value.x, value.y), Point(changed(value.x, how), value.y), Point(value.x)])
    if type(value) in (int, float, bool):
        return how.choice(
            [value, float(value) if abs(value) < 2**60 else value, str(value), bool(value), -value, [value]]
        )
    if type(value) in (bytes, bytearray):
        return how.choice([bytes(value), bytearray(value), memoryview(bytes(value)), value.decode("latin-1")])
    return how.choice([value, [value], (value,), str(value) if isinstance(value, str) else None])


def same_as_pictured(value: Any, how: Any) -> None:
    other = changed(value, how)
    assert (digest(value) == digest(other)) == (picture(value) == picture(other)), (value, other)


def pairs_as_pictured(one: Any, other: Any) -> None:
    assert (digest(one) == digest(other)) == (picture(one) == picture(other))


quick = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
many = settings(quick, max_examples=1000)
#: 20,000 examples in all, in parts that each end well before a test counts as hanging.
thorough = pytest.mark.parametrize("part", range(20))
near = given(values, st.randoms(use_true_random=False))
pairs = given(values, values)

test_digests_are_equal_exactly_where_type_and_content_are = quick(near(same_as_pictured))
test_digests_of_unrelated_values_are_equal_exactly_where_type_and_content_are = quick(pairs(pairs_as_pictured))


@pytest.mark.slow
@thorough
def test_digests_are_equal_exactly_where_type_and_content_are_thoroughly(part):
    many(near(same_as_pictured))()


@pytest.mark.slow
@thorough
def test_digests_of_unrelated_values_thoroughly(part):
    many(pairs(pairs_as_pictured))()


# Processes -----------------------------------------------------------------------------------------------------------

PROGRAM = """
import dataclasses, enum, functools, typing, pydantic
from aicached.keys.canonical import form, pack
from aicached.keys import definitions
import hashlib

class Colour(enum.Enum): RED = 1; BLUE = "b"
class Right(enum.Flag): READ = 1; WRITE = 2
@dataclasses.dataclass
class Point: x: int; y: frozenset = frozenset("abc")
class Model(pydantic.BaseModel):
    name: str
    kind: typing.Literal["a", "b", "c"] = "a"
    model_config = {"extra": "allow"}
def tool(x: "set[str]", y=frozenset("abcdef")):
    class Inner:
        def f(self): self.a, self.b, self.c = 1, 2, 3
    return x in {"some", "words", "in", "a", "set"} or (lambda v: v in {"x", "y", "z"})
values = [
    {"one", "two", "three"}, frozenset("abcdef"), {frozenset("ab"): 1, frozenset("cd"): 2}, {1: 1, "a": 2, None: 3},
    Point(1), Colour.RED, Right.READ | Right.WRITE, Model(name="a", z=1, y={"p", "q", "r"}), tool, Point, Colour, Model,
    functools.partial(tool, x=1), dict[str, int], typing.Literal["a", "b"],
]
for value in values:
    print(hashlib.sha256(pack(form(value))).hexdigest())
"""


def test_digests_are_the_same_in_every_process(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    first, *others = [python(str(script), seed=seed) for seed in ("0", "1", "2")]
    assert len(set(first.split())) == 15
    assert others == [first, first]
