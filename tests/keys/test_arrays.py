"""numpy, pandas and PIL: by what is in an array, a table, a picture."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from aicached import UnkeyableArgument
from tests.keys.calls import digest, python


def frame(**columns):
    return pd.DataFrame(columns or {"a": [1, 2], "b": ["x", None]})


def picture(mode="RGB", size=(2, 2), colour=0):
    return Image.new(mode, size, colour)


def with_attrs(value, **attrs):
    value.attrs.update(attrs)
    return value


def paletted(first=0, **info):
    made = Image.new("P", (2, 2))
    made.putpalette([first, *range(1, 256)] * 3)
    made.info.update(info)
    return made


POINT = np.dtype([("x", "<i4"), ("y", ">f8")])
PADDED = np.dtype({"names": ["x", "y"], "formats": ["<i4", ">f8"], "offsets": [0, 8], "itemsize": 16})

#: No two of these are one value.
DIFFERENT = [
    1, [1], [0, 1, 2], b"\0", 0.0, "a",
    np.arange(3), np.arange(4), np.arange(3)[::-1], np.arange(3.0), np.arange(3, dtype="i4"), np.arange(3, dtype=">i8"),
    np.arange(3).reshape(3, 1), np.arange(3).reshape(1, 3), np.arange(6).reshape(2, 3), np.arange(6).reshape(2, 3).T,
    np.array(1), np.array([1]), np.array([True]), np.array([1], "u1"), np.array(b"1"), np.array("1"),
    np.array(["1"], "U2"),
    np.zeros((0, 2)), np.zeros((2, 0)), np.zeros(0), np.array([0.0]), np.array([-0.0]), np.array([np.nan]),
    np.array(["2024-01-01"], "M8[D]"), np.array(["2024-01-01"], "M8[s]"), np.array([1], "m8[s]"),
    np.array(["NaT"], "M8[D]"),
    np.zeros(1, POINT), np.zeros(1, PADDED), np.zeros(1, [("x", "<i4", (2,))]),
    np.zeros(1, [("z", "<i4"), ("y", ">f8")]),
    np.int64(1), np.int32(1), np.uint8(1), np.float64(1), np.float32(1), np.bool_(True), np.complex64(1), np.str_("a"),
    np.bytes_(b"a"), np.datetime64("2024-01-01"), np.datetime64("2024-01-01T00:00"), np.timedelta64(1, "s"),
    np.float64("nan"), np.float64(-0.0), np.float64(0.0), np.zeros(1, POINT)[0], np.void(b"a"),
    np.dtype("f4"), np.dtype("f8"), np.float32,
    frame(), frame(a=[1, 2]), frame(b=["x", None], a=[1, 2]), frame(a=[1.0, 2.0]), frame(a=[1, 2], b=["x", "y"]),
    frame().set_index("a"), frame().set_index(["a", "b"]), frame().iloc[::-1], frame(a=[np.nan]), frame(a=["nan"]),
    frame(a=[None]), frame(a=pd.Categorical(["u", "v"])), frame(a=["u", "v"]),
    frame(a=pd.Categorical(["u", "v"], ["v", "u"])),
    frame(a=pd.Categorical(["u", "v"], ordered=True)), frame(a=pd.array([1, None], dtype="Int64")),
    frame(a=pd.to_datetime(["2024-01-01", None])), frame(a=pd.to_datetime(["2024-01-01", None]).tz_localize("UTC")),
    with_attrs(frame(), source="web"), with_attrs(frame(), source="book"), frame()[["a"]].set_axis(["A"], axis=1),
    pd.Series([1, 2]), pd.Series([1, 2], name="a"),
    pd.Series([1, 2], index=[1, 2]), pd.Series(["a"], dtype="string"), pd.Series(["b"]),
    pd.Series(["a"], dtype="category"), pd.Series(["a"], dtype=object), pd.Series([1, "a"]), pd.Series([True, "a"]),
    pd.Index([1, 2]), pd.Index([1, 2], name="a"), pd.RangeIndex(2), pd.RangeIndex(3), pd.CategoricalIndex(["a"]),
    pd.date_range("2024", periods=2), pd.date_range("2024", periods=2, tz="UTC"),
    pd.period_range("2024", periods=2, freq="M"),
    pd.interval_range(0, 2), pd.interval_range(0, 2, closed="left"), pd.MultiIndex.from_tuples([(1, "a")]),
    pd.MultiIndex.from_tuples([(1, "a")], names=["x", "y"]), pd.TimedeltaIndex([1]),
    pd.Timestamp(1), pd.Timestamp(2), pd.Timestamp(1, tz="UTC"), pd.Timedelta(1), pd.Timedelta(2), pd.NaT, pd.NA, None,
    pd.Period("2024-01"), pd.Period("2024-01", "D"), pd.Interval(0, 1), pd.Interval(0, 1, "both"),
    picture(), picture("RGBA"), picture("L"), picture(size=(1, 4)), picture(colour=(0, 0, 1)), picture().tobytes(),
    paletted(), paletted(9), paletted(transparency=0), paletted(transparency=1),
]  # fmt: skip


def test_what_differs_in_type_or_content_has_a_digest_of_its_own():
    seen = {}
    for value in DIFFERENT:
        for made, inside in ((digest(value), "alone"), (digest({"a": [value]}), "inside")):
            assert made not in seen, f"{value!r} and {seen[made]!r} share a digest, {inside}"
            seen[made] = value


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (np.arange(6).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3))),
        (np.arange(6)[::2], np.array([0, 2, 4])),
        (np.zeros(2, POINT), np.zeros(2, POINT).copy()),
        (np.float64(1.5), np.array([1.5])[0]),
        (frame(), frame().copy()),
        (frame(), frame().T.T.astype({"a": "int64", "b": frame()["b"].dtype})),
        (frame().set_index("a"), frame().set_index("a").copy()),
        (picture(), picture().copy()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_one_content_laid_out_in_two_ways_has_one_digest(one, other):
    assert digest(one) == digest(other)


def test_a_picture_counts_by_its_pixels_wherever_it_was_opened(tmp_path):
    for name in ("a.png", "b.png"):
        paletted(9).save(tmp_path / name)
    with Image.open(tmp_path / "a.png") as one, Image.open(tmp_path / "b.png") as other:
        assert digest(one) == digest(other)


def test_pictures_of_several_frames_are_unkeyable(tmp_path):
    paletted().save(tmp_path / "a.gif", save_all=True, append_images=[paletted(9)])
    with Image.open(tmp_path / "a.gif") as moving, pytest.raises(UnkeyableArgument, match="several frames"):
        digest(moving)


class Units(np.ndarray):
    pass


class Table(pd.DataFrame):
    pass


class Photo(Image.Image):
    pass


@pytest.mark.parametrize(
    "value",
    [
        np.array([object()]),
        np.array(["a", None]),
        np.zeros(1, [("x", object)]),
        np.zeros(1, [(("title", "x"), "i4")]),
        np.zeros(1, np.dtype("i4", metadata={"unit": "m"})),
        np.ma.array([1], mask=[True]),
        np.zeros(1).view(Units),
        np.zeros(1, POINT).view(np.recarray),
        Table({"a": [1]}),
        pd.Series([object()]),
        with_attrs(frame(), source=object()),
        frame().groupby("a"),
        Photo(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_holds_more_than_is_seen_is_unkeyable(value):
    for inside in (value, [value], {"a": value}):
        with pytest.raises(UnkeyableArgument):
            digest(inside)


ITEMS = st.sampled_from(["i1", "<i4", ">i4", "u2", "f4", ">f8", "c8", "?", "S2", "U2", "M8[s]", "m8[D]"])


@given(ITEMS, ITEMS, st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_arrays_share_a_digest_where_dtype_and_bytes_are_the_same(kind, another, content, other):
    def made(dtype, data):
        size = np.dtype(dtype).itemsize
        return np.frombuffer(data[: 16 // size * size], dtype)

    if np.dtype(kind) in (np.dtype("U2"), np.dtype("?")):
        content, other = content[:1] * 16, other[:1] * 16
    first, second = made(kind, content), made(another, other)
    same = first.dtype.str == second.dtype.str and first.tobytes() == second.tobytes()
    assert same == (digest(first) == digest(second))


def test_the_digests_are_the_same_in_every_process():
    script = """
import numpy, pandas
from tests.keys.calls import digest
frame = pandas.DataFrame({"a": [1, 2], "b": pandas.Categorical(["x", None]), "c": ["y", None]})
print([digest(each).hex() for each in (numpy.arange(3), numpy.float32(1), frame, frame["b"], frame.index)])
"""
    assert 1 == len({python("-c", script, seed=seed) for seed in "01"})


def test_nothing_is_imported_for_it():
    script = "import aicached, sys; print([n for n in ('numpy', 'pandas', 'PIL', 'pydantic') if n in sys.modules])"
    assert "[]" == python("-c", script)
