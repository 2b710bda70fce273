"""
What the SDKs' clients and answers look like.

Law: by shape, nothing imported. Keys, policy, codec and savings ask through `Provider` alone, so that a new SDK is one
new file and a line here.
"""

from __future__ import annotations

from typing import Any

from ..status import Usage
from .anthropic import Anthropic
from .base import Provider, Watch
from .google import Google
from .openai import OpenAI

__all__ = [
    "PROVIDERS",
    "Provider",
    "Watch",
    "of_answer",
    "of_class",
    "of_client",
    "of_manager",
    "opens",
    "streams",
    "watch",
    "watched",
]


class Streams(Provider):
    """Know what was seen of a stream, whoever's it was: a `Watch` counts as its answer."""

    module = "no package"

    def is_answer(self, value: Any) -> bool:
        return isinstance(value, Watch)

    def incomplete(self, answer: Any) -> str | None:
        return answer.incomplete()  # type: ignore[no-any-return]

    def usage(self, answer: Any) -> Usage | None:
        return answer.used  # type: ignore[no-any-return]


PROVIDERS: tuple[Provider, ...] = (OpenAI(), Anthropic(), Google(), Streams())

_clients: dict[type, Provider | None] = {}


def of_client(value: Any) -> Provider | None:
    """Return the provider whose client, or resource of a client, *value* is; None for anything else."""
    kind = type(value)
    if kind in _clients:
        return _clients[kind]
    found = next((p for p in PROVIDERS if p.is_client(value)), None)
    if found is not None or of_class(kind) is None:  # a client that is not finished yet says nothing about its class
        if len(_clients) > 10_000:  # classes made at run time
            _clients.clear()
        _clients[kind] = found
    return found


def of_answer(value: Any) -> Provider | None:
    """Return the provider whose answer *value* is, as an object of its SDK or as the same thing in dicts."""
    for provider in PROVIDERS:  # no generator: each miss asks, and mostly the first one knows
        if provider.is_answer(value):
            return provider
    return None


def of_class(cls: type) -> Provider | None:
    """Return the provider whose SDK defines *cls*."""
    return next((p for p in PROVIDERS if p.defines(cls)), None)


def of_manager(value: Any) -> Provider | None:
    """Return the provider whose stream manager *value* is."""
    return next((p for p in PROVIDERS if p.is_manager(value)), None)


def opens(function: Any) -> bool:
    """Is this a plain function that returns an asynchronous stream manager: ``stream()`` of an async client?"""
    return streams(function) and str(getattr(function, "__qualname__", "")).startswith("Async")


def streams(function: Any) -> bool:
    """Is this a method of an SDK that always returns a stream manager?"""
    return any(p.streams(function) for p in PROVIDERS)


def watched(chunks: list[Any]) -> Watch | None:
    """Return what was seen of a whole stream; None where it is no provider's."""
    found: Watch | None = None
    for chunk in chunks:
        found = found or watch(chunk)
        if found is not None:
            found.see(chunk)
    return found


def watch(chunk: Any) -> Watch | None:
    """Return what watches a stream that has this chunk in it; None where it is no provider's."""
    for provider in PROVIDERS:
        if (found := provider.watch(chunk)) is not None:
            return found
    return None
