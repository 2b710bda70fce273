"""Stale answers: served while they are refreshed, or where the origin fails; RFC 5861."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import random
import threading
import time

import pytest

from aicached import Cache, ai_cached, current_call, lease, refreshes, trace
from aicached.refreshes import REFRESHES
from aicached.stores.memory import MemoryStore
from aicached.testing import ScriptedModel
from aicached.testing.models import ModelError

TTL = 5  # seconds: too short for jitter


class Scene:
    """One function on one cache, called in either colour from within one event loop."""

    def __init__(self, cache, clock, colour, model, **options):
        self.cache, self.clock, self.model = cache, clock, model
        self.function = ai_cached(
            model.function(colour) if isinstance(model, ScriptedModel) else model, cache=cache, ttl=TTL, **options
        )

    async def ask(self, *args):
        made = self.function(*args or ("hi",))
        return await made if inspect.isawaitable(made) else made

    async def settled(self):
        await asyncio.sleep(0)
        await REFRESHES.asettle(self.cache.engine.address)

    async def hold_off_ends(self):
        self.clock.advance(11)
        await asyncio.sleep(0.01)  # for Redis, see `short_words`

    def info(self, *names):
        info = self.function.cache_info()
        return tuple(getattr(info, name) for name in names)


@pytest.fixture(autouse=True)
def short_words(monkeypatch):
    """Let Redis, whose own clock nobody moves, forget at once what it was told about a failure."""
    monkeypatch.setattr(lease, "WORD_SECONDS", 0.001)


@pytest.fixture
def scene(any_cache, clock, colour):
    """Give what makes a scene: `scene(ScriptedModel("a"), stale_if_error=60)`."""
    return lambda model, **options: Scene(any_cache, clock, colour, model, **options)


def play(story):
    return asyncio.run(story)


def test_a_stale_answer_is_returned_at_once_and_refreshed_behind(scene, clock):
    async def story():
        stage = scene(ScriptedModel("old", "new"), stale_while_revalidate=60)
        assert "old" == await stage.ask()
        clock.advance(TTL + 1)
        with trace() as calls:
            assert "old" == await stage.ask()
        await stage.settled()
        assert "new" == await stage.ask()
        (call,) = calls
        assert (True, "stale", True) == (call.hit, call.detail, call.ttl < 0)
        assert 2 == stage.model.calls
        assert (2, 1, 1, 2) == stage.info("hits", "misses", "stale", "stored")

    play(story())


def test_after_its_window_an_answer_is_gone(scene, clock):
    async def story():
        stage = scene(ScriptedModel("old", "new"), stale_while_revalidate=60)
        await stage.ask()
        clock.advance(TTL + 61)
        assert "new" == await stage.ask()
        assert (0, 2, 0) == stage.info("hits", "misses", "stale")

    play(story())


def test_one_refresh_runs_for_any_number_of_callers(scene, clock):
    async def story():
        stage = scene(ScriptedModel("old", "new", delay=0.2), stale_while_revalidate=60)
        await stage.ask()
        clock.advance(TTL + 1)
        assert ["old"] * 5 == [await stage.ask() for _ in range(5)]
        await stage.settled()
        assert "new" == await stage.ask()
        assert 2 == stage.model.calls

    play(story())


def test_who_finds_it_expired_joins_the_refresh(scene, clock):
    async def story():
        stage = scene(ScriptedModel("old", "new", delay=0.2), stale_while_revalidate=60)
        await stage.ask()
        clock.advance(TTL + 1)
        await stage.ask()
        await asyncio.sleep(0.05)
        clock.advance(TTL + 100)
        with trace() as calls:
            assert "new" == await stage.ask()
        assert calls[0].collapsed
        assert 2 == stage.model.calls
        await stage.settled()

    play(story())


def test_a_refresh_carries_the_context_of_its_caller(any_cache, clock, colour):
    tenant = contextvars.ContextVar("tenant")
    seen = []

    def origin(prompt):
        seen.append(tenant.get())
        return len(seen)

    async def aorigin(prompt):
        return origin(prompt)

    async def story():
        stage = Scene(any_cache, clock, colour, origin if colour == "sync" else aorigin, stale_while_revalidate=60)
        tenant.set("a")
        await stage.ask()
        clock.advance(TTL + 1)
        tenant.set("b")
        await stage.ask()
        tenant.set("c")
        await stage.settled()
        assert ["a", "b"] == seen

    play(story())


def test_the_origin_may_see_what_it_replaces(any_cache, clock, colour):
    seen = []

    def origin(prompt):
        seen.append(current_call().stale)
        return "a"

    async def aorigin(prompt):
        return origin(prompt)

    async def story():
        stage = Scene(any_cache, clock, colour, origin if colour == "sync" else aorigin, stale_while_revalidate=60)
        await stage.ask()
        clock.advance(TTL + 1)
        await stage.ask()
        await stage.settled()
        assert [True, False] == [entry is None for entry in seen]

    play(story())


def test_a_refresh_that_fails_leaves_the_old_answer_and_is_not_tried_at_once(scene, clock, warned):
    async def story():
        stage = scene(ScriptedModel("old", ValueError("secret"), "new"), stale_while_revalidate=600)
        await stage.ask()
        clock.advance(TTL + 1)
        for _ in range(3):
            assert "old" == await stage.ask()
            await stage.settled()
        assert 2 == stage.model.calls
        await stage.hold_off_ends()
        assert "old" == await stage.ask()
        await stage.settled()
        assert "new" == await stage.ask()
        assert any("ValueError" in text and "secret" not in text for text in warned())

    play(story())


def test_where_the_origin_fails_a_stale_answer_is_returned(scene, clock):
    async def story():
        stage = scene(ScriptedModel("old", ModelError(503)), stale_if_error=60)
        await stage.ask()
        clock.advance(TTL + 1)
        with trace() as calls:
            assert "old" == await stage.ask()
        assert (True, "stale: ModelError") == (calls[0].hit, calls[0].detail)
        # One attempt only, and nobody asks again for ten seconds.
        assert "old" == await stage.ask()
        assert 2 == stage.model.calls
        await stage.hold_off_ends()
        assert "old" == await stage.ask()
        assert 3 == stage.model.calls
        assert (3, 1, 3) == stage.info("hits", "misses", "stale")

    play(story())


def test_an_error_that_will_stay_is_the_callers(scene, clock):
    async def story():
        stage = scene(ScriptedModel("old", ValueError("no")), stale_if_error=60)
        await stage.ask()
        clock.advance(TTL + 1)
        for _ in range(2):
            with pytest.raises(ValueError, match="no"):
                await stage.ask()

    play(story())


def test_after_the_window_a_failure_is_the_callers(scene, clock):
    async def story():
        stage = scene(ScriptedModel("old", ModelError(503)), stale_if_error=60, retry=False)
        await stage.ask()
        clock.advance(TTL + 61)
        with pytest.raises(ModelError):
            await stage.ask()

    play(story())


def test_everyone_who_waited_is_rescued(scene, clock, colour):
    async def story():
        stage = scene(ScriptedModel("old", ModelError(503), delay=0.2), stale_if_error=60)
        await stage.ask()
        clock.advance(TTL + 1)
        if colour == "async":
            assert ["old"] * 5 == await asyncio.gather(*(stage.ask() for _ in range(5)))
        else:
            calls = [asyncio.to_thread(stage.function, "hi") for _ in range(5)]
            assert ["old"] * 5 == await asyncio.gather(*calls)
        assert 2 == stage.model.calls

    play(story())


def test_with_a_ttl_of_nothing_the_origin_is_always_asked_and_an_outage_survived(any_cache, clock, colour):
    async def story():
        model = ScriptedModel("a", "b", ModelError(500))
        function = ai_cached(model.function(colour), cache=any_cache, ttl=0, stale_if_error=60)
        ask = lambda: function("hi")  # noqa: E731
        answers = []
        for _ in range(3):
            made = ask()
            answers.append(await made if inspect.isawaitable(made) else made)
        assert ["a", "b", "b"] == answers

    play(story())


def test_what_was_cleared_is_not_served_stale(scene, clock, any_cache):
    async def story():
        stage = scene(ScriptedModel("old", "new"), stale_while_revalidate=60, stale_if_error=60)
        await stage.ask()
        any_cache.clear()
        clock.advance(TTL + 1)
        assert "new" == await stage.ask()

    play(story())


def test_what_is_invalidated_while_it_is_refreshed_stays_forgotten(scene, clock):
    async def story():
        stage = scene(ScriptedModel("old", "late", "new", delay=0.2), stale_while_revalidate=60)
        await stage.ask()
        clock.advance(TTL + 1)
        await stage.ask()
        await asyncio.sleep(0.05)
        made = stage.function.cache_invalidate("hi")
        if inspect.isawaitable(made):
            await made
        await stage.settled()
        assert "new" == await stage.ask()

    play(story())


def test_a_reader_serves_what_is_stale_and_refreshes_nothing(scene, clock):
    async def story():
        stage = scene(ScriptedModel("old", "new"), stale_while_revalidate=60)
        await stage.ask()
        clock.advance(TTL + 1)
        reader = stage.function.cache_with(mode="read_only")
        made = reader("hi")
        assert "old" == (await made if inspect.isawaitable(made) else made)
        await stage.settled()
        assert 1 == stage.model.calls

    play(story())


def test_no_more_refreshes_run_at_once_than_are_allowed(scene, clock, monkeypatch):
    monkeypatch.setattr(refreshes, "LIMIT", 2)

    async def story():
        stage = scene(ScriptedModel(delay=0.2), stale_while_revalidate=60)
        for prompt in "abcd":
            await stage.ask(prompt)
        clock.advance(TTL + 1)
        for prompt in "abcd":
            await stage.ask(prompt)
        await stage.settled()
        assert 6 == stage.model.calls

    play(story())


def test_refreshes_that_die_with_their_loop_make_the_caller_wait(any_cache, clock):
    model = ScriptedModel("old", "new", delay=0.05)
    ask = ai_cached(model.function("async"), cache=any_cache, ttl=TTL, stale_while_revalidate=600)
    asyncio.run(ask("hi"))
    clock.advance(TTL + 1)
    answers = [asyncio.run(ask("hi")) for _ in range(4)]
    assert ["old", "old", "old", "new"] == answers


def test_a_refresh_that_hangs_holds_no_place_for_ever(any_cache, clock, colour):
    begun, gate = [], threading.Event()

    def origin(prompt):
        begun.append(prompt)
        if len(begun) == 2:
            gate.wait(30)
        return len(begun)

    async def aorigin(prompt):
        begun.append(prompt)
        if len(begun) == 2:
            await asyncio.sleep(30)
        return len(begun)

    async def story():
        made = origin if colour == "sync" else aorigin
        stage = Scene(any_cache, clock, colour, made, stale_while_revalidate=600, max_compute=0.2)
        await stage.ask()
        clock.advance(TTL + 1)
        assert 1 == await stage.ask()
        until = time.monotonic() + 10
        while len(begun) < 3 and time.monotonic() < until:
            await asyncio.sleep(0.05)
            await stage.ask()
        gate.set()
        return len(begun)

    assert 3 <= play(story())
    REFRESHES.settle()


def test_closing_a_cache_ends_its_refreshes(clock, colour, monkeypatch):
    monkeypatch.setattr(refreshes, "PATIENCE", 0.1)
    slow, gate = threading.Event(), threading.Event()

    def origin(prompt):
        if slow.is_set():
            gate.wait(30)
        return "a"

    async def aorigin(prompt):
        if slow.is_set():
            await asyncio.sleep(30)
        return "a"

    async def story():
        cache = Cache(MemoryStore(clock=clock))
        stage = Scene(cache, clock, colour, origin if colour == "sync" else aorigin, stale_while_revalidate=60)
        await stage.ask()
        slow.set()
        clock.advance(TTL + 1)
        await stage.ask()
        await asyncio.sleep(0)
        start = time.monotonic()
        await cache.aclose()
        assert time.monotonic() - start < 10

    play(story())
    gate.set()
    REFRESHES.settle()


def test_entries_written_together_do_not_end_together(cache, colour, run, monkeypatch):
    shares = iter([0.0, 0.5, 1.0])
    monkeypatch.setattr(random, "random", lambda: next(shares))
    ask = ai_cached(ScriptedModel().function(colour), cache=cache, ttl=1000)
    with trace() as calls:
        for prompt in "abc":
            run(ask(prompt))
    assert [1000, 975, 950] == [round(call.ttl) for call in calls]


EXIT = """
import time
from aicached import Cache, ai_cached, refreshes

refreshes.PATIENCE = {patience}

@ai_cached(cache=Cache("{url}", timeout=5), ttl=0.05, stale_while_revalidate="1h", version=1)
def ask(prompt):
    time.sleep({seconds})
    return time.time()

print(ask("hi"))
"""


def test_a_refresh_ends_before_the_program_does(tmp_path, redis_url, run_script):
    for url in (f"sqlite:///{tmp_path}/a.db", redis_url):
        first = run_script(EXIT.format(url=url, seconds=0, patience=30))
        time.sleep(0.1)
        assert first == run_script(EXIT.format(url=url, seconds=0.5, patience=30))
        assert first != run_script(EXIT.format(url=url, seconds=0.5, patience=30))


def test_a_refresh_that_takes_too_long_does_not_keep_the_program(tmp_path, redis_url, run_script):
    for url in (f"sqlite:///{tmp_path}/a.db", redis_url):
        first = run_script(EXIT.format(url=url, seconds=0, patience=30))
        time.sleep(0.1)
        start = time.monotonic()
        assert first == run_script(EXIT.format(url=url, seconds=50, patience=1))
        assert time.monotonic() - start < 15  # of the fifty that the refresh would take
        # Its lease was given back: the next one refreshes.
        assert first == run_script(EXIT.format(url=url, seconds=0.1, patience=30))
        assert first != run_script(EXIT.format(url=url, seconds=0.1, patience=30))


@pytest.mark.parametrize("forget", ["cache_invalidate", "cache_clear"])
def test_a_coroutine_made_before_an_invalidation_serves_nothing_from_before(any_cache, clock, forget):
    async def scenario():
        model = ScriptedModel("old", "new", "newer")
        ask = ai_cached(model.function("async"), cache=any_cache, ttl=1, stale_while_revalidate="1h")
        assert "old" == await ask("hi")
        clock.advance(2)
        made = ask("hi")
        await (ask.cache_invalidate("hi") if forget == "cache_invalidate" else ask.cache_clear())
        assert "new" == await made

    asyncio.run(scenario())
