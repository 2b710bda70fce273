"""A store that is down, slow or broken never breaks or stalls a call."""

from __future__ import annotations

import asyncio
import time

import pytest
import redis

from aicached import Cache, StoreError, ai_cached, scope, trace
from aicached.stores.base import Store
from aicached.stores.guarded import GuardedStore
from aicached.stores.memory import MemoryStore
from aicached.testing import FlakyStore, ScriptedModel


def seconds_of(call) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def wait_until(holds, seconds=10.0):
    """Ask again until it holds, for so long at most."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


# Redis ----------------------------------------------------------------------------------------------------------------


def test_a_redis_that_refuses_connections_costs_thirty_calls_less_than_a_second(own_redis, colour, run, warned):
    own_redis.kill()
    cache = Cache(own_redis.url)
    ask = ai_cached(ScriptedModel().function(colour), cache=cache)

    async def many():
        for n in range(30):
            assert str(n) == await ask(str(n))

    def one_by_one():
        for n in range(30):
            assert str(n) == ask(str(n))

    assert seconds_of(lambda: run(many()) if colour == "async" else one_by_one()) < 1
    assert (0, 30) == ask.cache_info()[:2]
    assert ask.cache_info().errors >= 30
    assert 1 == len([each for each in warned() if "unavailable" in each])
    cache.close()


def test_calls_at_once_on_a_redis_that_refuses_connections(own_redis):
    own_redis.kill()
    cache = Cache(own_redis.url)
    ask = ai_cached(ScriptedModel().function("async"), cache=cache)

    async def main():
        return await asyncio.gather(*(ask(str(n)) for n in range(30)))

    assert seconds_of(lambda: asyncio.run(main())) < 1
    cache.close()


def test_a_redis_that_is_back_is_used_again_without_a_restart(own_redis, colour, run, warned):
    cache = Cache(own_redis.url)
    model = ScriptedModel()
    ask = ai_cached(model.function(colour), cache=cache)
    run(ask("before"))
    own_redis.kill()
    for n in range(5):
        assert str(n) == run(ask(str(n)))
    own_redis.restart()
    wait_until(lambda: run(ask("after")) == "after" and run(ask.cache_contains("after")))
    before = model.calls
    assert "after" == run(ask("after"))
    assert before == model.calls
    assert ["is unavailable", "is available again"] == [
        words for message in warned() for words in ("is unavailable", "is available again") if words in message
    ]
    cache.close()


def test_a_redis_that_hangs_costs_few_time_outs_and_no_more(own_redis, colour, run):
    """Three operations run into the time-out, then the breaker keeps everybody from waiting."""
    cache = Cache(own_redis.url, timeout=0.1)
    ask = ai_cached(ScriptedModel().function(colour), cache=cache)
    run(ask("warm"))
    own_redis.pause()
    try:

        async def many():
            for n in range(30):
                assert str(n) == await ask(str(n))

        def one_by_one():
            for n in range(30):
                assert str(n) == ask(str(n))

        # Thirty calls that all waited would take 3 s at least.
        assert seconds_of(lambda: run(many()) if colour == "async" else one_by_one()) < 1
    finally:
        own_redis.resume()
    wait_until(lambda: run(ask("after")) == "after" and run(ask.cache_contains("after")))
    cache.close()


def test_a_wrong_password_breaks_no_call(own_redis, colour, run, warned):
    url = own_redis.url.replace("redis://", "redis://:canary-password@")
    cache = Cache(url)
    ask = ai_cached(ScriptedModel().function(colour), cache=cache)
    for n in range(5):
        assert str(n) == run(ask(str(n)))
    assert 1 == len(warned())
    assert "canary-password" not in warned()[0]
    cache.close()


def test_one_key_of_another_type_switches_nothing_off(own_redis, colour, run):
    """WRONGTYPE is the answer of a healthy server."""
    cache = Cache(own_redis.url)
    model = ScriptedModel()
    ask = ai_cached(model.function(colour), cache=cache)
    run(ask("fill"))
    digest = ask.cache_key("bad")
    with redis.Redis.from_url(own_redis.url) as client:
        client.lpush(f"ac1:v:{{{digest}}}", "x")
    for _ in range(5):
        assert "bad" == run(ask("bad"))
    assert "fill" == run(ask("fill"))
    assert 2 <= model.calls <= 6
    assert ask.cache_info().hits >= 1
    cache.close()


# Any store ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def flaky():
    store = FlakyStore(MemoryStore())
    store.blocking = True
    return store


@pytest.fixture
def broken(flaky):
    flaky.always_fail()
    return Cache(flaky)


def test_a_store_that_always_fails_gives_right_answers_and_counts(broken, colour, run, warned):
    model = ScriptedModel()
    ask = ai_cached(model.function(colour), cache=broken)
    assert ["a", "a", "b"] == [run(ask(prompt)) for prompt in "aab"]
    info = ask.cache_info()
    assert (0, 3, 0) == (info.hits, info.misses, info.stored)
    assert info.errors >= 3
    assert 1 == len(warned())


def test_the_status_says_that_the_store_failed(broken, colour, run):
    ask = ai_cached(ScriptedModel().function(colour), cache=broken)
    with trace() as calls:
        run(ask("hi"))
    assert "store: StoreUnavailable" == calls[0].detail
    assert (False, "uri-miss", False) == (calls[0].hit, calls[0].fwd, calls[0].stored)


def test_the_origins_exception_is_raised_unwrapped_though_the_store_fails(broken, colour, run):
    error = ValueError("no")
    ask = ai_cached(ScriptedModel(error).function(colour), cache=broken)
    with pytest.raises(ValueError, match="no") as caught:
        run(ask("hi"))
    assert caught.value is error
    assert error.__context__ is None


def test_methods_raise_nothing_while_the_store_is_down(broken, colour, run):
    ask = ai_cached(ScriptedModel().function(colour), cache=broken)
    assert run(ask.cache_contains("hi")) is False
    assert run(ask.cache_put("put", "hi")) is False
    assert "hi" == run(ask.cache_refresh("hi"))
    assert ["hi", "hi"] == run(ask.cache_samples(2, "hi"))
    assert run(ask.cache_invalidate("hi")) is None
    assert run(ask.cache_clear()) is None
    assert ask.cache_key("hi")
    broken.clear()
    with scope("a"):
        broken.clear("a")
    asyncio.run(broken.aclear())
    broken.close()


@pytest.mark.parametrize("seed", range(5))
def test_a_store_that_fails_now_and_then_gives_right_answers(flaky, colour, run, seed):
    flaky.fail = 0.3
    flaky._random.seed(seed)
    ask = ai_cached(ScriptedModel().function(colour), cache=Cache(flaky))
    for n in range(50):
        assert str(n % 7) == run(ask(str(n % 7)))
        if n % 10 == 0:
            run(ask.cache_invalidate("1"))
    assert 50 == sum(ask.cache_info()[:3])


def test_a_store_that_heals_is_used_again_with_one_warning_per_change(flaky, clock, warned, colour, run):
    cache = Cache(flaky)
    cache.engine.store = GuardedStore(flaky, clock=clock)
    ask = ai_cached(ScriptedModel().function(colour), cache=cache)
    for _ in range(2):
        flaky.always_fail()
        for _ in range(10):
            run(ask("hi"))
        flaky.heal()
        assert run(ask.cache_contains("hi")) is False
        clock.advance(60)
        run(ask("hi"))
        assert run(ask.cache_contains("hi")) is True
        run(ask.cache_clear())
    assert [True, False] * 2 == ["is unavailable" in message for message in warned()]


def test_nobody_asks_a_store_that_is_known_to_be_down(flaky, colour, run):
    ask = ai_cached(ScriptedModel().function(colour), cache=Cache(flaky))
    flaky.always_fail()
    for n in range(20):
        run(ask(str(n)))
    assert sum(flaky.operations.values()) <= 4


class Foreign(Store):
    """Raise what no store should: an error of its driver."""

    def get(self, key):
        raise ZeroDivisionError("canary")

    def set(self, key, data, lifetime):
        raise ZeroDivisionError("canary")

    def delete(self, key):
        raise ZeroDivisionError("canary")


def test_foreign_errors_of_a_store_break_no_call(colour, run, warned):
    ask = ai_cached(ScriptedModel().function(colour), cache=Cache(Foreign()))
    for n in range(5):
        assert str(n) == run(ask(str(n)))
    assert run(ask.cache_contains("hi")) is False
    assert run(ask.cache_invalidate("hi")) is None
    assert run(ask.cache_clear()) is None
    (warning,) = warned()
    assert "canary" not in warning


def test_a_store_that_forgets_its_stamps_breaks_no_call(colour, run):
    class Forgetful(MemoryStore):
        opened = False
        blocking = True

        def set(self, key, data, lifetime):
            pass

        def stamps(self, keys):
            return Store.stamps(self, keys)

    ask = ai_cached(ScriptedModel().function(colour), cache=Cache(Forgetful()))
    assert ["hi", "hi"] == [run(ask("hi")), run(ask("hi"))]
    assert (0, 2) == ask.cache_info()[:2]


def test_errors_of_the_store_are_no_errors_of_the_call():
    assert not issubclass(StoreError, (ValueError, TypeError, OSError))


def test_a_file_that_is_damaged_breaks_no_call(tmp_path, colour, run, warned):
    path = tmp_path / "answers.db"
    path.write_bytes(b"this is no database, and never was one" * 100)
    cache = Cache(f"sqlite:///{path}")
    ask = ai_cached(ScriptedModel().function(colour), cache=cache)
    for n in range(5):
        assert str(n) == run(ask(str(n)))
    assert 1 == len(warned())
    cache.close()


def test_a_clear_while_an_answer_is_computed_wins(colour, run, tmp_path):
    cache = Cache(f"sqlite:///{tmp_path}/answers.db", timeout=5)

    def ask(prompt):
        if not cleared:
            cleared.append(True)
            cache.clear()
        return prompt

    async def aask(prompt):
        if not cleared:
            cleared.append(True)
            await cache.aclear()
        return prompt

    cleared: list[bool] = []
    cached = ai_cached(aask if colour == "async" else ask, cache=cache, version=1)
    assert "hi" == run(cached("hi"))
    assert run(cached.cache_contains("hi")) is False
    run(cached("hi"))
    assert run(cached.cache_contains("hi")) is True
    cache.close()
