"""
The one free text in a call's argument, and what is left of the argument without it.

Law: what is left is part of the exact key, so whatever is not the text must stay in it: earlier turns, images, names.
An argument of a shape that is not known here has no free text: the call is exact only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["split"]

#: Stands for the text in what is left.
_HERE = "\0the text"
_KEYS = ("content", "parts")


def split(value: Any) -> tuple[str, Any] | None:
    """Return the text of an argument, and the argument with a mark in its place; None where there is no one text."""
    if type(value) is str:
        return value, _HERE
    if not isinstance(value, (list, tuple)) or type(value) not in (list, tuple) or not value:
        return None
    found = _of_message(value[-1])
    if found is None:
        return None
    text, message = found
    return text, type(value)([*value[:-1], message])


def _of_message(message: Any) -> tuple[str, Any] | None:
    """Return the text of a user's message, and the message without it; of nobody else's."""
    if not isinstance(message, Mapping):
        return _of_object(message)
    key = next((key for key in _KEYS if key in message), None)
    if key is None or message.get("role") != "user":
        return None
    found = _of_content(message[key])
    return None if found is None else (found[0], {**message, key: found[1]})


def _of_object(message: Any) -> tuple[str, Any] | None:
    """Return the same of a message object that says it is a human's, such as LangChain's."""
    content = getattr(message, "content", None)
    if getattr(message, "type", None) != "human" or type(content) is not str or not hasattr(message, "model_copy"):
        return None
    return content, message.model_copy(update={"content": _HERE})


def _of_content(content: Any) -> tuple[str, Any] | None:
    """Return the text of a message's content, or of the one part of it that is text."""
    if type(content) is str:
        return content, _HERE
    if not isinstance(content, Sequence) or isinstance(content, (bytes, bytearray)):
        return None
    places = [at for at, part in enumerate(content) if isinstance(part, Mapping) and type(part.get("text")) is str]
    if len(places) != 1:
        return None
    (at,) = places
    return content[at]["text"], [*content[:at], {**content[at], "text": _HERE}, *content[at + 1 :]]
