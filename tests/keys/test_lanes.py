"""The memo in front of the canonical form: quicker, never another answer."""

from __future__ import annotations

import math
import threading
from contextlib import suppress

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aicached import UnkeyableArgument
from aicached.keys import lanes
from aicached.keys.canonical import pack, sequence
from aicached.keys.keyer import Keyer
from aicached.keys.lanes import SHORT, Lane
from aicached.memo import Memo
from aicached.policy import Policy
from tests.keys.calls import lane
from tests.keys.test_canonical import digest, many, picture, quick, texts, thorough, values


def worked_out(bound: list) -> bytes:
    """Return the digest by the canonical form alone."""
    made = lane().hasher.copy()
    made.update(pack(sequence(bound)))
    return made.digest()


plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**64), 2**65), st.floats(), texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3),
        st.dictionaries(st.one_of(st.none(), st.booleans(), st.integers(-2, 2), texts), inner, max_size=3),
    ),
    max_leaves=8,
)  # fmt: skip


def memo_agrees(bounds: list[list]) -> None:
    """Ask one lane for all of them, before and after it has learnt any."""
    asked = lane()
    for _ in range(2):
        assert [asked.digest(bound) for bound in bounds] == [worked_out(bound) for bound in bounds]


lists = st.lists(st.lists(st.one_of(plain, values), max_size=2), max_size=4)
test_the_memo_answers_as_the_canonical_form_does = quick(given(lists)(memo_agrees))


@pytest.mark.slow
@thorough
def test_the_memo_answers_as_the_canonical_form_does_thoroughly(part):
    many(given(lists)(memo_agrees))()


def asked(prompt, messages=(), *more, model="small", **options):
    pass


def parts_agree(args: list, options: dict) -> None:
    made = Keyer(asked, Policy(), "test")
    keyed = (None, tuple(args), options, (), 0)
    with suppress(UnkeyableArgument):
        used, digest = made.key(*keyed)
        assert made.parts(used, b"worked out anew", *keyed) == made.parts(used, digest, *keyed)


arguments = (
    st.lists(st.one_of(plain, values), min_size=1, max_size=3),
    st.dictionaries(st.sampled_from(["model", "temperature", "prompts"]), st.one_of(plain, values)),
)
test_the_parts_of_a_key_are_the_same_from_what_was_just_worked_out = quick(given(*arguments)(parts_agree))


def told_apart(one, other):
    asked = lane()
    asked.digest([one])
    assert (asked.digest([one]) == asked.digest([other])) == (picture(one) == picture(other))


test_a_lane_that_has_learnt_tells_plain_values_apart = quick(given(plain, plain)(told_apart))


@pytest.mark.slow
@thorough
def test_a_lane_that_has_learnt_tells_plain_values_apart_thoroughly(part):
    many(given(plain, plain)(told_apart))()


#: Each packs to the same msgpack as another, or nearly, and is another value.
TWINS = [
    "ab", b"ab", bytearray(b"ab"), memoryview(b"ab"), ["ab"], ("ab",), {"ab"}, 1, 1.0, True, None, 0.0, -0.0, math.nan,
    msgpack.ExtType(1, b"ab"), msgpack.ExtType(5, b"ab"), [msgpack.ExtType(1, b"tuple"), "ab"], {"ab": 1}, {1: "ab"},
    {b"ab": 1},
    {"ab": b"ab"}, {"ab": bytearray(b"ab")}, ["ab", b"ab"], ["ab", ("ab",)],
]  # fmt: skip


@pytest.mark.parametrize("first", range(len(TWINS)))
def test_what_packs_alike_keeps_digests_of_its_own_whichever_was_learnt_first(first):
    asked = lane()
    order = TWINS[first:] + TWINS[:first]
    made = [asked.digest([value]) for value in order]
    assert made == [worked_out([value]) for value in order]
    assert made == [asked.digest([value]) for value in order]
    assert len(set(made)) == len(TWINS)


def test_a_timestamp_is_unkeyable_though_msgpack_can_pack_it():
    asked = lane()
    for _ in range(2):
        with pytest.raises(UnkeyableArgument):
            asked.digest([msgpack.Timestamp(1, 2)])
        with pytest.raises(UnkeyableArgument):
            asked.digest(["text", {"at": msgpack.Timestamp(1)}])


def test_plain_values_are_learnt_and_nothing_else():
    for value in ("text", 1, None, [1, {"a": [2.0]}], {1: "a", None: 2}):
        asked = lane()
        asked.digest([value])
        assert len(asked.known) == 1, value
    for value in (
        b"a",
        bytearray(b"a"),
        memoryview(b"a"),
        msgpack.ExtType(1, b"a"),
        (1,),
        {1},
        2**70,
        "\ud800",
        {b"a": 1},
    ):
        asked = lane()
        asked.digest([value])
        assert asked.known == {}, value


def test_two_orders_of_a_dict_are_learnt_as_one_digest():
    asked = lane()
    made = [asked.digest([value]) for value in ({"a": 1, "b": 2}, {"b": 2, "a": 1}) * 2]
    assert len(set(made)) == 1


def test_what_is_long_is_not_learnt():
    asked = lane()
    assert asked.digest(["x" * SHORT]) == asked.digest(["x" * SHORT])
    assert asked.known == {}


def test_deep_nesting_that_has_a_form_has_it_with_and_without_the_memo():
    deep = 1
    for _ in range(400):
        deep = [deep]
    memo_agrees([[deep]])


def test_memory_that_is_not_in_one_piece_has_a_digest():
    assert digest(memoryview(b"abcd")[::2]) == digest(memoryview(b"abcd")[::2])


def test_arguments_that_do_not_fit_share_nothing_with_those_that_do():
    asked = lane()
    raw = [
        asked.raw_digest((1,), {}), asked.raw_digest((), {"a": 1}), asked.raw_digest(((1,),), {}),
        asked.raw_digest((1,), {"a": 1}),
        asked.digest([1]), asked.digest([(1,), {}]), asked.digest([[1], {}]), asked.digest(["raw", [1], {}]),
    ]  # fmt: skip
    assert len(set(raw)) == len(raw)


def test_two_prefixes_are_two_lanes():
    made = {Lane(prefix, (), b"").digest([text]) for prefix, text in ((b"ab", "c"), (b"a", "bc"), (b"", "abc"))}
    assert len(made) == 3


# The bound -----------------------------------------------------------------------------------------------------------


def test_the_memo_of_all_lanes_together_stays_within_its_bound(monkeypatch):
    memo = Memo(limit=1000)
    monkeypatch.setattr(lanes, "MEMO", memo)
    asked = [lane(), lane()]
    for number in range(5000):
        asked[number % 2].digest([f"prompt {number}"])
    remembered = sum(len(raw) for each in asked for raw in each.known)
    assert remembered == memo.size
    assert 500 < remembered <= 1000 + SHORT
    assert len(memo.order) == sum(len(each.known) for each in asked)


def test_a_full_memo_still_learns_one_newcomer_in_eight(monkeypatch):
    monkeypatch.setattr(lanes, "MEMO", Memo(limit=100))
    asked = lane()
    for number in range(100):
        asked.digest([f"old {number}"])
    before = set(asked.known)
    for number in range(80):
        asked.digest([f"new {number}"])
    assert 1 <= len(set(asked.known) - before) <= 10


def test_threads_that_share_a_lane_get_the_right_digests(monkeypatch, impatient):
    monkeypatch.setattr(lanes, "MEMO", Memo(limit=2000))
    asked = lane()
    bounds = [[f"prompt {n}", {"n": n, "list": [n, {"deep": [n] * 20}]}] for n in range(50)]
    expected = [worked_out(bound) for bound in bounds]
    wrong = []

    def work():
        for _ in range(40):
            made = [asked.digest(bound) for bound in bounds]
            if made != expected:
                wrong.append(made)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
