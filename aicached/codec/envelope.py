"""
An entry <-> one blob of bytes: a fixed header, meta, payload, and a seal over all of it.

Law: bytes that are not exactly what was stored for this digest are a miss: never an exception, never an allocation
beyond the limit. The seal is checked before anything is unpacked, and what is unpacked has the types it was given, so
that nobody downstream meets a text where a number was. A CRC tells damage, not malice: against writers you do not
trust, sign.

    0    16   entry version, random; what a compare-and-set compares
    16   4    magic
    20   1    format version
    21   1    flags: 1 stream, 2 zlib, 4 zstd, 8 encrypted, 16 signed
    22   32   digest of the call
    54   8    created, ms, store's time
    62   24   ttl (-1 = for ever), stale_while_revalidate, stale_if_error, ms
    86   8    lengths of meta and payload, as they stand here
    94   ...  meta, payload (msgpack; the payload perhaps compressed). Encrypted: key id (4), nonce (12), and AES-GCM
              over both with the header as associated data, tag (16) at the end
    -4   4    CRC-32, little-endian. Signed: key id (4) and HMAC-SHA-256 (32) instead
"""

from __future__ import annotations

import hmac
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from hashlib import sha256
from math import isfinite
from typing import Any
from zlib import crc32

import msgpack

from ..entry import Entry, Meta
from ..errors import ConfigurationError, StoreError
from ..status import Usage

__all__ = ["Codec", "new_version"]

_HEADER = struct.Struct("<16s4sBB32sqqqqII")
_CRC = struct.Struct("<I")
_MAGIC, _FORMAT = b"ac1\n", 1
_STREAM, _ZLIB, _ZSTD, _ENCRYPTED, _SIGNED = 1, 2, 4, 8, 16
_KNOWN_FLAGS = 31
_KINDS = ("value", "stream")
#: CRC-32 of any bytes followed by their own CRC-32 in little-endian order: no slice has to be taken to check it.
_RESIDUE = 0x2144DF1C
_START = _HEADER.size
_NO_WINDOWS = (0.0, 0.0)


class _Unreadable(Exception):
    """Say that a blob is not what was stored."""


def new_version() -> bytes:
    """Return 16 random bytes."""
    return os.urandom(16)


class Codec:
    """
    Seal and open the entries of one cache.

    Args:
        signing_keys: 32 bytes or more each; the first signs, all verify, and what is unsigned is refused. None: a CRC.
        encryption_keys: 32 bytes each; the first encrypts, all decrypt. None: in clear.
        compression: bytes from which a payload is compressed; None = never.
        limit: bytes that a payload may have when it is decompressed.

    Raises:
        ConfigurationError: a key that is none, or encryption without the cryptography package.
    """

    def __init__(
        self,
        *,
        signing_keys: Sequence[bytes] = (),
        encryption_keys: Sequence[bytes] = (),
        compression: int | None = 16 * 2**10,
        limit: int = 16 * 2**20,
    ) -> None:
        self.signers = {_key_id(key): key for key in _keys(signing_keys, "signing_keys", at_least=32)}
        self.ciphers = {_key_id(key): _cipher(key) for key in _keys(encryption_keys, "encryption_keys", exactly=32)}
        self._locks = (_ENCRYPTED if self.ciphers else 0) | (_SIGNED if self.signers else 0)
        self.compression = compression
        self.limit = limit
        #: What keyed digests begin with: of the *last* key, so that a new key in front of the list loses nothing.
        self.secret = sha256(b"aicached digest" + signing_keys[-1]).digest() if signing_keys else b""

    def seal(self, entry: Entry, digest: bytes) -> bytes:
        """
        Return the blob of *entry*, for the call with this *digest*.

        Raises:
            StoreError: something in it has no place there: a tag with a lone surrogate, a ttl of a billion years.
        """
        try:
            return self._seal(entry, digest)
        except (_Unreadable, struct.error, ValueError, TypeError, OverflowError) as error:
            raise StoreError(f"an entry that cannot be sealed ({type(error).__name__})") from error

    def _seal(self, entry: Entry, digest: bytes) -> bytes:
        payload, squeezed = self._squeeze(entry.payload)
        meta = msgpack.packb(entry.meta)
        _meta(meta)  # what is sealed can be opened
        flags = _KINDS.index(entry.kind) | squeezed | self._locks
        swr, sie = entry.windows
        ttl = -1 if entry.ttl is None else round(entry.ttl * 1000)
        times = (round(entry.created * 1000), ttl, round(swr * 1000), round(sie * 1000))
        header = _HEADER.pack(entry.version, _MAGIC, _FORMAT, flags, digest, *times, len(meta), len(payload))
        body = meta + payload
        if self.ciphers:
            name, cipher = next(iter(self.ciphers.items()))
            nonce = os.urandom(12)
            body = name + nonce + cipher.encrypt(nonce, body, header)
        return self._sealed(header + body)

    def _sealed(self, whole: bytes) -> bytes:
        if not self.signers:
            return whole + _CRC.pack(crc32(whole))
        name, key = next(iter(self.signers.items()))
        return whole + name + hmac.digest(key, whole, "sha256")

    def open(self, blob: bytes, digest: bytes) -> Entry | None:
        """Return the entry in *blob*, None where it is not one of ours, for this digest, whole and unchanged."""
        try:
            return self._open(blob, digest)
        except Exception:  # whatever a sealed blob of somebody else's making can provoke
            return None

    def _open(self, blob: bytes, digest: bytes) -> Entry | None:
        # Half of all that a hit costs beside its round trip is here: no step has a function of its own without need.
        if self.signers:
            end = self._end(blob)
        elif crc32(blob) != _RESIDUE:
            return None
        else:
            end = len(blob) - 4
        version, magic, form, flags, key, created, ttl, swr, sie, meta, payload = _HEADER.unpack_from(blob)
        if magic != _MAGIC or form != _FORMAT or key != digest or flags & ~_KNOWN_FLAGS:
            return None
        if ttl < -1 or swr < 0 or sie < 0 or payload > self.limit:
            return None
        if flags & (_ENCRYPTED | _SIGNED) != self._locks:
            return None
        body, start = blob, _START
        if flags & _ENCRYPTED:
            body, start, end = self._decrypted(blob, end)
        if start + meta + payload != end:
            return None
        about = _meta(body[start : start + meta])
        content = body[start + meta : end]
        if flags & (_ZLIB | _ZSTD):
            content = self._stretched(content, flags)
        windows = (swr / 1000, sie / 1000) if swr or sie else _NO_WINDOWS
        lifetime = None if ttl < 0 else ttl / 1000
        return Entry(version, created / 1000, lifetime, windows, _KINDS[flags & _STREAM], about, content)

    def _end(self, blob: bytes) -> int:
        """Check the signature, and return where it begins."""
        end = len(blob) - 36
        key = self.signers[blob[end : end + 4]]
        if not hmac.compare_digest(hmac.digest(key, blob[:end], "sha256"), blob[end + 4 :]):
            raise _Unreadable
        return end

    def _decrypted(self, blob: bytes, end: int) -> tuple[bytes, int, int]:
        header, rest = blob[: _HEADER.size], blob[_HEADER.size : end]
        body: bytes = self.ciphers[rest[:4]].decrypt(rest[4:16], rest[16:], header)
        return body, 0, len(body)

    def _squeeze(self, payload: bytes) -> tuple[bytes, int]:
        """Compress a payload where that is worth it."""
        if self.compression is None or len(payload) < self.compression:
            return payload, 0
        # Level 1: the usual 6 takes six times as long for a few percent less.
        zstd = _zstandard()
        squeezed = zlib.compress(payload, 1) if zstd is None else zstd.ZstdCompressor(level=1).compress(payload)
        if len(squeezed) >= len(payload):
            return payload, 0
        return squeezed, _ZLIB if zstd is None else _ZSTD

    def _stretched(self, payload: bytes, flags: int) -> bytes:
        """Decompress a payload, never to more than the limit."""
        if flags & _ZLIB:
            if flags & _ZSTD:
                raise _Unreadable
            stream = zlib.decompressobj()
            content = stream.decompress(payload, self.limit + 1)
            if not stream.eof or stream.unused_data or len(content) > self.limit:
                raise _Unreadable
            return content
        if flags & _ZSTD:
            zstd = _zstandard()
            if zstd is None or not 0 <= zstd.frame_content_size(payload) <= self.limit:
                raise _Unreadable
            return zstd.ZstdDecompressor().decompress(payload, allow_extra_data=False)  # type: ignore[no-any-return]
        return payload


_META = (str, list, bytes, list, bytes, bytes, bytes)
_unpack = msgpack.unpackb


def _meta(packed: bytes) -> Meta:
    """Unpack meta, each field of the type that it was stored with; `isfinite` raises where it gets no number."""
    items = _unpack(packed)
    function, stamps, rules, seconds, usage, tags, scope, parts, arguments = items
    if (type(function), type(stamps), type(rules), type(tags), type(scope), type(parts), type(arguments)) != _META:
        raise _Unreadable
    if not isfinite(seconds):
        raise _Unreadable
    if usage is not None:
        items[4] = _usage(*usage)
    items[5] = _tags(tags) if tags else ()
    return Meta._make(items)


def _tags(tags: list[Any]) -> tuple[str, ...]:
    if not all(type(tag) is str for tag in tags):
        raise _Unreadable
    return tuple(tags)


def _usage(model: Any, tokens_in: Any, tokens_out: Any, cost: Any) -> Usage:
    """Return what was used: in numbers, as every hit adds them up."""
    if not (isfinite(tokens_in) and isfinite(tokens_out) and (cost is None or isfinite(cost))):
        raise _Unreadable
    if model is not None and type(model) is not str:
        raise _Unreadable
    return Usage(model, tokens_in, tokens_out, cost)


def _key_id(key: bytes) -> bytes:
    return sha256(b"aicached key" + key).digest()[:4]


def _keys(keys: Any, option: str, *, at_least: int = 0, exactly: int = 0) -> Sequence[bytes]:
    size = f"{exactly} bytes" if exactly else f"{at_least} bytes or more"
    well: Callable[[Any], bool] = lambda key: len(key) == exactly if exactly else len(key) >= at_least  # noqa: E731
    if not isinstance(keys, (list, tuple)) or not all(isinstance(key, bytes) and well(key) for key in keys):
        raise ConfigurationError(f"{option}: it takes a list of keys of {size} each, such as secrets.token_bytes(32)")
    return keys


def _cipher(key: bytes) -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise ConfigurationError("encryption_keys: this needs pip install 'aicached[crypto]'") from error
    return AESGCM(key)


_zstd: list[Any] = []


def _zstandard() -> Any:
    """Return the zstandard package, None where it is not installed; looked for once."""
    if not _zstd:
        try:
            import zstandard
        except ImportError:
            _zstd.append(None)
        else:
            _zstd.append(zstandard)
    return _zstd[0]
