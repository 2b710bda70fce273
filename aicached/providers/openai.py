"""
What openai's answers look like: chat completions, responses, and those of compatible servers.
"""

from __future__ import annotations

from typing import Any

from .base import Provider, part

__all__ = ["OpenAI"]

#: The last two are said by servers that are compatible: OpenRouter, vLLM.
_CUT = ("length", "content_filter", "error", "abort")
_CONTENT = ("content", "tool_calls", "function_call", "refusal", "audio", "parsed")
#: Items of a response that answer nothing.
_SILENT = ("reasoning", "compaction")


class OpenAI(Provider):
    """Know the openai package."""

    module = "openai"

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
            choices = _items(part(answer, "choices"))
        elif _is(answer, (), "finish_reason"):
            choices = [answer]  # one choice, taken out of its answer
        else:
            return None  # an embedding, a picture, a file
        for choice in choices:
            reason = part(choice, "finish_reason")
            if reason in _CUT:
                return str(reason)
        return None if any(map(_has_content, choices)) else "empty answer"


def _is(answer: Any, kinds: tuple[str, ...], *names: str) -> bool:
    """Is *answer* a dict of one of these kinds, or an SDK's object with these fields?"""
    if isinstance(answer, dict):
        return answer.get("object") in kinds
    return all(hasattr(answer, name) for name in names)


def _items(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _has_content(choice: Any) -> bool:
    return bool(part(choice, "text")) or any(part(choice, "message", name) for name in _CONTENT)


def _of_response(answer: Any) -> str | None:
    status = part(answer, "status")
    if status not in (None, "completed"):
        return str(part(answer, "incomplete_details", "reason") or status)
    return None if any(map(_has_output, _items(part(answer, "output")))) else "empty answer"


def _has_output(item: Any) -> bool:
    if part(item, "type") == "message":
        return any(part(block, name) for block in _items(part(item, "content")) for name in ("text", "refusal"))
    return part(item, "type") not in _SILENT
