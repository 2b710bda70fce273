"""
How near is near enough: the bar that a pair has to reach, and what speaks against it.

Law: pure functions of two texts and a similarity. A bar that is learnt from a function's own answers would take the
place of `bar_of`, and of nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

from .english import ENGLISH
from .guards import Pair, objections, pair_of
from .language import Language
from .verdict import Candidate

__all__ = ["bar_of", "considered", "lowest_bar"]

#: What is taken off the threshold where both texts have the same words, and what is put on top where one of them says
#: more than the other. That is how the two ways to be near differ: an embedding hardly sees a condition that is added,
#: and sees too much of a difference in politeness or order.
_SAME_WORDS, _ONE_SAYS_MORE = -0.08, 0.04
_HIGHEST = 0.97


def lowest_bar(threshold: float) -> float:
    """Return the similarity below which no pair may match."""
    return threshold + _SAME_WORDS


def bar_of(pair: Pair, threshold: float) -> float:
    """Return the similarity from which a pair may match."""
    if not pair.more and not pair.less:
        return threshold + _SAME_WORDS
    return threshold if pair.more and pair.less else max(threshold, min(threshold + _ONE_SAYS_MORE, _HIGHEST))


def considered(
    new: str,
    old: str,
    similarity: float,
    threshold: float,
    guards: Sequence[str],
    language: Language | None,
    key: str = "",
) -> Candidate:
    """Return what speaks for and against answering *new* with the answer to *old*."""
    pair = pair_of(new, old, language or ENGLISH)
    bar = bar_of(pair, threshold) if guards else threshold
    return Candidate(key, similarity, bar, objections(pair, guards))
