"""
The questions that a provider answers, and the shape that most SDKs share.

Law: a method that does not know says so (None, False); it never raises, whatever it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ..status import Usage

__all__ = ["Provider", "Watch", "fields", "items", "part"]

_SECRET_WORDS = frozenset(("authorization", "apikey", "cookie", "token", "secret"))


@lru_cache(1000)
def _maps(kind: type) -> bool:
    """Is it looked up by key? To ask an abstract class takes longer than to look."""
    return issubclass(kind, Mapping)


def part(value: Any, *names: str) -> Any:
    """Return ``value.a.b`` or ``value["a"]["b"]``, None where any of it is missing."""
    for name in names:
        value = value.get(name) if _maps(value.__class__) else getattr(value, name, None)
    return value


def fields(value: Any) -> Mapping[str, Any]:
    """Return what a mapping or an object has of its own: a model takes a microsecond to say that it lacks something."""
    return value if _maps(value.__class__) else getattr(value, "__dict__", _NOTHING)


_NOTHING: Mapping[str, Any] = {}


def items(value: Any) -> list[Any]:
    """Return what is in a list; nothing where it is none."""
    return list(value) if isinstance(value, (list, tuple)) else []


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: Any, names: tuple[str, ...]) -> int:
    """Return the first of some fields that is a count."""
    maps = _maps(value.__class__)
    for name in names:
        if isinstance(count := value.get(name) if maps else getattr(value, name, None), int):
            return count
    return 0


class Watch:
    """
    See the chunks of one stream go by, to tell at its end whether it was whole, and what it cost.

    Attributes:
        reason: why it is not whole, where a chunk has said so.
        says: was there anything in it but its frame?
        ended: was there the mark that ends a stream of this kind?
        used: the usage that was told last.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self.says = False
        self.ended = False
        self.used: Usage | None = None

    def see(self, chunk: Any) -> None:
        """Take in a chunk."""
        raise NotImplementedError

    def incomplete(self) -> str | None:
        """Return why the stream is not whole, None where nothing speaks against it."""
        if self.reason is not None:
            return self.reason
        if not self.ended:
            return "no end mark"
        return None if self.says else "empty answer"


class Provider:
    """Know one SDK; the defaults know the clients that OpenAI's generator, Stainless, makes for many providers."""

    #: Top-level package of the SDK.
    module = ""

    def defines(self, cls: type) -> bool:
        """Is *cls*, or what it derives from, a class of this SDK?"""
        return any(map(self.owns, cls.__mro__))

    def owns(self, cls: type) -> bool:
        """Is *cls* itself of this SDK, rather than a class that somebody derived from one?"""
        return f"{cls.__module__}.".startswith(f"{self.module}.")

    def is_client(self, value: Any) -> bool:
        """Is *value* a client, or a resource such as ``client.chat.completions``?"""
        if not self.defines(type(value)):
            return False
        own = getattr(self._client(value), "__dict__", {})
        return {"_base_url", "_custom_headers", "_custom_query"} <= own.keys()

    def _client(self, value: Any) -> Any:
        own = getattr(value, "__dict__", {})
        return value if "_base_url" in own else own.get("_client")

    def parts(self, value: Any) -> tuple[Any, ...]:
        """Return what can change in place and changes the answers; cheap, compared at each call."""
        c = self._client(value)
        return (
            c._base_url,
            getattr(c, "organization", None),
            getattr(c, "project", None),
            getattr(c, "_api_version", None),
            getattr(c, "_azure_deployment", None),
            tuple(c._custom_query.items()),
            tuple(c._custom_headers.items()),
        )

    def describe(self, value: Any) -> list[Any]:
        """Return what makes two clients give the same answers: no credentials, nothing that the SDK adds itself."""
        return self.description(self.parts(value))

    def description(self, parts: tuple[Any, ...]) -> list[Any]:
        """Return what `describe` does, for parts that were taken before."""
        url, organization, project, version, deployment, query, headers = parts
        # anthropic's `organization` is a resource that holds the client again; only text names an organization.
        names = [_text(each) for each in (organization, project, version, deployment)]
        kept = {str(k).lower(): v for k, v in headers if isinstance(v, str) and not self._secret(str(k), v)}
        return [str(url), names, kept, {str(k): str(v) for k, v in query if not self._secret(str(k), str(v))}]

    def _secret(self, name: str, value: str) -> bool:
        parts = name.lower().replace("_", "-").split("-")
        named = "api-key" in "-".join(parts) or not _SECRET_WORDS.isdisjoint(parts)
        return named or (value.startswith("sk-") and " " not in value)

    def retries_by_itself(self, value: Any) -> bool:
        """Does this client retry failed requests?"""
        return bool(getattr(self._client(value), "max_retries", 0))

    def is_answer(self, value: Any) -> bool:
        """Is *value* an answer of this provider's shape?"""
        return False

    def usage(self, answer: Any) -> Usage | None:
        """Return model and tokens of an answer, None where it does not say."""
        used = part(answer, "usage")
        if used is None:
            return None
        return Usage(_text(part(answer, "model")), _count(used, self.tokens[::2]), _count(used, self.tokens[1::2]))

    #: Names of the counts of tokens, in and out in turn.
    tokens: tuple[str, ...] = ("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens")

    def incomplete(self, answer: Any) -> str | None:
        """Return why an answer is not whole, None where nothing speaks against it."""
        return None

    # Streams -----------------------------------------------------------------------------------------------------

    def watch(self, chunk: Any) -> Watch | None:
        """Return what watches a stream that has this chunk in it, None where it is none of this provider's."""
        return None

    def is_manager(self, value: Any) -> bool:
        """Is *value* what has to be entered before it is a stream, as the result of ``client.messages.stream()``?"""
        return type(value).__name__.endswith("StreamManager") and self.defines(type(value))

    def streams(self, function: Any) -> bool:
        """Is this a method of the SDK that always returns `is_manager`?"""
        home = f"{getattr(function, '__module__', None)}."
        return getattr(function, "__name__", None) == "stream" and home.startswith(f"{self.module}.")

    #: The method by which its streams give the whole answer when they are over -> the property that shows it.
    finals: Mapping[str, str] = {}

    def final(self, stream: Any) -> str | None:
        """Return the name of the method by which *stream* gives the whole answer, None where it has none."""
        if not self.defines(type(stream)):
            return None
        return next((name for name in self.finals if hasattr(type(stream), name)), None)
