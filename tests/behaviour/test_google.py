"""The real client of google-genai, against a server on loopback."""

from __future__ import annotations

import asyncio
import enum
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pydantic
import pytest
from google import genai
from google.genai import types

from aicached import Cache, Usage, ai_cached, providers, trace
from aicached.codec.classes import Classes
from aicached.codec.values import decode, encode
from tests.keys.calls import call, digest, keyer


class Answer(pydantic.BaseModel):
    city: str


class Tone(enum.Enum):
    KIND = "kind"


def said(text="Bern", **more):
    return {
        "candidates": [
            {"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP", "index": 0, **more}
        ],
        "usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 2, "thoughtsTokenCount": 3},
        "modelVersion": "gemini-small-001",
        "responseId": "r1",
    }


class Gemini(ThreadingHTTPServer):
    """Answer each request with `body`, and keep what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.body = said()
        self.paths: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def calls(self) -> int:
        return len(self.paths)


class Asked(BaseHTTPRequestHandler):
    server: Gemini

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.paths.append(self.path)
        body = json.dumps(self.server.body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def gemini() -> Iterator[Gemini]:
    with Gemini() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def client(url="http://127.0.0.1:1", key="AIza1", **options):
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=url, **options))


def ask(gemini, cache, colour, times=2, **arguments):
    """Call a fresh client's cached method several times, and return the answers."""
    given = {"model": "gemini-small", "contents": "Where?", **arguments}

    async def asynchronous(made):
        cached = ai_cached(made.aio.models.generate_content, cache=cache)
        try:
            return [await cached(**given) for _ in range(times)]
        finally:
            await made.aio.aclose()

    with client(gemini.url) as made:
        if colour == "async":
            return asyncio.run(asynchronous(made))
        cached = ai_cached(made.models.generate_content, cache=cache)
        return [cached(**given) for _ in range(times)]


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_the_second_call_makes_no_request_and_gives_an_equal_answer(gemini, colour, store, tmp_path):
    cache = Cache("memory://" if store == "memory" else f"sqlite:///{tmp_path}/answers.db")
    first, second = ask(gemini, cache, colour)
    assert 1 == gemini.calls
    assert first == second
    assert type(second) is types.GenerateContentResponse
    assert "Bern" == second.text
    assert second.candidates[0].finish_reason is types.FinishReason.STOP
    assert first.model_fields_set == second.model_fields_set
    assert first.model_dump() == second.model_dump()


def test_fields_that_the_sdk_does_not_know_and_reasons_that_it_does_not_know_are_no_trouble(gemini, colour):
    gemini.body = {**said(novelty={"a": [1]}), "more": 1}
    first, second = ask(gemini, Cache("memory://"), colour)
    assert first == second
    assert 1 == gemini.calls


def test_a_parsed_answer_comes_back_parsed(gemini, colour):
    gemini.body = said('{"city": "Bern"}')
    for config in (
        {"response_schema": Answer, "response_mime_type": "application/json"},
        types.GenerateContentConfig(response_schema=Answer, response_mime_type="application/json"),
    ):
        gemini.paths.clear()
        first, second = ask(gemini, Cache("memory://"), colour, config=config)
        assert Answer(city="Bern") == second.parsed
        assert first == second
        assert 1 == gemini.calls


def test_what_it_cost_is_known(gemini):
    with trace() as calls:
        ask(gemini, Cache("memory://"), "sync")
    assert [Usage("gemini-small-001", 4, 5)] * 2 == [each.usage for each in calls]


REASONS = ["MAX_TOKENS", "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MALFORMED_FUNCTION_CALL"]


@pytest.mark.parametrize("reason", REASONS)
def test_an_answer_that_was_stopped_is_not_kept(gemini, colour, reason):
    gemini.body = said(finishReason=reason)
    with trace() as calls:
        ask(gemini, Cache("memory://"), colour)
    assert 2 == gemini.calls
    assert f"incomplete: {reason}" == calls[0].detail


NOTHING = {**said(), "candidates": [{"content": {"role": "model"}, "finishReason": "STOP"}]}
BLOCKED = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4}}
THOUGHT = said(content={"role": "model", "parts": [{"text": "hm", "thought": True}]})


@pytest.mark.parametrize("body", [NOTHING, BLOCKED, THOUGHT, {**said(), "candidates": []}])
def test_an_answer_without_content_is_not_kept(gemini, colour, body):
    gemini.body = body
    ask(gemini, Cache("memory://"), colour)
    assert 2 == gemini.calls


def test_an_answer_of_a_function_call_alone_is_kept(gemini, colour):
    parts = [{"functionCall": {"name": "look_up", "args": {"city": "Bern"}}}]
    gemini.body = said(content={"role": "model", "parts": parts})
    first, second = ask(gemini, Cache("memory://"), colour)
    assert first == second
    assert 1 == gemini.calls


@pytest.mark.parametrize("spell", [lambda body: body, lambda body: types.GenerateContentResponse(**body).model_dump()])
def test_answers_in_dicts_are_known_too(spell):
    assert "MAX_TOKENS" == providers.of_answer(spell(said(finishReason="MAX_TOKENS"))).incomplete(
        spell(said(finishReason="MAX_TOKENS"))
    )
    whole, blocked = spell(said()), spell(BLOCKED)
    known = providers.of_answer(whole)
    assert known.incomplete(whole) is None
    assert Usage("gemini-small-001", 4, 5) == known.usage(whole)
    assert "SAFETY" == providers.of_answer(blocked).incomplete(blocked)
    assert providers.of_answer({"candidates": ["Ann", "Ben"]}) is None


def test_an_enum_member_that_the_sdk_makes_up_comes_back():
    with pytest.warns(UserWarning, match="NOVEL"):
        member = types.FinishReason("NOVEL")
    with pytest.warns(UserWarning, match="NOVEL"):
        assert "NOVEL" == decode(encode(member, Classes()), Classes()).value


# Keys -----------------------------------------------------------------------------------------------------------------


def vertex(**options):
    from google.auth.credentials import AnonymousCredentials

    given = {"project": "p", "location": "l", "credentials": AnonymousCredentials(), **options}
    return genai.Client(vertexai=True, **given)


def test_credentials_and_transport_do_not_count():
    plain = digest(client())
    assert plain == digest(client(key="AIza2"))
    assert plain == digest(client(timeout=3))
    assert plain == digest(client(headers={"Authorization": "Bearer x", "X-Goog-Api-Key": "y", "x-any": "AIza3"}))


def test_what_changes_the_answer_counts():
    clients = [
        client(),
        client("http://127.0.0.1:2"),
        client(headers={"X-Team": "a"}),
        client(api_version="v1alpha"),
        client(extra_body={"a": 1}),
        vertex(),
        vertex(project="q"),
        vertex(location="m"),
    ]
    made = [digest(each) for each in clients]
    assert len(clients) == len(set(made))
    assert digest(client(extra_body={"a": 1, "b": 2})) == digest(client(extra_body={"b": 2, "a": 1}))


def test_resources_count_with_their_client():
    here, there = client(), client("http://127.0.0.1:2")
    resources = [here.models, here.aio.models, here.aio, here.chats, there.models, there.chats]
    assert len(resources) == len(set(map(digest, resources)))
    assert digest(client().models) == digest(here.models)


def test_an_address_that_is_changed_in_place_is_noticed():
    made = client()
    keys = keyer(made.models.generate_content)
    given = {"model": "m", "contents": "hi"}
    before = call(keys, **given)
    made._api_client._http_options.base_url = "http://127.0.0.1:3"
    assert before != call(keys, **given)


def test_a_client_that_was_told_to_retries_by_itself():
    told = client(retry_options=types.HttpRetryOptions(attempts=3))
    assert not providers.of_client(client().models).retries_by_itself(client().models)
    assert providers.of_client(told.models).retries_by_itself(told.models)


def look_up(city: str) -> str:
    """Look a city up."""
    return city


@pytest.mark.parametrize(
    "value",
    [
        types.Part.from_text(text="a"),
        types.Part.from_bytes(data=b"a", mime_type="image/png"),
        types.Content(role="user", parts=[types.Part(text="a")]),
        types.GenerateContentConfig(temperature=0.5, tools=[look_up], response_schema=Answer),
        types.Tool(function_declarations=[types.FunctionDeclaration(name="a")]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_messages_and_settings_have_keys(value):
    assert digest(value) == digest(value.model_copy(deep=True))
    other = value.model_copy()
    name = next(name for name, held in vars(value).items() if held is not None)
    object.__setattr__(other, name, None)
    assert digest(value) != digest(other)
