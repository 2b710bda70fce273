"""
The models among a stream's chunks, in rows: what is the same from chunk to chunk is said once.

A pydantic model is its class, the names of its attributes, the names of those that were set, and values. Of a stream's
models only the values change: a row holds them alone, behind a mark that stands for the rest, its `Row`. The first row
of its kind on a tape has all of that in the place of the mark.

Law: the raw state, exactly, as `objects` takes it: no validator runs, so that nothing has to be compared. What a row
cannot say is left to the state.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import msgpack
from msgpack import ExtType

from ..packing import native
from .classes import Classes, Undecodable
from .objects import BY_LETTER, resolve, shape_of
from .taught import TAUGHT

__all__ = ["ROW", "Row", "Rows"]

#: Extension type of a mark, short or in full.
ROW = 31
#: Rows of one class: one whose every object has other fields is no case for them; and of a tape.
_EACH, _ALL = 16, 128
_BESIDE = (dict, type(None))
_empty, _put = object.__new__, object.__setattr__


class Row:
    """Say whose values a row holds, and how they are called."""

    __slots__ = ("cls", "deep", "extra", "full", "keys", "kinds", "names", "private", "short", "told", "width")

    def __init__(self, cls: Any, number: int, name: Any, keys: list[str], names: set[str]) -> None:
        self.cls = cls
        self.keys = keys
        self.names = names
        self.width = len(keys) + 3
        self.short = ExtType(ROW, native(number))
        self.full = ExtType(ROW, native([number, name, keys, sorted(names)]))
        #: Is it in full on the tape by now?
        self.told = False
        #: The types of the values that were seen last, and where those stand that msgpack cannot pack as they are.
        self.kinds: tuple[type, ...] = ()
        self.deep: list[int] = []
        # A RootModel has these two as None on the class; set on the object, they would stand among its fields.
        self.extra, self.private = cls.__pydantic_extra__, cls.__pydantic_private__

    def made(self, items: list[Any]) -> Any:
        """Make the model of a row: its mark, what pydantic keeps beside the fields, the values."""
        if len(items) != self.width or type(items[1]) not in _BESIDE or type(items[2]) not in _BESIDE:
            raise Undecodable("a row of other parts")
        made: Any = _empty(self.cls)
        _put(made, "__dict__", dict(zip(self.keys, items[3:])))  # noqa: B905 as many as they have to be
        _put(made, "__pydantic_fields_set__", self.names.copy())
        if items[1] is not self.extra:
            _put(made, "__pydantic_extra__", items[1])
        if items[2] is not self.private:
            _put(made, "__pydantic_private__", items[2])
        return made


class Rows:
    """Know the rows of one tape: those that were met while it is recorded, or those that were read."""

    __slots__ = ("by_class", "by_mark", "fresh")

    def __init__(self) -> None:
        #: Class -> its rows; None where it has too many, or can have none.
        self.by_class: dict[type, list[Row] | None] = {}
        #: The bytes of a mark -> its row.
        self.by_mark: dict[bytes, Row] = {}
        #: Those that are on the tape as soon as the chunk is that is being packed.
        self.fresh: list[Row] = []

    def find(self, value: Any, kind: type, allowed: Callable[[type], tuple[Any, Any]]) -> Row | None:
        """
        Return the row of a model, None where its state has to be told.

        Args:
            allowed: class -> what names it, and what that gives; raises `UnstorableValue` where it may not be made.
        """
        rows = self.by_class.get(kind, ())
        if rows is None:
            return None
        if rows == () and (kind in TAUGHT or shape_of(kind) is not BY_LETTER["p"]):
            self.by_class[kind] = None
            return None
        keys, names = [*value.__dict__], value.__pydantic_fields_set__
        for row in rows:
            if row.keys == keys and row.names == names:
                return row
        return self._met(kind, keys, names, *allowed(kind))

    def _met(self, kind: Any, keys: list[str], names: set[str], name: Any, cls: type) -> Row | None:
        rows, number = self.by_class.setdefault(kind, []), len(self.by_mark) // 2
        odd = any(isinstance(getattr(kind, key, None), cached_property) for key in keys)
        if rows is None or odd or len(rows) >= _EACH or number >= _ALL:
            self.by_class[kind] = None
            return None
        row = Row(cls, number, name, keys, set(names))
        rows.append(row)
        self.fresh.append(row)
        return self._noted(row)

    def _noted(self, row: Row) -> Row:
        self.by_mark[row.full.data] = self.by_mark[row.short.data] = row
        return row

    def told(self) -> None:
        """Note that the chunk is on the tape: what stands there in full is not said again."""
        for row in self.fresh:
            row.told = True
        self.fresh.clear()

    def read(self, mark: bytes, classes: Classes) -> Row:
        """
        Return what a mark stands for.

        Raises:
            Undecodable: it is none, or names a class that *classes* does not allow.
        """
        found = self.by_mark.get(mark)
        if found is not None:
            return found
        number, name, keys, names = msgpack.unpackb(mark)  # a short one that nothing has told is no list
        cls = resolve(name, classes)
        if cls is None or shape_of(cls) is not BY_LETTER["p"]:
            raise Undecodable(f"class {name!r} is not allowed")
        if {*map(type, (*keys, *names))} - {str}:
            raise Undecodable("a mark of other parts")
        return self._noted(Row(cls, number, name, keys, set(names)))
