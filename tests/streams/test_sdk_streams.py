"""Streams of the real SDKs over HTTP: what comes back is what came, type by type."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext

import anthropic
import openai
import pytest
from pydantic import BaseModel

from aicached import Cache, ai_cached, current_call, patch, trace
from aicached.testing import Failure, ModelServer
from tests.streams.conftest import END

CHAT = {"model": "small", "messages": [{"role": "user", "content": "Hello?"}]}
MESSAGE = {**CHAT, "max_tokens": 500}
ASKED = {"model": "small", "input": "Hello?"}
TOOLS = [("look_up", {"city": "Rome", "days": [1, 2]}), ("stop", {})]


class Clients:
    """Give clients of one colour."""

    def __init__(self, colour: str, server: ModelServer) -> None:
        self.colour = colour
        asynchronous = colour == "async"
        self.openai = (openai.AsyncOpenAI if asynchronous else openai.OpenAI)(
            base_url=server.url, api_key="any", max_retries=0
        )
        self.anthropic = (anthropic.AsyncAnthropic if asynchronous else anthropic.Anthropic)(
            base_url=server.root, api_key="any", max_retries=0
        )

    async def close(self) -> None:
        for client in (self.openai, self.anthropic):
            closing = client.close()
            if closing is not None:
                await closing


@pytest.fixture
def clients(colour, server) -> Iterator[Clients]:
    made = Clients(colour, server)
    yield made
    if colour == "sync":
        with ExitStack() as stack:
            stack.enter_context(made.openai)
            stack.enter_context(made.anthropic)


def seen(chunks):
    return [(type(chunk), chunk.model_dump(), chunk.model_fields_set) for chunk in chunks]


@pytest.fixture
def twice(reader, clients, any_cache):
    """Read a stream twice, the second time from the cache, and give both."""

    def twice(function, **arguments):
        cached = ai_cached(function, cache=any_cache)

        async def scenario():
            try:
                first = await reader.whole(await reader.value(cached(**arguments)))
                second = await reader.whole(await reader.value(cached(**arguments)))
                return first, second
            finally:
                if reader.colour == "async":
                    await clients.close()

        return reader.play(scenario)

    return twice


@pytest.mark.parametrize(
    ("said", "arguments"),
    [
        ({"text": "one two three"}, {}),
        ({"text": "one two"}, {"stream_options": {"include_usage": True}}),
        ({"tools": TOOLS, "finish_reason": "tool_calls"}, {}),
        ({"text": "and", "tools": TOOLS, "finish_reason": "tool_calls"}, {"stream_options": {"include_usage": True}}),
        ({"text": "so", "reasoning": "hm, let me see"}, {}),
        ({"text": "one two"}, {"n": 2, "stream_options": {"include_usage": True}}),
    ],
    ids=["text", "usage", "tools", "text and tools", "reasoning", "n=2"],
)
def test_chunks_of_a_chat(server, clients, twice, said, arguments):
    server.answer = lambda _: said
    first, second = twice(clients.openai.chat.completions.create, **CHAT, **arguments, stream=True)
    assert seen(first) == seen(second)
    assert len(first) > 3
    assert 1 == server.calls


@pytest.mark.parametrize(
    "said",
    [{"text": "one two"}, {"tools": TOOLS}, {"text": "so", "reasoning": "hm, let me see", "tools": TOOLS}],
    ids=["text", "tools", "reasoning"],
)
def test_events_of_a_response(server, clients, twice, said):
    server.answer = lambda _: said
    first, second = twice(clients.openai.responses.create, **ASKED, stream=True)
    assert seen(first) == seen(second)
    assert "response.completed" == first[-1].type
    assert 1 == server.calls


@pytest.mark.parametrize(
    "said",
    [
        {"text": "one two"},
        {"tools": TOOLS, "finish_reason": "tool_calls"},
        {"text": "so", "reasoning": "hm, let me see", "tools": TOOLS, "finish_reason": "tool_calls"},
    ],
    ids=["text", "tools", "reasoning"],
)
def test_events_of_a_message(server, clients, twice, said):
    server.answer = lambda _: said
    first, second = twice(clients.anthropic.messages.create, **MESSAGE, stream=True)
    assert seen(first) == seen(second)
    assert "message_stop" == first[-1].type
    assert 1 == server.calls


def test_streams_and_plain_answers_are_two_entries(server, clients, reader, cache):
    create = ai_cached(clients.openai.chat.completions.create, cache=cache, key=("model", "messages"))

    async def scenario():
        for _ in range(2):
            chunks = await reader.whole(await reader.value(create(**CHAT, stream=True)))
            assert "chat.completion.chunk" == chunks[0].object
            assert "chat.completion" == (await reader.value(create(**CHAT))).object
        await _closed(reader, clients)

    reader.play(scenario)
    assert 2 == server.calls


async def _closed(reader, clients):
    if reader.colour == "async":
        await clients.close()


def cut(finish):
    return lambda _: {"text": "one two", "finish_reason": finish}


@pytest.mark.parametrize("finish", ["length", "content_filter"])
@pytest.mark.parametrize("api", ["chat", "responses", "messages"])
def test_a_stream_that_was_cut_by_the_model_is_not_kept(server, clients, reader, cache, api, finish):
    server.answer = cut(finish)
    calls = {
        "chat": (clients.openai.chat.completions.create, CHAT),
        "responses": (clients.openai.responses.create, ASKED),
        "messages": (clients.anthropic.messages.create, MESSAGE),
    }
    function, arguments = calls[api]
    create = ai_cached(function, cache=cache)

    async def scenario():
        with trace() as traced:
            for _ in range(2):
                await reader.whole(await reader.value(create(**arguments, stream=True)))
        await _closed(reader, clients)
        return traced

    assert all(call.detail.startswith("incomplete: ") for call in reader.play(scenario))
    assert 2 == server.calls


@pytest.mark.parametrize("tidy", [True, False], ids=["ends early", "hangs up"])
@pytest.mark.parametrize("api", ["chat", "responses", "messages"])
def test_a_stream_without_its_end_mark_is_not_kept_and_the_next_is_whole(server, clients, reader, cache, api, tidy):
    server.answer = lambda _: {"text": "one two three four five"}
    server.script(Failure(cut_after=5, tidy=tidy))
    calls = {
        "chat": (clients.openai.chat.completions.create, CHAT),
        "responses": (clients.openai.responses.create, ASKED),
        "messages": (clients.anthropic.messages.create, MESSAGE),
    }
    function, arguments = calls[api]
    create = ai_cached(function, cache=cache, retry=False)

    async def scenario():
        got, stream = [], await reader.value(create(**arguments, stream=True))
        with nullcontext() if tidy else pytest.raises(Exception, match="peer closed|Connection error"):
            while (chunk := await reader.step(stream)) != END:
                got.append(chunk)
        assert 3 <= len(got) <= 5
        whole = await reader.whole(await reader.value(create(**arguments, stream=True)))
        assert len(whole) > len(got)
        again = await reader.whole(await reader.value(create(**arguments, stream=True)))
        assert seen(whole) == seen(again)
        await _closed(reader, clients)

    reader.play(scenario)
    assert 2 == server.calls


def test_usage_is_counted_and_saved(server, clients, reader, cache):
    server.answer = lambda _: {"text": "one", "tokens_in": 11, "tokens_out": 7}
    chat = ai_cached(clients.openai.chat.completions.create, cache=cache)
    messages = ai_cached(clients.anthropic.messages.create, cache=cache)
    responses = ai_cached(clients.openai.responses.create, cache=cache)

    async def scenario():
        for _ in range(2):
            counted = {"stream": True, "stream_options": {"include_usage": True}}
            await reader.whole(await reader.value(chat(**CHAT, **counted)))
            await reader.whole(await reader.value(messages(**MESSAGE, stream=True)))
            await reader.whole(await reader.value(responses(**ASKED, stream=True)))
        await _closed(reader, clients)

    reader.play(scenario)
    for cached in (chat, messages, responses):
        assert (18, 18) == (cached.cache_info().tokens_spent, cached.cache_info().tokens_saved)


def test_a_stream_of_texts_can_show_the_stream_behind_it(server, clients, reader, cache):
    create = clients.openai.chat.completions.create
    server.answer = lambda _: {"text": "one two three"}
    server.script(Failure(cut_after=3, tidy=True))
    if reader.colour == "sync":

        def ask(prompt):
            for chunk in create(**CHAT, stream=True):
                if text := current_call().saw(chunk).choices[0].delta.content:
                    yield text
    else:

        async def ask(prompt):
            async for chunk in await create(**CHAT, stream=True):
                if text := current_call().saw(chunk).choices[0].delta.content:
                    yield text

    cached = ai_cached(ask, cache=cache, version=1)

    async def scenario():
        got = ["".join(await reader.whole(cached("hi"))) for _ in range(3)]
        await _closed(reader, clients)
        return got

    cut_, *whole = reader.play(scenario)
    assert ["one two three"] * 2 == whole
    assert whole[0].startswith(cut_)
    assert 2 == server.calls


def test_joining_an_sdk_stream(server, clients, reader, cache):
    server.answer = lambda _: {"text": "one two three"}
    create = ai_cached(clients.openai.chat.completions.create, cache=cache)

    async def scenario():
        one = await reader.value(create(**CHAT, stream=True))
        await reader.step(one)
        two = await reader.value(create(**CHAT, stream=True))
        assert 200 == one.response.status_code
        first, second = await reader.whole(one), await reader.whole(two)
        await _closed(reader, clients)
        return first, second

    first, second = reader.play(scenario)
    assert seen(first) == seen(second)[1:]
    assert not {id(chunk) for chunk in first} & {id(chunk) for chunk in second}
    assert 1 == server.calls


# Managers ------------------------------------------------------------------------------------------------------------


class Answer(BaseModel):
    text: str


def entered(reader, manager):
    return reader.value(manager.__enter__() if reader.colour == "sync" else manager.__aenter__())


async def left(reader, manager):
    await reader.value(
        manager.__exit__(None, None, None) if reader.colour == "sync" else manager.__aexit__(None, None, None)
    )


def test_a_message_stream_and_its_final_message(server, clients, reader, any_cache):
    server.answer = lambda _: {"text": "one two", "tools": TOOLS, "finish_reason": "tool_calls"}
    stream = ai_cached(clients.anthropic.messages.stream, cache=any_cache)

    async def scenario():
        events, finals, texts = [], [], []
        for _ in range(2):
            manager = stream(**MESSAGE)
            opened = await entered(reader, manager)
            events.append(await reader.whole(opened))
            finals.append(await reader.value(opened.get_final_message()))
            texts.append(await reader.value(opened.get_final_text()))
            await left(reader, manager)
        for _ in range(2):
            manager = stream(**{**MESSAGE, "max_tokens": 400})
            opened = await entered(reader, manager)
            texts.append("".join(await reader.whole(opened.text_stream)))
            await left(reader, manager)
        await _closed(reader, clients)
        return events, finals, texts

    events, finals, texts = reader.play(scenario)
    assert seen(events[0]) == seen(events[1])
    assert seen([finals[0]]) == seen([finals[1]])
    assert ["one two"] * 4 == texts
    assert 2 == server.calls


def test_a_chat_stream_and_its_final_completion(server, clients, reader, any_cache):
    server.answer = lambda _: {"text": '{"text": "one two"}'}
    stream = ai_cached(clients.openai.chat.completions.stream, cache=any_cache)

    async def scenario():
        events, finals = [], []
        for _ in range(2):
            manager = stream(**CHAT, response_format=Answer)
            opened = await entered(reader, manager)
            events.append(await reader.whole(opened))
            finals.append(await reader.value(opened.get_final_completion()))
            await left(reader, manager)
        await _closed(reader, clients)
        return events, finals

    events, finals = reader.play(scenario)
    assert [event.type for event in events[0]] == [event.type for event in events[1]]
    assert Answer(text="one two") == finals[0].choices[0].message.parsed == finals[1].choices[0].message.parsed
    assert finals[0] == finals[1]
    assert 1 == server.calls


def test_a_response_stream_and_its_final_response(server, clients, reader, any_cache):
    server.answer = lambda _: {"text": "one two"}
    stream = ai_cached(clients.openai.responses.stream, cache=any_cache)

    async def scenario():
        finals = []
        for _ in range(2):
            manager = stream(**ASKED)
            opened = await entered(reader, manager)
            done = await reader.value(opened.until_done())
            assert done is opened
            finals.append(await reader.value(opened.get_final_response()))
            await left(reader, manager)
        await _closed(reader, clients)
        return finals

    first, second = reader.play(scenario)
    assert "one two" == first.output_text == second.output_text
    assert 1 == server.calls


def test_a_manager_that_is_left_early_keeps_nothing(server, clients, reader, cache):
    server.answer = lambda _: {"text": "one two three four"}
    stream = ai_cached(clients.anthropic.messages.stream, cache=cache)

    async def scenario():
        for _ in range(2):
            manager = stream(**MESSAGE)
            opened = await entered(reader, manager)
            await reader.some(opened, 3)
            await left(reader, manager)
        await _closed(reader, clients)

    reader.play(scenario)
    assert 2 == server.calls


def test_a_patched_stream_method(server, cache):
    with patch("anthropic.resources.messages:AsyncMessages.stream", cache=cache):

        async def main():
            said = []
            async with anthropic.AsyncAnthropic(base_url=server.root, api_key="any", max_retries=0) as client:
                for _ in range(2):
                    async with client.messages.stream(**MESSAGE) as stream:
                        said.append("".join([text async for text in stream.text_stream]))
            return said

        first, second = asyncio.run(main())
    assert "Hello?" in first
    assert first == second
    assert 1 == server.calls


def test_an_sdk_failure_before_the_stream_is_the_sdks_own(server, clients, reader, cache):
    server.script(400)
    create = ai_cached(clients.openai.chat.completions.create, cache=cache)

    async def scenario():
        with pytest.raises(openai.BadRequestError):
            await reader.value(create(**CHAT, stream=True))
        await _closed(reader, clients)

    reader.play(scenario)


def test_google_chunks_have_an_end_mark(reader):
    from google.genai import types

    cache = Cache("memory://")

    def piece(text, reason=None):
        content = types.Content(role="model", parts=[types.Part(text=text)])
        return types.GenerateContentResponse(
            candidates=[types.Candidate(content=content, finish_reason=reason)],
            usage_metadata=types.GenerateContentResponseUsageMetadata(prompt_token_count=3, candidates_token_count=2),
            model_version="small",
        )

    whole = [piece("one "), piece("two", types.FinishReason.STOP)]
    scripts = [whole[:1], [piece("one", types.FinishReason.MAX_TOKENS)], whole]
    calls = []
    if reader.colour == "sync":

        def ask(prompt):
            calls.append(prompt)
            yield from scripts[len(calls) - 1]
    else:

        async def ask(prompt):
            calls.append(prompt)
            for chunk in scripts[len(calls) - 1]:
                yield chunk

    cached = ai_cached(ask, cache=cache, version=1)

    async def scenario():
        with trace() as traced:
            got = [await reader.whole(cached("hi")) for _ in range(4)]
        assert ["incomplete: no end mark", "incomplete: MAX_TOKENS", None, None] == [call.detail for call in traced]
        return got

    got = reader.play(scenario)
    assert seen(whole) == seen(got[2]) == seen(got[3])
    assert 5 == cached.cache_info().tokens_saved
