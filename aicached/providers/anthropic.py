"""
What anthropic's answers look like: messages.
"""

from __future__ import annotations

from typing import Any

from .base import Provider, part

__all__ = ["Anthropic"]

_CUT = ("max_tokens", "refusal", "model_context_window_exceeded")
_THOUGHTS = ("thinking", "redacted_thinking")


class Anthropic(Provider):
    """Know the anthropic package."""

    module = "anthropic"

    def is_answer(self, value: Any) -> bool:
        """Recognize the SDK's objects by their package, dicts by type and role."""
        if isinstance(value, dict):
            return value.get("type") == "message" and value.get("role") == "assistant"
        return hasattr(value, "model_dump") and self.defines(type(value))

    def incomplete(self, answer: Any) -> str | None:
        """Find a message that was cut or refused, or that holds nothing but empty texts and thoughts."""
        reason = part(answer, "stop_reason")
        if reason in _CUT:
            return str(reason)
        if part(answer, "type") != "message":
            return None
        blocks = part(answer, "content")
        return None if isinstance(blocks, (list, tuple)) and any(map(_says, blocks)) else "empty answer"


def _says(block: Any) -> bool:
    kind = part(block, "type")
    return bool(part(block, "text")) if kind == "text" else kind not in _THOUGHTS
