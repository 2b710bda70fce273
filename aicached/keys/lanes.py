"""
Bound arguments -> a digest of 32 bytes, in the lane of one function, version, scope and sample.

Law: two different argument lists never share a digest, and the memo never answers otherwise than the canonical form.

In front of the canonical form stands the memo: the strict msgpack of the arguments as they lie -> their digest. It is
sound because it holds packs of exact None, bool, int, float, str, list and dict alone: on these a pack decodes to one
thing, and whatever else a caller brings makes the packer refuse or leaves a byte that no remembered pack contains. It
is learnt from the decoded pack, not from the arguments, which another thread may change between the two passes. It
keeps short prompts in the process's memory, never on disk, up to a bound in bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgpack

from ..memo import Memo
from ..packing import native
from .canonical import form, mapping, pack, sequence, tagged

__all__ = ["Lane"]

#: Packs above this are worked out each time: to remember a long one costs more than it can save.
SHORT = 4096


_SCALARS = frozenset((str, int, float, bool, type(None)))
#: What all lanes remember together.
MEMO = Memo(4 * 2**20)


class _NotPlain(Exception):
    pass


def _not_plain(*_: Any) -> Any:
    raise _NotPlain


def _learnable(raw: bytes) -> Any:
    """Return the canonical form of a pack that holds plain values alone."""
    return _plain(msgpack.unpackb(raw, strict_map_key=False, ext_hook=_not_plain, timestamp=0))


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        for name in value:
            if type(name) is not str:
                return form({_checked(key): _checked(item) for key, item in value.items()})
        return {name: item if type(item := value[name]) in _SCALARS else _plain(item) for name in sorted(value)}
    if kind is list:
        return [item if type(item) in _SCALARS else _plain(item) for item in value]
    return _checked(value)


def _checked(value: Any) -> Any:
    kind = type(value)
    if kind in (dict, list):
        _plain(value)
    elif kind not in _SCALARS:
        raise _NotPlain
    return value


class Lane:
    """
    Turn bound arguments into digests, for one function in one namespace, version, scope and sample.

    Args:
        prefix: canonical bytes of all these, behind a secret where digests are keyed.
        stamps: store keys of the stamps that an entry of this lane depends on.
    """

    __slots__ = ("hasher", "known", "last", "parts", "scope", "stamps")

    def __init__(self, prefix: bytes, stamps: tuple[bytes, ...], scope: bytes) -> None:
        self.hasher = hashlib.sha256(len(prefix).to_bytes(8, "big") + prefix)
        self.known: dict[bytes, bytes] = {}
        #: The last pack that was worked out, its digest, and the forms in it: a miss asks for all of them again.
        self.last: tuple[bytes, bytes, list[Any]] = (b"", b"", [])
        #: Short digests of what its prefix is made of; None until somebody wants to know.
        self.parts: dict[str, bytes] | None = None
        self.stamps = stamps
        self.scope = scope

    def digest(self, bound: list[Any]) -> bytes:
        """Return the digest of bound arguments."""
        try:
            raw = native(bound)
            if len(raw) < SHORT:
                return self.known[raw]
        except KeyError:
            return self._learn(raw, bound)
        except (TypeError, ValueError, OverflowError, RecursionError, BufferError):
            pass
        return self._work(bound)

    def forms(self, digest: bytes) -> list[Any] | None:
        """Return the canonical forms of the arguments with this digest, None where they were not the last ones."""
        _, last, forms = self.last
        return forms if digest == last else None

    def raw_digest(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """Return the digest of arguments that do not fit the signature."""
        return self._work([tagged("raw", sequence(args), mapping(kwargs))], made=True)

    def _learn(self, raw: bytes, bound: list[Any]) -> bytes:
        last, digest, _ = self.last
        if raw == last:
            return digest
        try:
            tree = _learnable(raw)
        except (_NotPlain, ValueError, RecursionError):
            return self._work(bound)
        digest = self._work(tree, made=True)
        self.last = raw, digest, tree
        MEMO.keep(self.known, raw, digest, len(raw))
        return digest

    def _work(self, bound: list[Any], *, made: bool = False) -> bytes:
        hasher = self.hasher.copy()
        hasher.update(pack(bound if made else sequence(bound)))
        return hasher.digest()
