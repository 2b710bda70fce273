"""The clients of the SDKs: by where they send what, not by who pays."""

from __future__ import annotations

import anthropic
import openai
import pytest

from aicached import UnkeyableArgument
from tests.keys.calls import call, digest, key, keyer

MESSAGES = [{"role": "user", "content": "hi"}]


def client(**options):
    return openai.OpenAI(**{"api_key": "one", **options})


def claude(**options):
    return anthropic.Anthropic(**{"api_key": "one", **options})


def azure(**options):
    given = {"api_key": "one", "azure_endpoint": "https://a.example", "api_version": "2024-06-01", **options}
    return openai.AzureOpenAI(**given)


@pytest.mark.parametrize("make", [client, claude, azure])
@pytest.mark.parametrize(
    "options",
    [
        {"api_key": "two"},
        {"timeout": 3},
        {"max_retries": 7},
        {"default_headers": {"Authorization": "Bearer two"}},
        {"default_headers": {"X-API-Key": "two"}},
        {"default_headers": {"api-key": "two", "Cookie": "two"}},
        {"default_headers": {"X-Anything": "sk-two"}},
        {"default_query": {"access_token": "two"}},
    ],
    ids=str,
)
def test_credentials_and_transport_do_not_count(make, options):
    assert digest(make(**options)) == digest(make())


@pytest.mark.parametrize("make", [client, claude])
@pytest.mark.parametrize(
    "options",
    [
        {"base_url": "http://localhost:1/v1"},
        {"default_headers": {"X-Team": "a"}},
        {"default_headers": {"OpenAI-Beta": "assistants=v2"}},
        {"default_query": {"version": "1"}},
    ],
    ids=str,
)
def test_what_changes_the_answer_counts(make, options):
    assert digest(make(**options)) != digest(make())


@pytest.mark.parametrize("options", [{"organization": "a"}, {"project": "a"}], ids=str)
def test_organization_and_project_count(options):
    assert digest(client(**options)) != digest(client())


@pytest.mark.parametrize(
    "options",
    [
        {"api_version": "2025-01-01"},
        {"azure_deployment": "gpt"},
        {"azure_endpoint": "https://b.example"},
        {"organization": "a"},
    ],
    ids=str,
)
def test_what_tells_two_azure_deployments_apart_counts(options):
    assert digest(azure(**options)) != digest(azure())


def test_headers_count_in_whatever_order_and_case():
    one = client(default_headers={"X-Team": "a", "X-Site": "b"})
    other = client(default_headers={"x-site": "b", "x-team": "a"})
    assert digest(one) == digest(other)


def test_clients_of_two_classes_differ():
    made = [client(), openai.AsyncOpenAI(api_key="one"), claude(), anthropic.AsyncAnthropic(api_key="one"), azure()]
    assert len(set(map(digest, made))) == len(made)


def test_a_client_with_other_options_counts_by_them():
    assert digest(client().with_options(timeout=1)) == digest(client())
    assert digest(client().with_options(base_url="http://localhost:1")) != digest(client())


def test_resources_count_with_their_client():
    here, there = client(), client(base_url="http://localhost:1")
    resources = [
        here.chat,
        here.chat.completions,
        here.responses,
        there.chat,
        there.chat.completions,
        claude().messages,
    ]
    assert len(set(map(digest, resources))) == len(resources)
    assert digest(client().chat.completions) == digest(here.chat.completions)


@pytest.mark.parametrize(
    "make",
    [client, claude, azure, lambda: openai.AsyncOpenAI(api_key="a"), lambda: anthropic.AsyncAnthropic(api_key="a")],
)
def test_a_base_url_that_is_changed_in_place_is_noticed(make):
    made = make()
    method = made.chat.completions.create if hasattr(made, "chat") else made.messages.create
    keys = keyer(method)
    before = call(keys, messages=MESSAGES, model="m")
    made.base_url = "http://localhost:1/v1"
    after = call(keys, messages=MESSAGES, model="m")
    assert before != after
    made._custom_query = {"n": 1}
    asked = call(keys, messages=MESSAGES, model="m")
    assert asked != after
    made._custom_query = {"n": True}
    assert call(keys, messages=MESSAGES, model="m") not in (asked, after)


def test_two_clients_that_share_every_part_but_not_their_class_differ():
    class Mine(openai.OpenAI):
        pass

    made = client()
    twin = Mine.__new__(Mine)
    twin.__dict__ = made.__dict__
    keys = keyer(openai.OpenAI.post)
    post = (("/chat",), {"cast_to": dict}, (), 0)
    assert keys.key(made, *post)[1] != keys.key(twin, *post)[1]


def test_two_clients_made_one_after_the_other_at_one_address_differ():
    addresses, seen = set(), set()
    for number in range(50):
        made = client(base_url=f"http://localhost:{number}")
        addresses.add(id(made))
        seen.add(key(made.chat.completions.create, messages=MESSAGES, model="m"))
        del made
    assert len(seen) == 50


CHAT = {"messages": MESSAGES, "model": "m"}
CREATES = [
    (openai.OpenAI(api_key="a").chat.completions.create, openai.omit, CHAT),
    (openai.AsyncOpenAI(api_key="a").chat.completions.create, openai.omit, CHAT),
    (openai.OpenAI(api_key="a").responses.create, openai.omit, {"input": "hi", "model": "m"}),
    (anthropic.Anthropic(api_key="a").messages.create, anthropic.omit, {**CHAT, "max_tokens": 5}),
    (anthropic.AsyncAnthropic(api_key="a").messages.create, anthropic.omit, {**CHAT, "max_tokens": 5}),
]


@pytest.mark.parametrize(("create", "omit", "given"), CREATES)
def test_omit_left_out_or_passed_is_one_call(create, omit, given):
    keys = keyer(create)
    assert keys.binder.values((create.__self__,), given) is not None
    plain = call(keys, **given)
    assert call(keys, **given, stream=omit, tools=omit) == plain
    assert call(keys, **given, tools=None) != plain
    assert call(keys, **given, stream=False) != plain


@pytest.mark.parametrize(("create", "omit", "given"), CREATES)
def test_not_given_left_out_or_passed_is_one_call(create, omit, given):
    keys = keyer(create)
    default = next(p.default for p in keys.binder.parameters if p.name == "timeout")
    assert call(keys, **given, timeout=default) == call(keys, **given)
    assert call(keys, **given, timeout=5) != call(keys, **given)


@pytest.mark.parametrize(("create", "omit", "given"), CREATES)
@pytest.mark.parametrize(
    "extra",
    [
        {"model": "n"}, {"temperature": 0.5}, {"max_tokens": 6}, {"tools": []}, {"tool_choice": "none"},
        {"stream": True},
        {"seed": 1}, {"extra_body": {"x": 1}}, {"extra_headers": {"x": "1"}}, {"reasoning_effort": "low"},
        {"unknown": 1},
        {"messages": [*MESSAGES, {"role": "assistant", "content": "hi"}]}, {"system": "be kind"},
        {"response_format": dict},
    ],
    ids=str,
)  # fmt: skip
def test_no_parameter_of_create_is_forgotten(create, omit, given, extra):
    keys = keyer(create)
    assert call(keys, **{**given, **extra}) != call(keys, **given)


def test_what_only_comes_from_an_sdk_is_no_client():
    with pytest.raises(UnkeyableArgument):
        digest(openai.DefaultHttpxClient())
    with pytest.raises(UnkeyableArgument):
        digest(client().chat.completions.with_raw_response)


def test_a_client_that_was_not_finished_spoils_nothing_for_the_others():
    class Mine(openai.OpenAI):
        pass

    with pytest.raises(UnkeyableArgument):
        digest(Mine.__new__(Mine))
    assert digest(Mine(api_key="one")) == digest(Mine(api_key="two"))


def test_the_answers_of_an_sdk_are_models_like_others():
    message = {"role": "assistant", "content": "hi"}
    first, second = (openai.types.chat.ChatCompletionMessage(**{**message, "content": text}) for text in ("hi", "ho"))
    assert len({digest(first), digest(second), digest(message)}) == 3
