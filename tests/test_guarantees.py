"""docs/guarantees.md names tests that exist, and some of what it says is kept here."""

from __future__ import annotations

import ast
import asyncio
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aicached import Cache, Usage, ai_cached, flight
from aicached.testing import ScriptedModel

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "guarantees.md").read_text()
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


def names_in(path: Path) -> set[str]:
    """Give the names of a file's tests, those in classes too."""
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}


@pytest.mark.parametrize("file", sorted({file for file, _ in NAMED}))
def test_the_tests_that_are_named_exist(file):
    missing = {name for named, name in NAMED if named == file} - names_in(ROOT / file)
    assert set() == missing


def test_every_promise_and_every_rule_names_its_tests():
    promises = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    assert [1, 2, 3, 4, 5] == [int(promise[0]) for promise in promises]
    rules = re.findall(r"^- .*", PAGE, re.MULTILINE)
    assert [] == [rule for rule in rules if "::test_" not in rule]


def test_callers_at_once_share_one_computation(cache):
    """Ten threads, and ten tasks, of which one computes."""
    started, ended = threading.Event(), threading.Event()
    calls = []

    @ai_cached(cache=cache)
    def ask(prompt):
        calls.append(prompt)
        started.set()
        assert ended.wait(10)
        return [prompt]

    @ai_cached(cache=cache)
    async def aask(prompt):
        calls.append(prompt)
        for _ in range(20):
            await asyncio.sleep(0)
        return [prompt]

    async def main():
        return await asyncio.gather(*(aask("hi") for _ in range(10)))

    with ThreadPoolExecutor(10) as pool:
        first = pool.submit(ask, "ho")
        assert started.wait(10)
        others = [pool.submit(ask, "ho") for _ in range(9)]
        while sum(each.aboard for each in list(flight._table.values())) < 10:
            time.sleep(0.001)
        ended.set()
        assert [["ho"]] * 10 == [call.result(10) for call in (first, *others)]
    assert [["hi"]] * 10 == asyncio.run(main())
    assert ["ho", "hi"] == calls


@pytest.mark.parametrize("usage", [("small", "many", 1), ("small", None, 1), ("small", 1, 1, float("nan")), (5, 1, 1)])
def test_a_usage_that_is_no_number_breaks_no_call(cache, colour, run, usage):
    ask = ai_cached(ScriptedModel("answer").function(colour), cache=cache, usage=lambda _: Usage(*usage))
    assert ["answer"] * 2 == [run(ask("hi")), run(ask("hi"))]
    assert (1, 1) == (ask.cache_info().hits, ask.cache_info().stored)
    assert ask.cache_info().tokens_spent == ask.cache_info().tokens_saved == (2 if usage[0] == 5 else 0)


@pytest.fixture
def cache():
    return Cache("memory://")
