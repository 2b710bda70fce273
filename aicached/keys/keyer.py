"""
A call -> its key: a digest of 32 bytes over everything that may change the answer.

Law: two different calls never share a key, and one call, spelled in two ways, has one. In it are the key schema, the
namespace, the function's identity and version, scope, sample, and every argument that was not taken out by name.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Protocol

from .. import providers
from ..context import Ambient, valid_scope
from ..errors import UnkeyableArgument
from .binding import Binder, subject_of
from .canonical import NO_CONTENT, client_form, form, pack
from .fingerprint import Fingerprint, same
from .lanes import Lane
from .naming import identity

__all__ = ["Keyer", "stamp_key", "tag_keys"]

SCHEMA = 1
#: Names of the parts of a key that are no arguments.
WORDS = ("code", "version", "scope", "sample")


class Rules(Protocol):
    """What keys depend on of a policy: see `ai_cached` for what each means."""

    @property
    def key(self) -> Any: ...
    @property
    def ignore(self) -> frozenset[str]: ...
    @property
    def normalize(self) -> Mapping[str, Callable[[Any], Any]]: ...
    @property
    def scope(self) -> Any: ...
    @property
    def version(self) -> Any: ...
    @property
    def tags(self) -> Any: ...


class Keyer:
    """
    Make the keys of one function's calls in one namespace.

    Args:
        function: the callable as it was given to the decorator.
        rules: the policy, as far as keys depend on it.
        namespace: of the cache.
        secret: what keyed digests begin with; empty where they are not keyed.
    """

    def __init__(self, function: Any, rules: Rules, namespace: str, secret: bytes = b"") -> None:
        self.subject = subject_of(function)
        self.rules = rules
        self.namespace = namespace
        self.secret = secret
        self.identity = identity(self.subject.function)
        self.name = ":".join(self.identity)
        names = rules.key if isinstance(rules.key, tuple) else None
        self.binder = Binder(self.subject.function, names, rules.ignore, rules.normalize)
        self.fingerprint = Fingerprint(self.subject.function, rules.version, rules.ignore)
        self.stamps = (stamp_key(namespace), stamp_key(namespace, "function", *self.identity))
        #: The stamps of the tags that every answer has, and the one that any invalidation of a tag renews.
        self.tags = () if callable(rules.tags) else tag_keys(namespace, rules.tags)
        self.epoch = stamp_key(namespace, "tags")
        #: The log of the keys that were stored last.
        self.log = b"n" + stamp_key(namespace, "latest", *self.identity)[1:]
        #: Is the key what a function of the user's makes of the arguments?
        self.chosen = callable(rules.key)
        #: Is ``stream=True`` kept out of the key? The two kinds of answer stay apart even so.
        self.blind = self.chosen or "stream" in rules.ignore or (names is not None and "stream" not in names)
        #: Does a plain function get its arguments as they are?
        self.bare = not (self.subject.lead or self.subject.preset or self.blind)
        self.lanes: dict[tuple[bytes, tuple[str, ...], int, bool, bool], Lane] = {}
        self.owner: tuple[Any, Any, str] = (None, None, "")

    def key(
        self, instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], scope: tuple[str, ...], sample: int
    ) -> tuple[Lane, bytes]:
        """
        Return the lane and the digest of a call.

        Args:
            instance: what a method is bound to, None for a function; args: without it.
            scope: ambient and own, as `scope_of` gives it.
            sample: index of the answer.

        Raises:
            UnkeyableArgument: an argument has no content; the message names function, path, type and the ways out.
        """
        method = streams = False
        if instance is not None or not self.bare:
            args, kwargs, method = self.arguments(instance, args, kwargs)
            streams = self.blind and kwargs.get("stream") is True
        mark = (self.fingerprint.current(), scope, sample, method, streams)
        lane = self.lanes.get(mark) or self._lane(mark)
        bound = [self.rules.key(*args, **kwargs)] if self.chosen else self.binder.values(args, kwargs)
        try:
            if bound is None:
                return lane, lane.raw_digest(args, kwargs)
            if method and self.binder.leads and not self.chosen:
                bound[0] = self._owner_digest(bound[0])
            return lane, lane.digest(bound)
        except (UnkeyableArgument, RecursionError):
            raise self._unkeyable(bound, args, kwargs) from None

    def without(
        self, lane: Lane, keyed: tuple[Any, ...], name: str, split: Callable[[Any], tuple[str, Any] | None]
    ) -> tuple[bytes, str] | None:
        """
        Return the digest of a call without the free text of one parameter, and that text; None where it has none.

        Args:
            lane: of the call; keyed: what `key` took.
            name: of the parameter.
            split: argument -> its text, and what is left of it.
        """
        args, kwargs, method = self.arguments(*keyed[:3])
        bound = None if self.chosen else self.binder.values(args, kwargs)
        if bound is None:
            return None
        if method and self.binder.leads:
            bound[0] = self._owner_digest(bound[0])
        text = self.binder.take(bound, name, split)
        return None if text is None else (lane.digest(bound), text)

    def parts(
        self,
        lane: Lane,
        digest: bytes,
        instance: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        scope: tuple[str, ...],
        sample: int,
    ) -> dict[str, bytes]:
        """Return short digests of what a call's key is made of: each argument, the code, each name that is followed."""
        if lane.parts is None:
            lane.parts = self._hidden(scope, sample)
        args, kwargs, method = self.arguments(instance, args, kwargs)
        forms = None if method or self.chosen else lane.forms(digest)
        named = self._named(args, kwargs) if forms is None else self._told(forms)
        made, hidden = dict[str, bytes](), lane.parts
        for name, value in named.items():
            label = f"argument {name}" if name in hidden or name in WORDS else name
            made[label] = self._short(value, made=forms is not None)
        return made | hidden

    def _hidden(self, scope: tuple[str, ...], sample: int) -> dict[str, bytes]:
        """Return short digests of what else is in the key, which all calls of a lane have in common."""
        hidden: dict[str, Any] = {"code" if self.rules.version is None else "version": self.fingerprint.base}
        hidden |= self.fingerprint.view.followed
        hidden |= {"scope": list(scope)} if scope else {}
        hidden |= {"sample": sample} if sample else {}
        return {name: self._short(value, made=True) for name, value in hidden.items()}

    def _short(self, value: Any, *, made: bool = False) -> bytes:
        packed = pack(value if made else form(value))
        return hashlib.sha256(self.secret + packed if self.secret else packed).digest()[:8]

    def _named(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return what counts of the arguments, by name."""
        if self.chosen:
            return {"key": self.rules.key(*args, **kwargs)}
        bound = self.binder.values(args, kwargs)
        if bound is None:
            return self.binder.named(None, args, kwargs)
        return self._told(bound)

    def _told(self, bound: list[Any]) -> dict[str, Any]:
        """Return bound values, or their forms, by name, but for defaults that have no content."""
        named = dict(zip(self.binder.names, bound, strict=True))
        if self.binder.even:
            return named
        rest = named.pop(self.binder.rest, {}) if self.binder.rest else {}
        told = {name: value for name, value in named.items() if value is not None or not name.endswith("?")}
        return {name.rstrip("?"): value for name, value in told.items()} | rest

    def shown(self, instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, str]:
        """Return the arguments that count, in clear, for a cache that keeps them."""
        args, kwargs, _ = self.arguments(instance, args, kwargs)
        named = self.binder.named(self.binder.values(args, kwargs), args, kwargs)
        return {name: value if type(value) is str else _text(value) for name, value in named.items()}

    def arguments(
        self, instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], Mapping[str, Any], bool]:
        """Return what the function at the bottom gets, and whether its first argument is what it is bound to."""
        subject = self.subject
        if subject.lead or subject.preset:
            return (*subject.lead, *args), {**subject.preset, **kwargs}, subject.method
        return (args, kwargs, False) if instance is None else ((instance, *args), kwargs, True)

    def scope_of(
        self, instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], ambient: Ambient
    ) -> tuple[str, ...] | None:
        """Return the scopes of a call, the ambient ones first; None where the policy's own yields None."""
        own = self.rules.scope
        if own is None:
            return ambient.scope
        if isinstance(own, ContextVar):
            try:
                own = own.get()
            except LookupError:  # not set, and without a default of its own
                own = None
        elif callable(own):
            args, kwargs, _ = self.arguments(instance, args, kwargs)
            own = own(*args, **kwargs)
        return None if own is None else (*ambient.scope, valid_scope(own, f"scope= of {self.name}"))

    def _lane(self, mark: tuple[bytes, tuple[str, ...], int, bool, bool]) -> Lane:
        version, scope, sample, method, streams = mark
        how = "key" if self.chosen else self.binder.names
        prefix = [SCHEMA, self.namespace, list(self.identity), version, list(scope), sample, how, method]
        prefix += ["stream"] if streams else []
        scopes = tuple(stamp_key(self.namespace, "scope", *scope[:depth]) for depth in range(1, len(scope) + 1))
        marked = hashlib.sha256(pack(list(scope))).digest()[:16] if scope else b""
        if len(self.lanes) >= 1000:  # a scope for each user
            self.lanes.clear()
        lane = self.lanes[mark] = Lane(self.secret + pack(prefix), self.stamps + scopes + self.tags, marked)
        return lane

    def _owner_digest(self, owner: Any) -> str:
        """Return a hex digest of what a method is bound to: plain text in its place, so that the memo serves it."""
        provider = providers.of_client(owner)
        if provider is None:
            return hashlib.sha256(pack(form(owner))).hexdigest()
        parts = provider.parts(owner)
        known, before, digest = self.owner
        if known is not owner or not same(parts, before):
            digest = hashlib.sha256(pack(client_form(owner, provider.description(parts)))).hexdigest()
            self.owner = (owner, parts, digest)
        return digest

    def _unkeyable(
        self, bound: list[Any] | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> UnkeyableArgument:
        named = {"the result of key=": bound[0]} if self.chosen and bound else self.binder.named(bound, args, kwargs)
        path, value, why = place(named)
        kind = type(value)
        name = path.partition(".")[0].partition("[")[0]
        leave = "" if self.chosen else f"leave it out of the key with ignore=({name!r},); "
        return UnkeyableArgument(
            f"{self.name}(): {path} is a {'.'.join(identity(kind))}, {why}. Ways out: {leave}name what counts with "
            f"key=; teach the type with register_key({kind.__name__}, function); or give the class a key:\n\n"
            f"    def __cache_key__(self):\n        return (self.name, self.version)  # whatever changes the answer\n"
        )


def _text(value: Any) -> str:
    """Return the text of an argument for people; of one that cannot say it, its class."""
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__qualname__}>"


def tag_keys(namespace: str, names: Iterable[str]) -> tuple[bytes, ...]:
    """Return the store keys of the stamps that stand for tags, in the order of their names."""
    return tuple([stamp_key(namespace, "tag", name) for name in sorted({*names})])


@lru_cache(10_000)
def stamp_key(*names: str) -> bytes:
    """Return the store key of the stamp that stands for a namespace, a function, a scope or a tag."""
    return b"t" + hashlib.sha256(pack([SCHEMA, "stamp", *names])).digest()


def place(named: Mapping[str, Any]) -> tuple[str, Any, str]:
    """Find the argument that has no content: the path to it, ``messages[3].content``, the value itself, and why."""
    for name, value in named.items():
        if (why := _objection(value)) is not None:
            return _descend(name, [value], why)
    return "an argument", None, "that was changed meanwhile"


def _descend(path: str, line: list[Any], why: str) -> tuple[str, Any, str]:
    """Go down from the last of *line*, which holds what led there, as long as that helps to find the place."""
    for step, child in _children(line[-1]) if len(line) < 20 else ():
        circle = any(child is each for each in line)
        if not circle and (reason := _objection(child)) is not None:
            return _descend(path + step, [*line, child], reason)
    return path, line[-1], why


def _children(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [(_step(key), item) for key, item in value.items()]
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        return [(f"[{index}]", item) for index, item in enumerate(value)]
    names = getattr(value, "__dataclass_fields__", None) or getattr(type(value), "__pydantic_fields__", None) or ()
    return [(f".{name}", getattr(value, name, None)) for name in names]


def _step(key: Any) -> str:
    """Name a mapping's key in a message, which holds no text that could be a prompt: short identifiers alone."""
    return f".{key}" if isinstance(key, str) and key.isidentifier() and len(key) <= 40 else "[...]"


def _objection(value: Any) -> str | None:
    """Return why *value* has no key, without a word of what is in it; None where it has one."""
    try:
        pack(form(value))
    except UnkeyableArgument as error:
        what, told, reason = str(error).partition(NO_CONTENT)
        return (reason.removeprefix(": ") or f"which {NO_CONTENT}") if told else what
    except RecursionError:
        return "nested too deep, or in a circle"
    return None
