"""
What the commands have in common: their options, the cache they speak of, a function by its name, tables.

Law: with ``--json``, stdout holds JSON alone.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ..cache import Cache, configure
from ..errors import ConfigurationError
from ..runtime import BLOCKING, drive
from ..stores.embedded import embedded_store, project_folder

__all__ = [
    "JsonOption",
    "NamespaceOption",
    "UrlOption",
    "YesOption",
    "ago",
    "cache_of",
    "call_arguments",
    "finish",
    "print_json",
    "print_table",
    "sure",
    "target",
]

UrlOption = Annotated[str | None, typer.Option(help="The store, as redis://localhost; default: the configured one.")]
NamespaceOption = Annotated[str, typer.Option(help="The namespace in it.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

#: Seconds per store operation: somebody waits here, and not a call.
_PATIENCE = 2.0


def cache_of(url: str | None, namespace: str = "default", **settings: Any) -> Cache:
    """Return the cache that a command speaks of, which is the default one from now on."""
    if url is None and not os.environ.get("AICACHED_URL") and not os.environ.get("REDIS_URL"):
        # As a script in this folder would find it: the command itself stands somewhere else.
        folder = project_folder(Path.cwd())
        store = embedded_store(timeout=_PATIENCE, max_entries=None, max_bytes=None)
        return configure(store, namespace=f"{namespace} {folder}" if folder else namespace, **settings)
    return configure(url, namespace=namespace, timeout=_PATIENCE, **settings)


def target(name: str, url: str | None, namespace: str) -> Any:
    """
    Return the decorated function that ``module:function`` or ``file.py:function`` names.

    A file is loaded under the name that its functions have where it is run as a script.
    """
    module, colon, path = name.rpartition(":")
    if not colon or not path or not module:
        raise ConfigurationError(f"it takes module:function or file.py:function, not {name!r}")
    cache = cache_of(url, namespace)
    sys.path.insert(0, str(Path.cwd()))
    try:
        made = _loaded(Path(module)) if module.endswith(".py") else importlib.import_module(module)
        function = functools.reduce(getattr, path.split("."), made)
    except (ImportError, AttributeError, OSError) as error:
        raise ConfigurationError(f"there is no {name!r} ({error})") from error
    if not getattr(function, "__aicached__", False):
        raise ConfigurationError(f"{name!r} is not decorated with ai_cached")
    return function if url is None else function.cache_with(cache=cache)


def _loaded(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"no Python file: {path}")
    module = sys.modules[path.name] = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))
    spec.loader.exec_module(module)
    return module


def call_arguments(given: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
    """Read ``hello 5 model=large`` as arguments: JSON where it is JSON, else text."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if equals and name.isidentifier():
            kwargs[name] = _value(value)
        else:
            args.append(_value(text))
    return args, kwargs


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def finish(value: Any) -> Any:
    """Return a value, or what it results in where it is awaitable."""
    if not inspect.isawaitable(value):
        return value
    import asyncio

    async def wait() -> Any:
        return await value

    return asyncio.run(wait())


def ask(cache: Cache, verb: str, *args: Any) -> Any:
    """Ask the store of a cache."""
    return drive(BLOCKING.ask(cache.engine.store, verb, *args))


def sure(question: str, yes: bool, as_json: bool) -> bool:
    """Ask on a terminal; elsewhere it takes ``--yes``."""
    if yes:
        return True
    if as_json or not sys.stdin.isatty():
        raise ConfigurationError(f"{question} Say --yes")
    return typer.confirm(question)


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=2, default=str, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], footer: Sequence[str] = ()) -> None:
    """Print a table; a column whose name begins with ``>`` is of numbers, the first one is folded where it is long."""
    look: dict[str, Any] = {"box": None, "pad_edge": False, "header_style": "bold", "footer_style": "bold"}
    table = Table(show_header=any(columns) and columns != ("", ">"), show_footer=bool(footer), **look)
    for place, name in enumerate(columns):
        right, text = name.startswith(">"), name.removeprefix(">")
        foot = footer[place] if footer else ""
        kind = "right" if right else "left"
        table.add_column(text, footer=foot, justify=kind, no_wrap=right, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    Console(highlight=False, markup=False, emoji=False).print(table)


def ago(seconds: float | None) -> str:
    """Return a duration as people say it; None is for ever."""
    if seconds is None:
        return "ever"
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if abs(seconds) >= 2 * length:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:.0f}s"
