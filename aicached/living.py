"""
A set that keeps nothing alive, and through which one thread may go while others add to it.

Law: no step of it can be interrupted by another thread in a way that anybody notices. `weakref.WeakSet` raises where it
grows while somebody goes through it, and that ends whatever thread does so.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

__all__ = ["Living"]

_T = TypeVar("_T")


class Living(Generic[_T]):
    """Hold things by identity, for as long as somebody else does."""

    __slots__ = ("__weakref__", "_references")

    def __init__(self) -> None:
        self._references: dict[int, weakref.ref[_T]] = {}

    def add(self, thing: _T) -> None:
        mark, here = id(thing), weakref.ref(self)

        # Called before the memory can be anybody else's, so that the mark is still that of this thing.
        def gone(_: Any) -> None:
            if (living := here()) is not None:
                living._references.pop(mark, None)

        self._references[mark] = weakref.ref(thing, gone)

    def discard(self, thing: _T) -> None:
        self._references.pop(id(thing), None)

    def __iter__(self) -> Iterator[_T]:
        """Go through those that are there now."""
        # One step of the interpreter, as a list of values is made without a call of Python.
        for reference in list(self._references.values()):
            if (thing := reference()) is not None:
                yield thing

    def __bool__(self) -> bool:
        """Is any of them left?"""
        return bool(self._references)
