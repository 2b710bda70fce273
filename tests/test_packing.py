"""Packers that nobody shares while they pack."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from aicached.packing import native, packing


def test_what_is_packed_in_the_middle_of_a_pack_is_its_own(request: pytest.FixtureRequest) -> None:
    """Where the strict packer refuses a value, half a pack lies in its buffer while the exception is made."""
    inside: list[bytes] = []

    def pack_too(phase: str, _: Any) -> None:
        if phase == "start":
            inside.append(native({"answer": "B's"}))

    thresholds = gc.get_threshold()
    request.addfinalizer(lambda: gc.set_threshold(*thresholds))
    gc.callbacks.append(pack_too)
    request.addfinalizer(lambda: gc.callbacks.remove(pack_too))
    gc.set_threshold(1)
    for _ in range(100):
        with pytest.raises(TypeError):
            native(["A's secret", object()])
    gc.set_threshold(*thresholds)
    assert inside
    assert {native({"answer": "B's"})} == set(inside)


def test_a_value_that_was_refused_leaves_nothing_behind() -> None:
    pack = packing(strict_types=True)
    for refused in (["half", object()], [b"x" * 100_000, {1, 2}], 2**70):
        with pytest.raises((TypeError, OverflowError)):
            pack(refused)
        assert b"\x92\x01\x02" == pack([1, 2])


def test_options_are_those_of_the_packer() -> None:
    assert b"\xa3\xed\xa0\x80" == packing(unicode_errors="surrogatepass")("\ud800")
    with pytest.raises(UnicodeEncodeError):
        native("\ud800")
