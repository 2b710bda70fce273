"""The near tier over real Redis servers: right after whatever others do, and on whatever happens to the link."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
import redis

from aicached import Cache, ConfigurationError, Near, ai_cached, trace
from aicached.stores import redis_listener, redis_server
from aicached.stores.guarded import GuardedStore
from aicached.stores.near import NearStore
from aicached.stores.redis import RedisStore
from aicached.testing import ScriptedModel
from aicached.testing.conformance import StoreConformance
from tests.door import Door
from tests.servers import RedisServer

WITHIN = 3.0


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url, protocol=2, **redis_server._NO_GREETING) as client:
        yield client


@pytest.fixture
def cache(redis_url: str) -> Iterator[Cache]:
    cache = Cache(redis_url, near=True, timeout=5)
    yield cache
    cache.close()
    gc.collect()


def commands(client: Any) -> int:
    """Return how many commands the server has got, but for PING and INFO."""
    stats = client.info("commandstats")
    return sum(each["calls"] for name, each in stats.items() if name not in ("cmdstat_ping", "cmdstat_info"))


def until(happens: Callable[[], Any], seconds: float = WITHIN) -> None:
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def make_near(url: str, **settings: Any) -> NearStore:
    far = RedisStore(url, **settings)
    return NearStore(GuardedStore(far), far.listener, lambda data, _: data, Near())


class TestNearStore(StoreConformance):
    @pytest.fixture(autouse=True)
    def places(self, redis_url: str) -> None:
        self.url = redis_url

    def make_store(self) -> NearStore:
        return make_near(self.url, timeout=5)

    def teardown_method(self) -> None:
        super().teardown_method()
        gc.collect()


class TestHits:
    def test_near_hits_send_nothing(self, cache, client, colour, run):
        ask = ai_cached(ScriptedModel(["hi"]).function(colour), cache=cache)
        for _ in range(2):
            assert ["hi"] == run(ask("hi"))
        before = commands(client)
        for _ in range(100):
            assert ["hi"] == run(ask("hi"))
        with trace() as calls:
            run(ask("hi"))
        assert calls[0].hit
        assert before == commands(client)
        assert (102, 1) == ask.cache_info()[:2]

    def test_every_caller_gets_a_copy_of_his_own(self, cache, colour, run):
        ask = ai_cached(ScriptedModel(["hi"]).function(colour), cache=cache)
        for _ in range(4):
            answer = run(ask("hi"))
            assert ["hi"] == answer
            answer.append("mine")

    def test_it_is_bounded(self, redis_url, client):
        cache = Cache(redis_url, near=Near(entries=3), timeout=5)
        ask = ai_cached(lambda prompt: prompt, cache=cache)
        for n in (*range(5), *range(5)):
            ask(n)
        assert 3 == len(cache.engine.store.kept.keys())
        cache.close()

    def test_one_listener_for_all_caches_of_a_server(self, redis_url, client):
        caches = [Cache(redis_url, near=True, namespace=name, timeout=5) for name in "abc"]
        for cache in caches:
            ask = ai_cached(lambda: 1, cache=cache)
            assert [1, 1] == [ask(), ask()]
        listening = [each for each in client.client_list() if each["cmd"] in ("ping", "subscribe")]
        assert 1 == len([each for each in listening if each["sub"] == "1"])
        for cache in caches:
            cache.close()
        names = lambda: [thread.name for thread in threading.enumerate()]  # noqa: E731
        until(lambda: "aicached-near" not in names())

    @pytest.mark.parametrize("near", [0, 1, None, "yes", Near(entries=0), Near(bytes=True), (5, 5)])
    def test_what_cannot_be_meant_is_refused(self, near):
        with pytest.raises(ConfigurationError, match="near"):
            Cache("redis://localhost", near=near)

    def test_stores_on_this_machine_need_none(self, tmp_path):
        for url in ("memory://", f"sqlite:///{tmp_path}/answers.db"):
            with Cache(url, near=True) as cache:
                ask = ai_cached(lambda: 1, cache=cache)
                assert [1, 1] == [ask(), ask()]
                assert (1, 1) == ask.cache_info()[:2]


OTHER = """
import sys
from aicached import Cache, ai_cached
def ask(prompt):
    return "another answer"
ask.__module__ = "shared"
cache = Cache(sys.argv[1])
ask = ai_cached(ask, cache=cache, version=1)
for line in sys.stdin:
    verb, _, prompt = line.strip().partition(" ")
    if verb == "invalidate": ask.cache_invalidate(prompt)
    if verb == "refresh": ask.cache_refresh(prompt)
    if verb == "clear": ask.cache_clear()
    if verb == "clear-all": cache.clear()
    print("done", flush=True)
"""


class Elsewhere:
    """Another process with the same function on the same server."""

    def __init__(self, url: str) -> None:
        command = [sys.executable, "-W", "error", "-c", OTHER, url]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def do(self, what: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        assert "done\n" == self.process.stdout.readline()

    def end(self) -> None:
        self.process.communicate()


@pytest.fixture
def elsewhere(redis_url: str) -> Iterator[Elsewhere]:
    other = Elsewhere(redis_url)
    yield other
    other.end()


ANSWERS = count()


def ask_here(prompt):
    return f"answer {next(ANSWERS)}"


async def aask_here(prompt):
    return f"answer {next(ANSWERS)}"


for each in (ask_here, aask_here):
    each.__module__, each.__qualname__ = "shared", "ask"


def shared(cache: Cache, colour: str) -> Any:
    """Return the function of `OTHER` as it is here, where each answer is new."""
    return ai_cached(aask_here if colour == "async" else ask_here, cache=cache, version=1)


class TestOthers:
    @pytest.mark.parametrize("what", ["invalidate hi", "clear", "clear-all"])
    def test_what_another_process_forgets_is_forgotten_here(self, what, cache, elsewhere, colour, run):
        ask = shared(cache, colour)
        for _ in range(3):
            first = run(ask("hi"))
        elsewhere.do(what)
        time.sleep(0.1)
        second = run(ask("hi"))
        assert first != second
        assert second == run(ask("hi"))

    def test_what_another_process_refreshes_is_new_here(self, cache, elsewhere, colour, run):
        ask = shared(cache, colour)
        for _ in range(3):
            run(ask("hi"))
        elsewhere.do("refresh hi")
        time.sleep(0.1)
        assert "another answer" == run(ask("hi"))

    def test_what_expires_or_is_evicted_is_gone_here_too(self, cache, client, colour, run):
        ask = ai_cached(ScriptedModel().function(colour), cache=cache, ttl=0.3)
        for _ in range(3):
            run(ask("hi"))
        time.sleep(0.35)
        assert run(ask.cache_contains("hi")) is False
        for _ in range(3):
            run(ask("there"))
        client.delete(*client.keys("ac1:v:*"))
        until(lambda: run(ask.cache_contains("there")) is False)
        for _ in range(3):
            run(ask("you"))
        client.flushall()
        until(lambda: run(ask.cache_contains("you")) is False)

    def test_ones_own_changes_show_at_once(self, cache, colour, run):
        ask = shared(cache, colour)
        seen = [run(ask("hi")), run(ask("hi"))]
        run(ask.cache_refresh("hi"))
        seen.append(run(ask("hi")))
        run(ask.cache_invalidate("hi"))
        seen.append(run(ask("hi")))
        run(ask.cache_clear())
        seen.append(run(ask("hi")))
        assert 4 == len(set(seen))
        assert seen[0] == seen[1]

    def test_an_answer_that_was_on_its_way_when_it_changed_is_not_kept(self, redis_url, client):
        store = make_near(redis_url, timeout=5)
        key = b"v" + bytes(32)
        name = "ac1:v:{" + "00" * 32 + "}"
        client.set(name, b"old")
        assert b"old" == store.get(key)
        inner, ask = store.store, store.store.get_many

        def late(keys):
            found = ask(keys)
            client.set(name, b"new")
            until(lambda: key in store._changed and store._changed[key] > seen)
            return found

        client.delete(name)
        client.set(name, b"old")
        until(lambda: store.kept.get(key) is None)
        time.sleep(0.1)
        seen, inner.get_many = store._number, late
        assert b"old" == store.get(key)
        del inner.get_many
        assert b"new" == store.get(key)
        store.close()


class TestLinks:
    @pytest.fixture
    def proxy(self, own_redis: RedisServer) -> Iterator[Door]:
        self.server = own_redis
        with Door(own_redis.port) as proxy:
            yield proxy
            self.other.close()
        gc.collect()

    def warm(self, proxy: Door, colour: str, run: Any) -> tuple[Cache, Any, Any]:
        cache = Cache(f"redis://127.0.0.1:{proxy.port}/0", near=True, timeout=0.5)
        self.other = Cache(self.server.url)
        ask, there = shared(cache, colour), shared(self.other, "sync")
        for _ in range(3):
            run(ask("hi"))
        assert cache.engine.store.kept.keys()
        return cache, ask, there

    def test_after_a_cut_nothing_is_served_that_nobody_has_watched(self, proxy, colour, run, caplog):
        cache, ask, there = self.warm(proxy, colour, run)
        first = run(ask("hi"))
        proxy.cut()
        until(lambda: not cache.engine.store.kept.keys())
        there.cache_invalidate("hi")
        proxy.mend()
        until(lambda: run(ask("hi")) != first)
        until(lambda: run(ask("hi")) and cache.engine.store.kept.keys(), 10)
        told = [record.message for record in caplog.records if "near tier" in record.message]
        assert ["out of use", "in use"] == [text[-10:] if "out of" in text else text[-6:] for text in told]
        cache.close()

    def test_a_link_that_is_silent_is_believed_for_two_seconds_at_most(self, proxy, colour, run):
        cache, ask, there = self.warm(proxy, colour, run)
        first = run(ask("hi"))
        proxy.freeze()
        there.cache_invalidate("hi")
        began = time.monotonic()
        while run(ask("hi")) == first:
            assert time.monotonic() - began < redis_listener.BOUND + 1.5
        proxy.mend()
        until(lambda: run(ask("hi")) and cache.engine.store.kept.keys(), 10)
        cache.close()

    def test_a_server_that_comes_back_empty(self, own_redis, colour, run):
        cache = Cache(own_redis.url, near=True)
        ask = shared(cache, colour)
        for _ in range(3):
            first = run(ask("hi"))
        own_redis.restart()
        until(lambda: run(ask("hi")) != first, 10)
        until(lambda: cache.engine.store.kept.keys() or not run(ask("hi")), 10)
        cache.close()
        gc.collect()

    def test_a_user_who_may_not_listen_has_no_near_tier_and_is_told_why(self, own_redis, run, caplog):
        with redis.Redis.from_url(own_redis.url) as client:
            client.execute_command("ACL SETUSER me on >secret ~ac1:* resetchannels &ac1:c:* +@all -client")
        cache = Cache(own_redis.url.replace("//", "//me:secret@"), near=True)
        ask = ai_cached(lambda: 1, cache=cache)
        assert [1, 1, 1] == [ask(), ask(), ask()]
        assert (2, 1) == ask.cache_info()[:2]
        assert not cache.engine.store.kept.keys()
        (told,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert "+client|tracking" in told.getMessage()
        cache.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_listens_for_itself(redis_url):
    cache = Cache(redis_url, near=True, timeout=5)
    ask = ai_cached(lambda: "hi", cache=cache, version=1)
    assert ["hi"] * 3 == [ask(), ask(), ask()]
    child = os.fork()
    if child == 0:
        try:
            right = ["hi"] * 3 == [ask(), ask(), ask()] and len(cache.engine.store.kept.keys()) == 1
            ask.cache_invalidate()
            os._exit(0 if right else 1)
        finally:
            os._exit(2)
    assert 0 == os.waitpid(child, 0)[1]
    until(lambda: not ask.cache_contains())
    cache.close()


def test_readers_and_writers_at_once_leave_nothing_old(redis_url):
    """Without the numbers of changes, an answer that was under way while its key changed would stay for good."""
    near, far = make_near(redis_url, timeout=5), RedisStore(redis_url, timeout=5)
    keys = [b"v" + bytes([n]) * 32 for n in range(4)]
    ends = time.monotonic() + 1.5

    def write() -> None:
        for number in count():
            far.set(keys[number % 4], b"%d" % number, None)
            if time.monotonic() > ends:
                return

    def read() -> None:
        while time.monotonic() < ends:
            near.get_many(keys[:2])
            near.get_many(keys[2:])

    threads = [threading.Thread(target=each) for each in (write, read, read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    time.sleep(0.3)
    assert far.get_many(keys) == near.get_many(keys)
    assert far.get_many(keys) == [near.kept.get_many((key,))[0] for key in keys]
    near.close()
    far.close()


def test_streams_are_replayed_from_the_near_tier_too(cache, client, colour, run):
    def plain():
        yield from "abc"

    async def asynchronous():
        for chunk in "abc":
            yield chunk

    stream = ai_cached(asynchronous if colour == "async" else plain, cache=cache, version=1)

    async def consumed():
        return [chunk async for chunk in stream()]

    def all_of_it():
        return run(consumed()) if colour == "async" else list(stream())

    for _ in range(2):
        assert ["a", "b", "c"] == all_of_it()
    before = commands(client)
    assert ["a", "b", "c"] == all_of_it()
    assert before == commands(client)
