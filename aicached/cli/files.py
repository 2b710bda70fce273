"""``aicached save`` and ``aicached load``: a namespace to a file, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .shared import JsonOption, NamespaceOption, UrlOption, cache_of, print_json

__all__ = ["run_load", "run_save"]

File = Annotated[Path, typer.Argument(help="The file.")]


def run_save(
    file: File, url: UrlOption = None, namespace: NamespaceOption = "default", as_json: JsonOption = False
) -> int:
    """Write all answers of a namespace into a file."""
    with cache_of(url, namespace) as cache:
        count = cache.save(file)
    return _told("saved", count, file, as_json)


def run_load(
    file: File, url: UrlOption = None, namespace: NamespaceOption = "default", as_json: JsonOption = False
) -> int:
    """Put the answers of a file that was saved into a namespace."""
    with cache_of(url, namespace) as cache:
        count = cache.load(file)
    return _told("loaded", count, file, as_json)


def _told(what: str, count: int, file: Path, as_json: bool) -> int:
    if as_json:
        print_json({what: count, "file": str(file)})
    else:
        print(f"{count} {what}: {file}")
    return 0
