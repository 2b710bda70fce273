"""
The shapes in which OpenAI and Anthropic send what a model says: whole answers, streams, errors, embeddings.

Law: these are pure functions from an `Exchange` to JSON; a stream says the same as the whole answer, piece by piece.
"""

from __future__ import annotations

import base64
import json
import re
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from .answers import Exchange, Reply, embed, tokens

__all__ = ["ANTHROPIC", "OPENAI", "Dialect", "Json", "embeddings", "event", "pieces"]

Json = dict[str, Any]

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


@dataclass(frozen=True, slots=True)
class Dialect:
    """Hold how one provider shapes a whole answer, the events of a stream (as they go over the wire) and an error."""

    whole: Callable[[Exchange], Mapping[str, Any]]
    stream: Callable[[Exchange], Iterator[bytes]]
    error: Callable[[int, str, str | None], Json]


def pieces(text: str) -> list[str]:
    """Cut a text into words, each with the space behind it."""
    return re.findall(r"\S+\s*|\s+", text)


def _chat_head(exchange: Exchange, kind: str) -> Json:
    return {
        "id": f"chatcmpl-{exchange.serial:012d}",
        "object": kind,
        "created": int(time.time()),
        "model": exchange.model,
        "system_fingerprint": "fp_aicached",
    }


def _chat_usage(exchange: Exchange) -> Json:
    return {
        "prompt_tokens": exchange.tokens_in,
        "completion_tokens": exchange.tokens_out,
        "total_tokens": exchange.tokens_in + exchange.tokens_out,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _chat_tool(exchange: Exchange, position: int, name: str, arguments: str) -> Json:
    return {
        "id": f"call_{exchange.serial:012d}_{position}",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def _chat_message(exchange: Exchange, reply: Reply) -> Json:
    message: Json = {"role": "assistant", "content": reply.text, "refusal": None, "annotations": []}
    if reply.reasoning:
        message["reasoning_content"] = reply.reasoning
    if reply.tools:
        message["content"] = reply.text or None
        message["tool_calls"] = [
            _chat_tool(exchange, position, name, json.dumps(arguments))
            for position, (name, arguments) in enumerate(reply.tools)
        ]
    return message


def _chat(exchange: Exchange) -> Json:
    choices = [
        {
            "index": index,
            "message": _chat_message(exchange, reply),
            "logprobs": None,
            "finish_reason": reply.finish_reason,
        }
        for index, reply in enumerate(exchange.replies)
    ]
    return {**_chat_head(exchange, "chat.completion"), "choices": choices, "usage": _chat_usage(exchange)}


def _chat_deltas(exchange: Exchange, reply: Reply) -> Iterator[tuple[Json, str | None]]:
    """Yield the steps of one choice: what is new, and the finish reason with the last one."""
    yield {"role": "assistant", "content": None if reply.tools and not reply.text else "", "refusal": None}, None
    for piece in pieces(reply.reasoning):
        yield {"reasoning_content": piece}, None
    for piece in pieces(reply.text):
        yield {"content": piece}, None
    for position, (name, arguments) in enumerate(reply.tools):
        yield {"tool_calls": [{"index": position, **_chat_tool(exchange, position, name, "")}]}, None
        for piece in pieces(json.dumps(arguments)):
            yield {"tool_calls": [{"index": position, "function": {"arguments": piece}}]}, None
    yield {}, reply.finish_reason


def _chat_stream(exchange: Exchange) -> Iterator[bytes]:
    counted = bool((exchange.body.get("stream_options") or {}).get("include_usage"))
    head = _chat_head(exchange, "chat.completion.chunk")
    if counted:
        head["usage"] = None
    for steps in zip_longest(*(_chat_deltas(exchange, reply) for reply in exchange.replies)):
        for index, (delta, reason) in ((index, step) for index, step in enumerate(steps) if step):
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
            yield event({**head, "choices": [choice]})
    if counted:
        yield event({**head, "choices": [], "usage": _chat_usage(exchange)})
    yield b"data: [DONE]\n\n"


def event(data: Json, name: str | None = None) -> bytes:
    """Return a server-sent event."""
    line = f"event: {name}\n" if name else ""
    return f"{line}data: {json.dumps(data)}\n\n".encode()


def _chat_error(status: int, message: str, code: str | None) -> Json:
    kinds = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
    default = "rate_limit_exceeded" if status == 429 else None
    return {"error": {"message": message, "type": kind, "param": None, "code": code or default}}


def _message(exchange: Exchange) -> Json:
    return {
        "id": f"msg_{exchange.serial:012d}",
        "type": "message",
        "role": "assistant",
        "model": exchange.model,
        "content": _blocks(exchange),
        "stop_reason": _stop_reason(exchange),
        "stop_sequence": None,
        "usage": _message_usage(exchange, exchange.tokens_out),
    }


def _message_usage(exchange: Exchange, spent: int) -> Json:
    return {
        "input_tokens": exchange.tokens_in,
        "output_tokens": spent,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
    }


def _stop_reason(exchange: Exchange) -> str:
    said = exchange.replies[0].finish_reason
    return _STOP_REASONS.get(said, said)


def _blocks(exchange: Exchange) -> list[Json]:
    reply = exchange.replies[0]
    blocks: list[Json] = []
    if reply.reasoning:
        blocks.append({"type": "thinking", "thinking": reply.reasoning, "signature": "signed"})
    if reply.text:
        blocks.append({"type": "text", "text": reply.text})
    for position, (name, arguments) in enumerate(reply.tools):
        identity = f"toolu_{exchange.serial:012d}_{position}"
        blocks.append({"type": "tool_use", "id": identity, "name": name, "input": dict(arguments)})
    return blocks


def _block_events(index: int, block: Json) -> Iterator[bytes]:
    """Yield the events of one content block: an empty one, its pieces, its end."""
    if block["type"] == "text":
        empty = {**block, "text": ""}
        deltas = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
    elif block["type"] == "thinking":
        empty = {**block, "thinking": "", "signature": ""}
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    else:
        empty = {**block, "input": {}}
        parts = ["", *pieces(json.dumps(block["input"]))]
        deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
    start = {"type": "content_block_start", "index": index, "content_block": empty}
    yield event(start, "content_block_start")
    for delta in deltas:
        yield event({"type": "content_block_delta", "index": index, "delta": delta}, "content_block_delta")
    yield event({"type": "content_block_stop", "index": index}, "content_block_stop")


def _message_stream(exchange: Exchange) -> Iterator[bytes]:
    whole = _message(exchange)
    begun = {**whole, "content": [], "stop_reason": None, "usage": _message_usage(exchange, 1)}
    yield event({"type": "message_start", "message": begun}, "message_start")
    yield event({"type": "ping"}, "ping")
    for index, block in enumerate(whole["content"]):
        yield from _block_events(index, block)
    ended = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    spent = {"output_tokens": exchange.tokens_out}
    yield event({"type": "message_delta", "delta": ended, "usage": spent}, "message_delta")
    yield event({"type": "message_stop"}, "message_stop")


def _message_error(status: int, message: str, code: str | None) -> Json:
    kinds = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error", 529: "overloaded_error"}
    kind = code or kinds.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": message}}


OPENAI = Dialect(_chat, _chat_stream, _chat_error)
ANTHROPIC = Dialect(_message, _message_stream, _message_error)


def embeddings(body: Mapping[str, Any]) -> Json:
    """Answer a request for embeddings; 64 dimensions where the request names no number of them."""
    texts = _inputs(body["input"])
    vectors: list[Any] = [embed(text, body.get("dimensions") or 64) for text in texts]
    if body.get("encoding_format") == "base64":
        vectors = [base64.b64encode(struct.pack(f"<{len(v)}f", *v)).decode() for v in vectors]
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    spent = sum(tokens(text) for text in texts)
    usage = {"prompt_tokens": spent, "total_tokens": spent}
    return {"object": "list", "data": data, "model": body["model"], "usage": usage}


def _inputs(given: Any) -> Sequence[str]:
    """Return the texts to embed; a text may come as a list of token numbers, and stands alone or in a list."""
    if isinstance(given, str):
        return [given]
    if given and isinstance(given[0], int):
        return [" ".join(map(str, given))]
    return [item if isinstance(item, str) else " ".join(map(str, item)) for item in given]
