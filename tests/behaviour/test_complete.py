"""Answers that are cut, refused or empty are returned and not kept, whatever shape they come in."""

from __future__ import annotations

import asyncio

import anthropic.types
import anthropic.types.beta
import openai.types
import openai.types.chat
import openai.types.responses
import pytest

from aicached import Cache, Usage, ai_cached, current_call, sample, trace
from aicached.testing import ScriptedModel


def choice(reason="stop", **message):
    return {"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": None, **message}}


def chat(*choices):
    return {"id": "1", "object": "chat.completion", "created": 1, "model": "small", "choices": list(choices)}


def completion(text, reason="stop"):
    choices = [{"index": 0, "text": text, "finish_reason": reason}]
    return {"id": "1", "object": "text_completion", "created": 1, "model": "small", "choices": choices}


def response(*output, status="completed", reason=None):
    details = None if reason is None else {"reason": reason}
    return {"id": "1", "object": "response", "status": status, "incomplete_details": details, "output": list(output)}


def said(*content):
    return {"type": "message", "id": "2", "role": "assistant", "status": "completed", "content": list(content)}


def text(content):
    return {"type": "output_text", "text": content, "annotations": []}


def message(*content, reason="end_turn"):
    return {
        "id": "1",
        "type": "message",
        "role": "assistant",
        "model": "small",
        "content": list(content),
        "stop_reason": reason,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }


def block(content):
    return {"type": "text", "text": content}


TOOL = [{"id": "1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}]
TOOL_USE = {"type": "tool_use", "id": "1", "name": "look_up", "input": {}}
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "x"}
CALL = {"type": "function_call", "call_id": "1", "name": "look_up", "arguments": "{}"}
REASONING = {"type": "reasoning", "id": "1", "summary": []}

INCOMPLETE = {
    "chat cut": (chat(choice("length", content="cu")), "length"),
    "chat filtered": (chat(choice("content_filter", content="cu")), "content_filter"),
    "chat second choice cut": (chat(choice(content="whole"), choice("length", content="cu")), "length"),
    "chat cut within tool calls": (chat(choice("length", tool_calls=TOOL)), "length"),
    "chat failed behind a router": (chat(choice("error", content="cu")), "error"),
    "chat aborted": (chat(choice("abort", content="cu")), "abort"),
    "chat without text": (chat(choice(content="")), "empty answer"),
    "chat without anything": (chat(choice()), "empty answer"),
    "chat with empty parts": (chat(choice(content="", tool_calls=[], refusal="")), "empty answer"),
    "chat of two empty choices": (chat(choice(), choice(content="")), "empty answer"),
    "chat without choices": (chat(), "empty answer"),
    "chat that is an error": ({**chat(), "choices": None, "error": {"code": 502}}, "empty answer"),
    "completion cut": (completion("cu", "length"), "length"),
    "completion empty": (completion(""), "empty answer"),
    "response cut": (response(said(text("cu")), status="incomplete", reason="max_output_tokens"), "max_output_tokens"),
    "response filtered": (response(status="incomplete", reason="content_filter"), "content_filter"),
    "response incomplete": (response(said(text("cu")), status="incomplete"), "incomplete"),
    "response failed": (response(status="failed"), "failed"),
    "response in progress": (response(status="in_progress"), "in_progress"),
    "response queued": (response(status="queued"), "queued"),
    "response cancelled": (response(said(text("cu")), status="cancelled"), "cancelled"),
    "response without output": (response(), "empty answer"),
    "response of a thought": (response(REASONING), "empty answer"),
    "response without text": (response(said(text(""))), "empty answer"),
    "message cut": (message(block("cu"), reason="max_tokens"), "max_tokens"),
    "message refused": (message(block("no"), reason="refusal"), "refusal"),
    "message too long": (message(block("cu"), reason="model_context_window_exceeded"), "model_context_window_exceeded"),
    "message cut within a tool": (message(TOOL_USE, reason="max_tokens"), "max_tokens"),
    "message without content": (message(), "empty answer"),
    "message without text": (message(block("")), "empty answer"),
    "message of a thought": (message(THOUGHT), "empty answer"),
}
COMPLETE = {
    "chat": chat(choice(content="hi")),
    "chat of tool calls": chat(choice("tool_calls", tool_calls=TOOL)),
    "chat of a function call": chat(choice("function_call", function_call={"name": "look_up", "arguments": "{}"})),
    "chat that refuses": chat(choice(refusal="I cannot.")),
    "chat of audio": chat(choice(audio={"id": "1", "data": "AAAA", "expires_at": 1, "transcript": ""})),
    "chat with one empty choice": chat(choice(content=""), choice(content="hi")),
    "chat with a reason of tomorrow": chat(choice("tomorrow", content="hi")),
    "completion": completion("hi"),
    "response": response(said(text("hi"))),
    "response that refuses": response(said({"type": "refusal", "refusal": "I cannot."})),
    "response of a function call": response(CALL),
    "response of a thought and a text": response(REASONING, said(text("hi"))),
    "message": message(block("hi")),
    "message up to a stop sequence": message(block("hi"), reason="stop_sequence"),
    "message of a tool use": message(TOOL_USE, reason="tool_use"),
    "message of a thought and a text": message(THOUGHT, block("hi")),
    "message of an empty text and a tool use": message(block(""), TOOL_USE, reason="tool_use"),
}
KINDS = {
    "chat.completion": openai.types.chat.ChatCompletion,
    "text_completion": openai.types.Completion,
    "response": openai.types.responses.Response,
    "message": anthropic.types.Message,
}


def sdk_object(answer):
    """Build the SDK's object as the SDK does from what came in, without validation."""
    return KINDS[answer.get("object") or answer["type"]].construct(**answer)


@pytest.fixture(params=["dict", "object"])
def shaped(request):
    """Give what shows an answer as a dict, or as its SDK's object."""
    return sdk_object if request.param == "object" else lambda answer: answer


@pytest.fixture(params=["memory", "sqlite"])
def byte_cache(request, tmp_path):
    """Give a cache that keeps entries opened, and one that keeps bytes."""
    with Cache("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/a.db", timeout=5) as cache:
        yield cache


def twice(ask, run):
    """Call twice; give the statuses."""
    with trace() as calls:
        run(ask("hi"))
        run(ask("hi"))
    return calls


# The table ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", INCOMPLETE)
def test_incomplete_answers_are_returned_and_not_kept(cache, colour, run, shaped, name):
    answer, why = INCOMPLETE[name]
    model = ScriptedModel(shaped(answer))
    ask = ai_cached(model.function(colour), cache=cache)
    assert shaped(answer) == run(ask("hi"))
    with trace() as calls:
        run(ask("hi"))
    assert (2, 2) == (model.calls, ask.cache_info().refused)
    assert (f"incomplete: {why}", False) == (calls[0].detail, calls[0].stored)


@pytest.mark.parametrize("name", COMPLETE)
def test_complete_answers_are_kept(cache, colour, run, shaped, name):
    answer = shaped(COMPLETE[name])
    model = ScriptedModel(answer)
    ask = ai_cached(model.function(colour), cache=cache)
    assert [False, True] == [call.hit for call in twice(ask, run)]
    assert answer == run(ask("hi"))


def test_a_parsed_answer_without_text_is_complete(cache, colour, run):
    """An SDK's `parse()` puts the object beside the text."""
    model = ScriptedModel(chat(choice(parsed={"city": "Bern"})))
    assert [False, True] == [call.hit for call in twice(ai_cached(model.function(colour), cache=cache), run)]


@pytest.mark.parametrize(("reason", "kept"), [("stop", True), ("length", False), ("content_filter", False)])
def test_a_choice_taken_out_of_its_answer(cache, colour, run, reason, kept):
    answer = sdk_object(chat(choice(reason, content="hi"))).choices[0]
    ask = ai_cached(ScriptedModel(answer).function(colour), cache=cache)
    assert [False, kept] == [call.hit for call in twice(ask, run)]


def test_a_beta_message(cache, colour, run):
    answer = anthropic.types.beta.BetaMessage.construct(**message(block("cu"), reason="max_tokens"))
    ask = ai_cached(ScriptedModel(answer).function(colour), cache=cache)
    assert ["incomplete: max_tokens"] * 2 == [call.detail for call in twice(ask, run)]


@pytest.mark.parametrize(
    "answer",
    [
        openai.types.CreateEmbeddingResponse.construct(
            object="list", model="small", data=[{"object": "embedding", "index": 0, "embedding": [0.5]}]
        ),
        openai.types.Model.construct(id="small", object="model", created=1, owned_by="me"),
        anthropic.types.MessageTokensCount.construct(input_tokens=5),
    ],
    ids=lambda answer: type(answer).__name__,
)
def test_what_is_no_chat_is_not_judged_as_one(cache, colour, run, answer):
    ask = ai_cached(ScriptedModel(answer).function(colour), cache=cache)
    assert [False, True] == [call.hit for call in twice(ask, run)]


@pytest.mark.parametrize(
    "answer",
    [
        {"finish_reason": "length", "content": "cu"},
        {"stop_reason": "max_tokens"},
        {"choices": []},
        {"object": "list", "choices": []},
        {"type": "message", "role": "user", "content": []},
        "",
        [],
    ],
    ids=str,
)
def test_a_dict_of_your_own_is_not_taken_for_a_providers(cache, colour, run, answer):
    ask = ai_cached(ScriptedModel(answer).function(colour), cache=cache)
    assert [False, True] == [call.hit for call in twice(ask, run)]


@pytest.mark.parametrize(
    "answer",
    [
        {"object": "chat.completion"},
        {"object": "chat.completion", "choices": "none"},
        {"object": "chat.completion", "choices": [None, 5, {}]},
        {"object": "chat.completion", "choices": [{"message": "hi"}]},
        {"object": "response", "output": [None, {"type": "message", "content": 5}], "status": ["completed"]},
        {"type": "message", "role": "assistant", "content": "hi"},
        {"type": "message", "role": "assistant", "stop_reason": ["max_tokens"]},
    ],
    ids=str,
)
def test_odd_shapes_are_no_error(cache, colour, run, warned, answer):
    ask = ai_cached(ScriptedModel(answer).function(colour), cache=cache)
    assert answer == run(ask("hi"))
    assert [] == warned()


def test_an_incomplete_answer_is_not_tried_again(cache, colour, run, waits):
    """It is an answer, and no failure: the function runs once."""
    model = ScriptedModel(INCOMPLETE["chat cut"][0])
    run(ai_cached(model.function(colour), cache=cache)("hi"))
    assert (1, []) == (model.calls, waits)


def test_after_an_incomplete_answer_a_whole_one_is_kept(cache, colour, run):
    model = ScriptedModel(INCOMPLETE["chat cut"][0], COMPLETE["chat"])
    ask = ai_cached(model.function(colour), cache=cache)
    for _ in range(3):
        last = run(ask("hi"))
    assert (COMPLETE["chat"], 2) == (last, model.calls)


def test_an_incomplete_answer_leaves_a_whole_one_in_its_place(cache, colour, run):
    model = ScriptedModel(COMPLETE["chat"], INCOMPLETE["chat cut"][0])
    ask = ai_cached(model.function(colour), cache=cache)
    run(ask("hi"))
    assert INCOMPLETE["chat cut"][0] == run(ask.cache_refresh("hi"))
    assert COMPLETE["chat"] == run(ask("hi"))


def test_an_incomplete_answer_cannot_be_put(cache, colour, run):
    ask = ai_cached(ScriptedModel().function(colour), cache=cache)
    assert run(ask.cache_put(INCOMPLETE["message cut"][0], "hi")) is False
    assert run(ask.cache_put(COMPLETE["message"], "hi")) is True


def test_of_several_samples_the_whole_ones_are_kept(cache, colour, run):
    whole = COMPLETE["chat"]
    model = ScriptedModel(whole, INCOMPLETE["chat cut"][0], whole)
    ask = ai_cached(model.function(colour), cache=cache)
    run(ask.cache_samples(3, "hi"))
    kept = []
    for index in range(3):
        with sample(index):
            kept.append(run(ask.cache_contains("hi")))
    assert [True, False, True] == kept


# Rules of your own ----------------------------------------------------------------------------------------------------


def test_cache_if_replaces_the_rules(cache, colour, run):
    answer = INCOMPLETE["chat cut"][0]
    ask = ai_cached(ScriptedModel(answer).function(colour), cache=cache, cache_if=lambda answer: True)
    assert [False, True] == [call.hit for call in twice(ask, run)]
    none = ai_cached(ScriptedModel(COMPLETE["chat"]).function(colour), cache=cache, cache_if=lambda answer: False)
    assert ["refused by cache_if"] * 2 == [call.detail for call in twice(none, run)]


def test_rules_that_changed_are_asked_on_read(byte_cache, colour, run):
    """Kept by one rule, the entry is a hit only where today's rule agrees."""
    cut = INCOMPLETE["chat cut"][0]
    model = ScriptedModel(cut, COMPLETE["chat"])
    lax = ai_cached(model.function(colour), cache=byte_cache, cache_if=lambda answer: True)
    run(lax("hi"))
    assert cut == run(lax("hi"))
    built_in = lax.cache_with(cache_if=None)
    with trace() as calls:
        assert COMPLETE["chat"] == run(built_in("hi"))
    assert (False, True, "now incomplete: length") == (calls[0].hit, calls[0].stored, calls[0].detail)
    assert COMPLETE["chat"] == run(lax("hi"))
    assert 2 == model.calls


def test_a_stricter_rule_refuses_what_a_laxer_one_kept(byte_cache, colour, run):
    model = ScriptedModel("bad", "good")
    ask = ai_cached(model.function(colour), cache=byte_cache)
    run(ask("hi"))
    strict = ask.cache_with(cache_if=lambda answer: answer == "good")
    assert ["good", "good"] == [run(strict("hi")), run(strict("hi"))]
    assert 2 == model.calls


def test_a_rule_that_agrees_makes_a_hit(byte_cache, colour, run):
    model = ScriptedModel("good")
    ask = ai_cached(model.function(colour), cache=byte_cache)
    run(ask("hi"))
    assert "good" == run(ask.cache_with(cache_if=lambda answer: answer == "good")("hi"))
    assert 1 == model.calls


def test_rules_that_have_not_changed_are_not_asked_again(byte_cache, colour, run):
    asked = []
    ask = ai_cached(
        ScriptedModel("good").function(colour),
        cache=byte_cache,
        cache_if=lambda answer: asked.append(1) or True,
        version=1,
    )
    for _ in range(3):
        run(ask("hi"))
    assert 1 == len(asked)


def test_a_changed_rule_that_raises_is_a_miss(byte_cache, colour, run, warned):
    model = ScriptedModel("good")
    ask = ai_cached(model.function(colour), cache=byte_cache)
    run(ask("hi"))
    assert "good" == run(ask.cache_with(cache_if=lambda answer: 1 / 0)("hi"))
    assert 2 == model.calls
    assert 1 == len(warned())


# What the function saw ------------------------------------------------------------------------------------------------


def texting(answers, colour):
    """Make a function that shows the cache the next answer, and returns a text."""
    waiting = list(answers)

    def ask(prompt):
        seen = waiting.pop(0)
        assert seen is current_call().saw(seen)
        return "text"

    async def aask(prompt):
        await asyncio.sleep(0)
        return ask(prompt)

    return aask if colour == "async" else ask


@pytest.mark.parametrize("name", INCOMPLETE)
def test_what_was_seen_speaks_for_the_text(cache, colour, run, shaped, name):
    answer, why = INCOMPLETE[name]
    ask = ai_cached(texting([shaped(answer)] * 2, colour), cache=cache, version=1)
    assert [f"incomplete: {why}"] * 2 == [call.detail for call in twice(ask, run)]


@pytest.mark.parametrize("name", COMPLETE)
def test_a_text_behind_which_a_whole_answer_was_seen_is_kept(cache, colour, run, shaped, name):
    ask = ai_cached(texting([shaped(COMPLETE[name])], colour), cache=cache, version=1)
    assert [False, True] == [call.hit for call in twice(ask, run)]


def test_what_was_seen_tells_usage_and_served_model(colour, run, shaped):
    cache = Cache("memory://", prices={"small-2026": (1000, 1000)})
    seen = {**message(block("hi")), "model": "small-2026", "usage": {"input_tokens": 100, "output_tokens": 20}}
    ask = ai_cached(texting([shaped(seen)], colour), cache=cache, version=1)
    usage = Usage("small-2026", 100, 20, pytest.approx(0.12))
    assert [usage, usage] == [call.usage for call in twice(ask, run)]
    assert (120, 120) == (ask.cache_info().tokens_spent, ask.cache_info().tokens_saved)
    assert [usage] == [info.usage for info in cache.entries()]


def test_cache_if_is_asked_for_the_text_and_not_for_what_was_seen(cache, colour, run):
    asked = []
    seen = [INCOMPLETE["chat cut"][0]]
    ask = ai_cached(texting(seen, colour), cache=cache, version=1, cache_if=lambda text: asked.append(text) or True)
    assert [False, True] == [call.hit for call in twice(ask, run)]
    assert ["text"] == asked


def test_what_is_seen_and_is_no_providers_answer_says_nothing(cache, colour, run):
    ask = ai_cached(texting([{"finish_reason": "length"}], colour), cache=cache, version=1)
    assert [False, True] == [call.hit for call in twice(ask, run)]


def test_the_last_answer_that_was_seen_counts(cache, colour, run):
    def ask(prompt):
        current_call().saw(INCOMPLETE["chat cut"][0])
        current_call().saw(COMPLETE["chat"])
        return "text"

    async def aask(prompt):
        return ask(prompt)

    cached = ai_cached(aask if colour == "async" else ask, cache=cache)
    assert [False, True] == [call.hit for call in twice(cached, run)]


def test_nested_functions_see_for_themselves(cache, colour, run):
    """What the inner one saw is no word about the outer one's answer, and the other way round."""
    cut, whole = INCOMPLETE["chat cut"][0], COMPLETE["chat"]

    def nest(within, without):
        def inner(prompt):
            current_call().saw(within)
            return "inner"

        async def ainner(prompt):
            return inner(prompt)

        inside = ai_cached(ainner if colour == "async" else inner, cache=Cache("memory://"))

        def outer(prompt):
            current_call().saw(without)
            return inside(prompt)

        async def aouter(prompt):
            current_call().saw(without)
            return await inside(prompt)

        return ai_cached(aouter if colour == "async" else outer, cache=Cache("memory://"))

    details = []
    for within, without in ((cut, whole), (whole, cut)):
        with trace() as calls:
            assert "inner" == run(nest(within, without)("hi"))
        details.append([call.detail for call in calls])
    assert [["incomplete: length", None], [None, "incomplete: length"]] == details


def test_calls_at_once_see_each_their_own(cache):
    answers = {"cut": INCOMPLETE["chat cut"][0], "whole": COMPLETE["chat"]}

    @ai_cached(cache=cache, version=1)
    async def ask(prompt):
        current_call().saw(answers[prompt])
        await asyncio.sleep(0)
        return prompt

    async def main():
        await asyncio.gather(*map(ask, answers))
        return [await ask.cache_contains(prompt) for prompt in answers]

    assert [False, True] == asyncio.run(main())
