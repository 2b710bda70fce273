"""
Every error that aicached raises by itself.

AICachedError
├── ConfigurationError      an option, a url or a name that cannot be meant (also a ValueError)
├── UnkeyableArgument       an argument without a content to make a key of (also a TypeError)
├── UnstorableValue         a value that would not come back as it was (also a TypeError)
└── StoreError              a store said no, in an answer of its own
    ├── WriteRefused        a store that is full or read-only: it still answers reads
    └── StoreUnavailable    a store did not answer: refused, cut off, too slow, or shut out by the breaker

Law: an error of the cache never becomes an error of the call, and an error of the call is never dressed up as one of
the cache. Of these, a caller of a cached function sees the first two alone, and both before the function has run.
"""

from __future__ import annotations

__all__ = [
    "AICachedError",
    "ConfigurationError",
    "StoreError",
    "StoreUnavailable",
    "UnkeyableArgument",
    "UnstorableValue",
    "WriteRefused",
]


class AICachedError(Exception):
    """Be the root of the tree."""


class ConfigurationError(AICachedError, ValueError):
    """Name an option, a url or a name that cannot be meant, and what is allowed."""


class UnkeyableArgument(AICachedError, TypeError):
    """Name an argument that has no content to make a key of, and the ways out."""


class UnstorableValue(AICachedError, TypeError):
    """Name a type that would not come back as it was, and the ways out."""


class StoreError(AICachedError):
    """Carry a store's refusal; the store itself is healthy, so the breaker does not count it."""


class WriteRefused(StoreError):
    """Say that a store takes no writes for now; the breaker pauses writes alone."""


class StoreUnavailable(StoreError):
    """Say that a store did not answer at all; the breaker counts these."""
