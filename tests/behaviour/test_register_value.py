"""Types that a program teaches come back as it says, or are refused; numpy's need no teaching."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aicached import Cache, ConfigurationError, UnstorableValue, ai_cached, register_value
from aicached.codec import taught
from aicached.codec.classes import Classes
from aicached.codec.values import Undecodable, decode, encode
from aicached.testing import ScriptedModel

NONE = Classes()


class Vector:
    """A class of the kind that nobody can take apart from outside."""

    __slots__ = ("_items",)

    def __init__(self, *items):
        self._items = items

    def items(self):
        return self._items

    def __eq__(self, other):
        return type(other) is type(self) and self._items == other._items

    def __repr__(self):
        return f"Vector{self._items}"

    __hash__ = None


class Longer(Vector):
    pass


@pytest.fixture(autouse=True)
def nothing_taught(monkeypatch):
    monkeypatch.setattr(taught, "TAUGHT", {})
    monkeypatch.setattr("aicached.codec.values.TAUGHT", taught.TAUGHT)
    monkeypatch.setattr(taught, "_names", {})


@pytest.fixture
def vectors():
    register_value(Vector, Vector.items, lambda items: Vector(*items))


def back(value, classes=NONE):
    payload = encode(value, classes)
    found = decode(payload, classes)
    assert payload == encode(found, classes)
    return found


@pytest.mark.usefixtures("vectors")
@pytest.mark.parametrize(
    "value",
    [Vector(1, 2.5), [Vector()], {"a": (Vector("x"), {1})}, Vector(Vector(1), 2**70), Vector("\ud800"), Vector(b"a")],
    ids=repr,
)
def test_a_taught_type_comes_back(value):
    assert value == back(value)


@pytest.mark.usefixtures("vectors")
@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_each_hit_gets_a_value_of_its_own(store, colour, run, tmp_path):
    cache = Cache("memory://" if store == "memory" else f"sqlite:///{tmp_path}/answers.db")
    model = ScriptedModel(Vector(1, 2))
    ask = ai_cached(model.function(colour), cache=cache)
    first, second, third = (run(ask("hi")) for _ in range(3))
    assert first == second == third
    assert second is not third
    assert 1 == model.calls


def test_what_is_made_of_models_may_hold_them(cache):
    import pydantic

    class Model(pydantic.BaseModel):
        name: str

    register_value(Vector, Vector.items, lambda items: Vector(*items))
    value = [Vector(Model(name="a")), Model(name="b")]
    assert value == back(value, Classes([Model]))
    with pytest.raises(UnstorableValue):
        encode(value, NONE)


@pytest.mark.usefixtures("vectors")
def test_a_subclass_is_not_taught():
    with pytest.raises(UnstorableValue, match="Longer"):
        encode(Longer(1), NONE)


def test_what_nobody_taught_this_process_is_a_miss(vectors):
    payload = encode(Vector(1), NONE)
    taught._names.clear()
    with pytest.raises(Undecodable, match="Vector"):
        decode(payload, NONE)


def test_a_decode_that_raises_is_a_miss(vectors):
    payload = encode(Vector(1), NONE)
    register_value(Vector, Vector.items, lambda items: 1 / 0)
    with pytest.raises(Undecodable, match="ZeroDivisionError"):
        decode(payload, NONE)


FORGETFUL = [
    (Vector.items, lambda items: Vector(*items[:-1])),
    (Vector.items, lambda items: Longer(*items)),
    (Vector.items, tuple),
    (lambda value: id(value), lambda items: Vector()),
    (lambda value: 1 / 0, lambda items: Vector()),
    (lambda value: object(), lambda items: Vector()),
    (lambda value: value, lambda value: value),
]


@pytest.mark.parametrize("functions", FORGETFUL)
def test_what_does_not_come_back_is_refused_every_time(functions, cache, warned):
    """Each value is decoded and encoded again: the first that comes back says nothing of the second."""
    register_value(Vector, *functions)
    model = ScriptedModel(Vector(1, 2))
    ask = ai_cached(model.function("sync"), cache=cache)
    assert ask("hi") == ask("hi") == Vector(1, 2)
    assert 2 == model.calls
    assert 1 == len(warned())


def test_a_later_value_is_verified_as_the_first_is(cache):
    register_value(Vector, Vector.items, lambda items: Vector(*items[:2]))
    assert Vector(1, 2) == back(Vector(1, 2))
    with pytest.raises(UnstorableValue, match="register_value"):
        encode(Vector(1, 2, 3), NONE)


@pytest.mark.parametrize("kind", [str, list, set, tuple, np.ndarray, np.int64])
def test_what_needs_no_teaching_is_an_error(kind):
    with pytest.raises(ConfigurationError, match="register_value"):
        register_value(kind, list, list)


@pytest.mark.parametrize("arguments", [("Vector", list, list), (Vector, None, list), (Vector, list, "x")])
def test_what_is_no_class_or_no_function_is_an_error(arguments):
    with pytest.raises(ConfigurationError, match="register_value"):
        register_value(*arguments)


# numpy ----------------------------------------------------------------------------------------------------------------

POINT = np.dtype([("x", "<i4"), ("y", ">f8", (2,))], align=True)
KINDS = "i1 <i4 >i4 u8 q Q f2 f4 >f8 g c8 >c16 ? S3 >U2 M8[s] >M8[ns] m8[D] V5 S0".split()


def exactly(first, second):
    assert type(first) is type(second)
    assert (first.dtype, first.dtype.char, first.dtype.str) == (second.dtype, second.dtype.char, second.dtype.str)
    assert first.shape == second.shape
    if first.dtype.names is None:
        assert first.tobytes() == second.tobytes()
    else:  # what lies between the fields is nobody's, and whatever was in memory
        for name in first.dtype.names:
            exactly(first[name], second[name])


@pytest.mark.parametrize("kind", [*KINDS, POINT], ids=str)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,), (0, 4), (1, 1, 1)], ids=str)
def test_arrays_come_back_as_they_were(kind, shape):
    dtype = np.dtype(kind)
    size = int(np.prod(shape, dtype=int)) * dtype.itemsize
    made = np.ndarray(shape, dtype, buffer=bytearray(size))
    if dtype.kind in "iufcMm" and made.size:
        made[...] = np.arange(made.size).reshape(shape).astype(dtype)
    for value in (made, np.asfortranarray(made), made[..., ::-1] if shape else made):
        found = back(value)
        exactly(value, found)
        assert found.flags.writeable


@pytest.mark.parametrize("kind", [*KINDS[:-1], POINT], ids=str)
def test_scalars_come_back_as_they_were(kind):
    value = np.zeros(1, np.dtype(kind))[0]
    exactly(value, back(value))


@given(st.floats(), st.text(), st.binary(), st.integers(-(2**63), 2**63 - 1))
def test_scalars_of_any_content_come_back(number, text, data, integer):
    for value in (np.float64(number), np.str_(text), np.bytes_(data), np.int64(integer), np.datetime64(integer, "us")):
        found = back(value)
        assert type(found) is type(value)
        assert found == value or found != found
        assert found.tobytes() == value.tobytes()


def test_arrays_stand_wherever_values_do():
    value = {"vectors": [np.arange(3), (np.float32(0.5), None)], "n": np.int64(1)}
    found = back(value)
    assert [0, 1, 2] == found["vectors"][0].tolist()
    assert np.float32 is type(found["vectors"][1][0])


def test_each_hit_may_write_into_its_array(cache, colour, run):
    model = ScriptedModel(np.arange(3))
    ask = ai_cached(model.function(colour), cache=cache)
    run(ask("hi"))
    second = run(ask("hi"))
    second[0] = 9
    assert [0, 1, 2] == run(ask("hi")).tolist()
    assert 1 == model.calls


REFUSED = [
    np.array([object()]), np.zeros(1, [("x", object)]), np.ma.array([1]), np.zeros(1, POINT).view(np.recarray),
    np.zeros(1, np.dtype("i4", metadata={"a": 1})), np.dtype("f4"),
]  # fmt: skip


@pytest.mark.parametrize("value", REFUSED, ids=lambda value: type(value).__name__)
def test_what_an_array_does_not_say_itself_is_refused(value):
    for wrapped in (value, [value]):
        with pytest.raises(UnstorableValue):
            encode(wrapped, NONE)


def test_without_numpy_an_array_is_a_miss_and_nothing_is_imported():
    script = f"""
import sys
from aicached.codec.classes import Classes
from aicached.codec.values import Undecodable, decode
for payload in {[encode(np.arange(3), NONE), encode(np.int64(1), NONE), encode([np.str_("a")], NONE)]!r}:
    try:
        print(decode(payload, Classes()))
    except Undecodable as error:
        print(error)
print("numpy" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ("numpy is not imported\n" * 3 + "False\n", "") == (done.stdout, done.stderr)


@given(st.integers(0, 500), st.integers(1, 255))
def test_a_damaged_array_is_a_miss_or_another_array(place, change):
    payload = bytearray(encode(np.zeros((2, 3), POINT), NONE))
    payload[place % len(payload)] ^= change
    with contextlib.suppress(Undecodable):
        decode(bytes(payload), NONE)
