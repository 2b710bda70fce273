"""
An entry <-> one blob of bytes: a fixed header, meta, payload, and a seal over all of it.

Law: bytes that are not exactly what was stored for this digest are a miss: never an exception, never an allocation
beyond the lengths that are really there. The seal is checked before anything is unpacked. A CRC tells damage, not
malice.

    0    16   entry version, random; what a compare-and-set compares
    16   4    magic
    20   1    format version            21   1    flags: kind
    22   32   digest of the call
    54   8    created, ms, store's time
    62   24   ttl, stale_while_revalidate, stale_if_error, ms; -1 = for ever
    86   8    lengths of meta and payload
    94   ...  meta, payload (msgpack)
    -4   4    CRC-32, little-endian
"""

from __future__ import annotations

import os
import struct
from zlib import crc32

import msgpack

from .entry import Entry, Meta
from .status import Usage

__all__ = ["open_entry", "seal"]

_HEADER = struct.Struct("<16s4sBB32sqqqqII")
_SEAL = struct.Struct("<I")
_MAGIC, _FORMAT = b"ac1\n", 1
_KINDS = ("value", "stream")
#: CRC-32 of any bytes followed by their own CRC-32 in little-endian order: no slice has to be taken to check it.
_RESIDUE = 0x2144DF1C


def new_version() -> bytes:
    """Return 16 random bytes."""
    return os.urandom(16)


def _ms(value: float | None) -> int:
    return -1 if value is None else round(value * 1000)


def seal(entry: Entry, digest: bytes) -> bytes:
    """Return the blob of *entry*, for the call with this *digest*."""
    meta = msgpack.packb(list(entry.meta))
    header = _HEADER.pack(
        entry.version,
        _MAGIC,
        _FORMAT,
        _KINDS.index(entry.kind),
        digest,
        _ms(entry.created),
        _ms(entry.ttl),
        *map(_ms, entry.windows),
        len(meta),
        len(entry.payload),
    )
    body = header + meta + entry.payload
    return body + _SEAL.pack(crc32(body))  # type: ignore[no-any-return]


def open_entry(blob: bytes, digest: bytes) -> Entry | None:
    """Return the entry in *blob*, None where it is not one of ours, for this digest, whole and unchanged."""
    if not isinstance(blob, bytes) or len(blob) < _HEADER.size + 4 or crc32(blob) != _RESIDUE:
        return None
    version, magic, form, kind, key, created, ttl, swr, sie, meta, payload = _HEADER.unpack_from(blob)
    if magic != _MAGIC or form != _FORMAT or key != digest or kind >= len(_KINDS):
        return None
    start = _HEADER.size + meta
    if start + payload + 4 != len(blob):
        return None
    try:
        about = _meta(blob[_HEADER.size : start])
    except Exception:  # a sealed blob of somebody else's making
        return None
    lifetime = None if ttl < 0 else ttl / 1000
    windows = (swr / 1000, sie / 1000)
    return Entry(version, created / 1000, lifetime, windows, _KINDS[kind], about, blob[start:-4])


def _meta(packed: bytes) -> Meta:
    function, stamps, rules, seconds, usage, tags, scope = msgpack.unpackb(packed)
    return Meta(function, stamps, rules, seconds, None if usage is None else Usage(*usage), tags, scope)
