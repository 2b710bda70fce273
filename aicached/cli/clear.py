"""``aicached clear``: forget a namespace, a scope in it, or a function."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import ConfigurationError, StoreError
from .shared import JsonOption, NamespaceOption, UrlOption, YesOption, ask, cache_of, finish, print_json, sure, target

__all__ = ["run"]


def run(
    url: UrlOption = None,
    namespace: NamespaceOption = "default",
    as_json: JsonOption = False,
    scope: Annotated[str | None, typer.Option(help="Only this scope.")] = None,
    function: Annotated[str | None, typer.Option(help="Only this function: module:function")] = None,
    yes: YesOption = False,
) -> int:
    """Forget a namespace, a scope or a function.

    For all processes on the store.
    """
    if scope is not None and function is not None:
        raise ConfigurationError("--scope or --function, not both")
    what = f"function {function}" if function else f"scope {scope!r}" if scope else f"namespace {namespace!r}"
    if not sure(f"Forget all of {what}?", yes, as_json):
        return 1
    cleared = target(function, url, namespace) if function else None
    with cache_of(url, namespace) if cleared is None else cleared._self_site.plan().home as cache:
        before = cache.counts.errors
        ask(cache, "get", b"t" + bytes(32))  # a clearing that a store does not take is no error of a call's: here it is
        if cleared is None:
            cache.clear(scope)
        else:
            finish(cleared.cache_clear())
        if cache.counts.errors > before:
            raise StoreError(f"store {cache.engine.address}: not cleared")
    if as_json:
        print_json({"cleared": what})
    else:
        print(f"cleared: {what}")
    return 0
