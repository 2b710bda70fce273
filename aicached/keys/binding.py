"""
A call's arguments -> one value per parameter, however the call was spelled.

Law: the binder is a function with the origin's own signature, compiled once, so that Python itself binds (0.2 µs, where
`inspect.Signature.bind` takes 4). What it cannot bind is no error here: the raw arguments become the key, and the
origin raises its own TypeError, since a decorator that injects arguments makes its signature lie.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from ..errors import ConfigurationError
from ..providers.settings import is_sentinel
from .canonical import form_or
from .definitions import distribution_of, layers
from .naming import identity

__all__ = ["Binder", "Subject", "check_names", "colour_of", "subject_of"]

#: Functions of compiled modules, which count by name as built-in ones do.
_COMPILED = ("cython_function_or_method", "fused_cython_function", "nb_func", "nb_method")
POSITIONAL, KEYWORDS = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD


class Subject(NamedTuple):
    """
    Say what a callable comes down to.

    Args:
        function: the plain function or builtin at the bottom.
        lead: arguments that stand in front of every call's: a bound method's ``self``, a partial's arguments.
        preset: keywords that every call has: a partial's.
        method: whether the first of *lead* is what the function is bound to.
    """

    function: Any
    lead: tuple[Any, ...] = ()
    preset: Mapping[str, Any] = types.MappingProxyType({})
    method: bool = False


def subject_of(call: Any) -> Subject:
    """Look through partials, bound methods, classmethod and staticmethod objects, and objects with a ``__call__``."""
    if isinstance(call, functools.partial):
        inner = subject_of(call.func)
        return Subject(inner.function, (*inner.lead, *call.args), {**inner.preset, **call.keywords}, inner.method)
    if isinstance(call, (classmethod, staticmethod)):
        return subject_of(call.__func__)
    if isinstance(call, types.MethodType):
        return Subject(call.__func__, (call.__self__,), method=True)
    if isinstance(call, type) or inspect.isroutine(call):
        return Subject(call)
    method = getattr(type(call), "__call__", None)  # noqa: B004
    if not inspect.isfunction(method) and (layers(call) or type(call).__name__ in _COMPILED):
        return Subject(call)
    # What the object holds counts, as ``self``: of two `operator.itemgetter` the name is one.
    return Subject(method, (call,), method=True)


def colour_of(call: Any) -> str:
    """
    Return ``"async"`` for what is a coroutine function or async generator function at the bottom, else ``"sync"``.

    The bottom is below partials, bound methods, classmethod and staticmethod objects, ``__call__`` and ``__wrapped__``:
    ``create`` of the async SDK clients is a plain function around a coroutine function.
    """
    call = bottom_of(call)
    return "async" if inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call) else "sync"


def bottom_of(call: Any) -> Any:
    """Return the first coroutine function or async generator function below *call*; where there is none, the last."""
    for _ in range(50):
        if inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call):
            return call
        if isinstance(call, functools.partial):
            call = call.func
        elif hasattr(call, "__func__"):
            call = call.__func__
        elif hasattr(call, "__wrapped__"):
            call = call.__wrapped__
        elif not inspect.isroutine(call) and inspect.isfunction(getattr(type(call), "__call__", None)):  # noqa: B004
            call = type(call).__call__
        else:
            break
    return call


class Binder:
    """
    Bind arguments to the parameters that count.

    Args:
        function: what is called, unbound.
        key: names of the only parameters that count; None = all.
        ignore: names that do not count.
        normalize: name -> function, applied to the value that counts.
    """

    def __init__(
        self,
        function: Any,
        key: tuple[str, ...] | None = None,
        ignore: frozenset[str] = frozenset(),
        normalize: Mapping[str, Callable[[Any], Any]] = types.MappingProxyType({}),
    ) -> None:
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):  # builtins without a signature
            parameters = None
        self.parameters = parameters
        self.rest = next((p.name for p in parameters or () if p.kind is KEYWORDS), None)
        self.open = parameters is None or self.rest is not None
        self.names: list[str] = []
        self.bind: Callable[..., list[Any]] | None = None
        self.leads = False
        self.edits: list[Callable[[list[Any]], None]] = []
        if parameters is not None:
            named = {p.name for p in parameters if p.kind is not KEYWORDS}
            listed = [p for p in parameters if key is None or p.name in key or p.kind is KEYWORDS]
            counted = [p for p in listed if p.name not in ignore]
            self.names = [p.name for p in counted]
            #: Does the first parameter count, and is it one value?
            self.leads = bool(counted) and counted[0] is parameters[0] and counted[0].kind not in (POSITIONAL, KEYWORDS)
            strange = {p.name for p in counted if _is_strange(p)}
            unsure = {p.name for p in counted if p.default is not p.empty} - strange if _is_layered(function) else set()
            self.names = [f"{name}?" if name in strange | unsure else name for name in self.names]
            self.bind = compile_binder(parameters, counted, strange, unsure)
            self._edit_values(counted, named, key, ignore, normalize)
        #: Is each bound value that of one parameter, and always there?
        self.even = self.rest is None and not any(name.endswith("?") for name in self.names)

    def knows(self, name: str) -> bool:
        """May *name* be a parameter of the function?"""
        return self.open or name in {p.name for p in self.parameters or ()}

    def values(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Any] | None:
        """Return the values that count, in the order of `names`; None where the arguments do not fit."""
        if self.bind is None:
            return None
        try:
            bound = self.bind(*args, **kwargs)
        except TypeError:
            return None
        for edit in self.edits:
            edit(bound)
        return bound

    def take(self, bound: list[Any], name: str, split: Callable[[Any], tuple[str, Any] | None]) -> str | None:
        """Return the text that *split* finds in the value of a name, and leave in *bound* what is left without it."""
        for at, known in enumerate(self.names):
            if known == self.rest:
                if name in bound[at] and (found := split(bound[at][name])) is not None:
                    bound[at] = {**bound[at], name: found[1]}
                    return found[0]
            elif known.rstrip("?") == name:
                wrapped = known.endswith("?")
                value = bound[at][0] if wrapped and bound[at] else bound[at]
                if (found := split(value)) is not None:
                    bound[at] = [found[1], *bound[at][1:]] if wrapped else found[1]
                    return found[0]
        return None

    def named(self, bound: list[Any] | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a call under the names that people know them by."""
        if bound is None:
            return {f"args[{index}]": value for index, value in enumerate(args)} | dict(kwargs)
        result: dict[str, Any] = {}
        for name, value in zip(self.names, bound, strict=True):
            if name == self.rest:
                result |= value
            elif name.endswith("?"):
                result[name.rstrip("?")] = value and value[0]
            else:
                result[name] = value
        return result

    def _edit_values(
        self,
        counted: list[inspect.Parameter],
        named: set[str],
        key: tuple[str, ...] | None,
        ignore: frozenset[str],
        normalize: Mapping[str, Callable[[Any], Any]],
    ) -> None:
        rest = next((i for i, p in enumerate(counted) if p.kind is KEYWORDS), None)
        positions = {p.name: i for i, p in enumerate(counted) if i != rest}
        whole = key is None or (rest is not None and counted[rest].name in key)
        listed = None if whole else frozenset(key or ()) - named
        inside = {name: function for name, function in normalize.items() if name not in named}
        for name, function in normalize.items():
            if name in positions:
                self.edits.append(_normalized_at(positions[name], function, wrapped=f"{name}?" in self.names))
        if rest is not None and (ignore - named or listed is not None or inside):
            self.edits.append(_filtered_at(rest, ignore, listed, inside))


def _normalized_at(index: int, function: Callable[[Any], Any], *, wrapped: bool) -> Callable[[list[Any]], None]:
    def normalize(bound: list[Any]) -> None:
        if not wrapped:
            bound[index] = function(bound[index])
        elif bound[index] is not None:
            bound[index] = [function(bound[index][0]), *bound[index][1:]]

    return normalize


def _filtered_at(
    index: int, ignore: frozenset[str], listed: frozenset[str] | None, normalize: Mapping[str, Callable[[Any], Any]]
) -> Callable[[list[Any]], None]:
    def filter_keywords(bound: list[Any]) -> None:
        bound[index] = {
            name: normalize[name](value) if name in normalize else value
            for name, value in bound[index].items()
            if name not in ignore and (listed is None or name in listed)
        }

    return filter_keywords


def _is_strange(parameter: inspect.Parameter) -> bool:
    """
    Is its default one that cannot be keyed, or that stands for "left out"?

    It counts as the default, left out or passed: as None, which leaves the call to the memo; all else there goes in a
    list.
    """
    default = parameter.default
    return default is not parameter.empty and (is_sentinel(default) or form_or(default, ...) is ...)


def _is_layered(function: Any) -> bool:
    """
    Do other decorators stand between the call and the parameters that it shows?

    They may put in what was left out (``kwargs.setdefault``), so that to leave a default out and to pass it are two
    calls. In an installed package they are the package's own, and do not.
    """
    return len(layers(function)) > 1 and distribution_of(getattr(function, "__module__", None) or "") is None


_LEFT_OUT: Any = object()


def _marked(name: str) -> str:
    return f"None if {name} is _aicached_default_of_{name} else [{name}]"


def _told_apart(name: str) -> str:
    return f"[_aicached_default_of_{name}, 'left out'] if {name} is _aicached_left_out else [{name}]"


def compile_binder(
    parameters: list[inspect.Parameter],
    counted: list[inspect.Parameter],
    strange: Collection[str] = (),
    unsure: Collection[str] = (),
) -> Callable[..., list[Any]]:
    """
    Compile a function with these parameters that returns the list of the counted ones.

    Args:
        strange: their default counts as None, all else in a list.
        unsure: to leave them out is another call than to pass the default.
    """
    text, previous = [], None
    for p in parameters:
        if previous is p.POSITIONAL_ONLY and p.kind is not p.POSITIONAL_ONLY:
            text.append("/")
        if p.kind is p.KEYWORD_ONLY and previous not in (p.KEYWORD_ONLY, POSITIONAL):
            text.append("*")
        star = "*" if p.kind is POSITIONAL else "**" if p.kind is KEYWORDS else ""
        text.append(f"{star}{p.name}" + ("" if p.default is p.empty else "=None"))
        previous = p.kind
    if previous is inspect.Parameter.POSITIONAL_ONLY:
        text.append("/")
    space: dict[str, Any] = {f"_aicached_default_of_{p.name}": p.default for p in counted}
    space["_aicached_left_out"] = _LEFT_OUT
    marks = dict.fromkeys(strange, _marked) | dict.fromkeys(unsure, _told_apart)
    result = [marks.get(p.name, str)(p.name) for p in counted]
    exec(f"def bind({', '.join(text)}): return [{', '.join(result)}]", space)  # noqa: S102
    bind: types.FunctionType = space["bind"]
    given = [p for p in parameters if p.default is not p.empty]
    values = {p.name: _LEFT_OUT if p.name in unsure else p.default for p in given}
    bind.__defaults__ = tuple(values[p.name] for p in given if p.kind is not p.KEYWORD_ONLY) or None
    bind.__kwdefaults__ = {p.name: values[p.name] for p in given if p.kind is p.KEYWORD_ONLY} or None
    return bind


def check_names(binder: Binder, names: Any, option: str, function: Any) -> None:
    """Refuse names that the function lacks, unless it takes ``**kwargs``."""
    known = [p.name for p in binder.parameters or ()]
    for name in names:
        if not binder.knows(name):
            raise ConfigurationError(
                f"{option}: {'.'.join(identity(function))}() has no parameter {name!r}; "
                f"it has {', '.join(known) or 'none'}"
            )
