"""``aicached explain``: would a call hit, and if not, why; without arguments: what is in the key."""

from __future__ import annotations

import inspect
from dataclasses import asdict
from typing import Annotated, Any

import typer

from ..errors import ConfigurationError
from .shared import JsonOption, NamespaceOption, UrlOption, call_arguments, finish, print_json, print_table, target

__all__ = ["run"]


def run(
    function: Annotated[str, typer.Argument(help="module:function or file.py:function")],
    arguments: Annotated[list[str] | None, typer.Argument(help="As in a call: hello 5 model=large")] = None,
    url: UrlOption = None,
    namespace: NamespaceOption = "default",
    as_json: JsonOption = False,
) -> int:
    """Say whether a call would hit, or why not.

    Without arguments: what is in the key, what is followed, and what is not.
    """
    found = target(function, url, namespace)
    if not arguments:
        return _parameters(found.cache_parameters(), as_json)
    args, kwargs = call_arguments(arguments)
    try:
        inspect.signature(found).bind(*args, **kwargs)
    except TypeError as error:
        raise ConfigurationError(f"{function}: {error}") from error
    explanation = finish(found.cache_explain(*args, **kwargs))
    if as_json:
        about = asdict(explanation)
        print_json({**about, "usage": None if explanation.usage is None else explanation.usage._asdict()})
    else:
        print(explanation)
    return 0


def _parameters(parameters: dict[str, Any], as_json: bool) -> int:
    if as_json:
        print_json({name: _shown(value) for name, value in parameters.items()})
        return 0
    names = ("parameters", "followed", "not_followed")
    rows = [(name.replace("_", " "), ", ".join(parameters[name]) or "-") for name in names]
    options = [(name, str(_shown(value))) for name, value in parameters.items() if name not in names]
    print_table(("in the key", ""), [*rows, *options])
    return 0


def _shown(value: Any) -> Any:
    if isinstance(value, (frozenset, set, tuple)):
        return [_shown(item) for item in value]
    if isinstance(value, (str, int, float, type(None), list, dict)):
        return value
    return getattr(value, "__qualname__", None) or type(value).__name__
