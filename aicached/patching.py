"""
A cache around a function that stands in somebody else's module or class, until it is undone.

Law: what is put back is what was there, and only where what is there now is this patch's own.
"""

from __future__ import annotations

import functools
import importlib
from types import TracebackType
from typing import Any

from .decorator import CachedFunction, ai_cached
from .errors import ConfigurationError

__all__ = ["Patch", "patch"]


class Patch:
    """Undo what `patch` did: call `undo`, or leave the ``with`` block."""

    def __init__(self, owner: Any, name: str, before: Any, made: CachedFunction) -> None:
        self.owner = owner
        self.name = name
        self.before = before
        self.function = made

    def undo(self) -> None:
        """Put back what was there, if what is there now is this patch's own; a second time does nothing."""
        if vars(self.owner).get(self.name) is not self.function:
            return
        if self.before is _INHERITED:
            delattr(self.owner, self.name)
        else:
            setattr(self.owner, self.name, self.before)

    def __enter__(self) -> Patch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.undo()


_INHERITED: Any = object()


def patch(target: str, /, *, cache: Any = None, **options: Any) -> Patch:
    """
    Put a cache around a function where it stands: ``patch("openai.resources.chat.completions:Completions.create")``.

    Args:
        target: ``"module:qualified.name"``.
        cache, **options: as `ai_cached` takes them.

    Raises:
        ConfigurationError: nothing is there, or it is cached already.
    """
    module, colon, path = target.partition(":")
    if not colon or not path or not module:
        raise ConfigurationError(f'patch(): it takes "module:qualified.name", not {target!r}')
    *holders, name = path.split(".")
    try:
        owner = functools.reduce(getattr, holders, importlib.import_module(module))
        found = getattr(owner, name)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"patch(): there is no {target!r} ({error})") from error
    before = vars(owner).get(name, _INHERITED)
    made = ai_cached(found if before is _INHERITED else before, cache=cache, **options)
    setattr(owner, name, made)
    return Patch(owner, name, before, made)
