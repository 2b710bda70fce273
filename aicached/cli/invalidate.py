"""``aicached invalidate``: forget single answers, or those with a tag."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import ConfigurationError
from .entries import found
from .shared import JsonOption, NamespaceOption, UrlOption, ask, cache_of, print_json

__all__ = ["run"]


def run(
    keys: Annotated[list[str] | None, typer.Argument(help="Keys, or their beginnings, as `list` shows them.")] = None,
    url: UrlOption = None,
    namespace: NamespaceOption = "default",
    as_json: JsonOption = False,
    tag: Annotated[list[str] | None, typer.Option(help="All answers with this tag; may be said again.")] = None,
) -> int:
    """Forget answers by their keys, or by a tag."""
    if not keys and not tag:
        raise ConfigurationError("invalidate: name a key, or --tag")
    with cache_of(url, namespace) as cache:
        forgotten = found(cache, keys or [])
        for digest, _ in forgotten:
            ask(cache, "delete", b"v" + digest)
        if tag:
            ask(cache, "get", b"t" + bytes(32))  # says where the store is down, which invalidating does not
            cache.invalidate_tags(*tag)
    if as_json:
        print_json({"forgotten": [digest.hex() for digest, _ in forgotten], "tags": tag or []})
    else:
        print(f"{len(forgotten)} forgotten" if not tag else f"{len(forgotten)} forgotten, and tags: {', '.join(tag)}")
    return 0
