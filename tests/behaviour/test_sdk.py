"""The real clients of openai and anthropic, against a model on loopback."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import anthropic
import openai
import pydantic
import pytest

from aicached import Cache, ai_cached, trace
from aicached.testing import Failure, ModelServer

HELLO = [{"role": "user", "content": "Hello?"}]
CHAT = {"model": "small", "messages": HELLO}
MESSAGE = {**CHAT, "max_tokens": 200}


class Answer(pydantic.BaseModel):
    city: str
    days: int


class Sdk:
    """One SDK in one colour: `ask` calls the model as often as it is told to, through a cached function."""

    def __init__(self, name: str, colour: str, server: ModelServer, cache: Cache) -> None:
        self.name, self.colour, self.server, self.cache = name, colour, server, cache
        self.module = {"openai": openai, "anthropic": anthropic}[name]

    @property
    def arguments(self) -> dict[str, Any]:
        return CHAT if self.name == "openai" else MESSAGE

    def client(self, **settings):
        kind = {"openai": "OpenAI", "anthropic": "Anthropic"}[self.name]
        made = getattr(self.module, kind if self.colour == "sync" else f"Async{kind}")
        url = self.server.url if self.name == "openai" else self.server.root
        return made(**{"base_url": url, "api_key": "any", "max_retries": 0, **settings})

    def method(self, client):
        return client.chat.completions.create if self.name == "openai" else client.messages.create

    def ask(self, times: int = 1, *, options=(), settings=(), **arguments) -> list[Any]:
        """Call a fresh client's cached method, several times in a row, and return the answers."""

        async def main():
            client = self.client(**dict(settings))
            try:
                cached = ai_cached(self.method(client), cache=self.cache, **dict(options))
                said = []
                for _ in range(times):
                    value = cached(**{**self.arguments, **arguments})
                    said.append(await value if self.colour == "async" else value)
                return said
            finally:
                closed = client.close()
                if inspect.isawaitable(closed):
                    await closed

        return asyncio.run(main())


@pytest.fixture(params=["openai", "anthropic"])
def sdk(request, colour, server, cache) -> Sdk:
    return Sdk(request.param, colour, server, cache)


@pytest.fixture(params=["memory", "sqlite"])
def byte_cache(request, tmp_path) -> Cache:
    """Give a cache that keeps entries opened, and one that keeps bytes."""
    return Cache("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/answers.db", timeout=5)


def test_the_second_call_makes_no_request(sdk):
    first, second = sdk.ask(2)
    assert 1 == sdk.server.calls
    assert type(first) is type(second)
    assert first == second


def test_a_typed_answer_comes_back_as_it_was(sdk, byte_cache):
    """Class, equality, `_request_id`, fields set, and fields that the SDK does not know."""
    sdk.cache = byte_cache
    first, second = sdk.ask(2)
    assert 1 == sdk.server.calls
    assert type(first) is type(second)
    assert first == second
    assert first._request_id == second._request_id
    assert first.model_fields_set == second.model_fields_set
    assert first.model_dump() == second.model_dump()
    assert first.model_extra == second.model_extra
    assert first.to_json() == second.to_json()


def test_unknown_fields_and_the_request_id_survive(server, client, byte_cache):
    message = {"role": "assistant", "content": "x", "mood": "good"}
    choices = [{"index": 0, "finish_reason": "stop", "message": message}]
    body = {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": choices,
        "novelty": {"a": [1]},
    }
    server.answer = lambda _: {"body": body}
    create = ai_cached(client.chat.completions.create, cache=byte_cache)
    first = create(**CHAT)
    first._request_id = "req_1"  # as the SDK sets it from a header
    create.cache_put(first, **CHAT)
    second = create(**CHAT)
    assert first == second
    assert {"a": [1]} == second.novelty
    assert "good" == second.choices[0].message.mood
    assert "req_1" == second._request_id
    assert 1 == server.calls


def test_an_answer_survives_the_process_that_asked(sdk, tmp_path):
    """Another cache object on the same file decodes what the first one stored."""
    sdk.cache = Cache(f"sqlite:///{tmp_path}/answers.db", timeout=5)
    (first,) = sdk.ask()
    sdk.cache.close()
    sdk.cache = Cache(f"sqlite:///{tmp_path}/answers.db", timeout=5)
    assert [first] == sdk.ask()
    assert 1 == sdk.server.calls


def test_two_base_urls_never_share(sdk):
    with ModelServer() as other:
        sdk.ask()
        sdk.server, first = other, sdk.server
        sdk.ask()
        assert (1, 1) == (first.calls, other.calls)


def test_two_base_urls_never_share_in_a_function_that_reads_its_client(server, cache):
    with ModelServer() as other:

        def asking(client):
            @ai_cached(cache=cache)
            def ask(prompt):
                return client.chat.completions.create(model="small", messages=[{"role": "user", "content": prompt}])

            return ask

        with (
            openai.OpenAI(base_url=server.url, api_key="any") as a,
            openai.OpenAI(base_url=other.url, api_key="b") as b,
        ):
            for client in (a, b, a, b):
                asking(client)("hi")
            assert (1, 1) == (server.calls, other.calls)
            a.base_url = other.url
            asking(a)("hi")
            assert (1, 1) == (server.calls, other.calls)


def test_a_clients_base_url_that_moves_is_followed(server, cache):
    with ModelServer() as other, openai.OpenAI(base_url=server.url, api_key="any") as client:

        @ai_cached(cache=cache)
        def ask(prompt):
            return client.chat.completions.create(model="small", messages=[{"role": "user", "content": prompt}])

        ask("hi")
        client.base_url = other.url
        ask("hi")
        ask("hi")
        assert (1, 1) == (server.calls, other.calls)


def test_the_api_key_is_not_in_the_key(sdk):
    sdk.ask(settings={"api_key": "one"})
    sdk.ask(settings={"api_key": "two"})
    assert 1 == sdk.server.calls


def test_organizations_do_not_share(server, cache):
    for organization in ("a", "b", "a"):
        with openai.OpenAI(base_url=server.url, api_key="any", organization=organization) as client:
            ai_cached(client.chat.completions.create, cache=cache)(**CHAT)
    assert 2 == server.calls


def test_a_parsed_answer_comes_back_parsed(server, client, byte_cache):
    parse = ai_cached(client.chat.completions.parse, cache=byte_cache)
    first, second = (parse(**CHAT, response_format=Answer) for _ in range(2))
    assert 1 == server.calls
    assert isinstance(second.choices[0].message.parsed, Answer)
    assert first == second
    # The SDK's own class is made anew for a TypeVar, "ParsedChatCompletion[~ResponseFormatT]"; its origin comes back.
    assert isinstance(first, type(second))
    assert isinstance(second, openai.types.chat.ParsedChatCompletion)


def test_two_response_formats_do_not_share(server, client, cache):
    class Other(pydantic.BaseModel):
        name: str

    parse = ai_cached(client.chat.completions.parse, cache=cache)
    for kind in (Answer, Other, Answer, Other):
        assert isinstance(parse(**CHAT, response_format=kind).choices[0].message.parsed, kind)
    assert 2 == server.calls


def test_an_async_parsed_answer_comes_back_parsed(server, cache):
    async def main():
        async with openai.AsyncOpenAI(base_url=server.url, api_key="any", max_retries=0) as client:
            parse = ai_cached(client.chat.completions.parse, cache=cache)
            return [await parse(**CHAT, response_format=Answer) for _ in range(2)]

    first, second = asyncio.run(main())
    assert 1 == server.calls
    assert first == second
    assert isinstance(second.choices[0].message.parsed, Answer)


# Failures -------------------------------------------------------------------------------------------------------------


def test_a_429_twice_then_an_answer_is_one_value_after_three_attempts(sdk, waits):
    """Retry-After is what is waited for."""
    sdk.server.script(Failure(429, retry_after="0.25"), Failure(429, retry_after="7"), 200)
    first, second = sdk.ask(2)
    assert first == second
    assert 3 == sdk.server.calls
    assert [0.25, 7.0] == waits


def test_a_429_three_times_is_the_sdks_own_exception(sdk, waits):
    sdk.server.script(429, 429, 429, 200)
    with pytest.raises(sdk.module.RateLimitError):
        sdk.ask()
    assert 3 == sdk.server.calls
    assert 2 == len(waits)
    assert 1 == len(sdk.ask())
    assert 4 == sdk.server.calls


@pytest.mark.parametrize("option", [True, 3])
def test_a_client_that_retries_by_itself_gets_one_attempt_by_default(sdk, waits, option):
    """Else one failing call would be nine requests; a number written down is obeyed."""
    sdk.server.fail_every, sdk.server.failure = 1, Failure(503, headers={"retry-after-ms": "1"})
    with pytest.raises(sdk.module.InternalServerError):
        sdk.ask(options={"retry": option}, settings={"max_retries": 1})
    assert (2 if option is True else 6) == sdk.server.calls


def test_a_function_that_reads_a_client_that_retries_gets_one_attempt(server, cache, waits):
    server.fail_every, server.failure = 1, Failure(503, headers={"retry-after-ms": "1"})
    with openai.OpenAI(base_url=server.url, api_key="any", max_retries=1) as client:

        @ai_cached(cache=cache)
        def ask(prompt):
            return client.chat.completions.create(model="small", messages=HELLO)

        with pytest.raises(openai.InternalServerError):
            ask("hi")
    assert 2 == server.calls
    assert [] == waits


def test_a_400_is_one_attempt_and_nothing_is_stored(sdk, waits):
    sdk.server.script(400, 200)
    with pytest.raises(sdk.module.BadRequestError) as caught:
        sdk.ask()
    assert sdk.module is __import__(type(caught.value).__module__.partition(".")[0])
    assert (1, []) == (sdk.server.calls, waits)
    sdk.ask(2)
    assert 2 == sdk.server.calls


def test_the_exception_is_the_very_object_that_the_sdk_raised(server, client, cache):
    server.script(400)
    raised = []

    @ai_cached(cache=cache)
    def ask(prompt):
        try:
            return client.chat.completions.create(model="small", messages=HELLO)
        except openai.BadRequestError as error:
            raised.append(error)
            raise

    with pytest.raises(openai.BadRequestError) as caught:
        ask("hi")
    assert [caught.value] == raised
    assert raised[0].__cause__ is None


def test_a_connection_that_is_refused_is_tried_again(sdk, waits):
    sdk.server.stop()
    with pytest.raises(sdk.module.APIConnectionError):
        sdk.ask()
    assert 2 == len(waits)
    sdk.server.start()


def test_insufficient_quota_is_not_tried_again(server, client, cache, waits):
    server.script(Failure(429, code="insufficient_quota"))
    with pytest.raises(openai.RateLimitError):
        ai_cached(client.chat.completions.create, cache=cache)(**CHAT)
    assert (1, []) == (server.calls, waits)


# What is not kept -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_a_cut_answer_is_returned_and_not_kept(sdk, reason):
    sdk.server.answer = lambda _: {"text": "cut", "finish_reason": reason}
    with trace() as calls:
        sdk.ask(2)
    assert 2 == sdk.server.calls
    assert [False, False] == [call.stored for call in calls]
    assert calls[0].detail.startswith("incomplete: ")


def test_an_answer_cut_by_max_tokens_is_not_kept(sdk):
    sdk.ask(2, max_tokens=2)
    assert 2 == sdk.server.calls


def test_an_empty_answer_is_not_kept(sdk):
    sdk.server.answer = lambda _: {"text": ""}
    sdk.ask(2)
    assert 2 == sdk.server.calls


def test_an_answer_of_tool_calls_alone_is_kept(sdk):
    sdk.server.answer = lambda _: {"finish_reason": "tool_calls", "tools": [("look_up", {"city": "Bern"})]}
    first, second = sdk.ask(2)
    assert first == second
    assert 1 == sdk.server.calls


def test_a_cut_answer_in_plain_dicts_is_not_kept(cache):
    said = []

    @ai_cached(cache=cache)
    def ask(prompt):
        said.append(prompt)
        return {"object": "chat.completion", "choices": [{"finish_reason": "length", "message": {"content": "cu"}}]}

    ask("hi")
    ask("hi")
    assert 2 == len(said)


def test_a_rule_of_your_own_keeps_cut_answers_too(sdk):
    sdk.server.answer = lambda _: {"text": "cut", "finish_reason": "length"}
    sdk.ask(2, options={"cache_if": lambda answer: True})
    assert 1 == sdk.server.calls


def test_raw_responses_are_passed_through_uncached(server, client, cache, warned):
    create = ai_cached(client.chat.completions.with_raw_response.create, cache=cache)
    assert "Hello?" in create(**CHAT).parse().choices[0].message.content
    create(**CHAT)
    assert 2 == server.calls
    assert 1 == len(warned())


def test_embeddings_come_back_as_they_were(server, client, byte_cache):
    create = ai_cached(client.embeddings.create, cache=byte_cache)
    first, second = (create(model="small", input=["a", "b"]) for _ in range(2))
    assert first == second
    assert type(first) is type(second)
    assert 1 == server.calls


def test_a_signature_stays_that_of_the_sdk(client, cache):
    create = ai_cached(client.chat.completions.create, cache=cache)
    assert inspect.signature(client.chat.completions.create) == inspect.signature(create)
    assert client.chat.completions.create.__doc__ == create.__doc__
