"""
Why a call would hit or miss, from digests alone.

Law: nothing of what was asked or answered is stored in clear for this. Each entry carries a short digest for each
argument, for the code, and for each name that the function reads; two entries are compared digest by digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .entry import Entry
from .status import Usage

__all__ = ["Explanation", "Parts", "compared", "differences"]

#: Name of a part of the key -> its digest, 8 bytes.
Parts = Mapping[str, bytes]

_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


@dataclass(frozen=True, slots=True)
class Explanation:
    """
    Say whether a call would hit, and if not, what is different.

    Args:
        function: module and qualified name.
        hit: would this call be answered from the cache?
        reason: why not, in a word or two; empty on a hit.
        differs: the parts of the key that differ from the nearest stored call: parameters, ``code``, names that the
            function reads, ``scope``, ``sample``.
        compared: how many stored calls of the function it was compared with.
        key: hex digest of the call; None where it has no key.
        age: seconds since the entry (on a miss: the nearest one) was stored; None where there is none.
        ttl: seconds that the entry stays fresh; None for ever, or on a miss.
        usage: tokens and cost of the stored answer, where known.
    """

    function: str
    hit: bool
    reason: str = ""
    differs: tuple[str, ...] = ()
    compared: int = 0
    key: str | None = None
    age: float | None = None
    ttl: float | None = None
    usage: Usage | None = None

    def __str__(self) -> str:
        if self.hit:
            return f"hit: {self.function} was answered {_ago(self.age)} ago; {self._left()}{self._cost()}"
        if not self.differs:
            return f"miss: {self.reason}"
        verb = "differ" if len(self.differs) > 1 else "differs"
        near = f"the nearest of {self.compared} stored calls" if self.compared > 1 else "the one stored call"
        return f"miss: {_listed(self.differs)} {verb} from {near} ({_ago(self.age)} ago)"

    def _left(self) -> str:
        return "fresh for ever" if self.ttl is None else f"fresh for another {_ago(self.ttl)}"

    def _cost(self) -> str:
        if self.usage is None:
            return ""
        cost = "" if self.usage.cost is None else f", ${self.usage.cost:.4f}"
        return f"; it saves {self.usage.tokens} tokens{cost}"


def differences(parts: Parts, others: Parts) -> tuple[str, ...]:
    """Return the names of the parts that differ, in the order of *parts*; those that only *others* has come last."""
    changed = [name for name, digest in parts.items() if others.get(name) != digest]
    return (*changed, *(name for name in others if name not in parts))


def compared(parts: Parts, entries: Iterable[Entry]) -> tuple[tuple[str, ...], Entry | None, int]:
    """Return what differs from the nearest of *entries*, that entry, and how many there were; the newest wins a tie."""
    found = [(differences(parts, entry.parts()), entry) for entry in entries]
    if not found:
        return (), None, 0
    differs, nearest = min(found, key=lambda each: (len(each[0]), -each[1].created))
    return differs, nearest, len(found)


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _ago(seconds: float | None) -> str:
    """Say a duration by its largest unit: ``3 minutes``."""
    for unit, size in _UNITS:
        if seconds is not None and seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "less than a second"
