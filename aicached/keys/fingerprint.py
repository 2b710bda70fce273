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
import sys
import types
from collections.abc import Callable, Sequence
from importlib.util import resolve_name
from typing import Any

from .. import providers
from .canonical import client_form, form, form_or, pack, tagged
from .code import code_digest, code_imports, code_names
from .definitions import (
    distribution_of,
    function_form,
    is_constant,
    layers,
    mapping_of_forms,
    plain_function,
)
from .naming import identity

__all__ = ["Fingerprint"]

log = logging.getLogger("aicached")

MISSING = tagged("missing")
RESTLESS = 50

_CREDENTIAL_NAMES = ("api_key", "secret", "password", "access_token", "auth_token")
_CREDENTIAL_VALUES = ("sk-", "sk_", "pk-", "AIza", "gsk_", "hf_", "xai-", "ghp_", "AKIA")


def is_credential(name: str, value: Any) -> bool:
    """Is this a secret, by the end of its name, or by what keys look like: one word with a known beginning?"""
    if name.lower().endswith(_CREDENTIAL_NAMES):
        return True
    if type(value) is not str or not value.startswith(("Bearer ", *_CREDENTIAL_VALUES)):
        return False
    return not any(map(str.isspace, value.removeprefix("Bearer ")))  # a sentence may begin with the same letters


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

    def follow(self, name: str, made: Any) -> None:
        """Take in a form; layers of decorators may use one name for several things."""
        self.followed[name] = [*self.followed.get(name, ()), made]


class Fingerprint:
    """
    Follow one function's hidden inputs.

    Args:
        function: the plain function at the bottom; anything else has neither code nor closure to follow.
        version: None = follow code and globals; any keyable value = pinned by hand.
        ignore: names of followed globals and closed-over variables that stay out.
    """

    def __init__(self, function: Any, version: Any, ignore: frozenset[str]) -> None:
        #: A decorator in between is a function, too; what it wraps is the one that reads the constants.
        self.layers = layers(function)
        self.name = ":".join(identity(function))
        self.ignore = ignore
        self.base = ["pinned", form(version)] if version is not None else ["code", *self._code(function)]
        self.chains = [code_names(layer.__code__) if version is None else () for layer in self.layers]
        self.imports = [code_imports(layer.__code__) if version is None else () for layer in self.layers]
        self.restless: dict[str, int] = {}
        self.view = self._look()

    def _code(self, function: Any) -> list[Any]:
        if not self.layers:
            return [form_or(function, list(identity(function)))]
        return [distribution_of(layer.__module__ or "") or code_digest(layer.__code__) for layer in self.layers]

    def current(self) -> bytes:
        """Return the version as it is now: 32 bytes."""
        view = self.view
        for place, name, last in view.places:
            if place.get(name, MISSING) is not last:
                return self.reread()
        for cell, last in view.cells:
            if content_of(cell) is not last:
                return self.reread()
        for parts, value, last in view.watched:
            if not same(parts(value), last):
                return self.reread()
        return view.version

    def names(self) -> frozenset[str]:
        """Return every name that could be followed, so that ``ignore=`` may hold it."""
        free = (name for layer in self.layers for name in layer.__code__.co_freevars)
        chains = [chain for of_layer in self.chains for chain in of_layer]
        return frozenset((*free, *(name for chain in chains for name in (*chain, *_prefixes(chain)))))

    def reread(self) -> bytes:
        """Look at everything anew and return the version."""
        view = self._look()
        self._warn_of_restless(self.view.followed, view.followed)
        self.view = view
        return view.version

    def _look(self) -> View:
        view = View()
        for layer, chains, imports in zip(self.layers, self.chains, self.imports, strict=True):
            self._follow_cells(view, layer)
            for chain in chains:
                self._follow_chain(view, layer.__globals__, chain)
            for module, *rest in imports:
                self._follow_chain(view, sys.modules, (_absolute(module, layer), *rest))
        view.version = hashlib.sha256(pack([self.base, mapping_of_forms(view.followed)])).digest()
        return view

    def _follow_cells(self, view: View, function: types.FunctionType) -> None:
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            content = content_of(cell)
            view.cells.append((cell, content))
            value = plain_function(content)
            if content is MISSING or name in self.ignore or is_credential(name, value):
                continue
            made = self._closed_over(view, name, value)
            if made is None:
                view.unfollowed[name] = value
            else:
                view.follow(f"closure {name}", made)

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
        if value is MISSING or self.ignore & {*_prefixes(walked), walked[-1]} or is_credential(dotted, value):
            return
        made = form(value) if is_constant(value) else self._client(view, value)
        if made is not None:
            view.follow(dotted, made)

    def _client(self, view: View, value: Any) -> Any:
        """Return the form of a client, and watch it; None for anything else."""
        provider = providers.of_client(value)
        if provider is None:
            return None
        parts = provider.parts(value)
        view.clients.append(value)
        view.watched.append((provider.parts, value, parts))
        return client_form(value, provider.description(parts))

    def _closed_over(self, view: View, name: str, value: Any) -> Any:
        """Return the form of a closed-over value, and watch it where it can change in place; None: not followed."""
        if isinstance(value, types.FunctionType):
            return self._closed_over_function(view, name, value)
        if (made := self._client(view, value)) is not None or not _has_key(value):
            return made
        if not is_constant(value) and not isinstance(value, type):
            view.watched.append((parts_of, value, parts_of(value)))
        return form_or(value, None)

    def _closed_over_function(self, view: View, name: str, value: types.FunctionType) -> Any:
        """Return the form of a function in the closure; what it holds is followed by the same rule, or not."""
        if value in self.layers:
            return tagged("itself", self.layers.index(value))
        if distribution_of(value.__module__ or "") is None:  # nobody changes those of installed packages in place
            view.watched.append((parts_of, value, parts_of(value)))

        def held(each: Any) -> Any:
            made = form_or(each, MISSING) if _has_key(each) else MISSING
            if made is MISSING:
                view.unfollowed[name] = value
            return made

        return function_form(value, tuple(self.layers), held)

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


def _absolute(module: str, function: types.FunctionType) -> str:
    """Return the full name of a module that *function* imports, perhaps relative to its own package."""
    try:
        return resolve_name(module, function.__globals__.get("__package__") or "")
    except ImportError:  # beyond the top: the import itself will say so
        return module


def content_of(cell: types.CellType) -> Any:
    """Return what a cell holds, `MISSING` where that is not bound yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING


def _prefixes(chain: Sequence[str]) -> list[str]:
    """Return every way to say ``config.settings.MODEL`` from the front: ``config``, ``config.settings``, all of it."""
    return [".".join(chain[: length + 1]) for length in range(len(chain))]


def same(now: Any, last: Any) -> bool:
    """
    Compare parts by identity, down through tuples, and bytes by content.

    Never by ``==``: True is 1, -0.0 is 0.0, and of a stranger it may say anything. What is equal and another object is
    looked at anew, no more.
    """
    if now is last or type(now) is not type(last):
        return now is last
    if type(now) is tuple:
        return len(now) == len(last) and all(map(same, now, last))
    return type(now) is bytes and now == last


def parts_of(value: Any, within: tuple[Any, ...] = ()) -> Any:
    """Return what can change in place of something closed over, for `same`: a function's parts, or a packed content."""
    if is_constant(value) or isinstance(value, type) or any(value is each for each in within):
        return value
    if not _has_key(value):
        return MISSING
    if not isinstance(value, types.FunctionType):
        made = form_or(value, MISSING)
        return value if made is MISSING else pack(made)
    contents = [plain_function(content_of(cell)) for cell in value.__closure__ or ()]
    named = value.__kwdefaults__ or {}
    held = [*(value.__defaults__ or ()), *named.values(), *contents]
    return (value.__code__, *named, *(parts_of(each, (*within, value)) for each in held))


def _has_key(value: Any) -> bool:
    """Is *value* something that counts where it is closed over? A container has a form, but is not followed."""
    return is_constant(value) or not isinstance(value, (list, tuple, dict, set, frozenset, bytearray, types.ModuleType))
