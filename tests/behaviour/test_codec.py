"""The envelope: bytes that are not exactly what was stored for this call are a miss."""

from __future__ import annotations

import hashlib
import pickle
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aicached import Cache, Usage, ai_cached
from aicached.codec.envelope import Codec, new_version
from aicached.codec.opened import LARGE, LIMIT, Opened
from aicached.entry import Entry, Meta
from aicached.stores.memory import MemoryStore
from aicached.testing import ScriptedModel

CODEC = Codec()
DIGEST = hashlib.sha256(b"call").digest()


def entry(payload=b"\xa2hi", **changes):
    meta = Meta("m:f", [b"s" * 16] * 2, b"r" * 8, 1.25, Usage("m", 1, 2, 0.5), ("a", "b"), b"c" * 16)
    about = {"version": b"v" * 16, "created": 1_700_000_000.123, "ttl": 60.0, "windows": (0.0, 0.0), "kind": "value"}
    return Entry(**{**about, "meta": meta, "payload": payload, **changes})


def fields(entry):
    return [getattr(entry, name) for name in ("version", "created", "ttl", "windows", "kind", "payload", "until")]


@pytest.mark.parametrize(
    "changes",
    [{}, {"ttl": None}, {"ttl": 0.0}, {"kind": "stream"}, {"windows": (5.0, 60.0)}, {"payload": b""}],
    ids=str,
)
def test_an_entry_comes_back_as_it_was(changes):
    made = entry(**changes)
    found = CODEC.open(CODEC.seal(made, DIGEST), DIGEST)
    assert fields(made) == fields(found)
    assert list(made.meta[:5]) == list(found.meta[:5])
    assert (list(made.meta.tags), made.meta.scope) == (list(found.meta.tags), found.meta.scope)
    assert isinstance(found.meta.usage, Usage)


@given(st.binary(max_size=2000), st.binary(min_size=32, max_size=32))
def test_any_payload_comes_back(payload, digest):
    assert payload == CODEC.open(CODEC.seal(entry(payload), digest), digest).payload


def test_every_prefix_is_a_miss():
    blob = CODEC.seal(entry(), DIGEST)
    assert [None] * len(blob) == [CODEC.open(blob[:length], DIGEST) for length in range(len(blob))]


def test_every_single_bit_that_flips_is_a_miss():
    blob = CODEC.seal(entry(), DIGEST)
    for place in range(len(blob)):
        for bit in range(8):
            damaged = bytearray(blob)
            damaged[place] ^= 1 << bit
            assert CODEC.open(bytes(damaged), DIGEST) is None, (place, bit)


def test_anything_behind_the_end_is_a_miss():
    blob = CODEC.seal(entry(), DIGEST)
    for more in (b"\0", blob, crc32(blob).to_bytes(4, "little")):
        assert CODEC.open(blob + more, DIGEST) is None


def test_another_calls_entry_is_a_miss():
    other = hashlib.sha256(b"other").digest()
    assert CODEC.open(CODEC.seal(entry(), other), DIGEST) is None


@pytest.mark.parametrize("garbage", [b"", b"x", b"\0" * 200, b"null", "text", None, 5, ["list"]], ids=repr)
def test_what_is_no_blob_is_a_miss(garbage):
    assert CODEC.open(garbage, DIGEST) is None


def test_a_pickle_is_a_miss_and_is_not_run():
    class Evil:
        def __reduce__(self):
            return print, ("run",)

    blob = pickle.dumps(Evil())
    assert CODEC.open(blob, DIGEST) is None
    assert CODEC.open(blob + crc32(blob).to_bytes(4, "little"), DIGEST) is None
    assert CODEC.open(CODEC.seal(entry(), DIGEST)[:94] + blob, DIGEST) is None


def sealed(changed):
    return bytes(changed[:-4]) + crc32(bytes(changed[:-4])).to_bytes(4, "little")


@pytest.mark.parametrize("place", [*range(16, 22), *range(86, 94)])
def test_a_well_sealed_blob_of_another_format_is_a_miss(place):
    """Magic, version, kind and lengths: whoever writes them otherwise speaks another language."""
    blob = bytearray(CODEC.seal(entry(), DIGEST))
    blob[place] ^= 0xFF
    assert CODEC.open(sealed(blob), DIGEST) is None


@given(st.binary(max_size=300))
def test_a_well_sealed_blob_of_nonsense_is_a_miss_and_raises_nothing(meta):
    blob = bytearray(CODEC.seal(entry(), DIGEST))
    found = CODEC.open(sealed(blob[:94] + meta + blob[-4:]), DIGEST)
    assert found is None or isinstance(found, Entry)


def test_lengths_that_lie_allocate_nothing():
    blob = bytearray(CODEC.seal(entry(), DIGEST))
    blob[86:94] = b"\xff" * 8
    assert CODEC.open(sealed(blob), DIGEST) is None


class Tampering(MemoryStore):
    """Hand out bytes that somebody else has changed."""

    opened = False
    change = staticmethod(lambda blob: blob)

    def get_many(self, keys):
        return [
            self.change(data) if key[:1] == b"v" and data else data
            for key, data in zip(keys, super().get_many(keys), strict=True)
        ]


@pytest.mark.parametrize(
    "change",
    [
        lambda blob: blob[:-1],
        lambda blob: blob[:60] + bytes([blob[60] ^ 1]) + blob[61:],
        lambda blob: b"",
        lambda blob: pickle.dumps("answer"),
    ],
    ids=["cut", "flipped", "empty", "pickle"],
)
def test_damage_in_the_store_is_a_miss_and_an_error_that_counts(colour, run, change):
    store = Tampering()
    store.blocking = True  # as stores of bytes are: no peeking
    model = ScriptedModel("one", "two")
    ask = ai_cached(model.function(colour), cache=Cache(store))
    assert "one" == run(ask("hi"))
    assert "one" == run(ask("hi"))
    store.change = change
    assert "two" == run(ask("hi"))
    assert 2 == model.calls
    assert 1 == ask.cache_info().errors


def test_what_was_opened_counts_as_large_as_it_is_when_opened():
    codec = Codec()
    opened, made = Opened(codec), []
    for number in range(400):
        entry = Entry(new_version(), 0.0, None, (0.0, 0.0), "value", Meta("f", [], b""), b"%d" % number * 40_000)
        digest = number.to_bytes(32, "big")
        made.append((codec.seal(entry, digest), digest))
    assert max(len(blob) for blob, _ in made) < 10_000, "they compress well"
    for _ in range(2):
        for blob, digest in made:
            assert opened.open(blob, digest) is not None
    assert sum(len(entry) for _, entry in opened._known.values()) <= LIMIT + LARGE


def test_what_was_opened_is_told_from_what_looks_like_it():
    codec = Codec()
    opened, digest = Opened(codec), bytes(32)
    first, second = (
        codec.seal(Entry(bytes(16), 0.0, None, (0.0, 0.0), "value", Meta("f", [], b""), payload), digest)
        for payload in (b"one", b"two")
    )
    for _ in range(2):
        assert b"one" == opened.open(first, digest).payload
        assert b"two" == opened.open(second, digest).payload
        assert opened.open(first[:-1] + b"?", digest) is None
        assert opened.open(first, bytes(31) + b"?") is None
