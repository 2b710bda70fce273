"""After an exact miss, the answer to a call that means the same: on every store, in both colours."""

from __future__ import annotations

import asyncio
import threading

import pytest

from aicached import Cache, ConfigurationError, Semantic, ai_cached, current_call, mode, sample, scope, trace
from aicached.errors import StoreUnavailable
from aicached.semantic import Candidate, Decision, matcher
from aicached.stores.memory import MemoryStore
from aicached.stores.redis import RedisStore
from aicached.stores.sqlite import SQLiteStore
from aicached.testing import FlakyStore, ScriptedModel

FIRST, AGAIN, TRAP = "How do I reset my password?", "password reset, how?", "How do I reset my passport?"


def decision_of(call) -> Decision:
    with trace() as calls:
        call()
    return calls[-1].semantic


def test_a_question_in_other_words_costs_one_call(ask, model, run):
    assert [FIRST, FIRST] == [run(ask(FIRST)), run(ask(AGAIN))]
    assert 1 == model.calls
    assert (1, 1) == (ask.cache_info().hits, ask.cache_info().misses)


def test_another_question_is_another_call(ask, model, run):
    assert [FIRST, TRAP] == [run(ask(FIRST)), run(ask(TRAP))]
    assert 2 == model.calls


def test_a_guard_stands_between_near_and_hit(ask, model, run):
    pair = [
        "How do I enable two factor authentication on my router?",
        "How do I disable two factor authentication on my router?",
    ]
    assert pair == [run(ask(text)) for text in pair]


def test_an_exact_hit_needs_no_embedding(ask, bag, run):
    run(ask(FIRST))
    embedded = len(bag.texts)
    run(ask(FIRST))
    assert embedded == len(bag.texts)


def test_each_text_is_embedded_once(ask, bag, run):
    for text in (FIRST, AGAIN, AGAIN, AGAIN):
        run(ask(text))
    assert [FIRST, AGAIN] == bag.texts


def test_the_status_carries_the_decision(ask, run):
    run(ask(FIRST))
    with trace() as calls:
        run(ask(AGAIN))
        run(ask(TRAP))
    match, miss = calls
    assert (True, None, "match") == (match.hit, match.fwd, match.semantic.outcome)
    assert 0.99 < match.semantic.candidate.similarity <= 1.001
    assert match.semantic.search_ms > 0
    assert match.detail == str(match.semantic)
    assert (False, "uri-miss", "no match") == (miss.hit, miss.fwd, miss.semantic.outcome)
    assert miss.semantic.candidate.similarity < miss.semantic.candidate.bar
    assert FIRST not in repr(match)


def test_the_explanation_says_what_is_near_and_what_speaks_against_it(ask, model, run):
    run(ask(FIRST))
    good = run(ask.cache_explain(AGAIN))
    assert good.hit
    assert "semantic match: similarity" in str(good).replace("\n    ", " ")
    bad = run(ask.cache_explain("How do I reset my 2 passwords?"))
    assert not bad.hit
    assert ("number",) == bad.semantic.candidate.guards
    assert 1 == model.calls


@pytest.mark.parametrize(
    ("prompt", "why"),
    [
        ("What is my balance right now?", "volatile"),
        ("Cancel my order number 5.", "asks for something to be done"),
        ("cancel it", "points at what was said before"),
        ("yes", "too short"),
        ("word " * 100, "long or structured"),
    ],
)
def test_what_may_not_match_says_why(ask, bag, run, prompt, why):
    decision = decision_of(lambda: run(ask(prompt)))
    assert ("exact only", why) == (decision.outcome, decision.reason)
    assert [] == bag.texts


def test_everything_else_must_be_equal(ask, model, run):
    calls = [{}, {"model": "large"}, {"system": "Be brief."}, {"tools": [{"name": "a"}]}, {"tools": [{"name": "b"}]}]
    for options in calls:
        run(ask(FIRST, **options))
    for options in [*calls, {"system": "Be long."}]:
        run(ask(AGAIN, **options))
    assert len(calls) + 1 == model.calls


def test_tenants_never_cross(ask, model, run):
    with scope("a"):
        run(ask(FIRST))
    with scope("b"):
        run(ask(AGAIN))
    run(ask(AGAIN))
    assert 3 == model.calls
    with scope("a"):
        run(ask(AGAIN))
    assert 3 == model.calls


def test_samples_and_versions_never_cross(cached, model, run):
    ask, other = cached(), cached(version=2)
    run(ask(FIRST))
    run(other(AGAIN))
    with sample(1):
        run(ask(AGAIN))
    assert 3 == model.calls


def test_embedders_never_cross(cached, semantic, model, run):
    def other(texts):
        return [[1.0, 0.0]] * len(texts)

    ask, others = cached(), cached(semantic=semantic(embed=other))
    run(ask(FIRST))
    run(others(AGAIN))
    assert 2 == model.calls


def test_the_last_user_message_is_compared_and_all_earlier_turns_must_be_equal(cached, semantic, model, run):
    ask = cached(semantic=semantic("messages"))
    system = {"role": "system", "content": "You help."}
    told = [system, {"role": "user", "content": "I use Linux."}, {"role": "assistant", "content": "Fine."}]

    def call(before, text, **more):
        return run(ask("", messages=[*before, {"role": "user", "content": text, **more}]))

    call(told, FIRST)
    assert 1 == model.calls
    call(told, AGAIN)
    assert 1 == model.calls
    for before in ([system], told[1:], [system, {"role": "user", "content": "I use macOS."}, told[2]]):
        call(before, AGAIN)
    call(told, AGAIN, name="Ann")
    assert 5 == model.calls


def test_what_is_no_text_is_exact_only(cached, semantic, model, run):
    ask = cached(semantic=semantic("messages"))
    for messages in ([], [{"role": "assistant", "content": FIRST}], {"a": 1}, 5):
        decision = decision_of(lambda messages=messages: run(ask("", messages=messages)))
        assert "exact only" == decision.outcome


def test_an_image_beside_the_text_counts(cached, semantic, model, run):
    ask = cached(semantic=semantic("messages"))
    for image in ("one", "two", "one"):
        for text in (FIRST, AGAIN):
            parts = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": image}}]
            run(ask("", messages=[{"role": "user", "content": parts}]))
    assert 2 == model.calls


def test_an_expired_entry_is_no_candidate_any_more(cached, model, clock, run):
    ask = cached(ttl=60)
    run(ask(FIRST))
    clock.advance(30)
    run(ask(AGAIN))
    assert 1 == model.calls
    clock.advance(31)
    run(ask(AGAIN))
    assert 2 == model.calls


def test_an_invalidated_or_cleared_entry_is_no_candidate_any_more(ask, any_cache, model, run):
    for forget in (lambda: ask.cache_invalidate(FIRST), ask.cache_clear, any_cache.clear):
        run(ask(FIRST))
        forgotten = forget()
        if forgotten is not None:
            run(forgotten)
        before = model.calls
        run(ask(AGAIN))
        assert before + 1 == model.calls
        run(ask.cache_invalidate(AGAIN))


@pytest.mark.parametrize("inside", [False, True])
def test_tags_of_the_stored_call_count(any_cache, semantic, colour, run, inside):
    asked = []

    def ask(prompt):
        asked.append(prompt)
        if inside:
            current_call().tags.add("tag")
        return prompt

    async def aask(prompt):
        return ask(prompt)

    tags = () if inside else (lambda prompt: ["tag"] if prompt == FIRST else ["other"])
    made = ai_cached(ask if colour == "sync" else aask, cache=any_cache, semantic=semantic(), tags=tags, version=1)
    assert [FIRST, FIRST] == [run(made(FIRST)), run(made(AGAIN))]
    any_cache.invalidate_tags("tag")
    assert AGAIN == run(made(AGAIN))
    assert [FIRST, AGAIN] == asked


def test_streams_are_matched_too(any_cache, semantic):
    asked = []

    @ai_cached(cache=any_cache, semantic=semantic())
    def ask(prompt):
        asked.append(prompt)
        yield "You said: "
        yield prompt

    assert ["You said: ", FIRST] == list(ask(FIRST)) == list(ask(AGAIN))
    assert [FIRST] == asked


def test_what_was_put_by_hand_answers_too(ask, model, run):
    run(ask.cache_put("by hand", FIRST))
    assert "by hand" == run(ask(AGAIN))
    assert 0 == model.calls


def test_a_refused_answer_is_no_candidate(cached, model, run):
    ask = cached(cache_if=lambda answer: False)
    run(ask(FIRST))
    run(ask(AGAIN))
    assert 2 == model.calls


def test_modes_that_do_not_read_do_not_match(ask, model, run):
    run(ask(FIRST))
    for name in ("off", "refresh", "write_only"):
        with mode(name):
            run(ask(AGAIN))
    assert 4 == model.calls


def test_read_only_matches(ask, model, run):
    run(ask(FIRST))
    with mode("read_only"):
        run(ask(AGAIN))
    assert 1 == model.calls


def test_another_process_sees_a_new_entry_within_a_second(
    tmp_path, redis_url, model, colour, semantic, run, monkeypatch
):
    from aicached.runtime import ASYNCIO, BLOCKING

    moment = [0.0]
    for runtime in (ASYNCIO, BLOCKING):
        monkeypatch.setattr(runtime, "monotonic", lambda: moment[0])
    for make in (lambda: SQLiteStore(tmp_path / "a.db", timeout=5), lambda: RedisStore(redis_url, timeout=5)):
        here, there = (
            ai_cached(model.function(colour), cache=Cache(make()), semantic=semantic(), version=1) for _ in range(2)
        )
        run(there("Something else entirely, about cats"))  # it has looked already
        run(here(FIRST))
        before = model.calls
        moment[0] += 0.6
        run(there(AGAIN))
        assert before == model.calls


def test_the_near_tier_and_plain_redis_share_near_matches(redis_url, model, colour, semantic, run, monkeypatch):
    monkeypatch.setattr(matcher, "_STALE_AFTER", 0.0)
    with Cache(redis_url, near=True) as near, Cache(redis_url) as plain:
        one, other = (
            ai_cached(model.function(colour), cache=cache, semantic=semantic(), version=1) for cache in (near, plain)
        )
        for here, there, text, again in (
            (one, other, FIRST, AGAIN),
            (other, one, "How do I peel a ripe mango?", "peel ripe mango, how?"),
        ):
            run(here(text))
            before = model.calls
            assert text == run(there(again)) == run(here(again))
            assert before == model.calls


def test_many_callers_of_near_questions_agree(semantic, run):
    model = ScriptedModel()
    ask = ai_cached(model.function("sync"), cache=Cache(MemoryStore()), semantic=semantic())
    ask(FIRST)
    found = []
    threads = [threading.Thread(target=lambda: found.append(ask(AGAIN))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [FIRST] * 8 == found
    assert 1 == model.calls


# Trouble --------------------------------------------------------------------------------------------------------------


def test_a_failing_embedder_makes_an_exact_only_cache(cached, semantic, model, warned, run):
    def broken(texts):
        raise RuntimeError("secret prompt")

    ask = cached(semantic=semantic(embed=broken))
    for text in (FIRST, FIRST, AGAIN, "Another question about cats and dogs"):
        run(ask(text))
    assert 3 == model.calls
    assert ask.cache_info().errors >= 3
    (warning,) = [text for text in warned() if "embedder" in text]
    assert "secret" not in warning
    assert "exact only" == decision_of(lambda: run(ask("Yet another question about birds"))).outcome


def test_an_embedder_that_hangs_costs_its_timeout_and_is_left_alone(cached, semantic, model, run):
    gate = threading.Event()

    def slow(texts):
        gate.wait(30)
        return [[1.0]]

    ask = cached(semantic=semantic(embed=slow, timeout=0.05))
    try:
        for number in range(6):
            run(ask(f"A question about the number {number} and its friends"))
        assert 6 == model.calls
        assert 3 == ask.cache_info().errors
    finally:
        gate.set()


def test_reading_a_model_may_take_longer_than_a_text(cached, semantic, bag, model, run):
    class Heavy:
        identity = "heavy"
        ready = False

        def load(self):
            threading.Event().wait(0.3)
            self.ready = True

        def __call__(self, texts):
            assert self.ready
            return bag(texts)

    ask = cached(semantic=semantic(embed=Heavy(), timeout=0.1))
    assert [FIRST, FIRST] == [run(ask(FIRST)), run(ask(AGAIN))]
    assert 0 == ask.cache_info().errors


@pytest.mark.parametrize("vector", [[], [0.0, 0.0], [float("nan"), 1.0], [[1.0]], "text"])
def test_a_vector_that_is_none_is_a_failure(cached, semantic, model, run, vector):
    ask = cached(semantic=semantic(embed=lambda texts: [vector]))
    assert [FIRST, AGAIN] == [run(ask(FIRST)), run(ask(AGAIN))]


def test_a_store_in_trouble_makes_an_exact_only_cache(semantic, model, colour, run):
    store = FlakyStore(MemoryStore())
    ask = ai_cached(model.function(colour), cache=Cache(store), semantic=semantic(), version=1)
    run(ask(FIRST))

    def refuse(*args):
        raise StoreUnavailable("the log alone")

    async def arefuse(*args):
        raise StoreUnavailable("the log alone")

    store.read, store.append, store.aread, store.aappend = refuse, refuse, arefuse, arefuse
    assert AGAIN == run(ask(AGAIN))
    assert 2 == model.calls
    assert ask.cache_info().errors


def test_foreign_records_in_a_log_are_passed_over(ask, any_cache, model, run):
    run(ask(FIRST))
    plan = ask._self_site.plan()
    call = plan.call(ask.__wrapped__, None, (AGAIN,), {}, __import__("aicached.context").context.PLAIN)
    search = plan.facts.matcher._search(call)
    junk = (
        b"not a record"
        if not any_cache.store.opened
        else any_cache.engine.near.get(b"v" + bytes.fromhex(ask.cache_key(FIRST)))
    )
    any_cache.store.append(search.key, junk, 60, 100)
    run(ask(AGAIN))
    assert 1 == model.calls


def test_texts_are_sealed_in_the_store(semantic, tmp_path, model):
    key = bytes(range(32))
    path = tmp_path / "answers.db"
    with Cache(f"sqlite:///{path}", encryption_keys=[key]) as cache:
        ask = ai_cached(model.function("sync"), cache=cache, semantic=semantic())
        ask(FIRST)
        ask(AGAIN)
    written = b"".join(each.read_bytes() for each in tmp_path.glob("answers.db*"))
    assert 1 == model.calls
    assert b"password" not in written


def test_an_async_embedder_serves_both_colours(cached, semantic, bag, model, run):
    ask = cached(semantic=semantic(embed=bag.acall))
    assert [FIRST, FIRST] == [run(ask(FIRST)), run(ask(AGAIN))]


def test_vectors_outlive_the_process_in_a_store_of_bytes(tmp_path, semantic, bag, model):
    for _ in range(2):
        ask = ai_cached(
            model.function("sync"),
            cache=Cache(SQLiteStore(tmp_path / "a.db", timeout=5)),
            semantic=semantic(),
            ttl=0.001,
            version=1,
        )
        ask(FIRST)
    assert [FIRST] == bag.texts


def test_a_loop_goes_on_while_a_slow_embedder_works(semantic, bag):
    started, gate = threading.Event(), threading.Event()

    def slow(texts):
        started.set()
        gate.wait(10)
        return bag(texts)

    ask = ai_cached(
        ScriptedModel().function("async"), cache=Cache(MemoryStore()), semantic=semantic(embed=slow, timeout=20)
    )

    async def work():
        task = asyncio.create_task(ask(FIRST))
        while not started.is_set():
            await asyncio.sleep(0.001)
        gate.set()  # which nobody could do in a loop that is held up
        return await task

    assert FIRST == asyncio.run(work())


# Options --------------------------------------------------------------------------------------------------------------


def test_a_name_that_the_function_lacks_is_refused_when_decorating(semantic):
    with pytest.raises(ConfigurationError, match=r"semantic: .* has no parameter 'prompt'; it has question"):

        @ai_cached(semantic=semantic())
        def ask(question: str) -> str:
            return question


@pytest.mark.parametrize("options", [{"ignore": ("prompt",)}, {"key": ("model",)}, {"key": lambda *a, **k: 1}])
def test_a_text_that_is_not_in_the_key_is_refused(semantic, model, options):
    with pytest.raises(ConfigurationError, match="has to be in the key"):
        ai_cached(model.function("sync"), semantic=semantic(), **options)


def test_an_unknown_embedder_needs_a_threshold():
    with pytest.raises(ConfigurationError, match="threshold="):
        Semantic("prompt", embed=lambda texts: texts)


@pytest.mark.parametrize(
    "options",
    [
        {"text": ""}, {"text": 5}, {"threshold": 0}, {"threshold": 1.1}, {"threshold": float("nan")}, {"limit": True},
        {"guards": ("numbers",)}, {"guards": 5}, {"mode": "off"}, {"candidates": 0}, {"limit": 0}, {"timeout": 0},
        {"embed": 5}, {"same": 5},
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_meant_is_refused(bag, options):
    with pytest.raises(ConfigurationError, match=r"Semantic\(\)"):
        Semantic(**{"text": "prompt", "embed": bag, "threshold": 0.8, **options})


def test_semantic_takes_a_semantic_alone():
    with pytest.raises(ConfigurationError, match="Semantic"):
        ai_cached(semantic="prompt")


def test_guards_may_be_switched_off_one_by_one(cached, semantic, model, run):
    pair = ["How do I reset 2 passwords at home?", "How do I reset 3 passwords at home?"]
    some = cached(semantic=semantic(guards=[name for name in semantic().guards if name != "number"], threshold=0.5))
    assert [pair[0]] * 2 == [run(some(text)) for text in pair]


def test_a_decision_speaks_plainly():
    candidate = Candidate("ab", 0.91, 0.88, ("number", "negation"))
    assert "semantic no match: similarity 0.910, guards: number, negation" == str(Decision("no match", "", candidate))
    assert "semantic exact only: volatile" == str(Decision("exact only", "volatile"))


def test_methods_and_partials_match_too(any_cache, semantic, run):
    class Bot:
        def __init__(self, name):
            self.name = name
            self.asked = []

        def __cache_key__(self):
            return self.name

        @ai_cached(cache=any_cache, semantic=semantic())
        def ask(self, prompt, tone="plain"):
            self.asked.append(prompt)
            return prompt

    one, other = Bot("one"), Bot("other")
    assert [FIRST, FIRST, AGAIN] == [one.ask(FIRST), one.ask(AGAIN), other.ask(AGAIN)]
    assert AGAIN == one.ask(AGAIN, tone="rude")


def test_a_match_whose_tag_was_invalidated_is_none(cached, any_cache, model, run):
    ask = cached(tags=lambda prompt, **_: ["all", f"about {prompt}"])
    assert [FIRST, FIRST] == [run(ask(FIRST)), run(ask(AGAIN))]
    any_cache.invalidate_tags(f"about {AGAIN}")
    assert FIRST == run(ask(AGAIN))
    any_cache.invalidate_tags(f"about {FIRST}")
    assert AGAIN == run(ask(AGAIN))
    assert 2 == model.calls
