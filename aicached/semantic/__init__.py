"""
Answers to questions that mean the same: near matches, and what speaks against them.

    from aicached import Semantic, ai_cached

    @ai_cached(semantic=Semantic(text="prompt"))
    def ask(prompt: str, *, model: str = "gpt-4o-mini"): ...

Law: a near match is one only where every other part of the key is equal, where the texts are near enough, and where no
guard speaks against it. What fails here makes an exact-only cache, never an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .options import Semantic
from .verdict import Candidate, Decision

if TYPE_CHECKING:
    from .embedders import OpenAIEmbeddings, WordLlama
    from .minilm import MiniLM

__all__ = ["Candidate", "Decision", "MiniLM", "OpenAIEmbeddings", "Semantic", "WordLlama"]


def __getattr__(name: str) -> Any:
    if name == "MiniLM":
        from .minilm import MiniLM

        return MiniLM
    if name in ("OpenAIEmbeddings", "WordLlama"):
        from . import embedders

        return getattr(embedders, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
