"""
Files of the format of the day they were written: every later version reads them, or has another format number.

``python -m tests.hostile.test_snapshots`` writes those that are missing, and never writes over one that is there.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from unittest import mock

import openai
import pydantic
import pytest
from openai.types.chat import ChatCompletion

from aicached.codec import envelope
from aicached.codec.envelope import Codec
from aicached.codec.values import Undecodable, decode, encode
from aicached.entry import Entry, Meta
from aicached.status import Usage
from tests.hostile.shapes import VALUES, classes

FOLDER = Path(__file__).parent / "snapshots"
DIGEST = hashlib.sha256(b"the call of all snapshots").digest()
META = Meta("m:f", [b"s" * 16] * 2, b"r" * 8, 1.25, Usage("m", 1, 2, 0.5), ("a", "b"), b"c" * 16, b"\x80", b"\x80")
SIGNING, ENCRYPTION = b"signing key of a test, 32 bytes!", b"cipher key of a test, 32 bytes.."
LONG = {"text": "The capital of France is Paris. " * 40}
COMPLETION = ChatCompletion.model_validate(
    {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Paris"}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }
)
#: Kind -> the value, and the settings of its cache.
KINDS = {
    **{name.replace(" ", "-"): (value, {}) for name, value in VALUES.items()},
    "openai": (COMPLETION, {}),
    "zlib": (LONG, {"compression": 100}),
    "zstd": (LONG, {"compression": 100}),
    "signed": (LONG, {"signing_keys": [SIGNING]}),
    "encrypted": (LONG, {"encryption_keys": [ENCRYPTION]}),
    "all": (LONG, {"signing_keys": [SIGNING], "encryption_keys": [ENCRYPTION], "compression": 100}),
}


def typed(value):
    """Return a value with its types, all the way down: ``1 == True``, but these are not alike."""
    if isinstance(value, dict):
        return type(value), [(typed(key), typed(item)) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value), [typed(item) for item in value]
    return type(value), value, repr(value) if not isinstance(value, (set, frozenset)) else ""


def refusal_allowed(payload):
    """Was it written in short, by other releases of the SDK than those that are here?"""
    return not all(release.encode() in payload for release in (openai.__version__, pydantic.VERSION))


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_written_is_read(kind):
    if kind == "zstd":
        pytest.importorskip("zstandard")
    expected, settings = KINDS[kind]
    blob = (FOLDER / f"{kind}.bin").read_bytes()
    entry = Codec(**settings).open(blob, DIGEST)
    if blob[20] != envelope._FORMAT:
        assert entry is None or typed(expected) == typed(decode(entry.payload, classes()))
        return
    assert (META, 1.7e9, 60.0, (5.0, 7.0), "value") == (entry.meta, entry.created, entry.ttl, entry.windows, entry.kind)
    try:
        found = decode(entry.payload, classes())
    except Undecodable:
        if kind == "openai" and refusal_allowed(entry.payload):
            return
        raise
    assert typed(expected) == typed(found)


def test_there_is_a_file_of_each_kind():
    assert {*KINDS} == {path.stem for path in FOLDER.glob("*.bin")}


@pytest.mark.parametrize("kind", KINDS)
def test_a_snapshot_is_of_its_kind(kind):
    """Or `zlib` could be a file that nobody has compressed."""
    flags = {"zlib": 2, "zstd": 4, "signed": 16, "encrypted": 8, "all": 2 + 8 + 16}
    assert flags.get(kind, 0) == (FOLDER / f"{kind}.bin").read_bytes()[21]


def write():
    """Write the snapshots that are missing."""
    FOLDER.mkdir(exist_ok=True)
    for kind, (value, settings) in KINDS.items():
        path = FOLDER / f"{kind}.bin"
        if path.exists():
            continue
        entry = Entry(b"v" * 16, 1.7e9, 60.0, (5.0, 7.0), "value", META, encode(value, classes()))
        with mock.patch.object(envelope, "_zstd", [] if kind == "zstd" else [None]):
            path.write_bytes(Codec(**settings).seal(entry, DIGEST))
        print(f"written: {path.name}")


if __name__ == "__main__":
    write()
