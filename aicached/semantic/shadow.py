"""
Shadow mode: what near matches would have done, had they been served.

Each call without an exact answer leaves one observation in a log of its function: how near the best candidate was that
no guard spoke against, and whether its recorded answer says the same as the fresh one. A report reads them all.

Law: nothing here is on a path that serves; what fails is not written down.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack

from ..codec.envelope import new_version
from ..codec.values import decode
from ..entry import Entry, Meta
from ..errors import StoreError
from ..keys.canonical import pack
from ..runtime import Runtime
from .english import ENGLISH
from .guards import objections, pair_of

if TYPE_CHECKING:
    from ..call import Call
    from .embedding import Embedder
    from .options import Semantic
    from .search import Search, Shelf

__all__ = ["Observation", "Report", "Row", "observations", "observe", "report", "shadow_log"]

#: Observations of a function that are kept, and for how many seconds.
_LIMIT, _KEPT = 10_000, 30 * 86400.0
#: Cosine from which two answers in prose say the same, if their numbers and negations agree.
_SAME = 0.9
_GRID = tuple(round(0.70 + 0.02 * step, 2) for step in range(15))
#: Standard deviations of a 95 % interval.
_Z = 1.96


class Observation(NamedTuple):
    """
    Say what one call without an exact answer showed.

    Args:
        threshold: the highest threshold under which it would have been a match; None where nothing was near.
        same: did the candidate's recorded answer say the same as the fresh one? None where that is not known.
        seconds, tokens, cost: what the call took, and a match would have saved.
    """

    threshold: float | None
    same: bool | None
    seconds: float = 0.0
    tokens: int = 0
    cost: float = 0.0


class Row(NamedTuple):
    """
    Say what one threshold would have done.

    Args:
        threshold: as in `Semantic`.
        matches: how many calls would have been answered.
        rate: their share of the calls without an exact answer, 0 to 1.
        precision: the share of them whose answer said the same; low, high: its 95 % interval (Wilson).
        seconds, tokens, cost: what they would have saved.
    """

    threshold: float
    matches: int
    rate: float
    precision: float
    low: float
    high: float
    seconds: float
    tokens: int
    cost: float


class Report(NamedTuple):
    """
    Say what shadow mode has seen of a function.

    Args:
        function: module and qualified name.
        calls: those without an exact answer.
        rows: one for each threshold.
        recommended: the row of the lowest threshold that is right often enough; None: it is not worth it here.
        max_wrong: the share of matches that may be wrong, by which it was chosen.
    """

    function: str
    calls: int
    rows: tuple[Row, ...]
    recommended: Row | None
    max_wrong: float


def shadow_log(secret: bytes, namespace: str, function: str) -> bytes:
    """Return the store key of a function's observations."""
    return b"n" + hashlib.sha256(secret + pack(["shadow", namespace, function])).digest()


async def observe(
    rt: Runtime, shelf: Shelf, call: Call, search: Search, semantic: Semantic, embedder: Embedder
) -> None:
    """Write down what a call showed whose fresh answer was just stored."""
    same = threshold = None
    if search.found is not None:
        threshold, entry = search.found
        same = await _same(rt, shelf, call, entry, semantic, embedder)
    usage = call.usage
    tokens, cost = (0, 0.0) if usage is None else (usage.tokens, usage.cost or 0.0)
    key = shadow_log(shelf.codec.secret, call.facts.namespace, call.facts.name)
    payload = msgpack.packb([threshold, same, call.origin_seconds, tokens, cost])
    made = Entry(new_version(), shelf.store.now(), _KEPT, (0.0, 0.0), "value", Meta("", [], b""), payload)
    data = made if shelf.store.opened else shelf.codec.seal(made, key[1:])
    try:
        await rt.ask(shelf.store, "append", key, data, _KEPT, _LIMIT)
    except StoreError:
        call.errors += 1


async def _same(
    rt: Runtime, shelf: Shelf, call: Call, entry: Entry, semantic: Semantic, embedder: Embedder
) -> bool | None:
    """Do two answers say the same? None where they cannot be read."""
    assert call.entry is not None
    if entry.payload == call.entry.payload:
        return True
    try:
        fresh, recorded = (decode(each.payload, call.classes_of(each)) for each in (call.entry, entry))
        if semantic.same is not None:
            return bool(semantic.same(fresh, recorded))
    except Exception as error:
        call.facts.warn("same", "%s: answers cannot be compared: %s", call.facts.name, type(error).__name__)
        return None
    texts = text_of(fresh), text_of(recorded)
    if None in texts:
        return False
    new, old = (" ".join(str(text).casefold().split()) for text in texts)
    if new == old:
        return True
    vectors = [await embedder.vector(rt, shelf, call, text) for text in (new, old)]
    if any(vector is None for vector in vectors):
        return None
    near = float(vectors[0] @ vectors[1]) >= _SAME
    return near and not objections(
        pair_of(new, old, semantic.language or ENGLISH), ("number", "identifier", "negation")
    )


def text_of(answer: Any) -> str | None:
    """Return the text of an answer: itself, or where the SDKs' answers have it; None where it has none."""
    if type(answer) is str:
        return answer
    for path in (("choices", 0, "message", "content"), ("output_text",), ("content", 0, "text"), ("text",)):
        value: Any = answer
        for step in path:
            value = _step(value, step)
        if type(value) is str:
            return value
    return None


def _step(value: Any, step: str | int) -> Any:
    try:
        return value[step] if isinstance(step, int) or isinstance(value, dict) else getattr(value, step, None)
    except (KeyError, IndexError, TypeError):
        return None


async def observations(rt: Runtime, shelf: Shelf, key: bytes) -> list[Observation]:
    """
    Read the observations of a function.

    Raises:
        StoreError: the store is in trouble.
    """
    found, since = list[Observation](), 0
    while True:
        upto, last, records = await rt.ask(shelf.store, "read", key, since, 500)
        for data in records:
            entry = shelf.opened(data, key[1:])
            if entry is not None and (made := _observation(entry.payload)) is not None:
                found.append(made)
        if upto >= last:
            return found
        since = upto


def _observation(payload: bytes) -> Observation | None:
    try:
        made = Observation(*msgpack.unpackb(payload))
    except Exception:
        return None
    return made if made.threshold is None or isinstance(made.threshold, float) else None


def report(function: str, seen: Sequence[Observation], max_wrong: float = 0.02) -> Report:
    """
    Return what each threshold would have done, and the lowest under which few enough matches are wrong.

    Args:
        seen: observations; those whose answers could not be compared count as calls alone.
        max_wrong: share of matches that may be wrong: the lower end of a threshold's interval must reach the rest.
    """
    rows = tuple(_row(threshold, seen) for threshold in _GRID)
    good = [row for row in rows if row.matches and row.low >= 1 - max_wrong]
    return Report(function, len(seen), rows, good[0] if good else None, max_wrong)


def _row(threshold: float, seen: Sequence[Observation]) -> Row:
    hits = [
        each for each in seen if each.threshold is not None and each.threshold >= threshold and each.same is not None
    ]
    right = sum(bool(each.same) for each in hits)
    low, high = wilson(right, len(hits))
    saved = (sum(each.seconds for each in hits), sum(each.tokens for each in hits), sum(each.cost for each in hits))
    count = len(hits)
    return Row(threshold, count, count / max(1, len(seen)), right / count if count else 0.0, low, high, *saved)


def wilson(right: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share: E. B. Wilson, Journal of the American Statistical Association 22 (1927)."""
    if not count:
        return 0.0, 1.0
    share = right / count
    spread = _Z * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    middle, scale = share + _Z**2 / (2 * count), 1 + _Z**2 / count
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)
