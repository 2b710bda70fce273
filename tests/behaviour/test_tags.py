"""Tags: declared, made of the arguments, or added by the origin; forgotten by name, on every store and by everybody."""

from __future__ import annotations

import threading
from collections import Counter
from itertools import count

import pytest
import redis

from aicached import Cache, ConfigurationError, Near, ai_cached, current_call
from aicached.stores.memory import MemoryStore
from aicached.stores.redis import RedisStore
from aicached.testing import FlakyStore

ANSWERS = count()


def declared(prompt):
    return f"{prompt} {next(ANSWERS)}"


def adding(prompt):
    current_call().tags.add(f"about {prompt}")
    return f"{prompt} {next(ANSWERS)}"


async def adeclared(prompt):
    return declared(prompt)


async def aadding(prompt):
    return adding(prompt)


HOW = {
    "declared": ({"tags": ("all", "about hi")}, declared, adeclared),
    "of the arguments": ({"tags": lambda prompt: ["all", f"about {prompt}"]}, declared, adeclared),
    "added": ({"tags": "all"}, adding, aadding),
}


@pytest.fixture(params=list(HOW))
def make(request, colour):
    options, plain, asynchronous = HOW[request.param]
    return lambda cache: ai_cached(asynchronous if colour == "async" else plain, cache=cache, version=1, **options)


@pytest.fixture(params=["memory", "sqlite", "redis", "near"])
def caches(request, tmp_path):
    """Give two caches on one store: of one process, and as another process has it where it can."""
    if request.param == "memory":
        made = [Cache("memory://")] * 2
    elif request.param == "sqlite":
        made = [Cache(f"sqlite:///{tmp_path}/answers.db", timeout=5) for _ in range(2)]
    else:
        url, near = request.getfixturevalue("redis_url"), Near(entries=10) if request.param == "near" else False
        made = [Cache(url, near=near, timeout=5), Cache(url, timeout=5)]
    yield made
    for cache in made:
        cache.close()


@pytest.mark.parametrize("tag", ["all", "about hi"])
def test_what_has_the_tag_is_forgotten_and_nothing_else(tag, caches, make, run, colour):
    here, there = caches
    ask, asked_there = make(here), make(there)
    first = [run(ask(prompt)) for prompt in ("hi", "hi", "hi")]
    assert 1 == len(set(first))
    assert first[0] == run(asked_there("hi"))
    run(here.ainvalidate_tags("another")) if colour == "async" else here.invalidate_tags("another")
    assert first[0] == run(ask("hi")) == run(asked_there("hi"))
    run(here.ainvalidate_tags(tag, "more")) if colour == "async" else here.invalidate_tags(tag, "more")
    assert run(ask.cache_contains("hi")) is False
    again = run(asked_there("hi"))
    assert first[0] != again
    for _ in range(20):  # a near tier hears of it
        if run(ask("hi")) == again:
            return
    raise AssertionError("what was invalidated is still there")


def test_who_invalidates_elsewhere_is_heard_here(caches, make, run):
    here, there = caches
    ask = make(here)
    first = [run(ask("hi")) for _ in range(3)][-1]
    there.invalidate_tags("about hi")
    deadline = threading.Event()
    for _ in range(200):
        if run(ask("hi")) != first:
            return
        deadline.wait(0.01)
    raise AssertionError("what was invalidated is still there")


def test_hits_read_the_store_once(make, run):
    store = FlakyStore(MemoryStore())
    store.blocking = True
    ask = make(Cache(store))
    for _ in range(2):
        run(ask("hi"))
    for _ in range(3):
        before = Counter(store.operations)
        run(ask("hi"))
        assert {"get_many": 1} == dict(store.operations - before)


def test_a_process_that_meets_an_added_tag_reads_once_more_and_never_again(redis_url, run, colour):
    options, plain, asynchronous = HOW["added"]
    first = ai_cached(plain, cache=Cache(redis_url, timeout=5), version=1, **options)
    answer = first("hi")
    store = FlakyStore(RedisStore(redis_url, timeout=5))
    function = asynchronous if colour == "async" else plain
    function.__qualname__ = plain.__qualname__
    ask = ai_cached(function, cache=Cache(store), version=1, **options)
    for reads in (2, 1, 1):
        before = Counter(store.operations)
        assert answer == run(ask("hi"))
        assert {"get_many": reads} == dict(store.operations - before)
    store.close()


@pytest.mark.parametrize("when", ["before it is added", "after it is added"])
@pytest.mark.parametrize("how", list(HOW))
@pytest.mark.parametrize("kind", ["memory", "redis"])
def test_an_invalidation_while_the_answer_is_computed_wins(when, how, kind, colour, run, request):
    cache = Cache("memory://" if kind == "memory" else request.getfixturevalue("redis_url"))
    other = cache if kind == "memory" else Cache(request.getfixturevalue("redis_url"))
    options = HOW[how][0]

    def compute(prompt):
        if when.startswith("before"):
            other.invalidate_tags("about hi")
        if how == "added":
            current_call().tags.add("about hi")
        if when.startswith("after"):
            other.invalidate_tags("about hi")
        return prompt

    async def acompute(prompt):
        return compute(prompt)

    ask = ai_cached(acompute if colour == "async" else compute, cache=cache, version=1, **options)
    assert "hi" == run(ask("hi"))
    assert run(ask.cache_contains("hi")) is False
    for each in {cache, other}:
        each.close()


@pytest.mark.parametrize("how", ["declared", "of the arguments"])
def test_who_comes_after_an_invalidation_joins_no_flight_from_before_it(how):
    cache, entered, leave = Cache("memory://"), threading.Event(), threading.Event()

    @ai_cached(cache=cache, version=1, **HOW[how][0])
    def ask(prompt):
        number = next(ANSWERS)
        if not entered.is_set():
            entered.set()
            assert leave.wait(20)
        return number

    first: list[int] = []
    thread = threading.Thread(target=lambda: first.append(ask("hi")))
    thread.start()
    assert entered.wait(20)
    cache.invalidate_tags("about hi")
    second = ask("hi")
    leave.set()
    thread.join()
    assert first[0] < second == ask("hi")


def test_tags_that_raise_keep_nothing_and_break_nothing(colour, run, caplog):
    function = adeclared if colour == "async" else declared
    ask = ai_cached(function, cache=Cache("memory://"), tags=lambda prompt: 1 / 0)
    assert run(ask("hi")) != run(ask("hi"))
    assert (0, 2, 2) == (ask.cache_info().hits, ask.cache_info().misses, ask.cache_info().refused)
    assert 1 == sum("ZeroDivisionError" in record.getMessage() for record in caplog.records)


def test_one_namespace_does_not_forget_for_another(redis_url):
    caches = [Cache(redis_url, namespace=name) for name in "ab"]
    asks = [ai_cached(declared, cache=cache, tags="x") for cache in caches]
    before = [ask("hi") for ask in asks]
    caches[0].invalidate_tags("x")
    assert [False, True] == [was == ask("hi") for was, ask in zip(before, asks, strict=True)]
    for cache in caches:
        cache.close()


@pytest.mark.parametrize("names", [(5,), ("",), (None,), (["a"],)])
def test_what_is_no_name_is_refused(names):
    with pytest.raises(ConfigurationError, match="invalidate_tags"):
        Cache("memory://").invalidate_tags(*names)


def invalidation(cache: Cache, client: redis.Redis) -> dict[str, int]:
    client.config_resetstat()
    cache.invalidate_tags("all")
    stats = client.info("commandstats")
    return {name: each["calls"] for name, each in stats.items() if name not in ("cmdstat_info", "cmdstat_ping")}


@pytest.mark.slow
def test_a_hundred_thousand_entries_are_forgotten_by_what_forgets_ten(redis_url):
    cache = Cache(redis_url, timeout=5)
    ask = ai_cached(declared, cache=cache, tags="all")
    sent = []
    with redis.Redis.from_url(redis_url) as client:
        for size in (10, 100_000):
            for number in range(size):
                ask.cache_put("an answer", number)
            assert all(ask.cache_contains(number) for number in range(0, size, size // 10))
            sent.append(invalidation(cache, client))
            assert not any(ask.cache_contains(number) for number in range(0, size, size // 10))
    assert sent[0] == sent[1]
    assert sum(sent[0].values()) <= 4
    cache.close()


def test_who_waited_for_an_answer_whose_tag_was_invalidated_computes_for_himself():
    cache, entered, leave = Cache("memory://"), threading.Event(), threading.Event()

    @ai_cached(cache=cache, version=1)
    def ask(prompt):
        number = next(ANSWERS)
        if not entered.is_set():
            entered.set()
            assert leave.wait(20)
        current_call().tags.add("about hi")
        return number

    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(ask("hi"))) for _ in range(2)]
    threads[0].start()
    assert entered.wait(20)
    cache.invalidate_tags("about hi")
    threads[1].start()
    deadline = threading.Event()
    deadline.wait(0.1)  # until the second one waits
    leave.set()
    for thread in threads:
        thread.join()
    assert 2 == len(set(answers))
    assert max(answers) == ask("hi")


def test_calls_with_many_tags_are_stored_where_the_lease_is_guessed(redis_url, run, colour):
    """Lua has registers for some two hundred values."""
    asked: list[str] = []

    def ask(prompt):
        asked.append(prompt)
        return prompt.upper()

    async def aask(prompt):
        return ask(prompt)

    with Cache(redis_url) as cache:
        cached = ai_cached(aask if colour == "async" else ask, cache=cache, tags=[f"tag {n}" for n in range(1000)])
        for prompt in ("a", "b", "c") * 2:
            assert prompt.upper() == run(cached(prompt))
    assert ["a", "b", "c"] == asked
