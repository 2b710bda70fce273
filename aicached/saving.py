"""
A namespace in a file, and back: to move it, to keep it beside a test, to look at it later.

Law: what is in the file is sealed as in a store of bytes, with the cache's own keys; so is what is read from it, or it
is left out. A file is there whole or not at all. What is loaded belongs to the stamps of today: nothing that was
cleared before comes back to life by itself, and clearing after loading works.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import msgpack

from .engine import Engine
from .entry import Entry
from .errors import ConfigurationError
from .inquiry import standing
from .policy import EXPIRED, judge
from .runtime import Runtime

__all__ = ["load", "save"]

_FORMAT = 1
_AT_ONCE = 100


async def save(engine: Engine, rt: Runtime, namespace: str, stamp: bytes, path: str | os.PathLike[str]) -> int:
    """Write every entry of a namespace into a file; return how many."""
    goal, count = Path(path), 0
    handle, temporary = tempfile.mkstemp(dir=goal.parent, prefix=f".{goal.name}.")  # for its owner alone
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(msgpack.packb({"aicached": _FORMAT, "namespace": namespace, "saved": time.time()}))
            async for digest, entry in standing(engine, rt, stamp):
                blob = engine.codec.seal(entry, digest)
                file.write(msgpack.packb([digest, entry.age(engine.store.now()), blob]))
                count += 1
            file.write(msgpack.packb(count))  # the end: a file without it was cut
        os.replace(temporary, goal)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    return count


async def load(engine: Engine, rt: Runtime, namespace: str, stamp: bytes, path: str | os.PathLike[str]) -> int:
    """Put the entries in a file into the store, but for those that are over and those it has newer; return how many."""
    count, stamps = 0, dict[bytes, bytes]()
    records = _records(path)
    passed = _time_passed(next(records, None), namespace, path)
    while some := list(islice(records, _AT_ONCE)):
        read = (_entry(engine, record, passed) for record in some)
        count += await _put(engine, rt, stamp, stamps, [each for each in read if each is not None])
    return count


def _records(path: str | os.PathLike[str]) -> Iterator[Any]:
    with open(path, "rb") as file:
        records = iter(msgpack.Unpacker(file, max_buffer_size=2**31 - 1))
        while True:
            try:
                record = next(records)
            except Exception as error:  # also where there are no more, but for the one that says so
                raise _strange(path) from error
            if isinstance(record, int):
                return
            yield record


def _time_passed(header: Any, namespace: str, path: Any) -> float:
    """Return the seconds since the file was written, or say that it is none of ours."""
    try:
        known, wanted, saved = header["aicached"] == _FORMAT, header["namespace"], float(header["saved"])
    except (TypeError, KeyError, ValueError) as error:
        raise _strange(path) from error
    if not known:
        raise _strange(path)
    if wanted != namespace:
        raise ConfigurationError(
            f"load(): {os.fspath(path)} holds the namespace {wanted!r}, and this cache is {namespace!r}: keys differ. "
            "Name the same namespace, with a url of its own where it holds a project's folder"
        )
    return max(0.0, time.time() - saved)


def _strange(path: Any) -> ConfigurationError:
    return ConfigurationError(f"load(): {os.fspath(path)} was not written whole by Cache.save()")


def _entry(engine: Engine, record: Any, passed: float) -> tuple[bytes, Entry] | None:
    """Return an entry with its age in the store's own time; None where it is damaged, foreign or over."""
    try:
        digest, age, blob = record
        entry, created = engine.codec.open(blob, digest), engine.store.now() - age - passed
    except (TypeError, ValueError):
        return None
    if entry is None:
        return None
    about = (entry.ttl, entry.windows, entry.kind, entry.meta, entry.payload)
    moved = Entry(entry.version, created, *about)
    return None if judge(moved, engine.store.now()) == EXPIRED else (digest, moved)


async def _put(
    engine: Engine, rt: Runtime, stamp: bytes, stamps: dict[bytes, bytes], read: Sequence[tuple[bytes, Entry]]
) -> int:
    there = await rt.ask(engine.store, "get_many", [b"v" + digest for digest, _ in read]) if read else []
    count = 0
    for (digest, entry), data in zip(read, there, strict=True):
        places = [stamp, *entry.places()]
        if len(places) != len(entry.meta.stamps):
            continue
        if new := [place for place in places if place not in stamps]:
            stamps.update(zip(new, await rt.ask(engine.store, "stamps", new), strict=True))
        today = [stamps[place] for place in places]
        other = engine.opened(data, digest)
        if other is not None and other.meta.stamps == today and other.created >= entry.created:
            continue
        about = (entry.ttl, entry.windows, entry.kind, entry.meta._replace(stamps=today), entry.payload)
        moved = Entry(entry.version, entry.created, *about)
        kept = moved if engine.store.opened else engine.codec.seal(moved, digest)
        left = None if moved.lifetime is None else moved.created + moved.lifetime - engine.store.now()
        await rt.ask(engine.store, "set", b"v" + digest, kept, left)
        count += 1
    return count
