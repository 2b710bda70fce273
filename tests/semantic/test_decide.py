"""How near a pair has to be depends on how the two texts differ."""

from __future__ import annotations

import pytest

from aicached.semantic.decide import bar_of, considered, highest_threshold, lowest_bar
from aicached.semantic.guards import pair_of
from aicached.semantic.options import GUARD_NAMES


def bar(new: str, old: str, threshold: float = 0.8) -> float:
    there, back = bar_of(pair_of(new, old), threshold), bar_of(pair_of(old, new), threshold)
    assert there == back
    return there


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ("How do I reset my password?", "password reset, how?"),
        ("What is machine learning?", "Could you explain what machine learning is?"),
        ("How do I reset my router?", "Help! I have to reset my router, how?"),
        ("How do I reset my router?", "Hi there, how do I go about resetting my router? Thanks in advance!"),
    ],
)
def test_the_same_words_need_less(new, old):
    assert lowest_bar(0.8) == bar(new, old) < 0.8


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ("Is it safe to eat eggs?", "Is it safe to eat raw eggs?"),
        ("Do I need a visa for Japan?", "Do I need a work visa for Japan?"),
        ("What causes headaches?", "What causes chronic headaches?"),
        ("How do I learn Spanish?", "How do I learn Spanish fast?"),
    ],
)
def test_a_word_put_in_needs_near_identity_whatever_the_threshold(new, old):
    assert 0.96 == bar(new, old) == bar(new, old, 0.5)
    assert 0.99 == bar(new, old, 0.99)


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ("Is coffee bad for you?", "Is drinking coffee unhealthy?"),
        ("How do I bake bread?", "What's the way to bake bread at home?"),
        ("What are the rules of chess?", "How is chess played?"),
    ],
)
def test_other_words_need_the_threshold(new, old):
    assert 0.8 == bar(new, old)


def test_without_guards_the_threshold_is_all_there_is():
    made = considered("Is it safe to eat eggs?", "Is it safe to eat raw eggs?", 0.85, 0.8, (), None)
    assert (0.8, True) == (made.bar, made.passes)


def test_what_is_near_enough_passes_where_no_guard_speaks():
    new, old = "How do I reset my password?", "password reset, how?"
    assert considered(new, old, 0.61, 0.8, GUARD_NAMES, None).passes
    assert not considered(new, old, 0.59, 0.8, GUARD_NAMES, None).passes
    assert not considered(new, "How do I not reset my password?", 0.99, 0.8, GUARD_NAMES, None).passes


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ("How do I reset my password?", "password reset, how?"),
        ("Is it safe to eat eggs?", "Is it safe to eat raw eggs?"),
        ("Is coffee bad for you?", "Is drinking coffee unhealthy?"),
    ],
)
@pytest.mark.parametrize("similarity", [0.5, 0.85, 0.95, 0.97, 1.0])
def test_the_highest_threshold_is_the_last_under_which_a_pair_passes(new, old, similarity):
    upto = highest_threshold(new, old, similarity)
    passing = [step / 100 for step in range(1, 101) if similarity >= bar_of(pair_of(new, old), step / 100) - 1e-9]
    assert (max(passing) if passing else None) == (None if upto is None else pytest.approx(upto))


def test_one_word_in_common_is_not_enough_for_less():
    assert 0.8 == bar("What does GDP mean?", "What is the meaning of GDP?")
