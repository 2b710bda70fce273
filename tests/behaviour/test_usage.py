"""Tokens, cost and seconds: what was spent, and what hits saved."""

from __future__ import annotations

import pytest

from aicached import Cache, CacheInfo, Usage, ai_cached, current_call, trace
from aicached.testing import ScriptedModel

PRICES = {"small": (3.0, 15.0)}
CHAT = {
    "object": "chat.completion",
    "model": "small",
    "choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}],
    "usage": {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200},
}
MESSAGE = {
    "type": "message",
    "role": "assistant",
    "model": "small",
    "stop_reason": "end_turn",
    "content": [{"type": "text", "text": "hi"}],
    "usage": {"input_tokens": 1000, "output_tokens": 200},
}
COST = 1000 * 3e-6 + 200 * 15e-6


@pytest.fixture
def priced():
    return Cache("memory://", prices=PRICES)


def saying(value, seen, colour):
    """Make a function that shows the cache *seen*, and answers *value*."""

    def ask(prompt):
        assert seen is current_call().saw(seen)
        return value

    async def aask(prompt):
        return ask(prompt)

    return aask if colour == "async" else ask


@pytest.mark.parametrize("answer", [CHAT, MESSAGE], ids=["openai", "anthropic"])
def test_tokens_and_cost_are_spent_once_and_saved_at_each_hit(priced, colour, run, answer):
    ask = ai_cached(ScriptedModel(answer).function(colour), cache=priced)
    for _ in range(3):
        run(ask("hi"))
    info = ask.cache_info()
    assert (1200, 2400) == (info.tokens_spent, info.tokens_saved)
    assert pytest.approx([COST, 2 * COST]) == [info.cost_spent, info.cost_saved]
    assert pytest.approx(2 * info.seconds_spent) == info.seconds_saved > 0


def test_the_status_tells_the_usage_of_misses_and_hits(priced, colour, run):
    ask = ai_cached(ScriptedModel(CHAT).function(colour), cache=priced)
    with trace() as calls:
        run(ask("hi"))
        run(ask("hi"))
    assert [Usage("small", 1000, 200, pytest.approx(COST))] * 2 == [call.usage for call in calls]


def test_the_usage_survives_a_store_of_bytes(tmp_path, colour, run):
    cache = Cache(f"sqlite:///{tmp_path}/answers.db", prices=PRICES)
    ask = ai_cached(ScriptedModel(CHAT).function(colour), cache=cache)
    run(ask("hi"))
    run(ask("hi"))
    assert 1200 == ask.cache_info().tokens_saved
    assert pytest.approx(COST) == ask.cache_info().cost_saved
    cache.close()


def test_the_real_sdks_answers_are_counted(server, client, claude, priced):
    chat, message = (ai_cached(m, cache=priced) for m in (client.chat.completions.create, claude.messages.create))
    hello = [{"role": "user", "content": "Hello?"}]
    for create, more in ((chat, {}), (message, {"max_tokens": 200})):
        answer = create(model="small", messages=hello, **more)
        create(model="small", messages=hello, **more)
        used = answer.usage
        tokens = used.total_tokens if create is chat else used.input_tokens + used.output_tokens
        assert tokens == create.cache_info().tokens_spent == create.cache_info().tokens_saved > 0
        assert create.cache_info().cost_saved > 0


def test_without_prices_there_is_no_cost(cache, colour, run):
    ask = ai_cached(ScriptedModel(CHAT).function(colour), cache=cache)
    with trace() as calls:
        run(ask("hi"))
    assert Usage("small", 1000, 200, None) == calls[0].usage
    assert (1200, 0.0) == (ask.cache_info().tokens_spent, ask.cache_info().cost_spent)


def test_a_model_without_a_price_has_no_cost(colour, run):
    ask = ai_cached(ScriptedModel(CHAT).function(colour), cache=Cache("memory://", prices={"large": (1, 1)}))
    run(ask("hi"))
    assert (1200, 0.0) == (ask.cache_info().tokens_spent, ask.cache_info().cost_spent)


def test_usage_tells_what_a_shape_does_not(priced, colour, run):
    ask = ai_cached(
        ScriptedModel("three words here").function(colour),
        cache=priced,
        usage=lambda text: Usage("small", 0, len(text.split())),
    )
    with trace() as calls:
        run(ask("hi"))
    assert Usage("small", 0, 3, pytest.approx(45e-6)) == calls[0].usage


def test_a_cost_that_usage_names_stands(priced, colour, run):
    ask = ai_cached(ScriptedModel("x").function(colour), cache=priced, usage=lambda _: Usage("small", 1, 1, 7.5))
    run(ask("hi"))
    assert 7.5 == ask.cache_info().cost_spent


def test_usage_may_not_know(priced, colour, run, warned):
    ask = ai_cached(ScriptedModel(CHAT).function(colour), cache=priced, usage=lambda _: None)
    run(ask("hi"))
    assert 0 == ask.cache_info().tokens_spent
    assert [] == warned()


def test_what_the_origin_saw_is_counted_behind_a_text(priced, colour, run):
    ask = ai_cached(saying("hi", CHAT, colour), cache=priced, version=1)
    run(ask("hi"))
    run(ask("hi"))
    assert (1200, 1200) == (ask.cache_info().tokens_spent, ask.cache_info().tokens_saved)


def test_an_answer_of_unknown_shape_costs_nothing_that_is_known(priced, colour, run):
    ask = ai_cached(ScriptedModel({"usage": {"prompt_tokens": 5}}).function(colour), cache=priced)
    run(ask("hi"))
    assert 0 == ask.cache_info().tokens_spent


@pytest.mark.parametrize(
    "usage",
    [None, {}, {"prompt_tokens": None}, {"prompt_tokens": "many"}, "usage", 5, {"prompt_tokens": 1.5}],
    ids=repr,
)
def test_an_odd_usage_breaks_nothing(priced, colour, run, usage):
    ask = ai_cached(ScriptedModel({**CHAT, "usage": usage}).function(colour), cache=priced)
    run(ask("hi"))
    run(ask("hi"))
    assert (1, 1, 0) == (*ask.cache_info()[:2], ask.cache_info().tokens_spent)


def test_a_refused_answer_is_spent_too(priced, colour, run):
    ask = ai_cached(ScriptedModel(CHAT).function(colour), cache=priced, cache_if=lambda _: False)
    run(ask("hi"))
    run(ask("hi"))
    assert (2400, 0, 2) == (ask.cache_info().tokens_spent, ask.cache_info().tokens_saved, ask.cache_info().refused)


def test_tokens_are_in_and_out_together():
    assert 7 == Usage("m", 3, 4).tokens
    assert (None, 0, 0, None) == Usage()


def test_cache_info_names_its_counts():
    assert (
        "hits misses bypassed stale collapsed refused stored errors seconds_spent seconds_saved tokens_spent "
        "tokens_saved cost_spent cost_saved"
    ).split() == list(CacheInfo._fields)


def test_calls_add_up(priced, colour, run):
    """Each call is a hit, a miss or bypassed."""
    ask = ai_cached(ScriptedModel("a", ValueError, "b").function(colour), cache=priced, on_unkeyable="bypass")
    run(ask("hi"))
    run(ask("hi"))
    with pytest.raises(ValueError):  # noqa: PT011
        run(ask("ho"))
    run(ask(object()))
    assert (1, 2, 1) == ask.cache_info()[:3]
