"""
How near is near enough: the bar that a pair has to reach, and what speaks against it.

Law: pure functions of two texts and a similarity. A bar that is learnt from a function's own answers would take the
place of `bar_of`, and of nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

from .english import ENGLISH
from .guards import Pair, objections, pair_of, says_more
from .language import Language
from .verdict import Candidate

__all__ = ["bar_of", "considered", "highest_threshold", "lowest_bar"]

#: What is taken off the threshold where both texts have the same words, two or more: an embedding sees too much in
#: politeness, order and misspellings.
_SAME_WORDS = 0.2
#: The similarity that two texts need of which one is the other with a few words put in, whatever the threshold: an
#: embedding hardly sees a condition, and no rule can tell "raw" eggs from "good" advice.
_SAYS_MORE = 0.96


def lowest_bar(threshold: float) -> float:
    """Return the similarity below which no pair may match."""
    return threshold - _SAME_WORDS


def bar_of(pair: Pair, threshold: float) -> float:
    """Return the similarity from which a pair may match."""
    return max(threshold, _SAYS_MORE) if says_more(pair) else threshold - _discount(pair)


def highest_threshold(new: str, old: str, similarity: float, language: Language | None = None) -> float | None:
    """Return the highest threshold under which a pair is near enough; None where it is under none."""
    pair = pair_of(new, old, language or ENGLISH)
    if says_more(pair):
        return similarity if similarity >= _SAYS_MORE else None
    return min(1.0, similarity + _discount(pair))


def _discount(pair: Pair) -> float:
    """Return what the same words are worth; of a single one more may be asked than one thing."""
    same = not pair.more and not pair.less
    return _SAME_WORDS if same and len(pair.new.words) + len(pair.new.numbers) + len(pair.new.codes) > 1 else 0.0


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
