"""Any bytes at all: decoding says `Undecodable`, opening says None, and nothing else comes out."""

from __future__ import annotations

import hashlib
import warnings
from math import isfinite
from pathlib import Path

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgpack import ExtType

from aicached import UnstorableValue
from aicached.codec.envelope import Codec
from aicached.codec.values import Undecodable, decode, encode
from aicached.entry import Entry, Meta
from aicached.status import Usage
from tests.hostile.shapes import VALUES, classes

CORPUS = Path(__file__).parent / "corpus"
DIGEST = hashlib.sha256(b"call").digest()
CLASSES = classes()
CODECS = [
    Codec(),
    Codec(compression=1),
    Codec(signing_keys=[bytes(32)]),
    Codec(encryption_keys=[bytes(32)], compression=1),
]
META = Meta("m:f", [b"s" * 16] * 2, b"r" * 8, 1.25, Usage("m", 1, 2, 0.5), ("a",), b"c" * 16, b"\x80", b"\x80")
PAYLOADS = [encode(value, CLASSES) for value in VALUES.values()]
EXTENSIONS = st.integers(0, 31) | st.integers(0, 127)
#: Well formed: what reaches the code behind msgpack's own checks.
trees = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.builds(lambda code, part: ExtType(code, msgpack.packb(part)), EXTENSIONS, inner)
    ),
    max_leaves=8,
).map(msgpack.packb)


@st.composite
def mutated(draw, originals):
    """Draw one of *originals* with some places of it changed, left out, doubled, or taken from another."""
    made = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(made)))
        until = min(len(made), at + draw(st.integers(0, 6)))
        other = draw(st.sampled_from(originals))
        start = draw(st.integers(0, len(other)))
        made[at:until] = draw(st.binary(max_size=5) | st.just(other[start : start + 20]) | st.just(made[at:until] * 2))
    return bytes(made)


def decodes(payload):
    """See that a payload is refused, or that its value is one that comes back when it is stored."""
    try:
        value = decode(payload, CLASSES)
    except Undecodable:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            again = encode(value, CLASSES)
        except UnstorableValue:  # an object whose fields hold what no answer would
            return
    assert again == encode(decode(again, CLASSES), CLASSES)


def opens(codec, blob):
    """See that a blob is refused, or that all that is asked of an entry can be asked of this one."""
    entry = codec.open(blob, DIGEST)
    if entry is None:
        return
    usage = entry.meta.usage or Usage()
    assert all(map(isfinite, (entry.meta.seconds, usage.tokens_in, usage.tokens_out, usage.cost or 0, entry.created)))
    assert isinstance(entry.info("key", 1.0).arguments, dict)
    assert entry.meta == codec.open(codec.seal(entry, DIGEST), DIGEST).meta


def resealed(codec, blob):
    """Seal what a blob says anew, so that it is more than its seal that is tested."""
    return codec._sealed(blob[: -36 if codec.signers else -4])


def entries(codec):
    made = [Entry(b"v" * 16, 1.7e9, 60.0, (0.0, 0.0), "value", META, payload) for payload in PAYLOADS]
    return [codec.seal(entry, DIGEST) for entry in made]


many = settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
very_many = settings(many, max_examples=20_000)
payloads = st.binary(max_size=300) | trees | mutated(PAYLOADS)
blobs = st.sampled_from(CODECS).flatmap(
    lambda codec: st.tuples(st.just(codec), st.booleans(), st.binary(max_size=300) | mutated(SEALED[codec]))
)
SEALED = {codec: entries(codec) for codec in CODECS}


@many
@given(payloads)
def test_any_payload_is_refused_or_a_value(payload):
    decodes(payload)


@many
@given(blobs)
def test_any_blob_is_refused_or_an_entry(drawn):
    codec, anew, blob = drawn
    opens(codec, resealed(codec, blob) if anew else blob)


@pytest.mark.slow
@very_many
@given(payloads)
def test_very_many_payloads_are_refused_or_values(payload):
    decodes(payload)


@pytest.mark.slow
@very_many
@given(blobs)
def test_very_many_blobs_are_refused_or_entries(drawn):
    codec, anew, blob = drawn
    opens(codec, resealed(codec, blob) if anew else blob)


#: The names of classes as the long runs had them.
LONG_RUN = {("seeds", cls.__name__): cls for (_, name), cls in CLASSES.known.items() if "[" not in name}


def test_what_long_runs_have_found_is_still_refused_or_a_value():
    """
    Two files, payloads and entries: lists in msgpack of what runs of ten minutes kept, each for what it reached.
    """
    CLASSES.known.update(LONG_RUN)
    tried = 0
    for target, check in (("payloads", decodes), ("entries", lambda blob: opens(CODECS[0], resealed(CODECS[0], blob)))):
        for kept in msgpack.unpackb((CORPUS / target).read_bytes()):
            check(kept)
            tried += 1
    assert tried > 500
