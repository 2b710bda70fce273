"""
What the model of `ModelServer` says, before it takes any provider's shape.

Law: the same question gets the same words, in every process; nothing here knows of HTTP, time or earlier questions.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["Exchange", "Reply", "compose", "embed", "tokens"]

Json = Mapping[str, Any]

_VOCABULARY = (
    "answer because call caching cheap clear compare costs could different early every evidence example fewer first "
    "fresh good held idea keep known later light likely little longer measure memory model mostly never often once "
    "other question quick reason repeat same second seldom short simple slow small stored surely the their there "
    "therefore time usually value waits well where work"
)


@dataclass(frozen=True, slots=True)
class Reply:
    """
    Hold one answer.

    Attributes:
        text: the words.
        finish_reason: in OpenAI's terms ("stop", "length", "tool_calls", "content_filter"); translated for others.
        reasoning: what it thought before it spoke.
        tools: the tools to call, each as (name, arguments).
        model: the model that claims to have answered; None: the one that was asked.
        tokens_in, tokens_out: what it cost; None: counted from the text.
        body: the whole body of the HTTP answer, sent as it is, in place of all the above.
    """

    text: str = ""
    finish_reason: str = "stop"
    reasoning: str = ""
    tools: Sequence[tuple[str, Json]] = ()
    model: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    body: Json | None = None


@dataclass(frozen=True, slots=True)
class Exchange:
    """Hold a question (the request's *body*), its replies and the *serial* number that makes its id."""

    body: Json
    replies: Sequence[Reply]
    serial: int

    @property
    def model(self) -> str:
        """The model that claims to have answered."""
        return self.replies[0].model or str(self.body["model"])

    @property
    def tokens_in(self) -> int:
        """The tokens of the question: messages, system prompt and tools, and four for the frame of each."""
        if (known := self.replies[0].tokens_in) is not None:
            return known
        texts = [*_texts(self.body["messages"]), *_frames(self.body)]
        return sum(tokens(text) + 4 for text in texts)

    @property
    def tokens_out(self) -> int:
        """The tokens of all replies together."""
        return sum(_spent(reply) for reply in self.replies)


def tokens(text: str) -> int:
    """Count the tokens of *text*: four characters each."""
    return math.ceil(len(text) / 4)


def compose(body: Json, index: int = 0) -> Reply:
    """Answer the question in *body* as the *index*-th of several independent answers."""
    if tool := _forced(body):
        return Reply(finish_reason="tool_calls", tools=[(tool["name"], _example(tool.get("parameters", {})))])
    schema = (body.get("response_format") or {}).get("json_schema", {}).get("schema")
    said = json.dumps(_example(schema)) if schema else _ramble(body, index)
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    return _shorten(Reply(said), limit)


def embed(text: str, dimensions: int) -> list[float]:
    """Place *text* on the unit sphere: the more words two texts share, the nearer they are."""
    total = [0.0] * dimensions
    for word in text.lower().split() or [""]:
        source = random.Random(f"aicached {word}")
        total = [value + source.uniform(-1, 1) for value in total]
    length = math.hypot(*total) or 1.0
    return [value / length for value in total]


def _texts(messages: Sequence[Json]) -> Iterator[str]:
    for message in messages:
        content = message.get("content") or ""
        if isinstance(content, str):
            yield content
        else:
            yield " ".join(part.get("text", "") for part in content if isinstance(part, Mapping))


def _frames(body: Json) -> Iterator[str]:
    yield from (json.dumps(body[part]) for part in ("system", "tools") if part in body)


def _spent(reply: Reply) -> int:
    if reply.tokens_out is not None:
        return reply.tokens_out
    return tokens(reply.text) + sum(tokens(name + json.dumps(arguments)) + 8 for name, arguments in reply.tools)


def _ramble(body: Json, index: int) -> str:
    question = list(_texts(body["messages"]))
    seed = json.dumps([body["model"], body.get("system"), body["messages"], index], sort_keys=True)
    source = random.Random(hashlib.sha256(seed.encode()).digest())
    words = [source.choice(_VOCABULARY.split()) for _ in range(source.randint(16, 32))]
    return f'On "{" ".join(question[-1:])[:40]}": {" ".join(words)}.'


def _shorten(reply: Reply, limit: int | None) -> Reply:
    if limit is None or tokens(reply.text) <= limit:
        return reply
    return replace(reply, text=reply.text[: 4 * limit], finish_reason="length")


def _forced(body: Json) -> Json | None:
    """Return the tool that the question insists on, as its name and parameters; both providers' spellings."""
    choice = body.get("tool_choice")
    # OpenAI wraps a tool in "function" and calls its schema "parameters"; Anthropic does not, and says "input_schema".
    tools = [tool.get("function", tool) for tool in body.get("tools", ())]
    if choice == "required" or (isinstance(choice, Mapping) and choice.get("type") == "any"):
        chosen = tools[:1]
    elif isinstance(choice, Mapping):
        name = choice.get("function", choice).get("name")
        chosen = [tool for tool in tools if tool["name"] == name]
    else:
        return None
    return next(({"parameters": tool.get("input_schema", {}), **tool} for tool in chosen), None)


def _example(schema: Json, root: Json | None = None) -> Any:
    """Make the plainest value that fits a JSON *schema*."""
    root = schema if root is None else root
    if "$ref" in schema:
        return _example(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    for choice in (schema.get("anyOf"), schema.get("oneOf"), schema.get("allOf")):
        if choice:
            return _example(choice[0], root)
    if "const" in schema or "enum" in schema:
        return schema.get("const", next(iter(schema.get("enum", ())), None))
    if "properties" in schema or schema.get("type") == "object":
        return {name: _example(part, root) for name, part in schema.get("properties", {}).items()}
    if schema.get("type") == "array":
        return [_example(schema["items"], root)] if "items" in schema else []
    return {"integer": 1, "number": 1.5, "boolean": True, "null": None}.get(schema.get("type", ""), "text")
