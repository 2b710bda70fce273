"""Filling the cache before it is asked, and mapping a function over a list."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

import aicached
from aicached import Cache, ConfigurationError, ai_cached, scope, trace
from aicached.progress import Progress
from aicached.testing import FakeClock
from tests.terminal import on_a_terminal

ROOT = Path(__file__).parents[2]


class Model:
    """Answer in both colours, and watch how many calls are under way."""

    def __init__(self, colour: str, seconds: float = 0.0, **options) -> None:
        self.calls: list = []
        self.now = self.most = 0
        self.seconds = seconds
        self.lock = threading.Lock()
        self.cache = options.pop("cache", None) or Cache("memory://")
        self.ask = ai_cached(cache=self.cache, **options)(self._sync() if colour == "sync" else self._async())

    def _begin(self, prompt):
        with self.lock:
            self.calls.append(prompt)
            self.now += 1
            self.most = max(self.most, self.now)

    def _end(self, prompt, model):
        with self.lock:
            self.now -= 1
        if "fail" in str(prompt):
            raise ValueError(prompt)
        return f"{model}: {prompt}"

    def _sync(self):
        def ask(prompt, model="small"):
            self._begin(prompt)
            time.sleep(self.seconds)
            return self._end(prompt, model)

        return ask

    def _async(self):
        async def ask(prompt, model="small"):
            self._begin(prompt)
            await asyncio.sleep(self.seconds)
            return self._end(prompt, model)

        return ask


def test_a_thousand_prompts_of_which_ten_fail(colour, run):
    model = Model(colour)
    prompts = [f"fail {index}" if index % 100 == 7 else f"ask {index}" for index in range(1000)]
    report = run(model.ask.cache_warm(prompts))
    assert (990, 0, 10, 0) == (report.kept, report.hits, len(report.failed), report.refused)
    assert prompts[7::100] == sorted((given for given, _ in report.failed), key=prompts.index)
    assert all(isinstance(error, ValueError) and error.args == (given,) for given, error in report.failed)
    assert "990 kept, 0 hits, 10 failed" == str(report)
    again = run(model.ask.cache_warm(prompts))
    assert (0, 990, 10) == (again.kept, again.hits, len(again.failed))
    assert 1010 == len(model.calls)


@pytest.mark.parametrize("concurrency", [1, 5])
def test_no_more_calls_are_under_way_than_were_asked_for(colour, run, concurrency):
    model = Model(colour, seconds=0.005)
    taken = []

    def inputs():
        for index in range(20):
            taken.append(index)
            assert len(taken) - len(model.calls) <= concurrency + 1
            yield index

    report = run(model.ask.cache_warm(inputs(), concurrency=concurrency))
    assert (20, concurrency) == (report.kept, model.most)


def test_an_input_may_be_all_arguments_of_a_call(colour, run):
    model = Model(colour)
    given = [aicached.args("a"), aicached.args("b", model="large"), aicached.args(prompt="c"), ["a", "list"]]
    assert ["small: a", "large: b", "small: c", "small: ['a', 'list']"] == run(model.ask.cache_map(given))


def test_equal_inputs_are_one_call(colour, run):
    model = Model(colour, seconds=0.01)
    report = run(model.ask.cache_warm(["a"] * 10, concurrency=5))
    assert (1, 9, []) == (report.kept, report.hits, report.failed)


def test_answers_that_are_not_kept_are_told_apart(colour, run):
    model = Model(colour, cache_if=lambda answer: "no" not in answer)
    report = run(model.ask.cache_warm(["yes", "no"]))
    assert (1, 0, [], 1) == (report.kept, report.hits, report.failed, report.refused)
    assert str(report).endswith("1 not kept")


def test_map_gives_values_in_the_order_of_their_inputs(colour, run):
    model = Model(colour)
    assert [f"small: {index}" for index in range(50)] == run(model.ask.cache_map(range(50), concurrency=7))
    assert [] == run(model.ask.cache_map([]))


def test_map_raises_the_first_failure_or_puts_all_in_their_places(colour, run):
    model = Model(colour, retry=False)
    with pytest.raises(ValueError, match="fail"):
        run(model.ask.cache_map(["a", "fail", "b"], concurrency=1))
    assert ["a", "fail"] == model.calls
    first, failed, last = run(model.ask.cache_map(["a", "fail", "b"], on_error="return"))
    assert ("small: a", "small: b") == (first, last)
    assert isinstance(failed, ValueError)


def test_the_callers_context_reaches_each_call(colour, run):
    seen, name = [], contextvars.ContextVar("name", default="nobody")
    cache = Cache("memory://", require_scope=True)

    def note(prompt):
        seen.append(name.get())
        return prompt

    async def anote(prompt):
        return note(prompt)

    ask = ai_cached(cache=cache)(note if colour == "sync" else anote)

    async def warm():
        name.set("somebody")
        with scope("tenant"), trace() as calls:
            made = ask.cache_warm(["a", "b"])
            report = await made if colour == "async" else made
        return report, calls

    report, calls = run(warm())
    assert (2, ["somebody"] * 2, 2) == (report.kept, seen, len(calls))
    assert {"uri-miss"} == {call.fwd for call in calls}
    assert name.get() == "nobody"


def test_methods_are_warmed_without_self(colour, run):
    class Bot:
        def __cache_key__(self):
            return "bot"

        def ask(self, prompt):
            return prompt

        async def aask(self, prompt):
            return prompt

        cached = ai_cached(cache=Cache("memory://"))(ask if colour == "sync" else aask)

    assert 2 == run(Bot().cached.cache_warm(["a", "b"])).kept
    assert ["a", "b"] == run(Bot().cached.cache_map(["a", "b"]))


def test_what_an_iterator_of_inputs_raises_is_the_callers(colour, run):
    def inputs():
        yield "a"
        raise LookupError("the file is gone")

    model = Model(colour)
    with pytest.raises(LookupError, match="gone"):
        run(model.ask.cache_warm(inputs()))


def test_a_cancelled_run_cancels_its_calls():
    model = Model("async", seconds=30)

    async def interrupted():
        warming = asyncio.ensure_future(model.ask.cache_warm(range(100), concurrency=4))
        await asyncio.sleep(0.05)
        warming.cancel()
        with pytest.raises(asyncio.CancelledError):
            await warming

    started = time.monotonic()
    asyncio.run(interrupted())
    assert time.monotonic() - started < 10
    assert 4 == len(model.calls)


INTERRUPTED = """
    import asyncio, sys, time
    from aicached import Cache, ai_cached

    cache = Cache("sqlite:///answers.db", timeout=5)
    COLOUR, STEP = sys.argv[1:]

    def slow(prompt):
        print("called", prompt, flush=True)

    def ask(prompt):
        slow(prompt)
        time.sleep(float(STEP))
        return prompt

    async def aask(prompt):
        slow(prompt)
        await asyncio.sleep(float(STEP))
        return prompt

    ask.__qualname__ = ask.__name__ = aask.__qualname__ = aask.__name__ = "ask"
    ask = ai_cached(cache=cache, version=1)(ask if COLOUR == "sync" else aask)
    try:
        made = ask.cache_warm(range(30), concurrency=2, progress=True)
        report = made if COLOUR == "sync" else asyncio.run(made if asyncio.iscoroutine(made) else made)
        print("report", report, flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        sys.exit(130)
"""


def test_ctrl_c_leaves_what_is_done_and_the_next_run_does_the_rest(colour, tmp_path):
    script = tmp_path / "warm.py"
    script.write_text(textwrap.dedent(INTERRUPTED))
    command = [sys.executable, str(script), colour]
    where = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(ROOT)}, "text": True}
    first = subprocess.Popen([*command, "0.05"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **where)
    lines = [first.stdout.readline() for _ in range(10)]
    first.send_signal(signal.SIGINT)
    out, _ = first.communicate(timeout=30)
    called = len(lines) + out.count("called")
    assert (130, True) == (first.returncode, "interrupted" in out)
    assert 10 <= called < 30
    second = subprocess.run([*command, "0"], capture_output=True, timeout=60, **where)
    assert (0, "") == (second.returncode, second.stderr.replace("30 of 30: ", "").partition("\n")[2]), second.stderr
    again = second.stdout.count("called")
    assert f"report {again} kept, {30 - again} hits, 0 failed" in second.stdout
    assert 30 - called <= again <= 30 - called + 2  # those that were under way may have been lost


@pytest.mark.parametrize(
    ("method", "inputs", "options", "named"),
    [
        ("cache_warm", "one prompt", {}, "iterable"),
        ("cache_warm", 5, {}, "iterable"),
        ("cache_map", {"a": 1}, {}, "iterable"),
        ("cache_warm", [], {"concurrency": 0}, "concurrency"),
        ("cache_map", [], {"concurrency": True}, "concurrency"),
        ("cache_warm", [], {"progress": "yes"}, "progress"),
        ("cache_map", [], {"on_error": "ignore"}, "on_error"),
    ],
)
def test_an_option_that_cannot_be_meant_is_an_error_that_names_it(colour, run, method, inputs, options, named):
    model = Model(colour)
    with pytest.raises(ConfigurationError, match=rf"{method}\(\).*{named}"):
        run(getattr(model.ask, method)(inputs, **options))


# Progress ------------------------------------------------------------------------------------------------------------


def test_without_a_terminal_progress_is_a_line_now_and_then(capsys):
    clock = FakeClock()
    with Progress(100, True, clock) as progress:
        for done in range(1, 101):
            clock.advance(0.25)
            progress.show(done, f"{done} kept")
    lines = capsys.readouterr().err.splitlines()
    assert 5 == len(lines)
    assert "100 of 100: 100 kept" == lines[-1]


@pytest.mark.parametrize("show", [None, False])
def test_without_a_terminal_nothing_is_shown_unasked(capsys, show):
    with Progress(None, show) as progress:
        progress.show(1, "1 kept")
    assert ("", "") == capsys.readouterr()


@pytest.mark.parametrize("rich", [True, False])
def test_a_terminal_shows_how_far_it_is_with_rich_or_without(rich):
    code = textwrap.dedent(f"""
        import sys
        if not {rich}: sys.modules["rich"] = None
        from aicached import ai_cached
        ask = ai_cached(cache="memory://")(lambda prompt: prompt)
        ask.cache_warm(range(50))
    """)
    code, screen = on_a_terminal([sys.executable, "-c", code])
    assert 0 == code, screen
    assert "50 kept, 0 hits, 0 failed" in screen
    assert ("50/50" if rich else "50 of 50") in screen


# Streams -------------------------------------------------------------------------------------------------------------


def streams(colour):
    calls = []

    def tell(prompt):
        calls.append(prompt)
        yield from (prompt, "and", "more")

    async def atell(prompt):
        calls.append(prompt)
        for chunk in (prompt, "and", "more"):
            yield chunk

    return ai_cached(cache=Cache("memory://"))(tell if colour == "sync" else atell), calls


def test_streams_are_read_to_their_end_and_kept(colour, run):
    tell, calls = streams(colour)
    report = run(tell.cache_warm(["a", "b"]))
    assert (2, 0, []) == (report.kept, report.hits, report.failed)
    assert [["a", "and", "more"], ["b", "and", "more"]] == run(tell.cache_map(["a", "b"]))
    assert (0, 2) == run(tell.cache_warm(["a", "b"]))[:2]
    assert ["a", "b"] == sorted(calls)
