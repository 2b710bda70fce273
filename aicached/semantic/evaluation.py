"""
A setting tried on labelled pairs of texts: how many repeats it would serve, and how many traps.

Law: a pair is judged exactly as a call would be: may both texts match at all, do guards speak against them, are they
near enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from .decide import considered
from .eligible import refusal
from .english import ENGLISH
from .guards import objections, pair_of
from .options import GUARD_NAMES, Semantic

__all__ = ["Evaluation", "Labelled", "evaluate", "guarded"]


class Labelled(NamedTuple):
    """Hold two texts, and whether the answer to one is right for the other."""

    new: str
    old: str
    same: bool


class Evaluation(NamedTuple):
    """
    Say what a setting would do with labelled pairs.

    Args:
        repeats, traps: how many there are of either.
        served, fooled: how many of the repeats, and of the traps, would be served.
        errors: the traps that would.
    """

    repeats: int
    traps: int
    served: int
    fooled: int
    errors: tuple[Labelled, ...] = ()

    @property
    def recall(self) -> float:
        """Served repeats by repeats, 0 to 1."""
        return self.served / max(1, self.repeats)

    @property
    def wrong(self) -> float:
        """Served traps by traps, 0 to 1."""
        return self.fooled / max(1, self.traps)


def evaluate(pairs: Iterable[Labelled], semantic: Semantic, thresholds: Sequence[float] = ()) -> list[Evaluation]:
    """Return what a setting would do at each threshold; none given: at its own."""
    pairs = list(pairs)
    cosines = _cosines(pairs, semantic)
    return [_tried(pairs, cosines, semantic, value) for value in thresholds or (float(semantic.threshold or 0),)]


def guarded(pairs: Iterable[Labelled]) -> Evaluation:
    """Return what the guards alone let through, whatever the similarity."""
    return _counted(list(pairs), lambda at, pair: not objections(pair_of(pair.new, pair.old), GUARD_NAMES))


def _tried(pairs: list[Labelled], cosines: list[float], semantic: Semantic, threshold: float) -> Evaluation:
    language = semantic.language or ENGLISH
    names: Any = semantic.guards

    def serves(at: int, pair: Labelled) -> bool:
        if refusal(pair.new, language) or refusal(pair.old, language):
            return False
        return considered(pair.new, pair.old, cosines[at], threshold, names, language).passes

    return _counted(pairs, serves)


def _counted(pairs: list[Labelled], serves: Any) -> Evaluation:
    served = [pair for at, pair in enumerate(pairs) if serves(at, pair)]
    repeats, right = sum(pair.same for pair in pairs), sum(pair.same for pair in served)
    errors = tuple(pair for pair in served if not pair.same)
    return Evaluation(repeats, len(pairs) - repeats, right, len(errors), errors)


def _cosines(pairs: list[Labelled], semantic: Semantic) -> list[float]:
    import numpy as np

    texts = sorted({text for pair in pairs for text in pair[:2]})
    embed: Any = semantic.embed
    vectors = np.asarray(embed(texts), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    place = {text: at for at, text in enumerate(texts)}
    return [float(vectors[place[pair.new]] @ vectors[place[pair.old]]) for pair in pairs]
