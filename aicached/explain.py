"""
Why a call would hit or miss, from digests alone.

Law: nothing of what was asked or answered is stored in clear for this. Each entry carries a short digest for each
argument, for the code, and for each name that the function reads; two entries are compared digest by digest.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .call import Call
from .context import AMBIENT, MODES, process_mode
from .entry import Entry
from .status import Usage

__all__ = ["Explanation", "Parts", "compared", "differences", "explained_hit", "explained_miss", "passed_by"]

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
        reason: why not; empty on a hit, and where `differs` says it.
        differs: the parts of the key that differ from the nearest stored call: parameters, ``code`` or ``version``,
            names that the function reads, ``scope``, ``sample``.
        compared: how many stored calls of the function it was compared with.
        key: hex digest of the call; None where it has no key.
        age: seconds since the entry (on a miss: the nearest one) was stored; None where there is none.
        ttl: seconds that the entry stays fresh; None for ever, or on a miss.
        usage: tokens and cost of the stored answer, where known.
        semantic: the `Decision` about near matches; None where none was looked for.
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
    semantic: Any = None

    def __str__(self) -> str:
        text = f"hit: {self._stored()}" if self.hit else f"miss: {self.reason or self._difference()}"
        text = text if self.semantic is None else f"{text}; {self.semantic}"
        return textwrap.fill(text, 80, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)

    def _stored(self) -> str:
        left = "fresh for ever" if self.ttl is None else f"fresh for another {_ago(self.ttl)}"
        text = f"stored {_ago(self.age)} ago, {left}"
        if self.usage is None:
            return text
        cost = "" if self.usage.cost is None else f" and ${self.usage.cost:.4f}"
        return f"{text}; saves {self.usage.tokens} tokens{cost}"

    def _difference(self) -> str:
        verb = "differ" if len(self.differs) > 1 else "differs"
        near = f"the nearest of {self.compared} stored calls" if self.compared > 1 else "the only stored call"
        return f"{_listed(self.differs)} {verb} from {near} ({_ago(self.age)} ago)"


def passed_by(call: Call) -> str | None:
    """Return why a call does not ask the store at all, None where it does."""
    mode = call.facts.policy.mode or AMBIENT.get().mode or process_mode()
    if not MODES[mode].reads:
        return f"mode {mode!r} does not read the cache"
    return None if call.lane is not None else f"the call bypasses the cache ({call.detail})"


def explained_hit(call: Call, entry: Entry, now: float) -> Explanation:
    """Explain a call whose answer is stored."""
    left = None if entry.ttl is None else entry.until - now
    known = {"key": call.digest.hex(), "age": entry.age(now), "ttl": left, "usage": entry.meta.usage}
    return Explanation(call.facts.name, hit=True, **known)  # type: ignore[arg-type]


def explained_miss(call: Call, parts: Parts, recent: Mapping[bytes, Entry | None], now: float) -> Explanation:
    """
    Explain a call that would miss.

    Args:
        call: looked up already, in vain.
        parts: of its key.
        recent: store key -> entry, None where it is gone: this call's own, and those of the function's last commits.
        now: the store's time.
    """
    assert call.lane is not None
    stamps = dict(zip(call.places, call.stamps or (), strict=False))
    standing = {key: e for key, e in recent.items() if e is not None and e.stands(call.lane.stamps[0], stamps)}
    name, key, own = call.facts.name, call.digest.hex(), recent.get(call.key)
    reason = _own_reason(call, own, cleared=call.key not in standing, stored=call.key in recent)
    if reason:
        return Explanation(name, hit=False, reason=reason, key=key, age=None if own is None else own.age(now))
    differs, nearest, count = compared(parts, standing.values())
    if nearest is None:
        return Explanation(name, hit=False, reason="no call of this function is stored", key=key)
    reason = "" if differs else "its key is another than those that are stored, in a part without a name"
    return Explanation(name, hit=False, reason=reason, differs=differs, compared=count, key=key, age=nearest.age(now))


def _own_reason(call: Call, own: Entry | None, *, cleared: bool, stored: bool) -> str:
    """Say why the call's own entry is of no use; nothing where it has none."""
    if call.detail is not None:
        return f"its entry cannot be used: {call.detail}"
    if own is None:
        return "its entry has expired, was invalidated, or made room for others" if stored else ""
    if cleared:
        return "its entry was cleared"
    return "its entry has expired"


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
    return tuple(name.removeprefix("closure ") for name in differs), nearest, len(found)


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _ago(seconds: float | None) -> str:
    """Say a duration by its largest unit: ``3 minutes``."""
    for unit, size in _UNITS:
        if seconds is not None and seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "less than a second"
