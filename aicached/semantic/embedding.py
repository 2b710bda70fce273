"""
Text -> vector, by the user's embedder: remembered, bounded in time, and never an error.

Law: an embedder that fails or is slow costs a hit, and at most its timeout; after three failures in a row it is left
alone for a while. Vectors are kept as float16, by embedder and text, in this process and in a store of bytes.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from ..codec.envelope import new_version
from ..entry import Entry, Meta
from ..errors import StoreError
from ..keys.canonical import form_or, pack
from ..runtime import Runtime
from .options import Semantic

if TYPE_CHECKING:
    from ..call import Call
    from .search import Shelf

__all__ = ["Embedder"]

#: Vectors that are remembered in this process, and seconds that they stay in the store.
_REMEMBERED, _KEPT = 4096, 7 * 86400.0
_FAILURES, _PAUSE = 3, 30.0
#: Seconds that an embedder may take to read its model.
_LOADING = 30.0


class Embedder:
    """
    Embed the texts of one function.

    Args:
        semantic: the option, with the user's embedder.
        secret: what keyed digests begin with.
    """

    def __init__(self, semantic: Semantic, secret: bytes) -> None:
        self.embed: Any = semantic.embed
        self.timeout = semantic.timeout
        self.kept = getattr(self.embed, "kept", True)
        #: What an embedder has to do once, however long each text may take; None when it is done.
        self.load = getattr(self.embed, "load", None)
        self.mark = hashlib.sha256(secret + pack(["embedder", identity(self.embed)])).digest()
        self.remembered: OrderedDict[str, bytes] = OrderedDict()
        self.failures = 0
        self.paused_until = float("-inf")

    async def vector(self, rt: Runtime, shelf: Shelf, call: Call, text: str) -> Any:
        """Return the unit vector of a text, None where it cannot be had now."""
        data = self.remembered.get(text)
        key = b"m" + hashlib.sha256(self.mark + text.encode("utf-8", "surrogatepass")).digest()
        if data is None and self._stores(shelf):
            data = await _fetched(rt, shelf, key)
        if data is None:
            data = await self._made(rt, call, text)
            if data is None:
                return None
            if self._stores(shelf):
                await _keep(rt, shelf, key, data)
        self._remember(text, data)
        return _vector(data)

    def _stores(self, shelf: Shelf) -> bool:
        return self.kept and not shelf.store.opened

    async def _made(self, rt: Runtime, call: Call, text: str) -> bytes | None:
        if rt.monotonic() < self.paused_until:
            return None
        try:
            if self.load is not None:
                await rt.apart(self.load, timeout=_LOADING)
                self.load = None
            found = await rt.apart(self.embed, [text], timeout=self.timeout)
            data = _packed(found)
        except Exception as error:
            self._failed(rt, call, error)
            return None
        self.failures = 0
        return data

    def _failed(self, rt: Runtime, call: Call, error: Exception) -> None:
        self.failures += 1
        call.errors += 1
        if self.failures >= _FAILURES:
            self.failures, self.paused_until = 0, rt.monotonic() + _PAUSE
        call.facts.warn(
            "embedder", "%s: the embedder raised %s: answers are matched exactly", call.facts.name, type(error).__name__
        )

    def _remember(self, text: str, data: bytes) -> None:
        self.remembered[text] = data
        if len(self.remembered) > _REMEMBERED:
            try:
                self.remembered.popitem(last=False)
            except KeyError:  # other threads have emptied it
                return


def identity(embed: Any) -> Any:
    """Return what tells an embedder from others: its own word for it, else its content, else its name."""
    own = getattr(embed, "identity", None)
    if isinstance(own, str):
        return own
    name = getattr(embed, "__qualname__", type(embed).__qualname__)
    return form_or(embed, [getattr(embed, "__module__", ""), name])


def _packed(found: Any) -> bytes:
    """Return the first vector as float16 bytes, of unit length."""
    import numpy as np

    vector = np.asarray(found[0], np.float32)
    length = float(np.linalg.norm(vector)) if vector.ndim == 1 and vector.size else 0.0
    if not np.isfinite(length) or length == 0:
        raise ValueError("a vector without a direction")
    return bytes((vector / length).astype("<f2").tobytes())


def _vector(data: bytes) -> Any:
    import numpy as np

    return np.frombuffer(data, "<f2").astype(np.float32)


async def _fetched(rt: Runtime, shelf: Shelf, key: bytes) -> bytes | None:
    try:
        entry = shelf.opened(await rt.ask(shelf.store, "get", key), key[1:])
    except StoreError:
        return None
    return None if entry is None or not entry.payload or len(entry.payload) % 2 else entry.payload


async def _keep(rt: Runtime, shelf: Shelf, key: bytes, data: bytes) -> None:
    entry = Entry(new_version(), shelf.store.now(), _KEPT, (0.0, 0.0), "value", Meta("", [], b""), data)
    try:
        await rt.ask(shelf.store, "set", key, shelf.codec.seal(entry, key[1:]), _KEPT)
    except StoreError:
        return
