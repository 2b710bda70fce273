"""
msgpack, by packers that nobody shares while they pack.

Law: a packer is one caller's until it is done. A half-packed value stays in a packer's buffer while an iterator or an
exception is made, which may start a collection of garbage: a finalizer, or another thread, that used the same packer
then would get the half value in front of its own, and might store one caller's answer inside another's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import msgpack

__all__ = ["native", "packing"]


def packing(**options: Any) -> Callable[[Any], bytes]:
    """Return what packs a value, with *options* of `msgpack.Packer`; from any thread, and in the middle of itself."""
    # A packer takes longer to make than a value to pack: those that are idle are kept, as many as were busy at once.
    idle: deque[msgpack.Packer] = deque()

    def pack(value: Any) -> bytes:
        try:
            packer = idle.pop()
        except IndexError:
            packer = msgpack.Packer(**options)
        try:
            return packer.pack(value)  # type: ignore[no-any-return]
        finally:
            idle.append(packer)

    return pack


#: Packs what is exactly of msgpack's own types, and refuses all else.
native = packing(strict_types=True)
