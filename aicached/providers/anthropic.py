"""
What anthropic's answers look like: messages.
"""

from __future__ import annotations

from typing import Any

from .base import Provider, part

__all__ = ["Anthropic"]


class Anthropic(Provider):
    """Know the anthropic package."""

    module = "anthropic"

    def is_answer(self, value: Any) -> bool:
        """Recognize the SDK's objects by their package, dicts by type and role."""
        if isinstance(value, dict):
            return value.get("type") == "message" and value.get("role") == "assistant"
        return hasattr(value, "model_dump") and self.defines(type(value))

    def incomplete(self, answer: Any) -> str | None:
        """Find a message that was cut or refused, or that holds no block."""
        if part(answer, "type") != "message":
            return None
        if part(answer, "stop_reason") in ("max_tokens", "refusal"):
            return str(part(answer, "stop_reason"))
        return None if part(answer, "content") else "empty answer"
