"""
What the SDKs' clients and answers look like.

Law: by shape, nothing imported. Keys, policy, codec and savings ask through `Provider` alone, so that a new SDK is one
new file and a line here.
"""

from __future__ import annotations

from typing import Any

from .anthropic import Anthropic
from .base import Provider
from .google import Google
from .openai import OpenAI

__all__ = ["PROVIDERS", "Provider", "of_answer", "of_class", "of_client"]

PROVIDERS: tuple[Provider, ...] = (OpenAI(), Anthropic(), Google())

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
    return next((p for p in PROVIDERS if p.is_answer(value)), None)


def of_class(cls: type) -> Provider | None:
    """Return the provider whose SDK defines *cls*."""
    return next((p for p in PROVIDERS if p.defines(cls)), None)
