"""Shadow mode serves nothing, and says what it would have done."""

from __future__ import annotations

import json
import random

import pytest

from aicached import Cache, ConfigurationError, Usage, trace
from aicached.cli.semantic import evaluated, pairs_of, render_evaluation, render_report, reported
from aicached.semantic.evaluation import Labelled, evaluate, guarded
from aicached.semantic.shadow import Observation, report, text_of, wilson
from aicached.testing import ScriptedModel

FIRST, AGAIN, OTHER = "How do I reset my password?", "password reset, how?", "How do I peel a ripe mango?"


@pytest.fixture
def model():
    return ScriptedModel("Press the button.", "press  the Button.", "With a knife.", "Something else.")


@pytest.fixture
def ask(cached, semantic):
    return cached(semantic=semantic(mode="shadow"), usage=lambda answer: Usage("m", 10, 5, 0.01))


def name_of(ask):
    return ask._self_site.name


def test_nothing_is_served(ask, model, run):
    with trace() as calls:
        for text in (FIRST, AGAIN, OTHER):
            run(ask(text))
    assert 3 == model.calls
    assert ["no match", "shadow", "no match"] == [call.semantic.outcome for call in calls]
    assert [False] * 3 == [call.hit for call in calls]


def test_the_report_tells_what_would_have_been_right(ask, any_cache, run):
    for text in (FIRST, AGAIN, OTHER, "how to reset the password please"):
        run(ask(text))
    seen = reported(any_cache, ask)
    assert seen == reported(any_cache, name_of(ask))
    assert 4 == seen.calls
    low = seen.rows[0]
    assert (2, 0.5, 0.5) == (low.matches, low.rate, low.precision)
    assert (30, pytest.approx(0.02)) == (low.tokens, low.cost)
    assert seen.recommended is None
    assert "Not worth it here" in render_report(seen)


def test_answers_are_compared_as_the_user_says(cached, semantic, any_cache, run):
    ask = cached(semantic=semantic(mode="shadow", same=lambda fresh, recorded: False))
    for text in (FIRST, AGAIN):
        run(ask(text))
    assert 0.0 == reported(any_cache, name_of(ask)).rows[0].precision


def test_a_comparison_that_raises_is_not_counted(cached, semantic, any_cache, warned, run):
    ask = cached(semantic=semantic(mode="shadow", same=lambda fresh, recorded: 1 / 0))
    for text in (FIRST, AGAIN):
        run(ask(text))
    seen = reported(any_cache, name_of(ask))
    assert (2, 0) == (seen.calls, seen.rows[0].matches)
    assert any("ZeroDivisionError" in text for text in warned())


def test_a_function_that_was_never_seen(any_cache):
    assert "nothing was seen" in render_report(reported(any_cache, "m:f"))


def test_a_report_recommends_the_lowest_threshold_that_is_right_often_enough():
    draw = random.Random(1)
    seen = [
        Observation(score, score >= 0.85 or draw.random() < 0.5, 2.0, 10, 0.01)
        for score in [0.7 + 0.0003 * i for i in range(1000)]
    ]
    seen += [Observation(None, None)] * 1000
    made = report("m:f", seen)
    assert 0.84 <= made.recommended.threshold <= 0.86
    assert made.recommended.low >= 0.98
    assert made.rows[0].matches > made.recommended.matches
    assert f"Recommended: threshold={made.recommended.threshold}" in render_report(made)
    assert report("m:f", seen, max_wrong=0.4).recommended.threshold < made.recommended.threshold


def test_few_observations_recommend_nothing():
    assert report("m:f", [Observation(0.99, True)] * 50).recommended is None
    assert report("m:f", [Observation(0.99, True)] * 500).recommended is not None


@pytest.mark.parametrize(
    ("right", "count", "low", "high"), [(0, 0, 0, 1), (10, 10, 0.722, 1.0), (50, 100, 0.404, 0.596), (0, 20, 0, 0.161)]
)
def test_intervals_are_wilsons(right, count, low, high):
    assert (low, high) == pytest.approx(wilson(right, count), abs=1e-3)


@pytest.mark.parametrize("share", [0, 1, -1, 2])
def test_a_share_that_is_none_is_refused(any_cache, share):
    with pytest.raises(ConfigurationError, match="max_wrong"):
        reported(any_cache, "m:f", share)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("hi", "hi"),
        ({"choices": [{"message": {"content": "hi"}}]}, "hi"),
        ({"content": [{"type": "text", "text": "hi"}]}, "hi"),
        ({"output_text": "hi"}, "hi"),
        (5, None),
        ({"choices": []}, None),
    ],
)
def test_the_text_of_an_answer(answer, text):
    assert text == text_of(answer)


PAIRS = [
    Labelled(FIRST, AGAIN, True),
    Labelled(FIRST, "How do I reset my password", True),
    Labelled(FIRST, OTHER, False),
    Labelled("How do I add 2 locks?", "How do I add 3 locks?", False),
    Labelled("How do I add 2 locks?", "How do I add locks?", False),
]


def test_a_setting_is_tried_on_pairs(semantic):
    high, low = evaluate(PAIRS, semantic(guards=False), [0.99, 0.2])
    assert (2, 3, 2, 0) == high[:4]
    assert (2, 2) == low[2:4]
    assert set(PAIRS[3:]) == set(low.errors)
    assert (1.0, 0.0) == (evaluate(PAIRS, semantic(), [0.5])[0].recall, evaluate(PAIRS, semantic(), [0.5])[0].wrong)
    assert (2, 0) == guarded(PAIRS)[2:4]


def test_evaluation_reads_pairs_and_prints_a_table(tmp_path, semantic):
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(json.dumps({"a": p.new, "b": p.old, "label": int(p.same)}) for p in PAIRS) + "\n\n")
    assert PAIRS == pairs_of(path)
    table = render_evaluation(evaluated(pairs_of(path), semantic(), [0.8]))
    assert "guards alone" in table
    assert "2/2 100.0%" in table


@pytest.mark.parametrize("line", ["{", "[]", '{"a": "x"}', '{"a": "x", "b": "y", "label": "z"}'])
def test_a_line_that_is_no_pair_is_named(tmp_path, line):
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"a": "x", "b": "y", "label": 1}\n' + line)
    with pytest.raises(ConfigurationError, match="line 2"):
        pairs_of(path)


def test_observations_of_namespaces_do_not_mix(model, semantic, tmp_path):
    from aicached import ai_cached

    for name in ("a", "b"):
        with Cache(f"sqlite:///{tmp_path}/a.db", namespace=name) as cache:
            ask = ai_cached(model.function("sync"), cache=cache, semantic=semantic(mode="shadow"))
            ask(FIRST)
            assert 1 == reported(cache, name_of(ask)).calls
