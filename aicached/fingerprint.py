"""
A function's version: its code and what it reads besides its arguments, looked at anew at each call.

Law: what a function closes over counts always; its code, and the constants and SDK clients among the globals and module
attributes that it names, count where no ``version=`` pins it. Whether anything has changed is asked by identity, in a
tenth of a microsecond; what can change in place (a client's base URL, an object with a key) is compared by its parts.
What is neither a constant nor has a key is not followed, and `Fingerprint.unfollowed` says so.
"""

from __future__ import annotations

import hashlib
import logging
import types
from collections.abc import Callable
from typing import Any

from . import providers
from .canonical import form, pack, tagged
from .definitions import (
    cells,
    code_digest,
    code_names,
    distribution_of,
    function_form,
    is_constant,
    mapping_of_forms,
    plain_function,
)
from .errors import UnkeyableArgument
from .naming import identity

__all__ = ["Fingerprint"]

log = logging.getLogger("aicached")

MISSING = tagged("missing")
RESTLESS = 50

_CREDENTIAL_NAMES = ("api_key", "secret", "password", "access_token", "auth_token")
_CREDENTIAL_VALUES = ("sk-", "sk_", "pk-", "AIza", "gsk_", "hf_", "xai-", "ghp_", "AKIA", "Bearer ")


def is_credential(name: str, value: Any) -> bool:
    """Is this a secret, by the end of its name or the beginning of its value?"""
    return name.lower().endswith(_CREDENTIAL_NAMES) or (type(value) is str and value.startswith(_CREDENTIAL_VALUES))


class View:
    """Hold what one look at a function's hidden inputs found; replaced whole, so that threads never see half of it."""

    __slots__ = ("cells", "clients", "followed", "places", "unfollowed", "version", "watched")

    def __init__(self) -> None:
        self.places: list[tuple[dict[str, Any], str, Any]] = []
        self.cells: list[tuple[types.CellType, Any]] = []
        self.watched: list[tuple[Callable[[Any], Any], Any, Any]] = []
        self.clients: list[Any] = []
        self.followed: dict[str, Any] = {}
        self.unfollowed: dict[str, Any] = {}
        self.version = b""


class Fingerprint:
    """
    Follow one function's hidden inputs.

    Args:
        function: the plain function at the bottom; anything else has neither code nor closure to follow.
        version: None = follow code and globals; any keyable value = pinned by hand.
        ignore: names of followed globals and closed-over variables that stay out.
    """

    def __init__(self, function: Any, version: Any, ignore: frozenset[str]) -> None:
        self.function = function if isinstance(function, types.FunctionType) else None
        self.name = ":".join(identity(function))
        self.ignore = ignore
        self.base = ["pinned", form(version)] if version is not None else ["code", self._code(function)]
        followed = version is None and self.function is not None
        self.chains = code_names(self.function.__code__) if followed and self.function is not None else ()
        self.restless: dict[str, int] = {}
        self.view = self._look()

    def _code(self, function: Any) -> Any:
        if self.function is None:
            return form(function) if isinstance(function, types.BuiltinFunctionType) else list(identity(function))
        return distribution_of(self.function.__module__ or "") or code_digest(self.function.__code__)

    def current(self) -> bytes:
        """Return the version as it is now: 32 bytes."""
        view = self.view
        for place, name, last in view.places:
            if place.get(name, MISSING) is not last:
                return self.reread()
        for cell, last in view.cells:
            if _content_of(cell) is not last:
                return self.reread()
        for parts, value, last in view.watched:
            if not _same(parts(value), last):
                return self.reread()
        return view.version

    def names(self) -> frozenset[str]:
        """Return every name that could be followed, so that ``ignore=`` may hold it."""
        free = self.function.__code__.co_freevars if self.function is not None else ()
        return frozenset((*free, *(name for chain in self.chains for name in (*chain, ".".join(chain)))))

    def reread(self) -> bytes:
        """Look at everything anew and return the version."""
        view = self._look()
        self._warn_of_restless(self.view.followed, view.followed)
        self.view = view
        return view.version

    def _look(self) -> View:
        view = View()
        if self.function is not None:
            self._follow_cells(view, self.function)
            for chain in self.chains:
                self._follow_chain(view, self.function.__globals__, chain)
        view.version = hashlib.sha256(pack([self.base, mapping_of_forms(view.followed)])).digest()
        return view

    def _follow_cells(self, view: View, function: types.FunctionType) -> None:
        view.cells = [(cell, _content_of(cell)) for cell in function.__closure__ or ()]
        for name, value in cells(function):
            if name in self.ignore or is_credential(name, value) or value is ...:
                continue
            made = self._content(view, value, closed_over=True)
            if made is None:
                view.unfollowed[name] = value
            else:
                view.followed[f"closure {name}"] = made

    def _follow_chain(self, view: View, place: dict[str, Any], chain: tuple[str, ...]) -> None:
        """Walk ``config.settings.MODEL`` through modules, and take what stands at the end if it is followed."""
        value: Any = MISSING
        walked = []
        for name in chain:
            value = place.get(name, MISSING)
            view.places.append((place, name, value))
            walked.append(name)
            if not isinstance(value, types.ModuleType):
                break
            place = vars(value)
        dotted = ".".join(walked)
        if value is MISSING or self.ignore & {dotted, walked[-1]} or is_credential(dotted, value):
            return
        made = self._content(view, value, closed_over=False)
        if made is not None:
            view.followed[dotted] = made

    def _content(self, view: View, value: Any, *, closed_over: bool) -> Any:
        """Return the form of *value* where it is followed, and watch it where it can change in place; else None."""
        if is_constant(value):
            return [form(value)]
        if (provider := providers.of_client(value)) is not None:
            view.clients.append(value)
            view.watched.append((provider.parts, value, provider.parts(value)))
            return [form(value)]
        if not closed_over:
            return None
        if isinstance(value, types.FunctionType):
            return self._closed_over_function(view, value)
        try:
            made = [form(value)] if _has_key(value) else None
        except (UnkeyableArgument, RecursionError):
            return None
        if made is not None and not isinstance(value, type):
            view.watched.append((_packed, value, _packed(value)))
        return made

    def _closed_over_function(self, view: View, value: types.FunctionType) -> Any:
        """Return the form of a function in the closure: whole where it has one, else by its name and code alone."""
        if value is self.function:
            return ["itself"]
        if distribution_of(value.__module__ or "") is None:  # nobody edits an installed package's function in place
            view.watched.append((_function_parts, value, _function_parts(value)))
        try:
            return [function_form(value, (self.function,))]
        except (UnkeyableArgument, RecursionError):
            return [*identity(value), code_digest(value.__code__)]

    def _warn_of_restless(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        for name in now.keys() & before.keys():
            if now[name] == before[name]:
                continue
            times = self.restless[name] = self.restless.get(name, 0) + 1
            if times == RESTLESS:
                log.warning(
                    "%s reads %r, which was new in each of %d calls, so that no call hits: "
                    "leave it out of the key with ignore=(%r,), or pin the function with version=",
                    self.name, name.removeprefix("closure "), RESTLESS, name.removeprefix("closure "),
                )  # fmt: skip


def _content_of(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name that is not bound yet
        return MISSING


def _same(now: Any, last: Any) -> bool:
    """Compare part by part, by identity first: a part may be an object whose ``==`` says nothing, or raises."""
    if type(now) is not tuple:
        return bool(now == last)
    try:
        pairs = zip(now, last, strict=True)
        return all(a is b or (type(a) is type(b) and a == b) for a, b in pairs)
    except Exception:
        return False


def _packed(value: Any) -> bytes:
    """Return the content of a value that can change in place; empty once it has none."""
    try:
        return pack(form(value))
    except (UnkeyableArgument, RecursionError):
        return b""


def _function_parts(function: types.FunctionType) -> tuple[Any, ...]:
    kwdefaults = tuple((function.__kwdefaults__ or {}).items())
    contents = tuple(value for _, value in cells(function) if is_constant(value))
    return (function.__code__, function.__defaults__, kwdefaults, contents)


def _has_key(value: Any) -> bool:
    """Is *value* something that counts where it is closed over? A container has a form, but is not followed."""
    return not isinstance(value, (list, tuple, dict, set, frozenset, bytearray, types.ModuleType))
