"""
What came of a look for a near match, as values.

Law: nothing here holds a text, so a decision may be logged.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Candidate", "Decision"]


class Candidate(NamedTuple):
    """
    Say what speaks for and against one stored call.

    Args:
        key: hex digest of the stored call.
        similarity: cosine of the two embeddings.
        bar: the similarity that would do for this pair.
        guards: names of those that speak against it.
    """

    key: str
    similarity: float
    bar: float
    guards: tuple[str, ...] = ()

    @property
    def passes(self) -> bool:
        """Is it near enough, and does nothing speak against it?"""
        return self.similarity >= self.bar and not self.guards

    def __str__(self) -> str:
        words = [f"similarity {self.similarity:.3f}"]
        if self.similarity < self.bar:
            words.append(f"below {self.bar:.2f}")
        if self.guards:
            words.append(f"guards: {', '.join(self.guards)}")
        return ", ".join(words)


class Decision(NamedTuple):
    """
    Say how a call fared that had no exact answer.

    Args:
        outcome: ``"match"``, ``"shadow"`` (would have matched, and was not served), ``"no match"`` or ``"exact only"``.
        reason: why the call was not compared at all; empty where it was.
        candidate: the one that matched, else the nearest; None where there was none.
        candidates: all that were looked at, the nearest first.
        embed_ms, search_ms: milliseconds for the embedding, and for finding and judging candidates.
    """

    outcome: str
    reason: str = ""
    candidate: Candidate | None = None
    candidates: tuple[Candidate, ...] = ()
    embed_ms: float = 0.0
    search_ms: float = 0.0

    def __str__(self) -> str:
        if self.candidate is None:
            return f"semantic {self.outcome}: {self.reason or 'nothing is stored to compare with'}"
        return f"semantic {self.outcome}: {self.candidate}"
