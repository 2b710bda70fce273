"""
numpy's arrays and scalars <-> dtype, shape and bytes.

Law: dtype, byte order and shape come back as they were, in memory of the answer's own that may be written to. numpy is
never imported for it: where the program has not, there is no answer.
"""

from __future__ import annotations

import sys
from typing import Any

from ..errors import UnstorableValue
from ..keys.arrays import dtype_parts
from .classes import Undecodable, shown

__all__ = ["array", "array_parts", "scalar", "scalar_parts"]


def _dtype_parts(value: Any) -> list[Any]:
    """Return a dtype in plain values; its letter tells ``longlong`` from an ``int64`` of the same size."""
    try:
        return [dtype_parts(value.dtype), value.dtype.char]
    except ValueError as error:
        raise UnstorableValue(f"a {shown(type(value))}: {error}") from None


def array_parts(value: Any) -> list[Any]:
    """Return what an array is made of."""
    return [*_dtype_parts(value), list(value.shape), value.tobytes()]


def scalar_parts(value: Any) -> list[Any]:
    """Return what a scalar is made of."""
    if value.dtype.kind in "SU":  # numpy forgets NULs at the end, also in `str`, and that nothing has no width
        return [*_dtype_parts(value), bytes(value) if value.dtype.kind == "S" else str.__str__(value)]
    return [*_dtype_parts(value), value.tobytes()]


def array(parts: Any) -> Any:
    """Return the array of these parts."""
    text, letter, shape, data = parts
    return _laid(_dtype(text, letter), tuple(shape), data)


def scalar(parts: Any) -> Any:
    """Return the scalar of these parts."""
    text, letter, data = parts
    if letter in ("S", "U"):
        numpy = _numpy()
        return numpy.bytes_(data) if letter == "S" else numpy.str_(data)
    return _laid(_dtype(text, letter), (), data)[()]


def _numpy() -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is None:
        raise Undecodable("numpy is not imported")
    return numpy


def _laid(dtype: Any, shape: tuple[int, ...], data: bytes) -> Any:
    size = dtype.itemsize
    for length in shape:
        size *= length
    if size != len(data):
        raise Undecodable("an array of another size")
    # Not a copy of an array: of a structured dtype, that leaves what is between the fields as it finds it.
    return _numpy().ndarray(shape, dtype, buffer=bytearray(data))


def _dtype(parts: Any, letter: str) -> Any:
    if not isinstance(parts, str):
        return _compound(parts)
    plain = _numpy().dtype(parts)
    if plain.char == letter:
        return plain
    exact = _numpy().dtype(parts[0] + letter)
    return exact if exact.str == parts else plain  # on another platform it may have another size


def _compound(parts: Any) -> Any:
    numpy = _numpy()
    if isinstance(parts, str):
        return numpy.dtype(parts)
    if parts[0] == "sub":
        return numpy.dtype((_compound(parts[1]), tuple(parts[2])))
    fields, size, aligned = parts[1:]
    names, formats, offsets = ([field[place] for field in fields] for place in range(3))
    told = {"names": names, "formats": [*map(_compound, formats)], "offsets": offsets, "itemsize": size}
    return numpy.dtype(told, align=aligned)
