"""The model's server, asked by the real clients of openai and anthropic."""

from __future__ import annotations

import asyncio
import json

import anthropic
import openai
import pydantic
import pytest

from aicached.testing import Failure
from aicached.testing.server import Reply

HELLO = [{"role": "user", "content": "Hello?"}]
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}


def chat(client: openai.OpenAI, **settings):
    return client.chat.completions.create(**{"model": "small", "messages": HELLO, **settings})


def message(claude: anthropic.Anthropic, **settings):
    return claude.messages.create(**{"model": "small", "messages": HELLO, "max_tokens": 200, **settings})


def test_the_same_question_gets_the_same_words(server, client):
    first, second, other = chat(client), chat(client), chat(client, model="large")
    assert first.choices[0].message.content == second.choices[0].message.content
    assert first.choices[0].message.content != other.choices[0].message.content
    assert first.id != second.id
    assert server.calls == 3


def test_a_chat_answer_is_counted_and_finished(client):
    answer = chat(client)
    assert answer.choices[0].finish_reason == "stop"
    assert "Hello?" in answer.choices[0].message.content
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.prompt_tokens > 0 < answer.usage.completion_tokens


def test_independent_answers_differ(client):
    texts = [choice.message.content for choice in chat(client, n=3).choices]
    assert len(set(texts)) == 3


def test_a_chat_stream_says_what_the_whole_answer_says(client):
    whole = chat(client).choices[0].message.content
    chunks = list(chat(client, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == whole
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens > 0


def test_a_chat_stream_tells_its_usage_only_when_asked(client):
    assert {chunk.usage for chunk in chat(client, stream=True)} == {None}


def test_a_forced_tool_is_called(client):
    tools = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}]
    choice = chat(client, tools=tools, tool_choice="required").choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls[0].function.name == "weather"
    assert json.loads(choice.message.tool_calls[0].function.arguments) == {"city": "text", "days": 1}
    assert chat(client, tools=tools).choices[0].finish_reason == "stop"


def test_a_tool_call_streams_in_pieces(client):
    tools = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}]
    forced = {"type": "function", "function": {"name": "weather"}}
    deltas = [chunk.choices[0].delta for chunk in chat(client, tools=tools, tool_choice=forced, stream=True)]
    pieces = [call.function.arguments for delta in deltas for call in delta.tool_calls or ()]
    assert json.loads("".join(pieces)) == {"city": "text", "days": 1}


def test_a_schema_is_answered_in_its_shape(client):
    class City(pydantic.BaseModel):
        name: str
        people: int
        rivers: list[str]

    parsed = client.chat.completions.parse(model="small", messages=HELLO, response_format=City)
    assert parsed.choices[0].message.parsed == City(name="text", people=1, rivers=["text"])


def test_a_limit_of_tokens_cuts_the_answer(client, claude):
    assert chat(client, max_completion_tokens=3).choices[0].finish_reason == "length"
    assert message(claude, max_tokens=3).stop_reason == "max_tokens"


def test_claude_answers_in_its_own_shape(server, claude):
    answer = message(claude, system="Be short.")
    assert answer.stop_reason == "end_turn"
    assert "Hello?" in answer.content[0].text
    assert answer.usage.input_tokens > 0 < answer.usage.output_tokens
    assert server.requests[-1].path == "/v1/messages"


def test_claude_streams_what_the_whole_answer_says(claude):
    with claude.messages.stream(model="small", messages=HELLO, max_tokens=200) as stream:
        events = [event.type for event in stream]
        final = stream.get_final_message()
    assert final.content[0].text == message(claude).content[0].text
    assert (events[0], events[-1]) == ("message_start", "message_stop")
    assert final.usage.output_tokens > 1


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "weather"}])
def test_claude_calls_a_forced_tool(claude, choice):
    tools = [{"name": "weather", "input_schema": WEATHER}]
    answer = message(claude, tools=tools, tool_choice=choice)
    assert (answer.stop_reason, answer.content[0].input) == ("tool_use", {"city": "text", "days": 1})
    settings = {"model": "small", "messages": HELLO, "max_tokens": 200}
    with claude.messages.stream(**settings, tools=tools, tool_choice=choice) as stream:
        assert stream.get_final_message().content[0].input == {"city": "text", "days": 1}


def test_async_clients_are_answered(server):
    async def ask() -> tuple[str, str]:
        openai_client = openai.AsyncOpenAI(base_url=server.url, api_key="any", max_retries=0)
        claude = anthropic.AsyncAnthropic(base_url=server.root, api_key="any", max_retries=0)
        async with openai_client, claude:
            chunks = await openai_client.chat.completions.create(model="small", messages=HELLO, stream=True)
            streamed = "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])
            said = await claude.messages.create(model="small", messages=HELLO, max_tokens=200)
            return streamed, said.content[0].text

    streamed, said = asyncio.run(ask())
    assert streamed == said


def test_embeddings_place_like_texts_near_each_other(client):
    answer = client.embeddings.create(model="embedding", input=["a red fox", "a red hen", "nothing alike"])
    fox, hen, other = (item.embedding for item in answer.data)
    assert len(fox) == 64
    assert sum(x * x for x in fox) == pytest.approx(1)
    assert sum(x * y for x, y in zip(fox, hen, strict=True)) > sum(x * y for x, y in zip(fox, other, strict=True))
    assert answer.usage.total_tokens > 0


def test_embeddings_come_as_floats_and_in_any_size(client):
    settings = {"model": "embedding", "input": "one", "dimensions": 4}
    plain = client.embeddings.create(**settings, encoding_format="float").data[0].embedding
    packed = client.embeddings.create(**settings).data[0].embedding
    assert packed == pytest.approx(plain)
    assert len(plain) == 4


def test_token_numbers_are_embedded_too(client):
    one, many = (client.embeddings.create(model="e", input=tokens) for tokens in ([1, 2], [[1, 2], [3]]))
    assert one.data[0].embedding == many.data[0].embedding
    assert len(many.data) == 2


def test_models_are_listed_and_not_counted(server, client):
    assert [model.id for model in client.models.list()] == ["large", "small"]
    assert (server.calls, len(server.requests)) == (0, 1)


def test_a_script_fails_in_order_and_ends(server, client):
    server.script(Failure(429, retry_after="0.05"), 500, 200)
    with pytest.raises(openai.RateLimitError) as limited:
        chat(client)
    assert limited.value.response.headers["retry-after"] == "0.05"
    assert limited.value.code == "rate_limit_exceeded"
    with pytest.raises(openai.InternalServerError):
        chat(client)
    assert [len(chat(client).choices), len(chat(client).choices)] == [1, 1]
    assert (server.calls, server.failures) == (4, 2)


def test_claude_fails_in_its_own_shape(server, claude):
    server.script(429, 400, 529)
    for kind, name in [
        (anthropic.RateLimitError, "rate_limit_error"),
        (anthropic.BadRequestError, "invalid_request_error"),
        (anthropic.APIStatusError, "overloaded_error"),
    ]:
        with pytest.raises(kind) as failed:
            message(claude)
        assert failed.value.body["error"]["type"] == name


def test_a_failure_says_what_it_was_told(server, client):
    server.script(Failure(429, message="no more", code="insufficient_quota", headers={"x-should-retry": "false"}))
    with pytest.raises(openai.RateLimitError, match="no more") as failed:
        chat(client)
    assert failed.value.code == "insufficient_quota"
    assert failed.value.response.headers["x-should-retry"] == "false"


def test_each_nth_call_fails(client, server):
    server.fail_every = 3
    seen = []
    for _ in range(6):
        try:
            seen.append(chat(client).choices[0].finish_reason)
        except openai.RateLimitError:
            seen.append("429")
    assert seen == ["stop", "stop", "429"] * 2


def test_the_sdk_gets_through_by_itself(server):
    busy = Failure(429, headers={"retry-after-ms": "5"})
    server.script(busy, busy)
    with openai.OpenAI(base_url=server.url, api_key="any", max_retries=2) as client:
        assert chat(client).choices
    assert server.calls == 3


def test_a_cut_stream_is_a_broken_connection(server, client):
    server.script(Failure(cut_after=3))
    chunks = []
    with pytest.raises(openai.APIConnectionError):
        chunks.extend(chunk for chunk in chat(client, stream=True))
    server.script(Failure(cut_after=0))
    with pytest.raises(openai.APIConnectionError):
        chat(client)
    assert chat(client).choices


@pytest.mark.parametrize("settings", [{"messages": []}, {"model": None}])
def test_a_question_without_its_parts_is_a_400(client, settings):
    with pytest.raises(openai.BadRequestError) as refused:
        chat(client, **settings)
    assert refused.value.body["type"] == "invalid_request_error"


def test_an_unknown_path_is_a_404(client):
    with pytest.raises(openai.NotFoundError):
        client.images.generate(prompt="a fox")


def test_an_answer_can_be_written_down(server, client, claude):
    server.answer = lambda body: body["messages"][0]["content"].upper()
    assert chat(client).choices[0].message.content == "HELLO?"
    server.answer = lambda body: {"text": "cut", "finish_reason": "length", "tokens_in": 7, "tokens_out": 11}
    assert chat(client).choices[0].finish_reason == "length"
    assert message(claude).stop_reason == "max_tokens"
    assert chat(client).usage.total_tokens == 18
    server.answer = lambda body: Reply(tools=[("weather", {"city": "Ulm"})], finish_reason="tool_calls", model="other")
    assert chat(client).choices[0].message.tool_calls[0].function.arguments == '{"city": "Ulm"}'
    assert chat(client).model == "other"


def test_an_answer_can_be_a_failure_a_body_or_a_mistake(server, client):
    server.answer = lambda body: Failure(400, message="too long")
    with pytest.raises(openai.BadRequestError, match="too long"):
        chat(client)
    server.answer = lambda body: {"body": {"id": "x", "object": "chat.completion", "choices": []}}
    assert chat(client).choices == []
    server.answer = lambda body: {"no such field": 1}
    with pytest.raises(openai.InternalServerError, match="TypeError"):
        chat(client)


def test_requests_are_recorded(server, client):
    chat(client, extra_headers={"X-Who": "me"})
    request = server.requests[0]
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert request.json["messages"] == HELLO
    assert request.headers["x-who"] == "me"
    server.reset()
    assert (server.requests, server.calls) == ([], 0)
