"""What `Cache.entries` shows of what is stored."""

from __future__ import annotations

import dataclasses

import pytest

from aicached import Cache, ConfigurationError, StoreError, Usage, ai_cached, current_call, sample, scope
from aicached.entry import EntryInfo
from aicached.stores.base import Store
from aicached.stores.memory import MemoryStore
from aicached.testing import FlakyStore, ScriptedModel


@pytest.fixture
def entries(run, colour):
    """Give what lists the entries of a cache, in either colour."""
    return lambda cache, *args: run(cache.aentries(*args)) if colour == "async" else cache.entries(*args)


@pytest.fixture
def ask(any_cache, colour):
    return ai_cached(ScriptedModel().function(colour), cache=any_cache)


def keys(infos):
    return [info.key for info in infos]


# The fields -----------------------------------------------------------------------------------------------------------


def test_nothing_is_stored(any_cache, entries):
    assert [] == entries(any_cache)


def test_every_field(store, clock, colour, run, entries):
    cache = Cache(store, tags=("b",))

    def ask(prompt):
        current_call().tags.add("a")
        return "answer"

    async def aask(prompt):
        return ask(prompt)

    made = ai_cached(aask if colour == "async" else ask, cache=cache, ttl=9, usage=lambda _: Usage("small", 1, 2, 0.5))
    run(made("hi"))
    clock.advance(4)
    (info,) = entries(cache)
    function = f"{__name__}:test_every_field.<locals>.{made.__name__}"
    assert (function, made.cache_key("hi"), ("a", "b"), {}) == (info.function, info.key, info.tags, info.arguments)
    assert (pytest.approx(4, abs=0.01), pytest.approx(5, abs=0.01)) == (info.age, info.ttl)
    assert Usage("small", 1, 2, 0.5) == info.usage
    assert len("answer") <= info.size <= len("answer") + 3
    assert 0 < info.seconds < 5


def test_an_entry_for_ever_has_no_ttl(ask, any_cache, run, entries):
    run(ask.cache_with(ttl=None)("hi"))
    assert [None] == [info.ttl for info in entries(any_cache)]


def test_the_answer_itself_is_not_among_the_fields():
    shown = ("function", "key", "age", "ttl", "size", "seconds", "usage", "tags", "arguments")
    assert shown == EntryInfo._fields


# Which, and in which order --------------------------------------------------------------------------------------------


def test_the_newest_come_first(ask, any_cache, clock, run, entries):
    for prompt in "abc":
        run(ask(prompt))
        clock.advance(1)
    run(ask.cache_refresh("b"))
    assert [ask.cache_key(prompt) for prompt in "bca"] == keys(entries(any_cache))


def test_a_limit(ask, any_cache, clock, run, entries):
    for n in range(110):
        run(ask(str(n)))
        clock.advance(1)
    newest = [ask.cache_key(str(n)) for n in reversed(range(110))]
    assert newest[:100] == keys(entries(any_cache))
    assert newest[:3] == keys(entries(any_cache, 3))
    assert newest == keys(entries(any_cache, 1000))


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "3"])
def test_a_limit_that_cannot_be_meant(cache, entries, limit):
    with pytest.raises(ConfigurationError, match="limit"):
        entries(cache, limit)


def test_scopes_and_samples_are_entries_like_others(ask, any_cache, run, entries):
    run(ask("hi"))
    with scope("a"), scope("b"), sample(1):
        run(ask("hi"))
    assert 2 == len(entries(any_cache))


def test_another_namespace_is_another_list(store, colour, run, entries):
    one, two = Cache(store), Cache(store, namespace="two")
    function = ScriptedModel().function(colour)
    run(ai_cached(function, cache=one)("hi"))
    assert (1, 0) == (len(entries(one)), len(entries(two)))
    run(ai_cached(function, cache=two)("hi"))
    assert [1, 1] == [len(entries(one)), len(entries(two))]
    assert keys(entries(one)) != keys(entries(two))


def test_invalidated_and_expired_entries_are_absent(ask, any_cache, clock, run, entries):
    run(ask.cache_with(ttl=9)("short"))
    run(ask("hi"))
    run(ask("ho"))
    run(ask.cache_invalidate("hi"))
    clock.advance(10)
    assert [ask.cache_key("ho")] == keys(entries(any_cache))


def test_entries_of_a_cleared_function_are_absent(ask, any_cache, colour, run, entries):
    other = ai_cached(ScriptedModel().function(colour, name="other"), cache=any_cache)
    run(ask("hi"))
    run(other("hi"))
    run(ask.cache_clear())
    assert [other.cache_key("hi")] == keys(entries(any_cache))
    run(ask("ho"))
    assert {other.cache_key("hi"), ask.cache_key("ho")} == set(keys(entries(any_cache)))


def test_entries_of_a_cleared_scope_are_absent(ask, any_cache, run, entries):
    for names in ([], ["a"], ["a", "b"], ["b"]):
        with scope(names[0]) if names else sample(0), scope(names[1]) if names[1:] else sample(0):
            run(ask("hi"))
    assert 4 == len(entries(any_cache))
    any_cache.clear("a")
    with scope("b"):
        kept = {ask.cache_key("hi")}
    assert kept | {ask.cache_key("hi")} == set(keys(entries(any_cache)))


def test_entries_of_a_cleared_namespace_are_absent(ask, any_cache, run, entries):
    run(ask("hi"))
    any_cache.clear()
    assert [] == entries(any_cache)
    run(ask("ho"))
    assert [ask.cache_key("ho")] == keys(entries(any_cache))


def test_damaged_entries_are_skipped(colour, run, entries):
    class Bytes(MemoryStore):
        opened = False

    cache = Cache(Bytes())
    ask = ai_cached(ScriptedModel().function(colour), cache=cache)
    for prompt in ("good", "cut", "flipped", "foreign"):
        run(ask(prompt))
    place = lambda prompt: b"v" + bytes.fromhex(ask.cache_key(prompt))  # noqa: E731
    blob = cache.store.get(place("cut"))
    cache.store.set(place("cut"), blob[:-1], None)
    cache.store.set(place("flipped"), blob[:60] + bytes([blob[60] ^ 1]) + blob[61:], None)
    cache.store.set(place("foreign"), cache.store.get(place("good")), None)
    assert [ask.cache_key("good")] == keys(entries(cache))


def test_entries_signed_with_another_key_are_skipped(redis_url, colour, run, entries):
    keyed = [Cache(redis_url, timeout=5, signing_keys=[letter * 32]) for letter in (b"a", b"b")]
    function = ScriptedModel().function(colour)
    for cache in keyed:
        run(ai_cached(function, cache=cache)("hi"))
    assert [1, 1] == [len(entries(cache)) for cache in keyed]
    assert keys(entries(keyed[0])) != keys(entries(keyed[1]))
    for cache in keyed:
        cache.close()


def test_looking_changes_nothing(ask, any_cache, run, entries):
    run(ask("hi"))
    before = ask.cache_info()
    assert entries(any_cache)[0]._replace(age=0, ttl=0) == entries(any_cache)[0]._replace(age=0, ttl=0)
    assert before == ask.cache_info()


# Arguments ------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Shy:
    """Have a content, and no text."""

    name: str

    def __repr__(self):
        raise ValueError("no text")


@pytest.fixture
def keeping(store, colour):
    return ai_cached(
        ScriptedModel("answer").function(colour), cache=Cache(store, keep_arguments=True), ignore=("request_id",)
    )


def test_arguments_are_shown_where_the_cache_keeps_them(keeping, store, run, entries):
    run(keeping("hi", seed=1, request_id=5))
    (info,) = entries(Cache(store))
    assert {"prompt": "hi", "model": "small", "seed": "1"} == info.arguments


def test_text_with_a_lone_surrogate_is_shown(keeping, store, run, entries):
    run(keeping("\ud800"))
    assert "\ud800" == entries(Cache(store))[0].arguments["prompt"]


def test_an_argument_that_cannot_say_its_text_is_shown_by_its_class(keeping, store, run, entries):
    assert "answer" == run(keeping("hi", user=Shy("x")))
    assert 1 == keeping.cache_info().stored
    assert "<Shy>" == entries(Cache(store))[0].arguments["user"]


def test_arguments_are_shown_as_the_function_was_given_them(store, colour, run, entries):
    def ask(messages):
        messages.append("answer")
        return "answer"

    async def aask(messages):
        return ask(messages)

    cache = Cache(store, keep_arguments=True)
    run(ai_cached(aask if colour == "async" else ask, cache=cache)(["hi"]))
    assert {"messages": "['hi']"} == entries(cache)[0].arguments


def test_arguments_of_an_answer_that_was_put(keeping, store, run, entries):
    run(keeping.cache_put("put", "hi"))
    assert "hi" == entries(Cache(store))[0].arguments["prompt"]


# Stores that cannot tell ----------------------------------------------------------------------------------------------


def test_a_store_that_cannot_list_is_named(colour, entries):
    class Small(Store):
        def get(self, key):
            return None

        def set(self, key, data, lifetime):
            pass

        delete = get

    with pytest.raises(StoreError, match="a Small cannot list its entries"):
        entries(Cache(Small()))


def test_a_store_that_is_down(entries):
    store = FlakyStore(MemoryStore(), fail=1.0)
    store.blocking = True
    with pytest.raises(StoreError):
        entries(Cache(store))


def test_a_redis_that_is_down(own_redis, entries):
    own_redis.kill()
    with Cache(own_redis.url) as cache, pytest.raises(StoreError):
        entries(cache)
