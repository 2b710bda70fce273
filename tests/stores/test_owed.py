"""Invalidations that a server in trouble does not take: kept, seen by who made them, and delivered when it is back."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
import redis

from aicached import Cache, ai_cached
from aicached.errors import StoreUnavailable
from aicached.stores import breaker, owed
from aicached.stores.guarded import GuardedStore
from aicached.stores.memory import MemoryStore
from aicached.testing import FlakyStore
from tests.servers import RedisServer

ANSWERS = count()
KEY, OTHER, STAMP = b"v" + bytes(32), b"v" + bytes([1]) * 32, b"t" + bytes(32)


def fresh(prompt):
    return f"{prompt} {next(ANSWERS)}"


async def afresh(prompt):
    return fresh(prompt)


def until(happens: Callable[[], Any], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


FORGET: dict[str, tuple[Callable[[Any, Cache], Any], Callable[[Any, Cache], Any]]] = {
    "a call": (lambda ask, cache: ask.cache_invalidate("hi"), lambda ask, cache: ask.cache_invalidate("hi")),
    "a function": (lambda ask, cache: ask.cache_clear(), lambda ask, cache: ask.cache_clear()),
    "a tag": (lambda ask, cache: cache.invalidate_tags("x"), lambda ask, cache: cache.ainvalidate_tags("x")),
    "a namespace": (lambda ask, cache: cache.clear(), lambda ask, cache: cache.aclear()),
}


@pytest.fixture
def store() -> FlakyStore:
    return FlakyStore(MemoryStore())


@pytest.mark.parametrize("what", list(FORGET))
def test_what_was_forgotten_while_the_server_hung_is_forgotten_by_all_when_it_is_back(
    what, own_redis: RedisServer, colour, run
):
    here, there = (Cache(own_redis.url, timeout=0.2) for _ in range(2))
    ask = ai_cached(afresh if colour == "async" else fresh, cache=here, tags="x", version=1)
    elsewhere = ai_cached(afresh if colour == "async" else fresh, cache=there, tags="x", version=1)
    first = run(ask("hi"))
    assert first == run(elsewhere("hi"))
    own_redis.pause()
    run(FORGET[what][colour == "async"](ask, here))
    own_redis.resume()
    assert run(ask.cache_contains("hi")) is False, "who has forgotten it does not see it again"
    until(lambda: run(elsewhere.cache_contains("hi")) is False, 5)
    until(lambda: not here.engine.store.owed.debts)
    assert run(ask("hi")) == run(elsewhere("hi")) != first
    for cache in (here, there):
        cache.close()


def test_a_server_that_may_not_write_gets_them_when_it_may(own_redis: RedisServer, colour, run):
    cache = Cache(own_redis.url)
    ask = ai_cached(afresh if colour == "async" else fresh, cache=cache, version=1)
    first = run(ask("hi"))
    with redis.Redis.from_url(own_redis.url) as client:
        client.replicaof("127.0.0.1", "1")
        run(ask.cache_invalidate("hi"))
        assert client.keys("ac1:v:*")
        assert first != run(ask("hi"))
        client.replicaof("NO", "ONE")
        until(lambda: not client.keys("ac1:v:*"))
    until(lambda: not cache.engine.store.owed.debts)
    cache.close()


def test_a_server_that_is_full_still_forgets(colour, run):
    with RedisServer("--maxmemory-policy", "noeviction") as server:
        cache = Cache(server.url)
        ask = ai_cached(afresh if colour == "async" else fresh, cache=cache, version=1)
        run(ask("hi"))
        with redis.Redis.from_url(server.url) as client:
            client.config_set("maxmemory", 1)
            run(ask.cache_clear())
            assert run(ask.cache_contains("hi")) is False
            assert not cache.engine.store.owed.debts
        cache.close()


def test_the_last_one_per_key_is_kept(store):
    guard = GuardedStore(store)
    store.always_fail()
    for verb in (guard.delete, guard.renew, guard.delete):
        with pytest.raises(StoreUnavailable):
            verb(KEY)
    assert {KEY: ("delete", (KEY,))} == guard.owed.debts
    store.heal()


def test_nothing_is_written_before_they_are_delivered(store):
    guard = GuardedStore(store)
    guard.set(KEY, b"x", None)
    store.always_fail()
    with pytest.raises(StoreUnavailable):
        guard.delete(KEY)
    with pytest.raises(StoreUnavailable):
        guard.set(OTHER, b"y", None)
    store.heal()
    assert [None] == guard.get_many([KEY])
    guard.set(KEY, b"new", None)
    assert b"new" == guard.get(KEY) == store.get(KEY)
    assert not guard.owed.debts


def test_one_that_comes_while_another_is_delivered_is_not_lost(store):
    guard = GuardedStore(store)
    store.always_fail()
    with pytest.raises(StoreUnavailable):
        guard.renew(STAMP)
    store.heal()
    inner = store.renew

    def interrupted(key: bytes) -> None:
        inner(key)
        guard.owed.add(key, "renew", key)

    store.renew = interrupted  # type: ignore[method-assign]
    guard.owed.deliver()
    assert {STAMP: ("renew", (STAMP,))} == guard.owed.debts
    store.renew = inner  # type: ignore[method-assign]


def test_they_are_bounded_and_the_thread_ends_with_the_last(store, monkeypatch, caplog):
    monkeypatch.setattr(owed, "_MOST", 3)
    monkeypatch.setattr(owed, "_EVERY", 0.01)
    monkeypatch.setattr(breaker, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(breaker, "_LONGEST_PAUSE", 0.02)
    guard = GuardedStore(store)
    store.always_fail()
    for number in range(5):
        with pytest.raises(StoreUnavailable):
            guard.delete(b"v" + bytes([number]) * 32)
    assert 3 == len(guard.owed.debts)
    assert "the oldest is lost" in caplog.text
    store.heal()
    until(lambda: not guard.owed.debts)
    until(lambda: "aicached-owed" not in [thread.name for thread in threading.enumerate()])


LEAVING = """
import os, signal, sys
from aicached import Cache, ai_cached
def ask(prompt): return "x"
ask.__module__ = "leaving"
cache = Cache(sys.argv[1], timeout=0.2)
ask = ai_cached(ask, cache=cache, version=1)
ask("hi")
os.kill(int(sys.argv[2]), signal.SIGSTOP)
ask.cache_invalidate("hi")
os.kill(int(sys.argv[2]), signal.SIGCONT)
"""


def test_a_process_that_ends_delivers_what_it_owes(own_redis: RedisServer):
    command = [sys.executable, "-W", "error", "-c", LEAVING, own_redis.url, str(own_redis.pid)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (0, "") == (done.returncode, done.stdout + done.stderr)
    with redis.Redis.from_url(own_redis.url) as client:
        assert [] == client.keys("ac1:v:*")


def test_what_is_delivered_while_somebody_reads_is_hidden_from_him(colour, run):
    class Slow(MemoryStore):
        """Have *meanwhile* run when it has read, and before the reader has what was read."""

        down, meanwhile = False, staticmethod(lambda: None)

        def get_many(self, keys):
            found = super().get_many(keys)
            self.meanwhile()
            return found

        def delete(self, key):
            if self.down:
                raise StoreUnavailable("down")
            super().delete(key)

    store, key = Slow(), b"v" + bytes(32)
    guarded = GuardedStore(store)
    guarded.set(key, b"x", None)
    store.down = True
    with pytest.raises(StoreUnavailable):
        guarded.delete(key)
    store.down, store.meanwhile = False, guarded.owed.deliver
    assert [None] == run(guarded.get_many([key]) if colour == "sync" else guarded.aget_many([key]))
    assert not guarded.owed.debts


def test_what_comes_to_be_owed_in_the_middle_of_paying_is_in_nobodys_way(store: FlakyStore, colour, run):
    """A collection of garbage may begin at any allocation, and run finalizers or let other threads go on."""
    guarded = GuardedStore(store)
    debts, numbers = guarded.owed, count()

    def owe_more(phase: str = "start", _: Any = None) -> None:
        if phase == "start":
            debts.add(b"v%032d" % next(numbers), "delete", KEY)

    for _ in range(40):
        owe_more()

    thresholds = gc.get_threshold()
    gc.callbacks.append(owe_more)
    gc.set_threshold(1)
    try:
        run(debts.adeliver() if colour == "async" else debts.deliver())
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(owe_more)


def test_what_is_owed_anew_in_the_middle_of_settling_is_not_lost(store: FlakyStore):
    """A finalizer may invalidate at any instruction; here one does at each, in turn."""
    for at in range(60):
        debts = GuardedStore(store).owed
        debts.add(KEY, "delete", KEY)
        debt, steps = debts.debts[KEY], count()

        def owe_anew(frame: Any, event: str, _: Any, at: int = at, debts: Any = debts, steps: Any = steps) -> Any:
            frame.f_trace_opcodes = True
            if frame.f_code.co_name == "settle" and event == "opcode" and next(steps) == at:
                debts.add(KEY, "delete", OTHER)
            return owe_anew

        before = sys.gettrace()
        sys.settrace(owe_anew)
        try:
            debts.settle(KEY, debt)
        finally:
            sys.settrace(before)
        if next(steps) > at:
            assert ("delete", (OTHER,)) == debts.debts[KEY]
            debts.debts.clear()


def test_what_is_owed_while_another_invalidation_is_carried_out_stays_owed(colour, run):
    """A's delete is carried out; somebody stores; B's delete fails, and is owed; A's answer comes."""

    class Slow(MemoryStore):
        def delete(self, key: bytes) -> None:
            super().delete(key)
            guarded.owed.add(key, "delete", key)

    guarded = GuardedStore(Slow())
    run(guarded.adelete(KEY) if colour == "async" else guarded.delete(KEY))
    assert [KEY] == list(guarded.owed.debts)
    guarded.owed.debts.clear()
