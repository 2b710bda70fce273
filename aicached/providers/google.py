"""
What google-genai's clients and answers look like: generated content.
"""

from __future__ import annotations

from typing import Any

from ..status import Usage
from .base import Provider, Watch, part

__all__ = ["Google"]

#: Ends that are none: everything else says that the model was stopped, by a limit or a filter.
_WHOLE = ("STOP", "FINISH_REASON_UNSPECIFIED")
_CONTENT = ("text", "function_call", "inline_data", "file_data", "executable_code", "code_execution_result")
#: Headers that the SDK adds by itself.
_OWN_HEADERS = ("content-type", "user-agent", "x-goog-api-client", "x-server-timeout")
_COUNTS = ("prompt_token_count", "candidates_token_count", "thoughts_token_count", "tool_use_prompt_token_count")


def _either(value: Any, *names: str) -> Any:
    """Return `part`, under names as Python writes them or as the API does (``finishReason``)."""
    for name in names:
        first, *more = name.split("_")
        camel = first + "".join(word.capitalize() for word in more)
        found = part(value, name)
        value = part(value, camel) if found is None and isinstance(value, dict) else found
    return value


def _word(value: Any) -> str | None:
    """Return a reason as text; the SDK's is an enum."""
    value = getattr(value, "value", value)
    return value if isinstance(value, str) else None


class Google(Provider):
    """Know the google-genai package."""

    module = "google.genai"

    def is_client(self, value: Any) -> bool:
        """Is *value* a client, its asynchronous half, or a resource such as ``client.models``?"""
        return self.defines(type(value)) and hasattr(self._client(value), "_http_options")

    def _client(self, value: Any) -> Any:
        own = getattr(value, "__dict__", {})
        inner = own.get("_api_client") or getattr(own.get("_modules"), "_api_client", None)
        # A chat is no resource: it holds what was said so far.
        return None if "_curated_history" in own else inner

    def parts(self, value: Any) -> tuple[Any, ...]:
        """Return what can change in place and changes the answers."""
        c = self._client(value)
        options = c._http_options
        return (
            getattr(options, "base_url", None),
            getattr(options, "api_version", None),
            getattr(c, "vertexai", None),
            getattr(c, "project", None),
            getattr(c, "location", None),
            tuple((getattr(options, "headers", None) or {}).items()),
            _frozen(getattr(options, "extra_body", None)),
        )

    def description(self, parts: tuple[Any, ...]) -> list[Any]:
        """Return what makes two clients give the same answers: no credentials, nothing that the SDK adds itself."""
        url, version, vertexai, project, location, headers, body = parts
        names = [each if isinstance(each, str) else None for each in (version, project, location)]
        kept = {
            str(name).lower(): text
            for name, text in headers
            if isinstance(text, str) and not self._secret(str(name), text) and str(name).lower() not in _OWN_HEADERS
        }
        return [str(url), bool(vertexai), names, kept, body]

    def _secret(self, name: str, value: str) -> bool:
        return super()._secret(name, value) or value.startswith("AIza")

    def retries_by_itself(self, value: Any) -> bool:
        """Does this client retry failed requests? Not unless it was told to."""
        options = getattr(getattr(self._client(value), "_http_options", None), "retry_options", None)
        return options is not None and getattr(options, "attempts", None) not in (0, 1)

    def is_answer(self, value: Any) -> bool:
        """Recognize the SDK's objects by their package, dicts by what the API writes into each."""
        if isinstance(value, dict):
            told = [_either(value, name) for name in ("usage_metadata", "model_version", "prompt_feedback")]
            return any(each is not None for each in told) and ("candidates" in value or told[2] is not None)
        return hasattr(value, "model_dump") and self.defines(type(value))

    def usage(self, answer: Any) -> Usage | None:
        """Return model and tokens of an answer; what it thought was paid for as what it said."""
        used = _either(answer, "usage_metadata")
        if used is None:
            return None
        told = [_either(used, name) for name in _COUNTS]
        asked, said, thought, tools = (each if isinstance(each, int) else 0 for each in told)
        return Usage(_word(_either(answer, "model_version")), asked + tools, said + thought)

    def incomplete(self, answer: Any) -> str | None:
        """Find a blocked prompt, a candidate that was stopped, an answer with nothing in it."""
        blocked = _word(_either(answer, "prompt_feedback", "block_reason"))
        if blocked is not None:
            return blocked
        if not isinstance(answer, dict) and not hasattr(answer, "candidates"):
            return None  # an embedding, a count of tokens, a file
        candidates = part(answer, "candidates") or []
        for candidate in candidates:
            reason = _word(_either(candidate, "finish_reason"))
            if reason is not None and reason not in _WHOLE:
                return reason
        return None if any(map(_has_content, candidates)) else "empty answer"

    def watch(self, chunk: Any) -> Watch | None:
        """Recognize the pieces of generated content; they look like whole answers."""
        piece = isinstance(chunk, dict) or hasattr(chunk, "candidates")
        return _Content(self) if piece and self.is_answer(chunk) else None


class _Content(Watch):
    """Watch generated content: each candidate that appears says how it ended."""

    def __init__(self, provider: Provider) -> None:
        super().__init__()
        self.provider = provider
        self.open: dict[Any, bool] = {}

    def see(self, chunk: Any) -> None:
        blocked = _word(_either(chunk, "prompt_feedback", "block_reason"))
        self.reason = blocked or self.reason
        for candidate in part(chunk, "candidates") or []:
            reason = _word(_either(candidate, "finish_reason"))
            index = part(candidate, "index") or 0
            self.open[index] = self.open.get(index, True) and reason in (None, "FINISH_REASON_UNSPECIFIED")
            if reason is not None and reason not in _WHOLE:
                self.reason = reason
            self.says = self.says or _has_content(candidate)
        self.used = self.provider.usage(chunk) or self.used
        self.ended = bool(self.open) and not any(self.open.values())


def _has_content(candidate: Any) -> bool:
    parts = part(candidate, "content", "parts") or []
    return any(_either(each, name) and not part(each, "thought") for each in parts for name in _CONTENT)


def _frozen(value: Any) -> Any:
    """Return further fields of the request as bytes, which show a change in place; seldom there are any."""
    if value is None:
        return None
    import json

    try:
        return json.dumps(value, sort_keys=True).encode()
    except (TypeError, ValueError, RecursionError):
        return value
