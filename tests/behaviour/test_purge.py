"""Deleting bytes, after or instead of making misses of entries."""

from __future__ import annotations

import pytest

from aicached import Cache, ConfigurationError, StoreError, ai_cached, scope
from aicached.stores.memory import MemoryStore
from aicached.testing import FakeClock, FlakyStore


@pytest.fixture(params=["memory", "sqlite", "redis", "bounded redis"])
def cache(request, tmp_path):
    if request.param == "memory":
        made = Cache("memory://")
    elif request.param == "sqlite":
        made = Cache(f"sqlite:///{tmp_path}/answers.db", timeout=5)
    else:
        bound = 1000 if request.param.startswith("bounded") else None
        made = Cache(request.getfixturevalue("redis_url"), timeout=5, max_entries=bound)
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
