"""Deleting bytes, after or instead of making misses of entries."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from aicached import Cache, ConfigurationError, Near, StoreError, ai_cached, scope
from aicached.stores.memory import MemoryStore
from aicached.testing import FakeClock, FlakyStore
from tests.servers import RedisServer


@pytest.fixture(params=["memory", "sqlite", "redis", "bounded redis", "redis with near tier"])
def cache(request, tmp_path):
    if request.param == "memory":
        made = Cache("memory://")
    elif request.param == "sqlite":
        made = Cache(f"sqlite:///{tmp_path}/answers.db", timeout=5)
    else:
        bound, near = 1000 if "bounded" in request.param else None, "near" in request.param
        made = Cache(request.getfixturevalue("redis_url"), timeout=5, max_entries=bound, near=near)
    yield made
    made.close()


def purged(cache, colour, run, **which):
    return run(cache.apurge(**which)) if colour == "async" else cache.purge(**which)


def asking(cache, **options):
    return ai_cached(lambda prompt: prompt, cache=cache, version=1, **options)


def test_what_was_cleared_is_deleted_and_what_was_not_stays(cache, colour, run):
    tagged, other = asking(cache, tags="x"), asking(cache, ttl="2d")
    for n in range(150):
        tagged(n)
    other.cache_put("kept", "hi")
    assert 0 == purged(cache, colour, run)
    cache.invalidate_tags("x")
    assert 151 == len(cache.store.keys())
    assert 150 == purged(cache, colour, run)
    assert 1 == len(cache.store.keys())
    assert other.cache_contains("hi")
    cache.clear()
    assert 1 == purged(cache, colour, run)
    assert [] == cache.store.keys()


def test_a_scope_is_deleted_whether_fresh_or_not(cache, colour, run):
    ask = asking(cache)
    for name in ("a", "b"):
        with scope(name):
            ask("hi")
            with scope("inner"):
                ask("hi")
    assert 2 == purged(cache, colour, run, scope="a")
    with scope("b"):
        assert ask.cache_contains("hi")
    with scope("a"):
        assert not ask.cache_contains("hi")
    assert 2 == len(cache.store.keys())


def test_what_is_older_is_deleted(colour, run):
    clock = FakeClock()
    cache = Cache(MemoryStore(clock=clock))
    ask = asking(cache)
    ask("old")
    clock.advance(3600)
    ask("new")
    assert 0 == purged(cache, colour, run, older_than="2h")
    assert 1 == purged(cache, colour, run, older_than="1h")
    assert [False, True] == [ask.cache_contains(prompt) for prompt in ("old", "new")]


def test_other_namespaces_are_left_alone(redis_url, colour, run):
    caches = [Cache(redis_url, namespace=name, timeout=5) for name in "ab"]
    asks = [asking(cache) for cache in caches]
    for ask in asks:
        ask("hi")
    caches[0].clear()
    caches[1].clear()
    assert 1 == purged(caches[0], colour, run)
    assert 1 == len(caches[0].store.keys())
    for cache in caches:
        cache.close()


@pytest.mark.parametrize("which", [{"scope": 5}, {"scope": ""}, {"older_than": "soon"}, {"older_than": -1}])
def test_what_cannot_be_meant_is_refused(which):
    with pytest.raises(ConfigurationError, match="purge"):
        Cache("memory://").purge(**which)


def test_a_store_in_trouble_says_so(colour, run):
    store = FlakyStore(MemoryStore())
    cache = Cache(store)
    store.always_fail()
    with pytest.raises(StoreError):
        purged(cache, colour, run)


# Behind its callers --------------------------------------------------------------------------------------------------


class Gated(MemoryStore):
    """Let nobody read values without their stamps before the gate is opened."""

    def __init__(self):
        super().__init__()
        self.gate, self.reached, self.passes = threading.Event(), threading.Event(), 0

    def keys(self):
        self.passes += 1
        return super().keys()

    def get_many(self, keys):
        if all(key[:1] == b"v" for key in keys):
            self.reached.set()
            assert self.gate.wait(30)
        return super().get_many(keys)


@pytest.fixture
def gated():
    store = Gated()
    yield store
    store.gate.set()


def filled(store, count=250):
    cache = Cache(store)
    ask = asking(cache)
    for n in range(count):
        ask(n)
    cache.clear()
    return cache


def until(question):
    deadline = time.monotonic() + 30
    while not question():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_who_does_not_wait_has_it_done_behind_him(cache, colour, run):
    ask = asking(cache)
    for n in range(250):
        ask(n)
    cache.clear()
    assert purged(cache, colour, run, wait=False) is None
    until(lambda: [] == cache.store.keys())


def test_what_is_being_computed_anew_is_kept(cache, colour, run):
    """A commit is compared with what was there when its computation began, were it dead or not."""
    entered, answer = threading.Event(), threading.Event()

    def origin(prompt):
        entered.set()
        assert answer.wait(30)
        return prompt

    ask = ai_cached(origin, cache=cache, version=1)
    ask.cache_put("old", "hi")
    ask.cache_put("old", "other")
    cache.clear()
    with ThreadPoolExecutor(1) as pool:
        computed = pool.submit(ask, "hi")
        assert entered.wait(30)
        gone = purged(cache, colour, run)
        answer.set()
        assert "hi" == computed.result(30)
    assert (2 if cache.store.opened else 1) == gone
    assert ask.cache_contains("hi")
    assert not ask.cache_contains("other")


def test_what_was_stored_since_it_was_looked_at_is_kept(cache, colour, run, monkeypatch):
    """A store that cannot compare may lose one that was stored in that moment."""
    ask = asking(cache, tags="x")
    ask("hi")
    cache.invalidate_tags("x")

    def get_many(keys):
        found = type(cache.store).get_many(cache.store, keys)
        if keys[0][:1] == b"t":  # stamps alone: of what was read before
            monkeypatch.undo()
            ask("hi")
        return found

    monkeypatch.setattr(cache.store, "get_many", get_many)
    assert (0 if cache.store.swaps else 1) == purged(cache, colour, run)


def test_a_server_that_is_full_is_purged_too(colour, run):
    full = RedisServer("--maxmemory", "4mb", "--maxmemory-policy", "noeviction")
    with full as server, Cache(server.url, timeout=5, compression=None) as cache:
        ask = ai_cached(lambda n: os.urandom(50_000).hex(), cache=cache, version=1)
        for n in range(60):
            ask(n)
        assert 0 < len(cache.store.keys()) < 60
        cache.clear()
        assert 0 < purged(cache, colour, run)
        assert [] == cache.store.keys()


def test_what_it_reads_does_not_enter_the_near_tier(redis_url, colour, run):
    with Cache(redis_url, timeout=5) as far, Cache(redis_url, timeout=5, near=Near(entries=2)) as cache:
        for n in range(50):
            asking(far)(n)
        ask = asking(cache)
        until(lambda: ask(7) == 7 and ask.cache_contains(7) and len(cache.engine.near._values) == 1)
        assert 0 == purged(cache, colour, run)
        assert 1 == len(cache.engine.near._values)


def test_one_goes_at_a_time_and_who_asks_for_the_same_shares_the_next(gated, colour, run):
    cache = filled(gated)
    purged(cache, colour, run, wait=False)
    assert gated.reached.wait(30)
    for _ in range(5):
        purged(cache, colour, run, wait=False)
    threads = [thread for thread in threading.enumerate() if thread.name == "aicached-behind"]
    gated.gate.set()
    assert 0 == purged(cache, colour, run, older_than="1h")
    assert (1, 3) == (len(threads), gated.passes)
    assert [] == gated.keys()


def test_it_rests_after_each_step_for_as_long_as_that_took(colour, run):
    store = FlakyStore(MemoryStore())
    cache = filled(store, 250)
    store.delay = (0.02, 0.02)
    began = time.perf_counter()
    purged(cache, colour, run, older_than="1h")
    # One step reads once, as there is nothing to delete; the list of keys counts as part of the first.
    assert time.perf_counter() - began >= 2 * 4 * 0.02


def test_closing_the_cache_ends_it_and_it_can_be_begun_again(gated, colour, run):
    cache = filled(gated)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(purged, cache, colour, run)]
        assert gated.reached.wait(30)
        waiting.append(pool.submit(purged, cache, colour, run, older_than="1h"))
        until(lambda: cache.purging._asked)
        threading.Timer(0.1, gated.gate.set).start()
        run(cache.aclose()) if colour == "async" else cache.close()
        for each in waiting:
            with pytest.raises(StoreError, match="stopped"):
                each.result(30)
    assert 150 == len(gated.keys())
    assert 0 == cache.counts.errors
    assert 150 == purged(cache, colour, run)


def test_a_task_that_stops_waiting_does_not_stop_it(gated):
    cache = filled(gated)

    async def impatient():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(cache.apurge(), 0.05)

    asyncio.run(impatient())
    gated.gate.set()
    until(lambda: [] == gated.keys())


def test_what_goes_wrong_behind_is_counted(colour, run):
    store = FlakyStore(MemoryStore())
    cache = filled(store, 1)
    store.always_fail()
    purged(cache, colour, run, wait=False)
    until(lambda: 1 == cache.counts.errors)
    store.heal()
    assert 1 == len(store.keys())


def test_the_process_does_not_wait_for_it_at_its_end(run_script):
    began = time.monotonic()
    script = """
        import time
        from aicached import Cache, ai_cached
        from aicached.stores.sqlite import SQLiteStore

        class Slow(SQLiteStore):
            def keys(self):
                print("begun", flush=True)
                time.sleep(60)

        cache = Cache(Slow("answers.db"))
        cache.purge(wait=False)
        time.sleep(0.2)
    """
    assert "begun" == run_script(script)
    assert time.monotonic() - began < 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_begins_with_nothing_to_do(gated, colour, run):
    cache = filled(gated)
    purged(cache, colour, run, wait=False)
    assert gated.reached.wait(30)
    child = os.fork()
    if child == 0:
        gated.gate = threading.Event()
        gated.gate.set()
        os._exit(0 if purged(cache, colour, run) == 250 else 1)
    assert 0 == os.waitpid(child, 0)[1]
