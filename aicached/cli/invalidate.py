"""``aicached invalidate``: forget single answers."""

from __future__ import annotations

from typing import Annotated

import typer

from .entries import found
from .shared import JsonOption, NamespaceOption, UrlOption, ask, cache_of, print_json

__all__ = ["run"]


def run(
    keys: Annotated[list[str], typer.Argument(help="Keys, or their beginnings; `aicached list` shows them.")],
    url: UrlOption = None,
    namespace: NamespaceOption = "default",
    as_json: JsonOption = False,
) -> int:
    """Forget single answers, by their keys."""
    with cache_of(url, namespace) as cache:
        forgotten = found(cache, keys)
        for digest, _ in forgotten:
            ask(cache, "delete", b"v" + digest)
    if as_json:
        print_json({"forgotten": [digest.hex() for digest, _ in forgotten]})
    else:
        print(f"{len(forgotten)} forgotten")
    return 0
