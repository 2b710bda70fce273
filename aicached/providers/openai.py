"""
What openai's answers look like: chat completions, responses, and those of compatible servers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .base import Provider, Watch, fields, items, part

__all__ = ["OpenAI"]

#: The last two are said by servers that are compatible: OpenRouter, vLLM.
_CUT = ("length", "content_filter", "error", "abort")
_CONTENT = ("content", "tool_calls", "function_call", "refusal", "audio", "parsed")
#: Items of a response that answer nothing.
_SILENT = ("reasoning", "compaction")


class OpenAI(Provider):
    """Know the openai package."""

    module = "openai"
    finals: Mapping[str, str] = {
        "get_final_completion": "current_completion_snapshot",
        "get_final_response": "",
    }

    def is_answer(self, value: Any) -> bool:
        """Recognize the SDK's objects by their package, dicts by the kind that the API writes into each."""
        if isinstance(value, dict):
            return value.get("object") in ("chat.completion", "response", "text_completion")
        return hasattr(value, "model_dump") and self.defines(type(value))

    def incomplete(self, answer: Any) -> str | None:
        """Find a cut or filtered choice, an answer with nothing in it, a response that is not done."""
        if _is(answer, ("response",), "output", "incomplete_details"):
            return _of_response(answer)
        if _is(answer, ("chat.completion", "text_completion"), "choices"):
            choices = items(part(answer, "choices"))
        elif _is(answer, (), "finish_reason"):
            choices = [answer]  # one choice, taken out of its answer
        else:
            return None  # an embedding, a picture, a file
        for choice in choices:
            reason = part(choice, "finish_reason")
            if reason in _CUT:
                return str(reason)
        return None if any(map(_has_content, choices)) else "empty answer"

    def watch(self, chunk: Any) -> Watch | None:
        """Recognize chunks of completions, events of responses, and the events that ``stream()`` makes of both."""
        if not isinstance(chunk, dict) and not self.defines(type(chunk)):
            return None
        kind = part(chunk, "type")
        if part(chunk, "object") in _CHUNKS or (kind == "chunk" and not isinstance(chunk, dict)):
            return _Completion(self)
        return _Response(self) if isinstance(kind, str) and kind.startswith("response.") else None


class _Completion(Watch):
    """Watch completions: each choice that appears says how it ended."""

    def __init__(self, provider: Provider) -> None:
        super().__init__()
        self.provider = provider
        self.open: dict[Any, bool] = {}

    def see(self, chunk: Any) -> None:
        own = fields(chunk)
        if "type" in own and "choices" not in own:  # an event that `stream()` has made
            if own["type"] != "chunk":
                return
            chunk = own["chunk"]
        for choice in items(part(chunk, "choices")):
            reason = part(choice, "finish_reason")
            index = part(choice, "index") or 0
            self.open[index] = self.open.get(index, True) and reason is None
            if reason in _CUT:
                self.reason = str(reason)
            self.says = self.says or _has_content(choice, "delta")
        if part(chunk, "usage") is not None:
            self.used = self.provider.usage(chunk)
        self.ended = bool(self.open) and not any(self.open.values())


class _Response(Watch):
    """Watch responses: the last event holds the whole."""

    def __init__(self, provider: Provider) -> None:
        super().__init__()
        self.provider = provider

    def see(self, chunk: Any) -> None:
        kind = part(chunk, "type")
        if kind in ("response.completed", "response.incomplete", "response.failed"):
            whole = part(chunk, "response")
            self.ended = self.says = True
            self.reason = _of_response(whole)
            self.used = self.provider.usage(whole)
        elif kind == "error":
            self.reason = "error"


#: Kinds of the pieces of an answer.
_CHUNKS = ("chat.completion.chunk", "text_completion")


def _is(answer: Any, kinds: tuple[str, ...], *names: str) -> bool:
    """Is *answer* a dict of one of these kinds, or an SDK's object with these fields?"""
    if isinstance(answer, dict):
        return answer.get("object") in kinds
    return all(hasattr(answer, name) for name in names)


def _has_content(choice: Any, where: str = "message") -> bool:
    return _holds(part(choice, where), _CONTENT) or _holds(choice, ("text",))


def _holds(value: Any, names: tuple[str, ...]) -> bool:
    own, more = fields(value), fields(getattr(value, "__pydantic_extra__", None))
    return any(own.get(name) or more.get(name) for name in names)


def _of_response(answer: Any) -> str | None:
    status = part(answer, "status")
    if status not in (None, "completed"):
        return str(part(answer, "incomplete_details", "reason") or status)
    return None if any(map(_has_output, items(part(answer, "output")))) else "empty answer"


def _has_output(item: Any) -> bool:
    if part(item, "type") == "message":
        return any(part(block, name) for block in items(part(item, "content")) for name in ("text", "refusal"))
    return part(item, "type") not in _SILENT
