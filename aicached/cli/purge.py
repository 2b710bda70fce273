"""``aicached purge``: delete the bytes of what can be no answer any more, or of what is chosen."""

from __future__ import annotations

from typing import Annotated

import typer

from .shared import JsonOption, NamespaceOption, UrlOption, YesOption, cache_of, print_json, sure

__all__ = ["run"]


def run(
    url: UrlOption = None,
    namespace: NamespaceOption = "default",
    as_json: JsonOption = False,
    scope: Annotated[str | None, typer.Option(help="All of this scope, fresh or not.")] = None,
    older_than: Annotated[str | None, typer.Option(help="All that is older, as 30d, fresh or not.")] = None,
    yes: YesOption = False,
) -> int:
    """Delete what can be no answer any more.

    Clearing and invalidating only make misses of answers.
    """
    chosen = [f"scope {scope!r}"] if scope is not None else []
    chosen += [f"what is older than {older_than}"] if older_than is not None else []
    with cache_of(url, namespace) as cache:
        if chosen and not sure(f"Delete {' and '.join(chosen)}?", yes, as_json):
            return 1
        count = cache.purge(scope, older_than)
    if as_json:
        print_json({"purged": count})
    else:
        print(f"{count} purged")
    return 0
