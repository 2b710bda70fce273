"""``aicached list`` and ``aicached show``: what is stored."""

from __future__ import annotations

import importlib
import json
from typing import Annotated, Any

import typer

from ..cache import Cache
from ..codec.classes import Classes
from ..codec.values import Undecodable, decode
from ..entry import Entry
from ..errors import ConfigurationError
from ..inquiry import standing
from ..keys.keyer import stamp_key
from ..runtime import BLOCKING, drive
from .shared import JsonOption, NamespaceOption, UrlOption, ago, cache_of, print_json, print_table

__all__ = ["found", "run_list", "run_show"]


def run_list(
    url: UrlOption = None,
    namespace: NamespaceOption = "default",
    as_json: JsonOption = False,
    limit: Annotated[int, typer.Option(min=1, help="How many at most, the newest first.")] = 20,
) -> int:
    """List what is stored, the newest first."""
    with cache_of(url, namespace) as cache:
        infos = cache.entries(limit)
    if as_json:
        print_json([_plain(info) for info in infos])
        return 0
    if not infos:
        print("Nothing is stored in this namespace.")
        return 0
    rows = [
        (
            info.function,
            info.key[:12],
            ago(info.age),
            ago(info.ttl),
            f"{info.size:,}",
            f"{info.usage.tokens:,}" if info.usage else "-",
        )
        for info in infos
    ]
    print_table(("function", "key", ">age", ">fresh for", ">bytes", ">tokens"), rows)
    return 0


def run_show(
    key: Annotated[str, typer.Argument(help="The key, or its beginning.")],
    url: UrlOption = None,
    namespace: NamespaceOption = "default",
    as_json: JsonOption = False,
    trust: Annotated[list[str] | None, typer.Option(help="A module whose classes the answer is made of.")] = None,
) -> int:
    """Show one entry, with its answer."""
    for module in trust or ():
        _imported(module)
    with cache_of(url, namespace) as cache:
        ((digest, entry),) = found(cache, [key])
        info = entry.info(digest.hex(), cache.engine.store.now())
        answer = _answer(entry, trust or [])
    about = {**_plain(info), "kind": entry.kind, "answer": answer}
    if as_json:
        print_json(about)
        return 0
    print_table(("", ""), [(name, _text(value)) for name, value in about.items() if value not in (None, (), {})])
    return 0


def found(cache: Cache, keys: list[str]) -> list[tuple[bytes, Entry]]:
    """Return the entries whose keys begin so, one for each."""
    for key in keys:
        if len(key) < 4 or set(key) - set("0123456789abcdef"):
            raise ConfigurationError(f"a key is at least 4 of its hex digits, not {key!r}")

    async def all_of_them() -> list[tuple[bytes, Entry]]:
        return [each async for each in standing(cache.engine, BLOCKING, stamp_key(cache.namespace))]

    there, chosen = drive(all_of_them()), []
    for key in keys:
        fitting = [each for each in there if each[0].hex().startswith(key)]
        if len(fitting) != 1:
            many = f"{len(fitting)} keys begin with {key}" if fitting else f"there is no entry {key}"
            raise ConfigurationError(f"{many}; `aicached list` shows what there is")
        chosen += fitting
    return chosen


def _imported(module: str) -> None:
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise ConfigurationError(f"--trust: there is no module {module!r} ({error})") from error


def _answer(entry: Entry, trust: list[str]) -> Any:
    try:
        value = decode(entry.payload, Classes([], trust))
    except Undecodable:
        return "(made of classes that are not known here: --trust MODULE)"
    dumped = getattr(value, "model_dump", None)
    return dumped(mode="json") if callable(dumped) else value


def _plain(info: Any) -> dict[str, Any]:
    return {**info._asdict(), "usage": None if info.usage is None else info.usage._asdict()}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
