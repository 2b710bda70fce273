"""
Nothing that may change the answer is forgotten: change just one thing, and the model is asked.

Issues of other libraries that this would have found: research/llm_peers.md, 2.1.
"""

from __future__ import annotations

import asyncio
import copy
import inspect

import anthropic
import openai
import pydantic
import pytest

from aicached import Cache, ai_cached
from aicached.testing import ModelServer
from tests.keys.calls import call, keyer


class City(pydantic.BaseModel):
    name: str


class Person(pydantic.BaseModel):
    name: str


def picture(data):
    url = {"url": f"data:image/png;base64,{data}"}
    return {
        "role": "user",
        "content": [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": url}],
    }


def block(data):
    source = {"type": "base64", "media_type": "image/png", "data": data}
    return {"role": "user", "content": [{"type": "text", "text": "What is it?"}, {"type": "image", "source": source}]}


def openai_tool(name):
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}


def schema(cls):
    return {"type": "json_schema", "json_schema": {"name": "a", "schema": cls.model_json_schema()}}


def said(*messages, system="Be brief."):
    return [{"role": "system", "content": system}, {"role": "user", "content": "Hello?"}, *messages]


HELLO = [{"role": "user", "content": "Hello?"}]
OPENAI = {
    "model": "small", "messages": said(picture("AAAA")), "temperature": 0.5, "max_tokens": 200, "seed": 1,
    "tools": [openai_tool("a")], "tool_choice": "auto", "response_format": schema(City), "reasoning_effort": "low",
    "stream": False, "extra_body": {"novelty": 1}, "extra_headers": {"x-team": "a"},
}  # fmt: skip
ANTHROPIC = {
    "model": "small", "messages": [*HELLO, block("AAAA")], "max_tokens": 200, "system": "Be brief.",
    "tools": [{"name": "a", "input_schema": {"type": "object"}}], "tool_choice": {"type": "auto"}, "stream": False,
    "thinking": {"type": "disabled"}, "extra_body": {"novelty": 1}, "extra_headers": {"x-team": "a"},
}  # fmt: skip
LEFT_OUT = object()
CHANGES = {
    "openai": [
        {"model": "large"}, {"temperature": 0.0}, {"temperature": None}, {"temperature": LEFT_OUT}, {"max_tokens": 201},
        {"max_tokens": LEFT_OUT}, {"seed": 2}, {"seed": True}, {"tools": [openai_tool("b")]}, {"tools": LEFT_OUT},
        {"tool_choice": "required"}, {"tool_choice": "none"}, {"response_format": schema(Person)},
        {"response_format": LEFT_OUT}, {"reasoning_effort": "high"}, {"reasoning_effort": LEFT_OUT},
        {"messages": said(picture("AAAA"), system="Be kind.")}, {"messages": said(picture("AAAB"))},
        {"messages": said()}, {"extra_body": {"novelty": 2}}, {"extra_body": {"other": 1}},
        {"extra_headers": {"x-team": "b"}}, {"user": "ann"}, {"top_p": 0.5},
    ],
    "anthropic": [
        {"model": "large"}, {"max_tokens": 201}, {"system": "Be kind."}, {"extra_body": {"temperature": 0.5}},
        {"system": LEFT_OUT}, {"tools": [{"name": "b", "input_schema": {"type": "object"}}]}, {"tools": LEFT_OUT},
        {"tool_choice": {"type": "any"}}, {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        {"messages": [*HELLO, block("AAAB")]}, {"messages": HELLO}, {"extra_body": {"novelty": 2}},
        {"extra_headers": {"x-team": "b"}}, {"stop_sequences": ["x"]},
    ],
}  # fmt: skip
CASES = [(sdk, change) for sdk, changes in CHANGES.items() for change in changes]


def arguments(sdk, change=()):
    given = {**(OPENAI if sdk == "openai" else ANTHROPIC), **dict(change)}
    return {name: value for name, value in given.items() if value is not LEFT_OUT}


def client_of(sdk, colour, url):
    kind = {"openai": "OpenAI", "anthropic": "Anthropic"}[sdk]
    made = getattr({"openai": openai, "anthropic": anthropic}[sdk], kind if colour == "sync" else f"Async{kind}")
    return made(base_url=url, api_key="any", max_retries=0)


def method(sdk, client):
    return client.chat.completions.create if sdk == "openai" else client.messages.create


def ask(sdk, colour, url, cache, *calls):
    """Call a fresh client's cached method with each of *calls*."""

    async def main():
        client = client_of(sdk, colour, url)
        create = ai_cached(method(sdk, client), cache=cache)
        for given in calls:
            answer = create(**given)
            if inspect.isawaitable(answer):
                await answer
        closed = client.close()
        if inspect.isawaitable(closed):
            await closed

    asyncio.run(main())


def url_of(sdk, server):
    return server.url if sdk == "openai" else server.root


@pytest.fixture(scope="module")
def model():
    with ModelServer(answer=lambda _: "Hello!") as server:
        yield server


@pytest.mark.parametrize(("sdk", "change"), CASES, ids=lambda value: value if isinstance(value, str) else [*value][0])
def test_one_thing_changed_is_a_miss(sdk, change, model, colour, cache):
    model.reset()
    plain, changed = arguments(sdk), arguments(sdk, change.items())
    ask(sdk, colour, url_of(sdk, model), cache, plain, changed, plain, changed)
    assert 2 == model.calls


@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
def test_all_changes_have_keys_of_their_own(sdk):
    keys = keyer(method(sdk, client_of(sdk, "sync", "http://localhost:1")))
    made = [call(keys, **arguments(sdk, change.items())) for change in ({}, *CHANGES[sdk], {"stream": True})]
    assert len(made) == len(set(made))


@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
def test_everything_equal_is_a_hit_however_it_is_spelled(sdk, model, colour, cache):
    """In another order, with equal objects of its own, through another client with another key."""
    model.reset()
    plain = arguments(sdk)
    again = {name: copy.deepcopy(value) for name, value in reversed(plain.items())}
    again["messages"] = [dict(reversed(message.items())) for message in again["messages"]]
    ask(sdk, colour, url_of(sdk, model), cache, plain, again)
    ask(sdk, colour, url_of(sdk, model), cache, again)
    assert 1 == model.calls


@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
def test_another_base_url_is_a_miss(sdk, model, colour, cache):
    model.reset()
    with ModelServer(answer=lambda _: "Hello!") as other:
        for server in (model, other, model, other):
            ask(sdk, colour, url_of(sdk, server), cache, arguments(sdk))
        assert (1, 1) == (model.calls, other.calls)


@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
def test_a_stream_is_not_answered_with_a_whole_answer(sdk, model, cache):
    model.reset()
    client = client_of(sdk, "sync", url_of(sdk, model))
    create = ai_cached(method(sdk, client), cache=cache)
    with client:
        create(**arguments(sdk))
        with create(**arguments(sdk, {"stream": True}.items())) as stream:
            assert 1 < len(list(stream))
        assert 2 == model.calls
        create(**arguments(sdk))
    assert 2 == model.calls


def test_image_bytes_that_a_function_is_given_count(model, cache):
    model.reset()
    with client_of("openai", "sync", model.url) as client:

        @ai_cached(cache=cache)
        def describe(image, prompt="What is it?", **options):
            message = picture(image.hex())
            return client.chat.completions.create(model="small", messages=[message], **options)

        for image in (b"\x89PNG1", b"\x89PNG2", b"\x89PNG1"):
            describe(image)
        assert 2 == model.calls
        for _ in range(2):
            describe(b"\x89PNG1", seed=1)
        assert 3 == model.calls


def test_a_cache_that_outlives_the_process_forgets_nothing_either(model, colour, tmp_path):
    model.reset()
    for _ in range(2):
        cache = Cache(f"sqlite:///{tmp_path}/answers.db")
        ask("openai", colour, model.url, cache, arguments("openai"), arguments("openai", {"seed": 2}.items()))
        cache.close()
    assert 2 == model.calls
