"""Seals: what is signed, encrypted or compressed is read by who may, and by nobody else."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
import redis

from aicached import Cache, ConfigurationError, StoreError, Usage, ai_cached
from aicached.codec import envelope
from aicached.codec.envelope import Codec
from aicached.entry import Entry, Meta
from aicached.testing import ScriptedModel

OLD, NEW, OTHER = (bytes([number]) * 32 for number in (1, 2, 3))
DIGEST = hashlib.sha256(b"call").digest()
META = Meta("m:f", [b"s" * 16] * 2, b"r" * 8, 1.25, Usage("m", 1, 2, 0.5), ("a", "b"), b"c" * 16, b"\x80", b"\x80")


def entry(payload=b"\xa2hi", **changes):
    about = {"version": b"v" * 16, "created": 1e9, "ttl": 60.0, "windows": (0.0, 5.0), "kind": "value", "meta": META}
    return Entry(**{**about, "payload": payload, **changes})


def opened(reader, blob):
    found = reader.open(blob, DIGEST)
    return None if found is None else found.payload


# Signing --------------------------------------------------------------------------------------------------------------


def test_the_first_key_signs_and_all_verify():
    blob = Codec(signing_keys=[NEW, OLD]).seal(entry(), DIGEST)
    assert b"\xa2hi" == opened(Codec(signing_keys=[NEW]), blob)
    assert b"\xa2hi" == opened(Codec(signing_keys=[OTHER, NEW]), blob)
    assert opened(Codec(signing_keys=[OLD]), blob) is None


def test_unsigned_is_refused_where_there_are_keys_and_signed_where_there_are_none():
    assert opened(Codec(signing_keys=[NEW]), Codec().seal(entry(), DIGEST)) is None
    assert opened(Codec(), Codec(signing_keys=[NEW]).seal(entry(), DIGEST)) is None


def test_a_signed_entry_with_a_crc_in_place_of_its_signature_is_refused():
    """Taking the signature off, flag and all, does not make an entry for who has no keys or for who has."""
    whole = bytearray(Codec(signing_keys=[NEW]).seal(entry(), DIGEST)[:-36])
    for flags in (whole[21], whole[21] & ~16):
        whole[21] = flags
        blob = bytes(whole) + zlib.crc32(whole).to_bytes(4, "little")
        assert opened(Codec(signing_keys=[NEW]), blob) is None
    assert b"\xa2hi" == opened(Codec(), blob)  # what it says is plain now, to a reader of plain entries


def test_a_forged_signature_is_refused():
    reader = Codec(signing_keys=[NEW, OLD])
    blob = reader.seal(entry(), DIGEST)
    forged = Codec(signing_keys=[OTHER]).seal(entry(), DIGEST)
    assert b"\xa2hi" == opened(reader, blob)
    for signature in (
        forged[-36:],  # of a key that nobody knows
        blob[-36:-32] + forged[-32:],  # the same, under the name of one that is known
        next(iter(Codec(signing_keys=[OLD]).signers)) + blob[-32:],  # another known key's name
        os.urandom(36),
        b"\0" * 36,
        blob[-36:-32] + hashlib.sha256(blob[:-36]).digest(),  # a digest without a key
        blob[-36:-1],
        blob[-36:] + b"\0",
        b"",
    ):
        assert opened(reader, blob[:-36] + signature) is None


@pytest.mark.parametrize("settings", [{}, {"signing_keys": [NEW]}, {"encryption_keys": [NEW]}], ids=["plain", "s", "e"])
def test_every_prefix_and_every_bit_of_an_entry_counts(settings):
    codec = Codec(**settings)
    blob = codec.seal(entry(b"\x91" * 40 + b"\xc0"), DIGEST)
    assert [None] * len(blob) == [codec.open(blob[:length], DIGEST) for length in range(len(blob))]
    for place in range(8 * len(blob)):
        damaged = bytearray(blob)
        damaged[place // 8] ^= 1 << place % 8
        assert codec.open(bytes(damaged), DIGEST) is None, place


# Key rotation ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["signing_keys", "encryption_keys"])
def test_a_new_key_in_front_loses_nothing(url, colour, run, option):
    model = ScriptedModel("one", "two")
    for keys in ([OLD], [NEW, OLD], [OTHER, NEW, OLD]):
        ask = ai_cached(model.function(colour), cache=Cache(url, **{option: keys}))
        assert ["one", "one"] == [run(ask("hi")), run(ask("hi"))]
    assert 1 == model.calls


def test_an_entry_written_with_the_new_key_is_read_by_who_has_both(url, colour, run):
    model = ScriptedModel("one", "two")
    assert "one" == run(ai_cached(model.function(colour), cache=Cache(url, signing_keys=[NEW, OLD]))("hi"))
    assert "one" == run(ai_cached(model.function(colour), cache=Cache(url, signing_keys=[OTHER, NEW, OLD]))("hi"))
    ask = ai_cached(model.function(colour), cache=Cache(url, signing_keys=[OLD]))
    assert "two" == run(ask("hi"))  # the same digest, signed by nobody it knows
    assert 1 == ask.cache_info().errors


def test_taking_the_last_signing_key_away_starts_anew(url, colour, run):
    model = ScriptedModel("one", "two")
    assert "one" == run(ai_cached(model.function(colour), cache=Cache(url, signing_keys=[NEW, OLD]))("hi"))
    ask = ai_cached(model.function(colour), cache=Cache(url, signing_keys=[NEW]))
    assert ["two", "two"] == [run(ask("hi")), run(ask("hi"))]
    assert 0 == ask.cache_info().errors  # other digests: the old entries are not even met


def key_of(**settings):
    def ask(prompt: str) -> str:
        return prompt

    return ai_cached(ask, cache=Cache("memory://", **settings)).cache_key("hi")


def test_digests_are_keyed_by_the_last_signing_key():
    plain, old = key_of(), key_of(signing_keys=[OLD])
    assert old == key_of(signing_keys=[NEW, OLD])
    assert 4 == len({plain, old, key_of(signing_keys=[OLD, NEW]), key_of(signing_keys=[OTHER])})


def test_digests_do_not_depend_on_encryption_keys():
    assert key_of() == key_of(encryption_keys=[OLD]) == key_of(encryption_keys=[NEW, OLD], compression=None)
    assert key_of(signing_keys=[OLD]) == key_of(signing_keys=[OLD], encryption_keys=[NEW])


# Encryption -----------------------------------------------------------------------------------------------------------


def everything_in(url):
    """Return all bytes that a store keeps, keys included."""
    if url.startswith("redis"):
        with redis.Redis.from_url(url) as client:
            keys = {*client.scan_iter()}
            strings = {key for key in keys if client.type(key) == b"string"}
            lists = [part for key in keys - strings for part in (key, *client.lrange(key, 0, -1))]
            return b"".join([*strings, *map(client.get, strings), *lists])
    path = Path(url.removeprefix("sqlite:///"))
    return b"".join(file.read_bytes() for file in path.parent.glob(path.name + "*"))


@pytest.mark.parametrize("keys", [[], [NEW]], ids=["clear", "encrypted"])
def test_what_is_encrypted_stands_in_clear_nowhere(url, colour, run, keys):
    model = ScriptedModel("CANARY-answer")
    cache = Cache(url, encryption_keys=keys, keep_arguments=True)
    options = {"tags": ["CANARY-tag"], "usage": lambda answer: Usage("CANARY-model", 1, 2)}
    ask = ai_cached(model.function(colour, name="CANARY_function"), cache=cache, **options)
    assert "CANARY-answer" == run(ask("CANARY-prompt"))
    words = [b"CANARY-answer", b"CANARY_function", b"CANARY-tag", b"CANARY-model", b"CANARY-prompt"]
    assert [not keys] * 5 == [word in everything_in(url) for word in words]
    assert "CANARY-answer" == run(ask("CANARY-prompt"))
    assert 1 == model.calls


def test_the_first_key_encrypts_and_all_decrypt():
    blob = Codec(encryption_keys=[NEW, OLD]).seal(entry(), DIGEST)
    assert b"\xa2hi" == opened(Codec(encryption_keys=[OTHER, NEW]), blob)
    assert opened(Codec(encryption_keys=[OLD]), blob) is None
    assert opened(Codec(), blob) is None
    assert opened(Codec(encryption_keys=[NEW]), Codec().seal(entry(), DIGEST)) is None


def test_a_wrong_encryption_key_is_a_miss_and_an_error_that_counts(url, colour, run):
    model = ScriptedModel("one", "two")
    assert "one" == run(ai_cached(model.function(colour), cache=Cache(url, encryption_keys=[OLD]))("hi"))
    ask = ai_cached(model.function(colour), cache=Cache(url, encryption_keys=[NEW]))
    assert ["two", "two"] == [run(ask("hi")), run(ask("hi"))]
    assert 1 == ask.cache_info().errors


def resealed(blob):
    return blob[:-4] + zlib.crc32(blob[:-4]).to_bytes(4, "little")


def test_a_header_that_was_changed_does_not_decrypt():
    """The CRC is right again: it is the header as associated data that tells, in times and versions too."""
    codec = Codec(encryption_keys=[NEW])
    blob = codec.seal(entry(), DIGEST)
    for place in range(94):
        changed = bytearray(blob)
        changed[place] ^= 1
        assert opened(codec, resealed(bytes(changed))) is None, place
    assert b"\xa2hi" == opened(codec, resealed(blob))


def test_two_entries_alike_are_encrypted_differently():
    codec = Codec(encryption_keys=[NEW])
    bodies = {codec.seal(entry(), DIGEST)[94:] for _ in range(50)}
    assert 50 == len(bodies)
    assert 50 == len({body[4:16] for body in bodies})


# Keys that are none ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["signing_keys", "encryption_keys"])
@pytest.mark.parametrize("keys", [NEW, "a" * 32, [b"short"], ["a" * 32], [NEW, b""], {NEW}, 5, [bytearray(32)], None])
def test_a_bad_key_is_an_error_that_shows_the_way_out_and_no_key(option, keys):
    with pytest.raises(ConfigurationError) as raised:
        Cache("memory://", **{option: keys})
    told = str(raised.value)
    assert told.startswith(f"{option}: it takes a list of keys of 32 bytes")
    assert "secrets.token_bytes(32)" in told
    assert "short" not in told
    assert repr(NEW) not in told


def test_an_encryption_key_has_32_bytes_and_a_signing_key_may_have_more():
    with pytest.raises(ConfigurationError, match="32 bytes each"):
        Codec(encryption_keys=[bytes(33)])
    codec = Codec(signing_keys=[bytes(64)])
    assert b"\xa2hi" == opened(codec, codec.seal(entry(), DIGEST))


def test_without_cryptography_the_error_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(ConfigurationError) as raised:
        Cache("memory://", encryption_keys=[NEW])
    assert "encryption_keys: this needs pip install 'aicached[crypto]'" == str(raised.value)


def test_a_cache_without_encryption_does_not_import_cryptography():
    script = "import sys, aicached; aicached.Cache('memory://', signing_keys=[bytes(32)]); print([*sys.modules])"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout
    assert ("'cryptography'" in told, "'zstandard'" in told, "'aicached'" in told) == (False, False, True)


# Compression ----------------------------------------------------------------------------------------------------------

SQUEEZABLE, RANDOM = b"a" * 1000, os.urandom(1000)


@pytest.fixture(params=["zlib", "zstd"])
def squeezer(request, monkeypatch):
    """Run the test without zstandard and with it."""
    monkeypatch.setattr(envelope, "_zstd", [])
    if request.param == "zlib":
        monkeypatch.setitem(sys.modules, "zstandard", None)
    else:
        pytest.importorskip("zstandard")
    return {"zlib": 2, "zstd": 4}[request.param]


@pytest.mark.parametrize(
    ("threshold", "payload", "compressed"),
    [
        (1000, SQUEEZABLE, True),
        (1001, SQUEEZABLE, False),
        (1, b"", False),
        (None, SQUEEZABLE, False),
        (1, RANDOM, False),
        (1, b"a", False),
    ],
)
def test_what_is_long_enough_is_compressed_where_that_makes_it_shorter(squeezer, threshold, payload, compressed):
    made = entry(payload)
    codec = Codec(compression=threshold)
    blob = codec.seal(made, DIGEST)
    assert (squeezer if compressed else 0) == blob[21]
    assert compressed == (len(blob) < len(Codec(compression=None).seal(made, DIGEST)))
    assert payload == opened(codec, blob) == opened(Codec(compression=None), blob)
    assert payload is made.payload  # in memory it stays as it was


@pytest.mark.parametrize("limit", [999, 1000, 1001])
def test_what_would_be_longer_than_the_limit_is_not_decompressed(squeezer, limit):
    blob = Codec(compression=1).seal(entry(SQUEEZABLE), DIGEST)
    assert (SQUEEZABLE if limit >= 1000 else None) == opened(Codec(limit=limit), blob)


def test_a_payload_longer_than_the_limit_is_refused():
    blob = Codec(compression=None).seal(entry(RANDOM), DIGEST)
    assert [None, RANDOM] == [opened(Codec(limit=limit), blob) for limit in (999, 1000)]


def with_payload(blob, payload):
    """Return a plain entry without its payload's last bytes, or with more of them, as its lengths say."""
    meta = int.from_bytes(blob[86:90], "little")
    return resealed(blob[:90] + len(payload).to_bytes(4, "little") + blob[94 : 94 + meta] + payload + b"seal")


def test_a_compressed_payload_is_neither_longer_nor_shorter_than_it_was(squeezer):
    blob = Codec(compression=1).seal(entry(SQUEEZABLE), DIGEST)
    payload = blob[94 + int.from_bytes(blob[86:90], "little") : -4]
    assert SQUEEZABLE == opened(Codec(), with_payload(blob, payload))
    assert opened(Codec(), with_payload(blob, payload + b"more")) is None
    assert [None] * len(payload) == [opened(Codec(), with_payload(blob, payload[:end])) for end in range(len(payload))]


def test_a_payload_compressed_in_two_ways_is_refused(squeezer):
    blob = bytearray(Codec(compression=1).seal(entry(SQUEEZABLE), DIGEST))
    assert SQUEEZABLE == opened(Codec(), resealed(bytes(blob)))
    blob[21] |= 6
    assert opened(Codec(), resealed(bytes(blob))) is None


def test_what_zstandard_has_compressed_is_a_miss_without_it(monkeypatch):
    pytest.importorskip("zstandard")
    monkeypatch.setattr(envelope, "_zstd", [])
    blob = Codec(compression=1).seal(entry(SQUEEZABLE), DIGEST)
    assert 4 == blob[21]
    monkeypatch.setattr(envelope, "_zstd", [])
    monkeypatch.setitem(sys.modules, "zstandard", None)
    assert opened(Codec(), blob) is None
    assert 2 == Codec(compression=1).seal(entry(SQUEEZABLE), DIGEST)[21]


def test_an_answer_compressed_in_a_store_comes_back(url, colour, run, slot):
    answer = {"text": "word " * 1000}
    model = ScriptedModel(answer, "two")
    cache = Cache(url, compression=1000)
    ask = ai_cached(model.function(colour), cache=cache)
    assert [answer, answer] == [run(ask("hi")), run(ask("hi"))]
    assert len(slot(cache, ask.cache_key("hi")).blob) < 1000


# Together -------------------------------------------------------------------------------------------------------------

SETTINGS = [
    {"signing_keys": signing, "encryption_keys": encryption, "compression": compression}
    for signing, encryption, compression in itertools.product([(), (NEW,), (NEW, OLD)], [(), (NEW, OLD)], [None, 1])
]


@pytest.mark.parametrize("changes", [{}, {"ttl": None}, {"kind": "stream"}, {"payload": b""}, {"payload": RANDOM}])
def test_all_settings_together_give_back_what_they_got(changes):
    made = entry(**{"payload": SQUEEZABLE, **changes})
    for settings in SETTINGS:
        found = Codec(**settings).open(Codec(**settings).seal(made, DIGEST), DIGEST)
        for name in ("version", "created", "ttl", "windows", "kind", "payload", "until", "meta"):
            assert getattr(made, name) == getattr(found, name), (settings, name)


def test_nobody_reads_what_was_sealed_with_other_kinds_of_keys():
    kinds = [{}, {"signing_keys": [NEW]}, {"encryption_keys": [NEW]}, {"signing_keys": [NEW], "encryption_keys": [NEW]}]
    for writer, reader in itertools.permutations(kinds, 2):
        assert opened(Codec(**reader), Codec(**writer).seal(entry(), DIGEST)) is None, (writer, reader)


# What cannot be sealed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"ttl": 1e300},
        {"ttl": float("inf")},
        {"created": float("nan")},
        {"windows": (None, 0.0)},
        {"meta": META._replace(tags=("\ud800",))},
        {"meta": META._replace(tags=(5,))},
        {"meta": META._replace(usage=Usage("m", 2**64, 0))},
        {"meta": META._replace(usage=Usage("m", "1", 0))},
        {"meta": META._replace(usage=Usage("m", 1, 0, float("nan")))},
        {"meta": META._replace(seconds=float("inf"))},
    ],
    ids=str,
)
def test_what_could_not_be_read_again_is_not_sealed(changes):
    with pytest.raises(StoreError, match="cannot be sealed"):
        Codec().seal(entry(**changes), DIGEST)


@pytest.mark.parametrize("options", [{"ttl": 1e300}, {"tags": ["\ud800"]}], ids=["ttl", "tags"])
def test_an_answer_that_cannot_be_sealed_is_given_all_the_same(url, colour, run, options):
    model = ScriptedModel("one", "two")
    ask = ai_cached(model.function(colour), cache=Cache(url), **options)
    assert ["one", "two"] == [run(ask("hi")), run(ask("hi"))]
    assert (0, 2) == (ask.cache_info().stored, ask.cache_info().errors)
