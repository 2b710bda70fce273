"""
What openai's answers look like: chat completions, responses, and those of compatible servers.
"""

from __future__ import annotations

from typing import Any

from .base import Provider, part

__all__ = ["OpenAI"]

_CUT = ("length", "content_filter")
_CONTENT = ("content", "tool_calls", "function_call", "refusal", "audio", "parsed")


class OpenAI(Provider):
    """Know the openai package."""

    module = "openai"

    def is_answer(self, value: Any) -> bool:
        """Recognize the SDK's objects by their package, dicts by the kind that the API writes into each."""
        if isinstance(value, dict):
            return value.get("object") in ("chat.completion", "response", "text_completion")
        return hasattr(value, "model_dump") and self.defines(type(value))

    def incomplete(self, answer: Any) -> str | None:
        """Find a cut or filtered choice, a choice without content, a response that is not done."""
        status = part(answer, "status")
        if part(answer, "object") == "response" and status not in (None, "completed"):
            return str(part(answer, "incomplete_details", "reason") or status)
        choices = part(answer, "choices")
        if not isinstance(choices, list):
            return None
        for choice in choices:
            reason = part(choice, "finish_reason")
            if reason in _CUT:
                return str(reason)
        return None if any(map(_has_content, choices)) else "empty answer"


def _has_content(choice: Any) -> bool:
    if part(choice, "text"):
        return True
    return any(part(choice, "message", name) for name in _CONTENT)
