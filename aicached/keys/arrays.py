"""
Arrays, tables and pictures -> canonical forms: numpy, pandas, PIL, by what is in them.

Law: exact classes, told by their names, nothing imported. A dtype, a shape and the bytes say an array; a subclass may
hide more (a mask, a unit, a frame that is not loaded), and has no key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .canonical import RECOGNIZERS, form, tagged, unkeyable
from .naming import identity

__all__ = ["SCALARS", "dtype_parts"]

#: The classes of numpy's scalars, in versions 1 and 2.
SCALARS = frozenset(
    "bool bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 intc uintc longlong ulonglong float16 float32 float64"
    " longdouble float128 complex64 complex128 clongdouble complex256 str_ bytes_ void datetime64 timedelta64".split()
)
#: Kinds of dtypes whose items lie in the array itself: no objects, no strings of varying width.
_KINDS = "?biufcmMSUV"


# numpy ---------------------------------------------------------------------------------------------------------------


def dtype_parts(dtype: Any) -> Any:
    """
    Return a dtype in plain values, with byte order, unit, and the places of its fields.

    Raises:
        ValueError: its items are objects or lie elsewhere, or it has titles or metadata, which no comparison shows.
    """
    if dtype.hasobject or dtype.kind not in _KINDS or dtype.metadata:
        raise ValueError("its dtype is not of plain items")
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return ["sub", dtype_parts(base), list(shape)]
    if dtype.names is None:
        return str(dtype.str)
    if any(len(field) > 2 for field in dtype.fields.values()):
        raise ValueError("its dtype has titles")
    fields = [[name, dtype_parts(dtype.fields[name][0]), dtype.fields[name][1]] for name in dtype.names]
    return ["struct", fields, dtype.itemsize, bool(dtype.isalignedstruct)]


def _dtype(value: Any, dtype: Any) -> Any:
    try:
        return form(dtype_parts(dtype))
    except ValueError as error:
        raise unkeyable(value, f": {error}") from None


def _array(value: Any) -> Any:
    return tagged("ndarray", _dtype(value, value.dtype), list(value.shape), value.tobytes())


def _scalar(value: Any) -> Any:
    return tagged("numpy scalar", _dtype(value, value.dtype), value.tobytes())


def _numpy(kind: type) -> Callable[[Any], Any] | None:
    if kind.__module__ == "numpy" and kind.__qualname__ in SCALARS:
        return _scalar
    above = {(base.__module__, base.__qualname__) for base in kind.__mro__}
    if ("numpy", "dtype") in above:
        return lambda value: tagged("dtype", _dtype(value, value))
    if ("numpy", "ndarray") not in above and ("numpy", "generic") not in above:
        return None
    return _array if (kind.__module__, kind.__qualname__) == ("numpy", "ndarray") else _refuse("it is a subclass")


def _refuse(why: str) -> Callable[[Any], Any]:
    def refuse(value: Any) -> Any:
        raise unkeyable(value, f": {why}")

    return refuse


# pandas --------------------------------------------------------------------------------------------------------------


def _items(values: Any) -> Any:
    """Return the form of what a column or an index holds: dtype, and bytes or items."""
    dtype = values.dtype
    if not hasattr(dtype, "hasobject"):
        return _extension(values, dtype)
    return ["objects", _each(values)] if dtype.kind == "O" else form(values.to_numpy())


def _each(values: Iterable[Any]) -> list[Any]:
    return [form(item) for item in values]


def _extension(values: Any, dtype: Any) -> list[Any]:
    kind = type(dtype)
    if kind.__module__.partition(".")[0] != "pandas":
        raise unkeyable(values, f": its dtype is a {'.'.join(identity(kind))}")
    if kind.__name__ == "CategoricalDtype":
        own = values.cat if hasattr(values, "cat") else values
        return ["categories", _index(dtype.categories), bool(dtype.ordered), form(_codes(own))]
    storage = getattr(dtype, "storage", None)
    return ["extension", kind.__name__, str(dtype), storage if isinstance(storage, str) else None, _each(values)]


def _codes(categorical: Any) -> list[int]:
    return [int(code) for code in categorical.codes]


def _index(value: Any) -> list[Any]:
    if hasattr(value, "levels"):
        depths = range(value.nlevels)
        inside = [_items(value.get_level_values(depth)) for depth in depths]
        return tagged("index", type(value).__name__, _each(value.names), inside)
    return tagged("index", type(value).__name__, form(value.name), getattr(value, "freqstr", None), _items(value))


def _series(value: Any) -> list[Any]:
    return tagged("series", form(value.name), _index(value.index), _items(value), form(dict(value.attrs)))


def _frame(value: Any) -> list[Any]:
    columns = [_items(value.iloc[:, place]) for place in range(value.shape[1])]
    return tagged("frame", _index(value.columns), _index(value.index), columns, form(dict(value.attrs)))


def _timestamp(value: Any) -> list[Any]:
    """Return the form of a moment in nanoseconds, of which the `datetime` that it derives from knows none."""
    plain = form(value.to_pydatetime(warn=False))
    return tagged("Timestamp", plain, value.nanosecond, getattr(value, "unit", None))


_PANDAS: dict[str, Callable[[Any], Any]] = {
    "DataFrame": _frame,
    "Series": _series,
    **{
        f"{name}Index": _index
        for name in ("", "Range", "Multi", "Categorical", "Datetime", "Timedelta", "Period", "Interval")
    },
    "Timestamp": _timestamp,
    "Timedelta": lambda value: tagged("Timedelta", int(value.value), getattr(value, "unit", None)),
    "Period": lambda value: tagged("Period", value.ordinal, value.freqstr),
    "Interval": lambda value: tagged("Interval", form(value.left), form(value.right), value.closed),
    "NaTType": lambda value: tagged("NaT"),
    "NAType": lambda value: tagged("NA"),
}


def _pandas(kind: type) -> Callable[[Any], Any] | None:
    def named(each: type) -> Callable[[Any], Any] | None:
        return _PANDAS.get(each.__qualname__) if each.__module__.partition(".")[0] == "pandas" else None

    if (way := named(kind)) is not None:
        return way
    return _refuse("it is a subclass") if any(map(named, kind.__mro__)) else None


# PIL -----------------------------------------------------------------------------------------------------------------


def _image(value: Any) -> list[Any]:
    """Return the form of a picture; the file format counts, since an SDK sends a JPEG as it is and a PNG as another."""
    if getattr(value, "n_frames", 1) > 1:
        raise unkeyable(value, ": it has several frames")
    pixels = value.tobytes()  # loads a file, and with it the palette
    palette = None if value.palette is None else [value.palette.mode, bytes(value.getpalette(None) or ())]
    seen = [form(value.info.get(name)) for name in ("transparency", "exif")]
    return tagged("image", value.mode, list(value.size), value.format, palette, seen, pixels)


def _pil(kind: type) -> Callable[[Any], Any] | None:
    if not any((base.__module__, base.__qualname__) == ("PIL.Image", "Image") for base in kind.__mro__):
        return None
    return _image if kind.__module__.partition(".")[0] == "PIL" else _refuse("it is a subclass")


RECOGNIZERS += [_numpy, _pandas, _pil]
