"""``aicached warm``: fill the cache from a file of prompts."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ConfigurationError
from ..warming import args
from .shared import JsonOption, NamespaceOption, UrlOption, finish, print_json, target

__all__ = ["run"]


def run(
    function: Annotated[str, typer.Argument(help="module:function or file.py:function")],
    file: Annotated[Path, typer.Argument(help=".txt: a prompt per line; .jsonl; .csv: with names of parameters.")],
    url: UrlOption = None,
    namespace: NamespaceOption = "default",
    as_json: JsonOption = False,
    concurrency: Annotated[int, typer.Option(min=1, help="Calls under way at most.")] = 8,
) -> int:
    """Call a function with each line of a file.

    Later calls hit; what is there already costs nothing.
    """
    inputs = list(_inputs(file))
    found = target(function, url, namespace)
    report = finish(found.cache_warm(inputs, concurrency=concurrency))
    found._self_site.plan().home.close()
    kinds: dict[str, int] = {}
    for _, error in report.failed:
        kinds[type(error).__name__] = kinds.get(type(error).__name__, 0) + 1
    if as_json:
        failed = [{"input": _shown(given), "error": type(error).__name__} for given, error in report.failed]
        print_json({"kept": report.kept, "hits": report.hits, "refused": report.refused, "failed": failed})
    else:
        print(report)
        for kind, count in sorted(kinds.items()):
            print(f"  {count} x {kind}")
    return 1 if report.failed else 0


def _shown(given: Any) -> Any:
    made = getattr(given, "_asdict", None)
    return made() if made is not None else given


def _inputs(file: Path) -> Iterator[Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{file} is not text in UTF-8") from error
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read ({error.strerror})") from error
    kind = file.suffix.lower()
    if kind == ".csv":
        for row in csv.DictReader(text.splitlines()):
            yield args(**{name: value for name, value in row.items() if name is not None})
    elif kind in {".jsonl", ".ndjson"}:
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                yield _from_json(line, f"{file}, line {number}")
    else:
        yield from (line for line in text.splitlines() if line.strip())


def _from_json(line: str, where: str) -> Any:
    """Read an object as named arguments, a list as positional ones, and anything else as the first."""
    try:
        value = json.loads(line)
    except ValueError as error:
        raise ConfigurationError(f"{where}: no JSON") from error
    if isinstance(value, dict):
        return args(**value)
    return args(*value) if isinstance(value, list) else args(value)
