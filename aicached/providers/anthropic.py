"""
What anthropic's answers look like: messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .base import Provider, Watch, part

__all__ = ["Anthropic"]

_CUT = ("max_tokens", "refusal", "model_context_window_exceeded")
_THOUGHTS = ("thinking", "redacted_thinking")


class Anthropic(Provider):
    """Know the anthropic package."""

    module = "anthropic"
    finals: Mapping[str, str] = {"get_final_message": "current_message_snapshot"}

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

    def watch(self, chunk: Any) -> Watch | None:
        """Recognize the event that begins a message."""
        known = isinstance(chunk, dict) or self.defines(type(chunk))
        return _Message(self) if known and part(chunk, "type") == "message_start" else None


class _Message(Watch):
    """Watch the events of a message: the last but one says why it ended, the last that it did."""

    def __init__(self, provider: Provider) -> None:
        super().__init__()
        self.provider = provider

    def see(self, chunk: Any) -> None:
        kind = part(chunk, "type")
        if kind == "content_block_delta":
            delta = part(chunk, "delta")
            self.says = self.says or any(part(delta, name) for name in ("text", "partial_json", "citation"))
        elif kind == "content_block_start":
            self.says = self.says or _says(part(chunk, "content_block"))
        elif kind == "message_start":
            self.used = self.provider.usage(part(chunk, "message"))
        elif kind == "message_delta":
            reason = part(chunk, "delta", "stop_reason")
            self.reason = str(reason) if reason in _CUT else None
            spent = part(chunk, "usage", "output_tokens")
            if self.used is not None and isinstance(spent, int):
                self.used = self.used._replace(tokens_out=spent)
        elif kind == "message_stop":
            self.ended = True
        elif kind == "error":
            self.reason = "error"


def _says(block: Any) -> bool:
    kind = part(block, "type")
    return bool(part(block, "text")) if kind == "text" else kind not in _THOUGHTS
