"""Answers of the SDKs in short: only what comes back exactly, from the release that it was seen with."""

from __future__ import annotations

import dataclasses
import typing

import msgpack
import openai
import pydantic
import pytest
from anthropic.types import Message
from openai._models import construct_type
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ParsedChatCompletion

from aicached.codec.classes import Classes
from aicached.codec.objects import outline
from aicached.codec.values import Undecodable, decode, encode, holds_objects

NONE = Classes()
USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "prompt_tokens_details": {"cached_tokens": 0}}


def body(*, content="hi", **more):
    message = {"role": "assistant", "content": content, "refusal": None}
    choices = [{"index": 0, "finish_reason": "stop", "logprobs": None, "message": message}]
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": choices,
        "usage": USAGE,
        **more,
    }


def chat(**more):
    return construct_type(value=body(**more), type_=ChatCompletion)


def noted(value):
    value._request_id = "req_1"
    return value


def with_odd_choices():
    made = chat()
    made.choices[0].message.role = 7
    made.choices[0].finish_reason = "novel"
    return made


def with_extras():
    made = body(x_groq={"id": "1"}, usage={**USAGE, "seconds": 0.5})
    made["choices"][0]["message"]["mood"] = ["good"]
    return construct_type(value=made, type_=ChatCompletion)


ANSWERS = {
    "constructed": chat(),
    "noted": noted(chat()),
    "validated": ChatCompletion.model_validate(body()),
    "extras": with_extras(),
    "extras validated": ChatCompletion.model_validate(body(x_groq={"id": "1"})),
    "wrong types": chat(created="yesterday", choices="none", usage=[1]),
    "model_construct": ChatCompletion.model_construct(id=5, choices=[{"index": "x"}], created=None),
    "nothing": ChatCompletion.model_construct(),
    "set afterwards": with_odd_choices(),
    "coercible": chat(created="17", id=b"1"),
    "large": chat(created=2**70),
    "surrogates": chat(content="\ud800"),
    "tuple": ChatCompletion.model_construct(id=(1, 2)),
    "embeddings": construct_type(
        value={"object": "list", "model": "m", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}]}
        | {"usage": {"prompt_tokens": 1, "total_tokens": 1}},
        type_=CreateEmbeddingResponse,
    ),
    "message": Message.model_validate(
        {
            "id": "1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
            "content": [
                {"type": "text", "text": "hi"},
                {"type": "tool_use", "id": "1", "name": "a", "input": {"x": [1]}},
            ],
            "usage": {"input_tokens": 1, "output_tokens": 2}, "novelty": 1,
        }
    ),
}  # fmt: skip


def state(value):
    """Return everything that can be seen of a value, classes included."""
    if isinstance(value, pydantic.BaseModel):
        seen = [state(value.__dict__), state(value.__pydantic_extra__), sorted(value.__pydantic_fields_set__)]
        return [type(value), *seen, value.__pydantic_private__]
    if isinstance(value, dict):
        return [dict, *((state(key), state(item)) for key, item in value.items())]
    if isinstance(value, (list, tuple)):
        return [type(value), *map(state, value)]
    return [type(value), value]


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: [value, {"a": value}]], ids=["alone", "inside"])
def test_an_answer_comes_back_in_every_detail(name, wrap):
    value = wrap(ANSWERS[name])
    before = state(value)
    payload = encode(value, NONE)
    found = decode(payload, NONE)
    assert before == state(found) == state(value)
    assert payload == encode(found, NONE)
    assert holds_objects(payload)


@pytest.mark.parametrize("name", ANSWERS)
def test_only_what_the_sdk_itself_would_make_is_written_in_short(name):
    exact = ("constructed", "noted", "validated", "extras", "extras validated", "embeddings", "message", "surrogates")
    odd = ("wrong types", "model_construct", "set afterwards", "coercible", "tuple")
    payload = encode(ANSWERS[name], NONE)
    code = payload[{0xC7: 2, 0xC8: 3, 0xC9: 5}[payload[0]]]
    assert (27 if name in exact else 26 if name in odd else code) == code


def test_each_hit_gets_an_answer_of_its_own():
    payload = encode(chat(), NONE)
    first, second = decode(payload, NONE), decode(payload, NONE)
    first.choices.clear()
    assert second == chat()


@pytest.mark.parametrize("module", ["openai", "pydantic"])
def test_another_release_reads_it_as_a_miss(module, monkeypatch):
    payload = encode(chat(), NONE)
    monkeypatch.setattr(__import__(module), "__version__", "0.0.1")
    with pytest.raises(Undecodable, match="release"):
        decode(payload, Classes())


class Mine(ChatCompletion):
    """A user's class, whose validator may do anything."""

    @pydantic.model_validator(mode="after")
    def never(self):
        raise AssertionError("validated")


class Holder(pydantic.BaseModel):
    answer: typing.Any


@dataclasses.dataclass
class Inner:
    answers: list[ChatCompletion]


@dataclasses.dataclass
class Outer:
    inner: Inner
    more: dict


def test_a_users_class_is_never_validated():
    value = Mine.model_construct(**ANSWERS["constructed"].__dict__)
    for each in (value, Holder.model_construct(answer=value), ChatCompletion.model_construct(id=value)):
        classes = Classes([Mine, Holder])
        assert state(each) == state(decode(encode(each, classes), classes))


def test_answers_inside_of_nested_dataclasses_come_back():
    value = Outer(Inner([chat(), ANSWERS["extras"]]), {"a": (ANSWERS["message"],)})
    found = decode(encode(value, Classes([Outer])), Classes([Outer]))
    assert value == found
    assert state(value.inner.answers) == state(found.inner.answers)


class City(pydantic.BaseModel):
    name: str


def test_a_parsed_generic_comes_back_with_what_was_parsed():
    made = ParsedChatCompletion[City].model_validate(body())
    made.choices[0].message.parsed = City(name="Bern")
    classes = Classes([City])
    found = decode(encode(made, classes), classes)
    assert City(name="Bern") == found.choices[0].message.parsed
    assert type(made) is type(found)


def test_a_forged_name_makes_no_class_of_anybody_elses():
    """Bytes that say that a user's class is an SDK's, or name a class of an SDK that is none of an answer."""
    releases = [openai.__version__, pydantic.__version__]
    for name in ([__name__, "City"], [__name__, "Mine"], ["openai", "OpenAI"], ["builtins", "dict"]):
        head = msgpack.packb(["v", [*name, outline(City)], releases])
        forged = msgpack.packb(msgpack.ExtType(27, msgpack.packb([head, {"name": "x" * 200}, {}, []])))
        with pytest.raises(Undecodable, match="not allowed"):
            decode(forged, Classes([City, Mine]))
