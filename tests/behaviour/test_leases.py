"""Leases within one process: two nodes that share a store, and no flights, play two processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import threading
import time

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from aicached import Cache, ai_cached, claims, current_call, mode, trace
from aicached.lease import Lease
from aicached.renewal import RENEWALS, Renewals
from aicached.stores.redis import RedisStore
from aicached.stores.sqlite import SQLiteStore
from aicached.testing import FakeClock, FlakyStore, ScriptedModel
from tests.proxy import Proxy


class ApartSQLite(SQLiteStore):
    """Count as another store than the same file's others: no flight is shared."""

    name = ""

    @property
    def address(self):
        return f"{super().address}#{self.name}"


class ApartRedis(RedisStore):
    name = ""

    @property
    def address(self):
        return f"{super().address}#{self.name}"


@pytest.fixture(params=["sqlite", "redis"])
def node(request, tmp_path):
    """Give what makes a cache that shares entries, and nothing else, with the others."""
    made = []

    def node(name):
        if request.param == "sqlite":
            store = ApartSQLite(tmp_path / "answers.db", timeout=5)
        else:
            store = ApartRedis(request.getfixturevalue("redis_url"), timeout=5)
        store.name = name
        made.append(Cache(store))
        return made[-1]

    yield node
    for cache in made:
        cache.close()


def in_thread(function, *args):
    """Run a function in a thread; return what gives its result."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function(*args)))
    thread.start()

    def result():
        thread.join(30)
        return found[0]

    return result


def begun(model):
    """Wait until a model is called."""
    until = time.monotonic() + 10
    while not model.calls:
        assert time.monotonic() < until
        time.sleep(0.005)


def test_who_comes_while_another_computes_waits_for_it(node, colour, run):
    model = ScriptedModel("a", delay=0.5)
    here, there = (ai_cached(model.function(colour), cache=node(name)) for name in "ab")
    with trace() as calls:
        waiting = in_thread(lambda: run(here("hi")))
        begun(model)
        assert "a" == run(there("hi"))
    assert "a" == waiting()
    assert 1 == model.calls
    (call,) = calls
    assert (False, True, "uri-miss", False) == (call.hit, call.collapsed, call.fwd, call.stored)
    assert "a" == run(there("hi"))
    assert (1, 1, 1, 0) == tuple(getattr(there.cache_info(), n) for n in ("hits", "misses", "collapsed", "stored"))


def test_what_is_invalidated_elsewhere_during_a_computation_is_not_stored(node, colour, run):
    model = ScriptedModel("old", "new", delay=0.5)
    here, there = (ai_cached(model.function(colour), cache=node(name)) for name in "ab")
    waiting = in_thread(lambda: run(here("hi")))
    begun(model)
    run(there.cache_invalidate("hi"))
    assert "old" == waiting()
    assert "new" == run(there("hi"))
    assert "new" == run(here("hi"))
    assert (1, 0) == (here.cache_info().refused, here.cache_info().stored)


def test_what_is_put_elsewhere_during_a_computation_stands(node, colour, run):
    model = ScriptedModel("computed", delay=0.5)
    here, there = (ai_cached(model.function(colour), cache=node(name)) for name in "ab")
    waiting = in_thread(lambda: run(here("hi")))
    begun(model)
    assert run(there.cache_put("put", "hi"))
    assert "computed" == waiting()
    assert "put" == run(here("hi")) == run(there("hi"))


def test_a_refresh_elsewhere_wins_over_a_computation(node, colour, run):
    model = ScriptedModel("old", "new", delay=0.5)
    here, there = (ai_cached(model.function(colour), cache=node(name)) for name in "ab")
    waiting = in_thread(lambda: run(here("hi")))
    begun(model)
    assert "new" == run(there.cache_refresh("hi"))
    assert "old" == waiting()
    assert "new" == run(here("hi"))


def test_without_coalescing_nobody_waits_and_nothing_is_leased(node, colour, run):
    model = ScriptedModel("a", delay=0.2)
    here, there = (ai_cached(model.function(colour), cache=node(name), coalesce=False) for name in "ab")
    waiting = in_thread(lambda: run(here("hi")))
    time.sleep(0.05)
    run(there("hi"))
    waiting()
    assert 2 == model.calls
    assert {} == RENEWALS._held


def test_the_origin_may_say_that_its_answer_is_not_kept(node, colour, run):
    def origin(prompt):
        current_call().skip("secret")
        return "a"

    async def aorigin(prompt):
        return origin(prompt)

    ask = ai_cached(origin if colour == "sync" else aorigin, cache=node("a"))
    assert ["a", "a"] == [run(ask("hi")) for _ in range(2)]
    assert 2 == ask.cache_info().refused


def test_a_lease_whose_loop_is_closed_is_forgotten_before_its_turn_came(tmp_path, monkeypatch):
    monkeypatch.setattr("aicached.lease.SECONDS", 0.1)
    renewals = Renewals()
    open_loop = [True]
    lease = Lease(SQLiteStore(tmp_path / "a.db", timeout=5), os.urandom(32), None, 60.0, lambda: open_loop[0])
    lease.begin(time.perf_counter())
    renewals.add(lease)
    time.sleep(0.2)
    assert {lease.token: lease} == renewals._held
    open_loop[0] = False
    until = time.monotonic() + 10
    while renewals._thread is not None:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert {} == renewals._held
    lease.store.close()


def test_circles_over_two_nodes_end(node, monkeypatch):
    monkeypatch.setattr("aicached.collapse.PATIENCE", 0.5)
    there = threading.Barrier(2)

    def pair(cache):
        @ai_cached(cache=cache, version=1)
        def first(deep):
            if deep:
                there.wait(10)
                return "first " + second(False)
            return "first"

        @ai_cached(cache=cache, version=1)
        def second(deep):
            if deep:
                there.wait(10)
                return "second " + first(True)
            return "second"

        return first, second

    first, _ = pair(node("a"))
    _, second = pair(node("b"))
    start = time.monotonic()
    one = in_thread(first, True)
    two = in_thread(second, True)
    assert ("first second", "second first second") == (one(), two())
    assert time.monotonic() - start < 10


def name(kind, digest):
    return f"ac1:{kind}:{{{digest}}}"


def test_a_foreign_lease_is_written_over(redis_url, colour, run):
    """A lease that this protocol did not write, or that never ends, would stop everybody for ever."""
    model = ScriptedModel()
    ask = ai_cached(model.function(colour), cache=Cache(redis_url, timeout=5))
    with redis.Redis.from_url(redis_url) as client:
        for content, milliseconds in ((b"1", 60_000), (b"c" + b"x" * 16, None), (b"garbage" * 10, 60_000)):
            prompt = os.urandom(4).hex()
            client.set(name("l", ask.cache_key(prompt)), content, px=milliseconds)
            start = time.monotonic()
            run(ask(prompt))
            assert time.monotonic() - start < 3
        prompt = "a list"
        client.rpush(name("l", ask.cache_key(prompt)), b"x")
        client.rpush(name("v", ask.cache_key(prompt)), b"x")
        run(ask(prompt))
        run(ask(prompt))
    assert 4 == model.calls


def test_short_garbage_in_the_place_of_a_value_makes_nobody_loop(redis_url, colour, run):
    model = ScriptedModel("a")
    ask = ai_cached(model.function(colour), cache=Cache(redis_url, timeout=5))
    with redis.Redis.from_url(redis_url) as client:
        client.set(name("v", ask.cache_key("hi")), b"x")
    assert ["a", "a"] == [run(ask("hi")) for _ in range(2)]
    assert 1 == model.calls


def test_a_store_that_fails_in_the_middle_is_no_error(tmp_path, colour, run):
    """Each operation fails in turn, and nobody is stopped by what was left behind."""
    for place in range(8):
        flaky = FlakyStore(SQLiteStore(tmp_path / f"{place}.db", timeout=5))
        ask = ai_cached(ScriptedModel("a").function(colour), cache=Cache(flaky))
        left = iter([0.0] * place + [1.0, 1.0, 1.0])
        suffer = flaky._roll

        def roll(name, left=left, flaky=flaky, suffer=suffer):
            flaky.fail = next(left, 0.0)
            suffer(name)

        flaky._roll = roll
        start = time.monotonic()
        assert ["a"] * 3 == [run(ask("hi")) for _ in range(3)]
        assert time.monotonic() - start < 5
        flaky.close()


def leases_left(client):
    return [name for name in client.keys("ac1:l:*") if client.get(name) not in (b"p", b"f", b"o")]


def no_lease_is_left(client, seconds=5):
    until = time.monotonic() + seconds
    while leases_left(client) and time.monotonic() < until:
        time.sleep(0.02)
    return not leases_left(client)


def test_a_cancel_at_every_step_leaves_nothing_behind(redis_url):
    cache = Cache(redis_url, timeout=5)
    model = ScriptedModel(delay=0.002)
    ask = ai_cached(model.function("async"), cache=cache)

    async def cancelled(steps):
        task = asyncio.create_task(ask(f"prompt {steps}"))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            assert f"prompt {steps}" == await task

    async def main():
        for steps in range(0, 160, 2):
            await cancelled(steps)
        for steps in range(0, 160, 2):
            assert f"prompt {steps}" == await ask(f"prompt {steps}")
        await cache.aclose()

    asyncio.run(main())
    with redis.Redis.from_url(redis_url) as client:
        assert no_lease_is_left(client)
    assert {} == RENEWALS._held


@pytest.mark.parametrize("due", [3.0, 0.05], ids=["renewals are far", "renewals are near"])
def test_a_claim_that_is_carried_out_after_it_was_given_up_holds_nobody_back(tmp_path, monkeypatch, due):
    """A cancelled claim may still be on its way, and come after its own release; a renewal in between is no look."""
    monkeypatch.setattr("aicached.lease.SECONDS", 3 * due)
    store = SQLiteStore(tmp_path / "a.db", timeout=5)
    lease = Lease(store, os.urandom(32), None, 60.0, lambda: True)
    renewals = Renewals()  # of its own: others renew at times that nobody here knows, and look again when they do
    renewals.add(lease)
    renewals.give_up(lease)
    time.sleep(0.1)
    key = lease.keys()[1]
    assert store.swap({key: None}, {key: (lease.content, 60.0)}) is None
    until = time.monotonic() + 5
    while store.get(key) is not None:
        assert time.monotonic() < until
        time.sleep(0.02)
    store.close()


def test_three_hundred_random_cancels_over_a_slow_link(redis_server, redis_url):
    chance = random.Random(7)
    with Proxy(redis_server.port) as proxy, redis.Redis.from_url(redis_url) as client:
        cache = Cache(proxy.url, timeout=2)
        ask = ai_cached(ScriptedModel(delay=0.002).function("async"), cache=cache)

        async def one(number):
            try:
                answer = await asyncio.wait_for(ask(f"prompt {number % 40}"), chance.uniform(0.0005, 0.03))
            except asyncio.TimeoutError:
                return
            assert f"prompt {number % 40}" == answer

        async def main():
            proxy.delay = 0.001
            for start in range(0, 300, 30):
                await asyncio.gather(*(one(number) for number in range(start, start + 30)))
            proxy.delay = 0.0
            assert [f"prompt {n}" for n in range(40)] == await asyncio.gather(*(ask(f"prompt {n}") for n in range(40)))
            (lines,) = cache.store._loops._lines.values()
            # Every place is free again, with or without a connection.
            assert 16 == len(lines._free)
            await cache.aclose()

        asyncio.run(main())
        assert no_lease_is_left(client)


def test_parent_and_child_call_at_once_after_a_fork(tmp_path, redis_url, run_script):
    for url in (f"sqlite:///{tmp_path}/a.db", redis_url):
        said = run_script(
            f"""
            import os, threading, time
            from aicached import Cache, ai_cached
            from aicached.renewal import RENEWALS

            @ai_cached(cache=Cache({url!r}, timeout=5))
            def ask(prompt):
                time.sleep(0.5)
                return os.getpid()

            ask("warm")
            thread = threading.Thread(target=ask, args=("hi",))
            thread.start()
            time.sleep(0.2)
            child = os.fork()
            if child == 0:
                assert not RENEWALS._held and RENEWALS._thread is None
                os._exit(0 if ask("hi") == os.getppid() and ask("mine") in (os.getpid(), os.getppid()) else 1)
            assert ask("hi") == os.getpid()
            thread.join()
            assert ask("mine") in (child, os.getpid())
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            """,
        )
        assert "0" == said


def test_two_event_loops_in_two_threads_share_one_computation(node):
    model = ScriptedModel("a", delay=0.2)
    ask = ai_cached(model.function("async"), cache=node("a"))
    there = threading.Barrier(2)

    def caller():
        there.wait()
        return asyncio.run(ask("hi"))

    one, two = in_thread(caller), in_thread(caller)
    assert ("a", "a") == (one(), two())
    assert 1 == model.calls


# What happens during a computation, in any order ------------------------------------------------------------------

DURING = ["invalidate", "put", "clear", "lose lease", "lose generation", "lose value", "expire"]
TTL = 100


class Nodes(RuleBasedStateMachine):
    """
    Two nodes, one key; anything may happen at one while the other computes.

    Origins answer with the number of their call, so that an answer from before an invalidation can be told.
    """

    make = None  # (name, clock) -> a store

    @initialize()
    def begin(self):
        self.clock = FakeClock()
        self.number = 0
        self.floor = 0  # the least number that may be served
        self.exact = None  # what was put last, as long as nothing has come since
        self.during = []
        self.caches, self.asks = [], []
        for name in "ab":
            self.caches.append(Cache(self.make(f"{id(self)} {name}", self.clock)))
            self.asks.append(ai_cached(self.origin, cache=self.caches[-1], ttl=TTL, version=1, key=("prompt",)))

    def origin(self, prompt):
        self.number += 1
        mine, actions, self.during = self.number, self.during, []
        for node, action in actions:
            self.act(node, action)
        return mine

    @rule(node=st.sampled_from([0, 1]), during=st.lists(st.sampled_from(DURING), max_size=3))
    def call(self, node, during):
        # The other node is the one that acts: what its own process does is a matter of flights.
        self.during = [(1 - node, action) for action in during]
        began = self.number
        answer = self.asks[node]("hi")
        if self.number > began:
            assert began + 1 == answer  # computed, for whoever asked: right for him, whatever came meanwhile
        elif self.exact is not None:
            assert self.exact == answer
        else:
            assert answer >= self.floor
        self.during = []

    @rule(node=st.sampled_from([0, 1]), action=st.sampled_from([*DURING, "refresh"]))
    def act(self, node, action):
        ask, store = self.asks[node], self.caches[node].store
        digest = bytes.fromhex(ask.cache_key("hi"))
        if action == "invalidate":
            ask.cache_invalidate("hi")
            self.floor, self.exact = self.number + 1, None
        elif action == "put":
            self.number += 1
            if ask.cache_put(self.number, "hi"):
                self.floor, self.exact = self.number, self.number
        elif action == "refresh":
            with mode("refresh"):
                self.floor, self.exact = ask("hi"), None
        elif action == "clear":
            self.caches[node].clear()
            self.floor, self.exact = self.number + 1, None
        elif action == "expire":
            self.clock.advance(2 * TTL)
            self.exact = None
        elif action != "lose generation" or store.forgets:
            store.delete({"lose lease": b"l", "lose generation": b"g", "lose value": b"v"}[action] + digest)
            self.exact = None if action == "lose value" else self.exact

    @invariant()
    def nothing_is_held(self):
        assert {} == RENEWALS._held

    def teardown(self):
        for cache in getattr(self, "caches", ()):
            cache.close()


@pytest.mark.parametrize("examples", [60, pytest.param(1500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_nothing_from_before_an_invalidation_is_ever_served(kind, examples, tmp_path, request):
    url = request.getfixturevalue("redis_url") if kind == "redis" else ""

    def make(_, name, clock):
        run, node = name.split()
        if kind == "sqlite":
            store = ApartSQLite(tmp_path / f"{run}.db", timeout=5, clock=clock)
        else:
            store = ApartRedis(url, timeout=5, clock=clock)
        store.name = node
        return store

    class Run(Nodes):
        pass

    Run.make = make
    if kind == "redis":
        with redis.Redis.from_url(url) as client:
            Run.teardown = lambda self: (Nodes.teardown(self), client.flushall())
            _check(Run, examples)
    else:
        _check(Run, examples)


def _check(machine, examples):
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None),
    )


# Look and lease in one command ---------------------------------------------------------------------------------------


def sent(client):
    """Return how often the server was asked, since the last time: of what scripts do, it counts only the scripts."""
    stats = client.info("commandstats")
    client.config_resetstat()
    calls = {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}
    return calls.get("eval", 0) + calls.get("evalsha", 0), calls.get("mget", 0)


@pytest.fixture
def guessing(own_redis, run, colour):
    """Give a function, a client, and a call of that function that has missed a moment ago."""
    cache = Cache(own_redis.url, timeout=5)
    model = ScriptedModel()
    ask = ai_cached(model.function(colour), cache=cache)
    run(ask("first"))
    run(ask("second"))
    with redis.Redis.from_url(own_redis.url) as client:
        time.sleep(1.2)  # until the counters are flushed
        client.config_resetstat()
        yield ask, client, model
    run(cache.aclose()) if colour == "async" else cache.close()


def test_a_miss_after_a_miss_is_two_commands(guessing, run):
    ask, client, model = guessing
    assert "third" == run(ask("third"))
    assert (2, 1) == sent(client)  # the look is a script with an MGET in it
    assert no_lease_is_left(client)
    assert 3 == model.calls


def test_a_guess_that_was_wrong_leaves_nothing_and_is_not_made_again(guessing, run):
    ask, client, _ = guessing
    assert "first" == run(ask("first"))
    assert (1, 1) == sent(client)
    assert ["first", "second"] == [run(ask("first")), run(ask("second"))]
    assert (0, 2) == sent(client)
    assert [] == leases_left(client)
    assert {} == RENEWALS._held


def test_a_guess_waits_for_who_has_the_lease(guessing, own_redis, run):
    ask, client, model = guessing
    digest = bytes.fromhex(ask.cache_key("held"))
    other = Lease(RedisStore(own_redis.url), digest, None, 60.0, lambda: True)
    other.begin(0.0)
    assert other.store.swap({}, other.writes(0.0)) is None
    threading.Timer(0.3, other.store.swap, ({}, {other.keys()[1]: None}, other.keys()[1])).start()
    began = time.monotonic()
    assert "held" == run(ask("held"))
    assert time.monotonic() - began > 0.1
    assert 3 == model.calls
    other.store.close()


def test_what_is_invalidated_after_a_guess_is_not_stored(own_redis, run, colour):
    cache, other = Cache(own_redis.url, timeout=5), RedisStore(own_redis.url, timeout=5)

    def answer(prompt):
        if prompt == "third":
            lease = Lease(other, bytes.fromhex(ask.cache_key("third")), None, 60.0, lambda: True)
            value, held, generation = lease.keys()
            other.swap({}, {value: None, held: None, generation: (os.urandom(16), 60.0)}, held)
        return prompt

    async def aanswer(prompt):
        return answer(prompt)

    ask = ai_cached(aanswer if colour == "async" else answer, cache=cache, version=1)
    for prompt in ("first", "second", "third"):
        with trace() as calls:
            assert prompt == run(ask(prompt))
        assert not calls or calls[0].stored is (prompt != "third")
    assert run(ask.cache_contains("second")) is True
    assert run(ask.cache_contains("third")) is False
    run(cache.aclose()) if colour == "async" else cache.close()
    other.close()


def test_guesses_whose_answers_are_lost_are_given_back_although_the_store_is_left_alone(own_redis, run, colour):
    """Requests arrive and replies do not: each of three has taken its lease, and the breaker opens."""
    with Proxy(own_redis.port) as proxy, redis.Redis.from_url(own_redis.url) as client:
        cache = Cache(proxy.url, timeout=0.3)
        ask = ai_cached(ScriptedModel().function(colour), cache=cache)

        def thirds():
            threads = [threading.Thread(target=lambda n=n: run(ask(f"third {n}"))) for n in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        for prompt in ("first", "second"):
            run(ask(prompt))
        proxy.delay = 1.0
        thirds()
        proxy.delay = 0.0
        assert no_lease_is_left(client)
        began = time.monotonic()
        thirds()
        assert time.monotonic() - began < 3
        run(cache.aclose()) if colour == "async" else cache.close()


def test_an_outage_is_no_heap_of_leases_to_give_back(own_redis, run, colour):
    store = FlakyStore(RedisStore(own_redis.url, timeout=5))
    cache = Cache(store)
    ask = ai_cached(ScriptedModel().function(colour), cache=cache)
    for prompt in ("first", "second"):
        run(ask(prompt))
    store.always_fail()
    for n in range(50):
        assert f"prompt {n}" == run(ask(f"prompt {n}"))
    until = time.monotonic() + 5
    while not RENEWALS._given_up.empty() and time.monotonic() < until:
        time.sleep(0.02)
    left = [lease for *_, lease in list(RENEWALS._missed) if lease.store is cache.engine.store]
    assert len(left) <= 1, "of the one that could not know better"
    store.heal()
    run(cache.aclose()) if colour == "async" else cache.close()


def test_who_computes_beside_another_is_told_apart_from_him_by_a_generation_of_his_own(own_redis):
    """A claim that is sent again after an invalidation brings its own generation back; nobody else may lean on it."""
    store = RedisStore(own_redis.url, timeout=5)

    async def ask(verb, *args, **kwargs):
        return getattr(store, verb)(*args, **kwargs)

    def lease():
        made = Lease(store, digest, None, 60.0, lambda: True)
        made.begin(0.0)
        return made

    digest = os.urandom(32)
    first, beside = lease(), lease()
    value, held, generation = first.keys()
    assert claims.MINE == asyncio.run(claims.claim(ask, first, 0.0))
    assert claims.PASS == asyncio.run(claims.claim(ask, beside, 0.0, beside=True))
    store.swap({}, {value: None, held: None, generation: (os.urandom(16), 60.0)}, held)  # invalidated
    assert store.reserve((value,), first.writes(0.0)) == ([None], True)  # the first one's claim, sent again
    assert "outdated" == asyncio.run(claims.commit(ask, beside, bytes(100), 60.0))
    assert store.get(value) is None
    store.close()
