"""
The shape of OpenAI's responses: a question as that API puts it, whole answers, and the events of a stream.

Law: as in `shapes`: pure functions, and a stream says the same as the whole answer, piece by piece.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from .answers import Exchange
from .shapes import OPENAI, Dialect, Json, event, pieces

__all__ = ["RESPONSES", "as_chat"]


def as_chat(body: Mapping[str, Any]) -> Json:
    """Return a question to the responses API as one to chat completions, which is what the model understands."""
    told = body.get("input")
    messages = [{"role": "user", "content": told}] if isinstance(told, str) else list(told or ())
    if body.get("instructions"):
        messages.insert(0, {"role": "system", "content": body["instructions"]})
    made = {**body, "messages": messages, "max_tokens": body.get("max_output_tokens")}
    form = (body.get("text") or {}).get("format") or {}
    return {**made, "response_format": {"json_schema": form}} if form.get("type") == "json_schema" else made


def _output(exchange: Exchange) -> list[Json]:
    reply, serial = exchange.replies[0], exchange.serial
    output: list[Json] = []
    if reply.reasoning:
        summary = [{"type": "summary_text", "text": reply.reasoning}]
        output.append({"type": "reasoning", "id": f"rs_{serial:012d}", "summary": summary})
    if reply.text or not reply.tools:
        part = {"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}
        message = {"type": "message", "id": f"msg_{serial:012d}", "role": "assistant", "status": "completed"}
        output.append({**message, "content": [part]})
    for position, (name, arguments) in enumerate(reply.tools):
        call = {"type": "function_call", "id": f"fc_{serial:012d}_{position}", "name": name, "status": "completed"}
        output.append({**call, "call_id": f"call_{serial:012d}_{position}", "arguments": json.dumps(arguments)})
    return output


def _response(exchange: Exchange) -> Json:
    cut = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(exchange.replies[0].finish_reason)
    spent = {"input_tokens": exchange.tokens_in, "output_tokens": exchange.tokens_out}
    details: Json = {
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": exchange.tokens_in + exchange.tokens_out,
    }
    return {
        "id": f"resp_{exchange.serial:012d}",
        "object": "response",
        "created_at": 0,
        "model": exchange.model,
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": cut} if cut else None,
        "error": None,
        "instructions": exchange.body.get("instructions"),
        "metadata": {},
        "output": _output(exchange),
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": {**spent, **details},
    }


def _stream(exchange: Exchange) -> Iterator[bytes]:
    for number, (kind, content) in enumerate(_events(exchange)):
        yield event({"type": kind, "sequence_number": number, **content}, kind)


def _events(exchange: Exchange) -> Iterator[tuple[str, Json]]:
    whole = _response(exchange)
    begun = {**whole, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    yield "response.created", {"response": begun}
    yield "response.in_progress", {"response": begun}
    for index, item in enumerate(whole["output"]):
        yield from _item_events({"output_index": index}, item)
    yield f"response.{whole['status']}", {"response": whole}


def _item_events(where: Json, item: Json) -> Iterator[tuple[str, Json]]:
    """Yield the events of one item of the output: an empty one, its pieces, the whole of it."""
    field = {"message": "content", "reasoning": "summary", "function_call": "arguments"}[item["type"]]
    empty = {**item, field: "" if field == "arguments" else []}
    yield "response.output_item.added", {**where, "item": empty if field == "summary" else _begun(empty)}
    place = {**where, "item_id": item["id"]}
    if field == "arguments":
        for piece in pieces(item["arguments"]):
            yield "response.function_call_arguments.delta", {**place, "delta": piece}
        yield (
            "response.function_call_arguments.done",
            {**place, "name": item["name"], "arguments": item["arguments"]},
        )
    else:
        yield from _part_events(place, item[field][0])
    yield "response.output_item.done", {**where, "item": item}


def _begun(item: Json) -> Json:
    return {**item, "status": "in_progress"}


def _part_events(place: Json, part: Json) -> Iterator[tuple[str, Json]]:
    if part["type"] == "summary_text":
        place = {**place, "summary_index": 0}
        frame, text = "response.reasoning_summary_part", "response.reasoning_summary_text"
    else:
        place = {**place, "content_index": 0}
        frame, text = "response.content_part", "response.output_text"
    more: Json = {} if "summary_index" in place else {"logprobs": []}
    yield f"{frame}.added", {**place, "part": {**part, "text": ""}}
    for piece in pieces(part["text"]):
        yield f"{text}.delta", {**place, "delta": piece, **more}
    yield f"{text}.done", {**place, "text": part["text"], **more}
    yield f"{frame}.done", {**place, "part": part}


RESPONSES = Dialect(_response, _stream, OPENAI.error)
