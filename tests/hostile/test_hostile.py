"""Bytes that somebody else has put into the store: a miss and a count, and nothing else, whatever they are."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import struct
import subprocess
import sys
import tracemalloc
import typing
import zlib

import msgpack
import pytest
from msgpack import ExtType

from aicached import Cache, Usage, ai_cached
from aicached.codec.classes import Classes
from aicached.codec.objects import outline
from aicached.codec.values import Undecodable, decode
from aicached.testing import ScriptedModel

KEY = bytes(32)
NAN, INF = float("nan"), float("inf")
NAN_BITS = struct.unpack("<q", struct.pack("<d", NAN))[0]
SETTINGS = {
    "plain": {},
    "signed": {"signing_keys": [KEY]},
    "encrypted": {"encryption_keys": [KEY]},
    "compressed": {"compression": 1},
}
ANSWER = {"text": "one " * 20}


class Attack:
    """Have a call answered and stored, let *change* write other bytes over it, and call again."""

    def __init__(self, url, colour, run, slot, **settings):
        self.run, self.model = run, ScriptedModel(ANSWER, *([{"text": f"{n}"}] for n in range(1, 200)))
        self.cache = Cache(url, **settings)
        self.ask = ai_cached(self.model.function(colour), cache=self.cache)
        assert ANSWER == run(self.ask("hi")) == run(self.ask("hi"))
        self.slot = slot(self.cache, self.ask.cache_key("hi"))

    def fails(self, blob=None):
        """See that the present bytes are a miss that counts, and that the answer to it heals the entry."""
        if blob is not None:
            self.slot.blob = blob
        calls, errors = self.model.calls, self.ask.cache_info().errors
        answer = self.run(self.ask("hi"))
        assert [{"text": f"{calls}"}] == answer
        assert (calls + 1, errors + 1) == (self.model.calls, self.ask.cache_info().errors)
        assert answer == self.run(self.ask("hi"))
        assert calls + 1 == self.model.calls


@pytest.fixture
def attack(url, colour, run, slot):
    """Give an attack on a plain entry."""
    return Attack(url, colour, run, slot)


def resealed(whole):
    """Return bytes with the CRC that is right for them: damage that no CRC tells."""
    return bytes(whole) + zlib.crc32(whole).to_bytes(4, "little")


def packed(code, *parts):
    return msgpack.packb(ExtType(code, b"".join(parts)))


def reference(letter, *name):
    """Return what an object's list begins with: the letter of its shape, and the name of its class."""
    module, qualname = name
    cls = vars(sys.modules.get(module) or object).get(qualname)
    return ExtType(0, msgpack.packb([letter, [module, qualname, outline(cls) if isinstance(cls, type) else b""]]))


# Damage ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_prefixes_and_flipped_bits_of_an_entry_are_misses(url, colour, run, slot, settings):
    """A sample of them, through the stores; `test_seal` has all of them, on the codec."""
    attack = Attack(url, colour, run, slot, **settings)
    blob = attack.slot.blob
    for length in (0, 1, 16, 93, 94, len(blob) // 2, len(blob) - 4, len(blob) - 1):
        attack.fails(blob[:length])
    for place in range(0, 8 * len(blob), 97):
        damaged = bytearray(blob)
        damaged[place // 8] ^= 1 << place % 8
        attack.fails(bytes(damaged))


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_another_calls_entry_under_this_key_is_a_miss(url, colour, run, slot, settings):
    attack = Attack(url, colour, run, slot, **settings)
    run(attack.ask("other"))
    attack.fails(slot(attack.cache, attack.ask.cache_key("other")).blob)


def test_an_entry_of_another_function_under_this_key_is_a_miss(attack, colour, run, slot):
    other = ai_cached(ScriptedModel("no").function(colour, name="other"), cache=attack.cache)
    run(other("hi"))
    attack.fails(slot(attack.cache, other.cache_key("hi")).blob)


def test_other_formats_are_misses(attack):
    whole = attack.slot.blob[:-4]
    for version in (0, 2, 255):
        attack.fails(resealed(whole[:20] + bytes([version]) + whole[21:]))
    attack.fails(resealed(whole[:16] + b"ac2\n" + whole[20:]))
    for flag in (2, 4, 6, 8, 16, 32, 64, 128):
        attack.fails(resealed(whole[:21] + bytes([whole[21] | flag]) + whole[22:]))


class Evil:
    def __reduce__(self):
        return exec, ("import os; os.environ['AICACHED_ATTACKED'] = 'yes'",)


def test_a_pickle_is_a_miss_wherever_it_stands(attack):
    bomb = pickle.dumps(Evil())
    for blob in (bomb, resealed(bomb), resealed(attack.slot.blob[:94] + bomb)):
        attack.fails(blob)
    attack.slot.payload(bomb)
    attack.fails()
    assert "AICACHED_ATTACKED" not in os.environ


# Headers and meta that are well sealed --------------------------------------------------------------------------------


@pytest.mark.parametrize("lengths", [(2**32 - 1,) * 2, (2**32 - 1, 0), (0, 2**32 - 1), (0, 0), (1, 1)], ids=str)
def test_lengths_that_lie_are_misses(attack, lengths):
    whole = bytearray(attack.slot.blob[:-4])
    struct.pack_into("<II", whole, 86, *lengths)
    attack.fails(resealed(whole))


@pytest.mark.parametrize(("meta", "payload"), [(0, 1), (0, -1), (0, -9), (-1, 1), (1, -1)])
def test_lengths_that_lie_a_little_are_misses(attack, meta, payload):
    whole = bytearray(attack.slot.blob[:-4])
    right = struct.unpack_from("<II", whole, 86)
    struct.pack_into("<II", whole, 86, right[0] + meta, right[1] + payload)
    attack.fails(resealed(whole))


@pytest.mark.parametrize("place", [62, 70, 78], ids=["ttl", "stale_while_revalidate", "stale_if_error"])
@pytest.mark.parametrize("moment", [-2, -(2**63)])
def test_times_that_cannot_be_are_misses(attack, place, moment):
    whole = bytearray(attack.slot.blob[:-4])
    struct.pack_into("<q", whole, place, moment)
    attack.fails(resealed(whole))


@pytest.mark.parametrize(
    ("created", "ttl"), [(2**63 - 1, 2**63 - 1), (2**63 - 1, -1), (-(2**63), 2**63 - 1), (NAN_BITS, NAN_BITS)], ids=str
)
def test_times_beyond_all_bounds_break_nothing(attack, created, ttl):
    """They are whole numbers, whatever their bits: the entry is old, or young, and its answer is this call's."""
    whole = bytearray(attack.slot.blob[:-4])
    struct.pack_into("<qq", whole, 54, created, ttl)
    attack.slot.blob = resealed(whole)
    assert attack.run(attack.ask("hi")) in (ANSWER, [{"text": "1"}])
    assert str(attack.run(attack.ask.cache_explain("hi"))).startswith("hit")


def with_meta(blob, meta):
    """Return the entry with other bytes in place of its meta."""
    length, payload = struct.unpack_from("<II", blob, 86)
    header = blob[:86] + struct.pack("<II", len(meta), payload)
    return resealed(header + meta + blob[94 + length : -4])


WRONG = {
    "function": [None, 5, b"f", [], NAN, ExtType(9, b"")],
    "stamps": [None, 5, "stamps", {}],
    "rules": [None, 5, "rules", []],
    "seconds": [None, "1.5", NAN, INF, -INF, [], b""],
    "usage": [5, [], ["m"], ["m", 1, 2], ["m", 1, 2, 3, 4], [5, 1, 2, 3], ["m", "1", 2, None], ["m", 1, None, None]]
    + [["m", NAN, 2, None], ["m", 1, 2, INF], ["m", 1, 2, "3"], ["m", 1, 2, []], {"model": "m"}, "m123"],
    "tags": [None, 5, "tags", {}, [5], [None], [b"x"], [["x"]]],
    "scope": [None, 5, "scope", []],
    "parts": [None, 5, "parts", {}],
    "arguments": [None, 5, "arguments", {}],
}


@pytest.mark.parametrize("field", WRONG)
def test_meta_of_wrong_types_is_a_miss(attack, field):
    blob, place = attack.slot.blob, list(WRONG).index(field)
    right = list(attack.slot.entry.meta)
    for value in WRONG[field]:
        attack.fails(with_meta(blob, msgpack.packb([*right[:place], value, *right[place + 1 :]])))


def test_meta_of_another_length_is_a_miss(attack):
    blob, right = attack.slot.blob, list(attack.slot.entry.meta)
    for meta in (right[:-1], [*right, b""], [], right[:6], None, 5, "meta", {"function": "f"}):
        attack.fails(with_meta(blob, msgpack.packb(meta)))
    for meta in (b"", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\x91" * 5000, msgpack.packb(right) + b"\0"):
        attack.fails(with_meta(blob, meta))


@pytest.mark.parametrize("parts", [{1: "x"}, {"prompt": None}, {"prompt": {"y": 1}}, {b"x": [1]}, [1], 5, "text"])
def test_parts_and_arguments_that_are_none_do_not_hinder_those_who_look(attack, parts):
    meta = attack.slot.entry.meta._replace(parts=msgpack.packb(parts), arguments=msgpack.packb(parts))
    attack.slot.blob = with_meta(attack.slot.blob, msgpack.packb(list(meta)))
    assert "miss" in str(attack.run(attack.ask.cache_explain("another")))
    assert ANSWER == attack.run(attack.ask("hi"))


def test_usage_of_a_good_entry_is_counted(attack):
    """Or the tests above would be about nothing."""
    meta = attack.slot.entry.meta._replace(usage=Usage(None, 7, 2.5, 1))
    attack.slot.blob = with_meta(attack.slot.blob, msgpack.packb(list(meta)))
    assert ANSWER == attack.run(attack.ask("hi"))
    assert (9.5, 1) == (attack.ask.cache_info().tokens_saved, attack.ask.cache_info().cost_saved)


# Payloads that are well sealed ----------------------------------------------------------------------------------------

FOUR_BILLION = b"\xff\xff\xff\xff"
PAYLOADS = {
    "cut": msgpack.packb(ANSWER)[:-1],
    "more behind": msgpack.packb(ANSWER) + b"\0",
    "never used": b"\xc1",
    "no utf-8": b"\xa2\xff\xff",
    "array": b"\xdd" + FOUR_BILLION,
    "map": b"\xdf" + FOUR_BILLION,
    "bin": b"\xc6" + FOUR_BILLION,
    "str": b"\xdb" + FOUR_BILLION,
    "ext": b"\xc9" + FOUR_BILLION + b"\x06",
    "array inside": packed(6, b"\xdd" + FOUR_BILLION),
    "array of arrays": (b"\xdd" + FOUR_BILLION) * 900,
    "deep array": b"\x91" * 5000 + b"\xc0",
    "deep map": b"\x81\xa1k" * 5000 + b"\xc0",
    "unhashable key": b"\x81\x90\xc0",
    "unknown types": b"\x93" + b"".join(packed(code, b"\xc0") for code in (63, 99, 127)),
    "taught by nobody": packed(28, msgpack.packb(["os", "system", "true"])),
    "answer of no SDK": packed(27, msgpack.packb([msgpack.packb(["v", ["os", "system"], ["1", "2"]]), {}, {}, []])),
    "zone outside": packed(15, msgpack.packb(["2024-01-01T00:00:00", 0, "../../../../etc/passwd"])),
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_payload_that_says_nothing_is_a_miss(attack, name):
    attack.slot.payload(PAYLOADS[name])
    attack.fails()


#: A store that is asked in place looks at the type before it decodes.
SHORT = [b"", b"\xc7", b"\xc9\0\0", b"\xc1"]


@pytest.mark.parametrize("payload", SHORT)
def test_a_payload_too_short_for_its_type_is_a_miss(tmp_path, colour, run, slot, payload):
    attack = Attack(f"sqlite:///{tmp_path / 'answers.db'}", colour, run, slot)
    attack.slot.payload(payload)
    attack.fails()


#: Functions, classes that run things, classes that nobody has allowed, modules that nobody has imported.
NAMES = [
    ("os", "system"),
    ("builtins", "eval"),
    ("builtins", "type"),
    ("subprocess", "Popen"),
    ("json", "loads"),
    ("collections", "OrderedDict"),
    (__name__, "Evil"),
    ("openai", "OpenAI"),
    ("antigravity", "fly"),
    ("xml.dom.expatbuilder", "ElementInfo"),
    ("no_such_module", "Thing"),
    ("os", "path.join.__globals__"),
    (5, None),
]


@pytest.mark.parametrize("name", NAMES, ids=str)
def test_a_class_that_is_not_allowed_is_not_made_and_nothing_is_imported(attack, name):
    modules = set(sys.modules)
    for letter, state in zip(
        "fenpda?", ["true", "A", ["true"], [{}, None, [], None], {"args": "true"}, {}, 5], strict=True
    ):
        attack.slot.payload(packed(26, msgpack.packb([reference(letter, *name), state])))
        attack.fails()
    assert set() == set(sys.modules) - modules


# Bombs ----------------------------------------------------------------------------------------------------------------

MANY = 2**26


def zstd_bomb(told=None):
    zstandard = pytest.importorskip("zstandard")
    bomb = bytearray(zstandard.ZstdCompressor().compress(bytes(MANY)))
    if told is not None:  # the frame's header says another size of the content
        assert 2 == bomb[4] >> 6
        struct.pack_into("<I", bomb, 5 if bomb[4] & 32 else 6, told)
    return 4, bytes(bomb)


ZIPPED = {
    "zlib": lambda: (2, zlib.compress(bytes(MANY))),
    "zlib without an end": lambda: (2, zlib.compress(bytes(MANY))[:-9]),
    "zstd": zstd_bomb,
    "zstd that lies": lambda: zstd_bomb(told=1000),
}


@pytest.mark.parametrize("name", ZIPPED)
def test_a_bomb_of_a_thousand_times_its_size_is_a_miss_and_takes_no_memory(url, colour, run, slot, name):
    flag, bomb = ZIPPED[name]()
    assert len(bomb) < MANY / 900
    attack = Attack(url, colour, run, slot, max_value_bytes=2**20, compression=None)
    attack.slot.payload(bomb)
    whole = bytearray(attack.slot.blob[:-4])
    whole[21] |= flag
    tracemalloc.start()
    try:
        attack.fails(resealed(whole))
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


def nested(code, depth):
    made = b"\xc0"
    for _ in range(depth):
        made = packed(code, made)
    return made


BILLION = ExtType(9, msgpack.packb([0, 10**9, 1]))  # a range of that many numbers
BOMBS = {
    **{f"type {code} nested": nested(code, 5000) for code in (3, 6, 26, 27, 28)},
    "value deeper than the stack": nested(6, 220),
    **{f"type {code} of a range": packed(code, msgpack.packb(BILLION)) for code in (4, 5, 6, 10, 18, 23, 28)},
    "deque of a range": packed(11, msgpack.packb([BILLION, None])),
    "bytearray of a length": packed(7, msgpack.packb(10**9)),
    "fraction of a power": packed(21, msgpack.packb(["1e99999999"])),
    "list made of a range": packed(26, msgpack.packb([reference("f", "builtins", "list"), BILLION])),
    "bytes made of a length": packed(26, msgpack.packb([reference("f", "builtins", "bytes"), 10**9])),
    "array of another size": packed(29, msgpack.packb(["<f8", "d", [2**20, 2**20], b""])),
    "arrays of arrays": (b"\xdd" + struct.pack(">I", 2**19)) * 1000 + bytes(2**20),
}
DECODING = """
import json, os, resource, signal, sys
import numpy
from aicached.codec.values import Undecodable, decode
from aicached.codec.classes import Classes

def outcome(payload):
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (2**29 + 4096 * int(open("/proc/self/statm").read().split()[0]),) * 2)
    signal.alarm(1)
    modules, before = set(sys.modules), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        decode(payload, Classes())
        return "decoded"
    except Undecodable as error:
        if "MemoryError" in str(error) or "SystemError" in str(error):
            return str(error)
    if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > before + 2**17:
        return "128 MiB and more"
    return "imported" if set(sys.modules) - modules - {"zoneinfo"} else "miss"

told = {}
for name, payload in json.load(sys.stdin).items():
    read, write = os.pipe()
    if not os.fork():
        os.write(write, outcome(bytes.fromhex(payload)).encode())
        os._exit(0)
    os.close(write)
    ended = os.waitstatus_to_exitcode(os.wait()[1])
    told[name] = os.read(read, 1000).decode() or f"signal {-ended}"
    os.close(read)
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def outcomes():
    """Decode each bomb in a process of its own, with half a gigabyte and one second."""
    bombs = json.dumps({name: payload.hex() for name, payload in BOMBS.items()})
    done = subprocess.run([sys.executable, "-c", DECODING], input=bombs, capture_output=True, check=True, text=True)
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_ends_neither_the_process_nor_its_memory_nor_its_patience(outcomes, name):
    assert "miss" == outcomes[name]


def test_lists_of_nothing_are_the_most_that_a_payload_can_take():
    """What a value takes is a multiple of its payload, and the payload has a limit: `max_value_bytes`."""
    payload = b"\xdd" + struct.pack(">I", 2**16) + b"\x90" * 2**16
    tracemalloc.start()
    try:
        kept = decode(payload, Classes())
        assert tracemalloc.get_traced_memory()[1] < 80 * len(payload)
    finally:
        tracemalloc.stop()
    assert 2**16 == len(kept)


# What only this package writes ----------------------------------------------------------------------------------------


@dataclasses.dataclass
class Armed:
    command: str

    def __post_init__(self):
        raise RuntimeError("its constructor ran")


class Couple(typing.NamedTuple):
    left: int
    right: int


HERE = (__name__, "Armed")
FORGED = {
    "constructor": [reference("f", *HERE), "true"],
    "constructor of an enum": [reference("e", *HERE), ["true"]],
    "attribute that is no field": [reference("d", *HERE), {"command": "", "__post_init__": "true"}],
    "tuple of another length": [reference("n", __name__, "Couple"), [1]],
    "name alone": reference("d", *HERE),
    "name in a list": [1, reference("d", *HERE)],
    "state missing": [reference("d", *HERE)],
    "state of another kind": [reference("d", *HERE), 5],
    "class without a shape": [reference("d", "builtins", "int"), {}],
}


@pytest.mark.parametrize("name", FORGED)
def test_an_object_that_nobody_has_stored_is_not_made(name):
    with pytest.raises(Undecodable) as raised:
        decode(packed(26, msgpack.packb(FORGED[name])), Classes([Armed, Couple]))
    assert "RuntimeError" not in str(raised.value)


def test_an_object_that_was_stored_is_made():
    """Or the test above would be about nothing."""
    made = decode(packed(26, msgpack.packb([reference("d", *HERE), {"command": "x"}])), Classes([Armed]))
    assert {"command": "x"} == vars(made)
    assert Armed is type(made)
