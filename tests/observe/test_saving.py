"""A namespace in a file, and back."""

from __future__ import annotations

import os
import stat
import time

import pytest
import redis

from aicached import Cache, ConfigurationError, StoreError, ai_cached, scope
from aicached.stores.memory import MemoryStore
from aicached.testing import FakeClock, FlakyStore

KEYS = [b"k" * 32]


@pytest.fixture(params=["memory", "sqlite", "redis"])
def fresh(request, tmp_path):
    """Give what makes an empty cache on each store."""
    made = []

    def fresh(**settings):
        if request.param == "memory":
            url = "memory://"
        elif request.param == "sqlite":
            url = f"sqlite:///{tmp_path}/{len(made)}.db"
        else:
            url = request.getfixturevalue("redis_url")
            with redis.Redis.from_url(url) as client:
                client.flushall()
        made.append(Cache(url, **settings))
        return made[-1]

    yield fresh
    for cache in made:
        cache.close()


def asks(cache, **options):
    calls = []

    def ask(prompt):
        calls.append(prompt)
        return {"answer": prompt}

    return ai_cached(cache=cache, **options)(ask), calls


def test_what_was_saved_is_a_hit_where_it_is_loaded(colour, run, fresh, tmp_path):
    first, path = fresh(), tmp_path / "answers"
    ask, _ = asks(first)
    for prompt in range(250):
        ask(prompt)
    with scope("tenant"):
        ask("of a tenant")
    assert 251 == (first.save(path) if colour == "sync" else run(first.asave(path)))
    second = fresh()
    ask, calls = asks(second)
    assert 251 == (second.load(path) if colour == "sync" else run(second.aload(path)))
    assert [{"answer": prompt} for prompt in range(250)] == [ask(prompt) for prompt in range(250)]
    assert not ask.cache_contains("of a tenant")
    with scope("tenant"):
        assert ask.cache_contains("of a tenant")
    assert [] == calls
    second.clear()
    assert not ask.cache_contains(1)


def test_the_file_is_its_owners_alone_and_nothing_is_left_beside_it(tmp_path):
    cache = Cache("memory://")
    asks(cache)[0]("hi")
    cache.save(tmp_path / "answers")
    assert ["answers"] == os.listdir(tmp_path)
    assert 0o600 == stat.S_IMODE((tmp_path / "answers").stat().st_mode)


def test_a_store_in_trouble_leaves_no_file(tmp_path):
    store = FlakyStore(MemoryStore())
    cache = Cache(store)
    (tmp_path / "answers").write_bytes(b"the old one")
    store.always_fail()
    with pytest.raises(StoreError):
        cache.save(tmp_path / "answers")
    assert ["answers"] == os.listdir(tmp_path)
    assert b"the old one" == (tmp_path / "answers").read_bytes()


def test_entries_go_on_ageing_in_the_file(tmp_path, monkeypatch):
    clock, path = FakeClock(), tmp_path / "answers"
    first = Cache(MemoryStore(clock=clock))
    ask, _ = asks(first, ttl=100)
    ask("hi")
    clock.advance(30)
    first.save(path)
    now = time.time()
    for later, loaded in ((40, 1), (80, 0)):
        monkeypatch.setattr("aicached.saving.time.time", lambda later=later: now + later)
        second = Cache(MemoryStore(clock=FakeClock()))
        assert loaded == second.load(path)
        for info in second.entries():
            assert 20 < info.ttl < 31  # of 100 seconds less jitter, 70 are over
            assert 69 < info.age < 71


def test_what_the_cache_has_newer_stays(tmp_path):
    clock, path = FakeClock(), tmp_path / "answers"
    cache = Cache(MemoryStore(clock=clock))
    ask, calls = asks(cache)
    ask("hi")
    cache.save(path)
    clock.advance(5)
    ask.cache_refresh("hi")
    assert 0 == cache.load(path)
    assert [5, 0] == [round(5 - cache.entries()[0].age), round(cache.entries()[0].age)]


def test_what_was_cleared_since_comes_back_only_by_loading(tmp_path):
    cache = Cache("memory://")
    ask, _ = asks(cache)
    ask("hi")
    cache.save(tmp_path / "answers")
    ask.cache_clear()
    assert not ask.cache_contains("hi")
    assert 1 == cache.load(tmp_path / "answers")
    assert ask.cache_contains("hi")


def test_a_file_is_sealed_as_the_store_is(tmp_path):
    path = tmp_path / "answers"
    first = Cache("memory://", signing_keys=KEYS)
    ask, _ = asks(first)
    ask("hi")
    assert 1 == first.save(path)
    assert 0 == Cache("memory://", signing_keys=[b"x" * 32]).load(path)
    assert 1 == Cache("memory://", signing_keys=KEYS).load(path)
    data = bytearray(path.read_bytes())
    data[-60] ^= 1
    path.write_bytes(data)
    assert 0 == Cache("memory://", signing_keys=KEYS).load(path)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x81\xa1a\x01", b"\x83\xa8aicached\x02", pytest.param(os.urandom(100), id="noise")]
)
def test_a_file_that_is_none_of_ours_is_an_error_that_names_it(tmp_path, content):
    path = tmp_path / "strange"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="strange"):
        Cache("memory://").load(path)


def test_a_file_that_was_cut_is_an_error(tmp_path):
    cache, path = Cache("memory://"), tmp_path / "cut"
    ask, _ = asks(cache)
    ask("hi" * 1000)
    cache.save(path)
    whole = path.read_bytes()
    for length in (len(whole) - 1, len(whole) // 2, 70):
        path.write_bytes(whole[:length])
        with pytest.raises(ConfigurationError, match="cut"):
            Cache("memory://").load(path)


def test_another_namespace_is_another_key_and_said_so(tmp_path):
    Cache("memory://", namespace="a").save(tmp_path / "answers")
    with pytest.raises(ConfigurationError, match="'a'.*'b'"):
        Cache("memory://", namespace="b").load(tmp_path / "answers")


def test_tags_go_along_and_still_forget(fresh, tmp_path):
    path = tmp_path / "answers"
    first = fresh()
    ask, _ = asks(first, tags=lambda prompt: [f"about {prompt}"])
    ask("tea"), ask("coffee")
    assert 2 == first.save(path)
    second = fresh()
    ask, _ = asks(second, tags=lambda prompt: [f"about {prompt}"])
    assert 2 == second.load(path)
    second.invalidate_tags("about tea")
    assert [False, True] == [ask.cache_contains("tea"), ask.cache_contains("coffee")]


def test_the_near_tier_saves_and_loads_too(redis_url, tmp_path):
    with Cache(redis_url, near=True) as cache:
        ask, _ = asks(cache)
        ask("hi")
        assert 1 == cache.save(tmp_path / "answers")
        cache.clear()
        assert not ask.cache_contains("hi")
        assert 1 == cache.load(tmp_path / "answers")
        assert ask.cache_contains("hi")
        assert (1, 0) == (cache.stats().misses, cache.savings().calls)
