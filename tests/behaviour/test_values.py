"""Values come back as they were, type by type, or are refused."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime
import enum
import math
import pathlib
import pickle
import subprocess
import sys
import threading
import typing
import zoneinfo
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from uuid import UUID

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aicached import Cache, UnstorableValue, ai_cached
from aicached.codec.classes import Classes
from aicached.codec.values import Undecodable, decode, encode
from aicached.testing import ScriptedModel

NONE = Classes()


class Colour(enum.Enum):
    RED = 1
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Point(typing.NamedTuple):
    x: int
    y: typing.Any = 0


Old = collections.namedtuple("Old", "a b")


@dataclasses.dataclass
class Plain:
    name: str
    inner: typing.Any = None

    @cached_property
    def shout(self):
        return self.name.upper()


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    name: str
    items: tuple = ()


@dataclasses.dataclass
class Outer:
    inner: Slotted
    many: list[Point]
    maybe: Colour | None = None


@dataclasses.dataclass
class Strict:
    """Its constructor runs code, which a decoding must not."""

    made: typing.ClassVar[int] = 0
    name: str

    def __post_init__(self):
        Strict.made += 1


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    name: str
    inner: typing.Any = None
    _private: str = pydantic.PrivateAttr("p")


class Validated(pydantic.BaseModel):
    n: int

    @pydantic.field_validator("n")
    @classmethod
    def even(cls, n):
        if n % 2:
            raise ValueError("odd")
        return n


class Root(pydantic.RootModel[list[int]]):
    pass


class Frozen(pydantic.BaseModel, frozen=True):
    n: int


T = typing.TypeVar("T")


class Box(pydantic.BaseModel, typing.Generic[T]):
    content: T


CLASSES = Classes(
    [Colour, Level, Rights, Point, Old, Plain, Slotted, Strict, Model, Validated, Root, Frozen, Box, Box[int]]
)


def same(a, b) -> bool:
    """Are these equal, of equal types all the way down, and NaN and -0.0 told apart?"""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    if isinstance(a, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    if isinstance(a, (list, tuple, collections.deque)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return same(list(a.items()), list(b.items()))
    if dataclasses.is_dataclass(a):
        return all(same(getattr(a, field.name), getattr(b, field.name)) for field in dataclasses.fields(a))
    if isinstance(a, pydantic.BaseModel):
        return same(a.__dict__, b.__dict__) and same(a.model_extra, b.model_extra)
    return bool(a == b)


def back(value, classes=NONE):
    """Encode and decode; twice, to see that the bytes are the same."""
    payload = encode(value, classes)
    found = decode(payload, classes)
    assert payload == encode(found, classes)
    return found


zones = st.sampled_from(
    [None, datetime.timezone.utc, zoneinfo.ZoneInfo("Europe/Zurich"), zoneinfo.ZoneInfo("UTC")]
) | st.builds(
    datetime.timezone, st.timedeltas(datetime.timedelta(hours=-23), datetime.timedelta(hours=23)), st.text(max_size=3)
)
LEAVES = {
    "none": st.none(),
    "bool": st.booleans(),
    "int": st.integers() | st.integers(-(2**200), 2**200),
    "float": st.floats(),
    "complex": st.complex_numbers(),
    "str": st.text(),
    "surrogates": st.text(st.characters(categories=["Cs", "Lu"])),
    "bytes": st.binary(),
    "bytearray": st.binary().map(bytearray),
    "date": st.dates(),
    "time": st.times(),
    "datetime": st.datetimes(timezones=zones, allow_imaginary=True),
    "timedelta": st.timedeltas(),
    "timezone": zones.filter(lambda zone: isinstance(zone, datetime.timezone)),
    "decimal": st.decimals(allow_nan=False) | st.sampled_from([Decimal("1.10"), Decimal("-0"), Decimal("Infinity")]),
    "fraction": st.fractions(),
    "uuid": st.uuids(),
    "range": st.builds(range, st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 3)),
    "path": st.sampled_from([pathlib.Path("a/b"), pathlib.PurePosixPath("/a"), pathlib.PureWindowsPath("c:\\a")]),
    "ellipsis": st.just(...),
    "enum": st.sampled_from([*Colour, *Level]),
    "flag": st.sampled_from([Rights(0), Rights.READ, Rights.READ | Rights.WRITE]),
}
hashable = st.one_of(*(LEAVES[name] for name in ("none", "bool", "int", "str", "bytes", "date", "uuid", "surrogates")))
hashable |= st.tuples(hashable, hashable) | st.frozensets(hashable, max_size=3)
values = st.recursive(
    st.one_of(*LEAVES.values()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(hashable, inner, max_size=4),
        st.dictionaries(hashable, inner, max_size=4).map(collections.OrderedDict),
        st.builds(collections.deque, st.lists(inner, max_size=4), st.none() | st.integers(4, 9)),
        st.dictionaries(hashable, inner, max_size=3).map(lambda d: collections.defaultdict(list, d)),
        st.builds(Point, st.integers(), inner),
        st.builds(Old, inner, inner),
        st.builds(Plain, st.text(), inner),
        st.builds(Slotted, st.text(), st.tuples(inner)),
        st.builds(Model, name=st.text(), inner=inner, more=inner),
    ),
    max_leaves=10,
)


@pytest.mark.parametrize("name", LEAVES)
def test_leaves_come_back_as_they_were(name):
    @given(LEAVES[name])
    def check(value):
        assert same(value, back(value, CLASSES))

    check()


@given(st.sets(hashable) | st.frozensets(hashable))
def test_sets_come_back_as_they_were(value):
    assert same(value, back(value))


@given(values)
def test_trees_come_back_as_they_were(value):
    assert same(value, back(value, CLASSES))


@pytest.mark.parametrize(
    "value", [float("nan"), float("-inf"), -0.0, complex("nan"), Decimal("NaN"), Decimal("sNaN")], ids=repr
)
def test_numbers_that_are_not_equal_to_themselves_come_back(value):
    assert repr(value) == repr(back(value))


def test_an_ordered_dict_keeps_its_order_and_so_does_a_dict():
    for kind in (dict, collections.OrderedDict):
        value = kind([("b", 1), ("a", 2)])
        assert list(value) == list(back(value))
        assert type(back(value)) is kind


def test_a_counter_and_a_defaultdict_keep_their_kind():
    assert collections.Counter("hello") == back(collections.Counter("hello"))
    for kind in (list, dict, set, int, float, str, bool, tuple, bytes, None):
        assert back(collections.defaultdict(kind)).default_factory is kind


def test_fold_survives():
    moment = datetime.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Zurich"))
    assert 1 == back(moment).fold
    assert moment.utcoffset() == back(moment).utcoffset()
    assert back(datetime.timezone.utc) is datetime.timezone.utc


def test_a_large_integer_and_a_lone_surrogate_beside_each_other():
    value = {"\ud800": 2**70, 2**70: ["\udfff", -(2**63) - 1]}
    assert value == back(value)


def test_sets_are_encoded_alike_whatever_their_history():
    """Two equal sets may list their elements in different orders."""
    shrunk = set(range(100))
    shrunk -= set(range(100)) - {9, 16}
    assert list(shrunk) != list({9, 16})  # or this tests nothing
    assert encode({9, 16}, NONE) == encode(shrunk, NONE) == encode({16, 9}, NONE)
    assert encode(frozenset("abc"), NONE) == encode(frozenset("cba"), NONE)


def test_sets_are_encoded_alike_whatever_the_hash_seed():
    script = (
        "from aicached.codec.values import encode, Classes; print(encode({'a', 'b', 'c', 1, None}, Classes()).hex())"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in "123"
    }
    assert 1 == len(told)


# Objects --------------------------------------------------------------------------------------------------------------


def test_a_dataclass_comes_back_without_running_its_constructor():
    value = Strict("a")
    made = Strict.made
    assert value == back(value, CLASSES)
    assert made == Strict.made


def test_a_dataclass_without_one_of_its_fields_comes_back_so():
    value = Plain("a")
    del value.name
    assert {"inner": None} == vars(back(value, CLASSES))


def test_cached_properties_are_not_stored():
    value = Plain("a")
    assert "A" == value.shout
    assert {"name": "a", "inner": None} == vars(back(value, CLASSES))
    assert "A" == back(value, CLASSES).shout


def test_attributes_beside_the_fields_are_refused():
    value = Plain("a")
    value.more = 1
    with pytest.raises(UnstorableValue, match="more"):
        encode(value, CLASSES)


def test_a_model_comes_back_with_all_its_state():
    value = Model(name="a", extra=[1])
    value._private = "mine"
    found = back(value, CLASSES)
    assert value == found
    assert {"name", "extra"} == found.model_fields_set
    assert {"extra": [1]} == found.model_extra
    assert "mine" == found._private
    assert value.model_dump_json() == found.model_dump_json()


def test_a_model_is_not_validated_again():
    value = Validated.model_construct(n=3)
    assert 3 == back(value, CLASSES).n


def test_a_root_model_comes_back_as_it_was():
    found = back(Root([1, 2]), CLASSES)
    assert Root([1, 2]) == found
    assert vars(Root([1, 2])) == vars(found)
    assert "[1,2]" == found.model_dump_json()


def test_a_frozen_model_comes_back_with_its_hash():
    assert hash(Frozen(n=1)) == hash(back(Frozen(n=1), CLASSES))


def test_copies_of_a_model_that_came_back_are_whole():
    found = back(Model(name="a", extra=[1]), CLASSES)
    assert found == found.model_copy(deep=True) == pickle.loads(pickle.dumps(found))


def test_a_generic_model_comes_back_with_its_arguments():
    assert type(back(Box[int](content=1), CLASSES)) is Box[int]
    assert back(Box(content="x"), CLASSES) == Box(content="x")
    assert type(back(Box[list[int]](content=[1]), CLASSES)).__name__.startswith("Box")


def test_a_private_attribute_that_cannot_be_stored_is_refused():
    value = Model(name="a")
    value._private = threading.Lock()
    with pytest.raises(UnstorableValue):
        encode(value, CLASSES)


# What is refused ------------------------------------------------------------------------------------------------------


def subclass(kind):
    return type(f"My{kind.__name__.title()}", (kind,), {})


SUBCLASSES = [
    subclass(kind) for kind in (int, float, str, bytes, list, dict, tuple, set, frozenset, bytearray, complex)
]
SUBCLASSES += [
    subclass(kind) for kind in (collections.OrderedDict, collections.deque, datetime.date, Decimal, Fraction)
]


@pytest.mark.parametrize("kind", SUBCLASSES, ids=lambda kind: kind.__name__)
def test_a_subclass_that_is_not_listed_is_refused_not_flattened(kind):
    value = kind(2024, 1, 1) if issubclass(kind, datetime.date) else kind()
    for wrapped in (value, [value], {"a": value}, (value,)):
        with pytest.raises(UnstorableValue):
            encode(wrapped, Classes([kind]))


class Secretive:
    def __getattr__(self, name):
        raise ZeroDivisionError(name)


@pytest.mark.parametrize(
    "value",
    [
        object(),
        threading.Lock(),
        len,
        lambda: 1,
        int,
        Plain,
        sys,
        iter([]),
        (n for n in ()),
        memoryview(b""),
        ValueError("x"),
        Secretive(),
        collections.defaultdict(lambda: 1),
        UUID,
        datetime.datetime(2024, 1, 1, tzinfo=subclass(datetime.tzinfo)()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_content_of_a_known_type_is_refused(value):
    for wrapped in (value, [value], {"a": value}):
        with pytest.raises(UnstorableValue):
            encode(wrapped, CLASSES)


def circle():
    value: list = []
    value.append(value)
    return value


def deep(levels):
    value: list = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("value", [circle(), deep(100_000)], ids=["circle", "deep"])
def test_circles_and_depths_are_refused(value):
    with pytest.raises(UnstorableValue, match="nested too deep"):
        encode(value, NONE)


def test_the_refusal_of_a_class_says_the_ways_out():
    with pytest.raises(UnstorableValue, match=r"annotate the function's result with it.*trust=\(Plain,\)"):
        encode(Plain("a"), NONE)


# Which classes may be made --------------------------------------------------------------------------------------------


def test_a_class_that_is_not_allowed_is_not_made():
    payload = encode(Plain("a"), CLASSES)
    with pytest.raises(Undecodable, match="not allowed"):
        decode(payload, NONE)


def test_a_class_that_only_has_the_name_of_an_allowed_one_is_refused():
    namesake = dataclasses.make_dataclass("Slotted", ["name"], namespace={"__module__": __name__})
    with pytest.raises(UnstorableValue, match="Slotted"):
        encode(namesake("a"), CLASSES)


def test_what_the_fields_of_an_allowed_class_are_annotated_with_is_allowed():
    value = Outer(Slotted("a"), [Point(1)], Colour.RED)
    assert value == back(value, Classes([Outer]))


@pytest.mark.parametrize("trust", [__name__, __name__.rpartition(".")[0], "tests", Plain])
def test_trust_names_classes_and_modules_with_submodules(trust, colour, run):
    model = ScriptedModel(Plain("a"))
    ask = ai_cached(model.function(colour), cache=Cache("memory://", trust=[trust]))
    assert run(ask("hi")) == run(ask("hi")) == Plain("a")
    assert 1 == model.calls


@pytest.mark.parametrize("trust", [(), ["test"], ["tests.behaviour.test_value"], [f"{__name__}.more"], [Slotted]])
def test_what_is_not_trusted_is_returned_and_not_stored(trust, warned):
    model = ScriptedModel(Plain("a"))
    ask = ai_cached(model.function("sync"), cache=Cache("memory://", trust=trust))
    assert ask("hi") == ask("hi") == Plain("a")
    assert 2 == model.calls
    (warning,) = warned()
    assert "trust=" in warning


def test_the_annotations_of_the_function_allow_classes(cache, colour, run):
    calls = []

    def ask(prompt) -> list[Plain] | Point:
        calls.append(prompt)
        return [Plain("a")]

    async def aask(prompt) -> list[Plain] | Point:
        return ask(prompt)

    cached = ai_cached(aask if colour == "async" else ask, cache=cache, version=1)
    assert [Plain("a")] == run(cached("hi")) == run(cached("hi"))
    assert 1 == len(calls)


def test_forward_references_are_resolved_at_first_use(cache):
    """`Later` is defined below, after the function was decorated."""
    assert later("hi") == later("hi") == Later("hi")
    assert 1 == later.cache_info().hits


@ai_cached(cache="memory://")
def later(prompt: str) -> Later:
    return Later(prompt)


@dataclasses.dataclass
class Later:
    name: str


def test_a_type_checkers_name_does_not_hide_the_other_annotations(cache):
    def ask(prompt: "Nowhere") -> None:  # noqa: F821, UP037
        return Plain("a")

    ask.__annotations__["return"] = Plain
    cached = ai_cached(ask, cache=cache)
    assert Plain("a") == cached("hi") == cached("hi")
    assert 1 == cached.cache_info().hits


def test_a_class_that_comes_in_as_an_argument_is_allowed(cache, colour, run):
    model = ScriptedModel(Model(name="a"))
    ask = ai_cached(model.function(colour), cache=cache)
    answers = [run(ask("hi", response_format=Model)) for _ in range(2)]
    assert [Model(name="a")] * 2 == answers
    assert 1 == model.calls


def test_each_caller_gets_the_class_that_it_passed(cache):
    """Of two classes of one name, as notebooks and factories make them, neither stands for the other."""

    def made(default):
        class Answer(pydantic.BaseModel):
            name: str = default

        return Answer

    @ai_cached(cache=cache)
    def ask(prompt, kind):
        return kind(name="x")

    first, second, again = made("a"), made("b"), made("a")
    for kind in (first, second, first, second, again):
        assert type(ask("hi", kind)) is kind


def test_classes_in_a_list_of_arguments_are_allowed(cache):
    model = ScriptedModel(Model(name="a"))
    ask = ai_cached(model.function("sync"), cache=cache)
    ask("hi", tools=[Model, Slotted])
    ask("hi", tools=[Model, Slotted])
    assert 1 == model.calls


def test_decoding_imports_nothing():
    """A payload that names a class of a module that is not imported, trusted or not, imports nothing."""
    script = """
import sys
from aicached.codec.classes import Classes
from aicached.codec.values import Undecodable, decode
import msgpack

before = set(sys.modules)

def named(module, name):
    inner = msgpack.packb(["d", [module, name], {}])
    return msgpack.packb(msgpack.ExtType(0, inner))

for classes in (Classes(), Classes((), ["wave", "json"])):
    for name in (("wave", "Wave_read"), ("json.tool", "main"), ("os", "system"), ("builtins", "object")):
        try:
            decode(named(*name), classes)
        except Undecodable:
            continue
        raise SystemExit(f"{name} was made")
print(sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ("[]\n", "") == (done.stdout, done.stderr)


@given(st.binary())
def test_damaged_payloads_are_undecodable_or_plain_values(payload):
    with contextlib.suppress(Undecodable):
        decode(payload, CLASSES)


@given(values, st.data())
def test_a_changed_payload_raises_nothing_else(value, data):
    payload = bytearray(encode(value, CLASSES))
    place = data.draw(st.integers(0, len(payload) - 1))
    payload[place] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(Undecodable):
        decode(bytes(payload), CLASSES)


def test_a_value_that_does_not_come_back_as_it_was_is_refused(cache, run, warned):
    """The first value of each class is decoded and encoded again, to see."""

    @dataclasses.dataclass
    class Forgetful:
        name: str

        def __setattr__(self, name, value):
            object.__setattr__(self, name, value)

        def __getattribute__(self, name):
            found = object.__getattribute__(self, name)
            return f"{found}!" if name == "name" else found

    def ask(prompt) -> Forgetful:
        return Forgetful("a")

    ask.__annotations__["return"] = Forgetful
    cached = ai_cached(ask, cache=cache, version=1)
    assert "a!" == cached("hi").name == cached("hi").name
    assert 2 == cached.cache_info().refused
    assert 1 == len(warned())
