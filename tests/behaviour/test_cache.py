"""Cache and configure: where answers are, who shares them, and what settings say when they cannot be meant."""

from __future__ import annotations

import asyncio
import dataclasses
import logging

import pytest

from aicached import Cache, ConfigurationError, ai_cached, configure, mode, scope, trace
from aicached.cache import cache_for, default_cache
from aicached.stores.memory import MemoryStore
from aicached.testing import ScriptedModel


@pytest.fixture
def model():
    return ScriptedModel()


@pytest.fixture(params=["memory", "sqlite", "redis"])
def url(request, tmp_path):
    """Give the url of each store."""
    if request.param == "redis":
        return request.getfixturevalue("redis_url")
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/answers.db"


# The default ----------------------------------------------------------------------------------------------------------


def test_the_default_is_a_file_in_the_users_cache_folder(model, tmp_path):
    ai_cached(model.function("sync"))("hi")
    assert (tmp_path / "xdg-cache" / "aicached" / "answers.db").exists()


def test_configure_replaces_the_default_of_functions_that_exist(model, colour, run):
    ask = ai_cached(model.function(colour))
    first = configure("memory://")
    run(ask("hi"))
    second = configure("memory://", namespace="other")
    run(ask("hi"))
    run(ask("hi"))
    assert 2 == model.calls
    assert first is not second is default_cache()
    assert "other" == ask.cache_parameters()["namespace"]


def test_configure_leaves_functions_with_a_cache_of_their_own(model, cache):
    ask = ai_cached(model.function("sync"), cache=cache)
    ask("hi")
    configure("memory://")
    ask("hi")
    assert 1 == model.calls


def test_configure_closes_the_cache_that_it_replaces():
    class Closing(MemoryStore):
        closed = 0

        def close(self):
            self.closed += 1

    store = Closing()
    configure(store)
    assert 0 == store.closed
    configure("memory://")
    assert 1 == store.closed


def test_a_bad_configure_leaves_the_default_alone():
    before = configure("memory://")
    with pytest.raises(ConfigurationError):
        configure("nowhere://")
    assert before is default_cache()


def test_aicached_url_names_the_default(model, monkeypatch, redis_url):
    monkeypatch.setenv("AICACHED_URL", redis_url)
    ask = ai_cached(model.function("sync"))
    ask("hi")
    other = Cache(redis_url, timeout=5)
    ask.cache_with(cache=other)("hi")
    assert 1 == model.calls
    other.close()


def test_aicached_url_comes_before_redis_url(monkeypatch):
    monkeypatch.setenv("AICACHED_URL", "memory://")
    monkeypatch.setenv("REDIS_URL", "redis://localhost:1")
    assert isinstance(Cache().store, MemoryStore)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://:hunter2@db.example:6390/3", "db.example:6390/3"),
        ("redis://me:hunter2@db.example/0?password=hunter2", "db.example:6379/0"),
        ("redis://db.example?password=p%40hunter2", "db.example:6379/0"),
        ("rediss://db.example:6390", "db.example:6390/0"),
    ],
)
def test_redis_url_is_taken_over_with_one_line_that_holds_no_password(monkeypatch, caplog, url, place):
    caplog.set_level(logging.INFO, "aicached")
    monkeypatch.setenv("REDIS_URL", url)
    default_cache()
    default_cache()
    (record,) = [record for record in caplog.records if "REDIS_URL" in record.getMessage()]
    assert "INFO" == record.levelname
    assert record.getMessage().endswith(place)
    assert "hunter2" not in caplog.text


def test_a_bad_aicached_url_is_an_error_that_says_what_is_allowed(model, monkeypatch):
    monkeypatch.setenv("AICACHED_URL", "mongodb://localhost")
    ask = ai_cached(model.function("sync"))
    with pytest.raises(ConfigurationError, match=r"redis://"):
        ask("hi")


def test_a_cache_folder_that_cannot_be_written_is_memory_with_one_warning(model, monkeypatch, tmp_path, warned):
    """A path below a file cannot be a folder, not even for root."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "below"))
    ask = ai_cached(model.function("sync"))
    ask("hi")
    ask("hi")
    assert 1 == model.calls
    (warning,) = warned()
    assert "cannot be written" in warning
    assert "memory" in warning


# Who shares -----------------------------------------------------------------------------------------------------------


def test_one_url_is_one_cache(model):
    function = model.function("sync")
    first, second = ai_cached(function, cache="memory://"), ai_cached(function, cache="memory://")
    first("hi")
    second("hi")
    assert 1 == model.calls
    assert cache_for("memory://") is cache_for("memory://")


def test_a_cache_made_by_hand_is_its_own(model):
    function = model.function("sync")
    for made in (Cache("memory://"), Cache("memory://"), "memory://"):
        ai_cached(function, cache=made)("hi")
    assert 3 == model.calls


def test_two_caches_on_one_place_share(model, colour, run, url):
    if url == "memory://":
        url = MemoryStore()
    for cache in (Cache(url, timeout=5), Cache(url, timeout=5)):
        run(ai_cached(model.function(colour), cache=cache)("hi"))
        cache.close()
    assert 1 == model.calls


def test_namespaces_share_nothing(model, colour, run, url):
    store = MemoryStore() if url == "memory://" else url
    caches = [Cache(store, namespace=name, timeout=5) for name in ("a", "b", "a")]
    for cache in caches:
        run(ai_cached(model.function(colour), cache=cache)("hi"))
    assert 2 == model.calls
    for cache in caches:
        cache.close()


def test_two_functions_share_nothing(model, cache, colour, run):
    for name in ("one", "two"):
        run(ai_cached(model.function(colour, name=name), cache=cache)("hi"))
    assert 2 == model.calls


def test_defaults_hold_for_functions_that_say_nothing_else(model):
    cache = Cache("memory://", ttl=5, retry=False, tags=("x",))
    plain = ai_cached(model.function("sync"), cache=cache).cache_parameters()
    own = ai_cached(model.function("sync"), cache=cache, ttl="1h").cache_parameters()
    assert (5.0, False, ("x",)) == (plain["ttl"], plain["retry"], plain["tags"])
    assert (3600.0, False) == (own["ttl"], own["retry"])


def test_a_default_that_takes_arguments_out_holds(model):
    ask = ai_cached(model.function("sync"), cache=Cache("memory://", ignore=("model",)))
    ask("hi", model="a")
    ask("hi", model="b")
    assert 1 == model.calls


def test_a_default_key_that_names_no_parameter_is_refused(colour, run):
    """Else no argument would count, and all calls would be one."""
    model = ScriptedModel()
    ask = ai_cached(model.function(colour), cache=Cache("memory://", key=("prompt",)))
    assert ["a", "b"] == [run(ask(prompt)) for prompt in "ab"]

    async def aother(text):
        return text

    def other(text):
        return text

    misfit = ai_cached(aother if colour == "async" else other, cache=Cache("memory://", key=("prompt",)))
    with pytest.raises(ConfigurationError, match="'prompt'"):
        run(misfit("a"))


def test_call_needs_no_decorator(model, cache, colour, run):
    function = model.function(colour)
    assert ["hi", "hi"] == [run(cache.call(function, "hi")) for _ in range(2)]
    assert 1 == model.calls
    run(ai_cached(function, cache=cache)("hi"))
    assert 1 == model.calls


def test_call_passes_its_own_parameters_on(cache):
    assert {"function": 1, "self": 2} == cache.call(lambda **named: named, function=1, self=2)


def test_call_tells_callables_apart_that_are_equal(cache):
    """Only the object itself says what it answers."""

    @dataclasses.dataclass(frozen=True)
    class Ask:
        name: str
        answer: str = dataclasses.field(compare=False)

        def __call__(self, prompt):
            return self.answer

    assert ["a", "b"] == [cache.call(Ask("same", answer), "hi") for answer in "ab"]


def test_call_takes_callables_without_a_hash(cache):
    @dataclasses.dataclass
    class Ask:
        answer: str

        def __call__(self, prompt):
            return self.answer

    assert ["a", "b"] == [cache.call(Ask(answer), "hi") for answer in "ab"]


# Clearing -------------------------------------------------------------------------------------------------------------


def test_clear_forgets_a_namespace(model, colour, run, url):
    store = MemoryStore() if url == "memory://" else url
    cache, other = (Cache(store, namespace=name, timeout=5) for name in "ab")
    ask = ai_cached(model.function(colour), cache=cache)
    elsewhere = ai_cached(model.function(colour), cache=other)
    for function in (ask, elsewhere):
        run(function("hi"))
    if colour == "async":
        asyncio.run(cache.aclear())
    else:
        cache.clear()
    assert [False, True] == [run(function.cache_contains("hi")) for function in (ask, elsewhere)]
    run(ask("hi"))
    assert run(ask.cache_contains("hi")) is True
    cache.close()
    other.close()


def test_clear_forgets_one_scope(model, cache, colour, run):
    ask = ai_cached(model.function(colour), cache=cache)

    def contains(*names):
        if not names:
            return run(ask.cache_contains("hi"))
        with scope(names[0]):
            return contains(*names[1:])

    def fill(*names):
        if not names:
            return run(ask("hi"))
        with scope(names[0]):
            return fill(*names[1:])

    paths = [(), ("a",), ("a", "b"), ("b",)]
    for path in paths:
        fill(*path)
    cache.clear("a")
    assert [True, False, False, True] == [contains(*path) for path in paths]


@pytest.mark.parametrize("name", ["", 5])
def test_clear_takes_the_name_of_a_scope(cache, name):
    with pytest.raises(ConfigurationError, match="non-empty string"):
        cache.clear(name)


CLEARING = """
    import sys
    from aicached import ai_cached

    @ai_cached
    def ask(prompt):
        print("asked", end=" ")
        return prompt

    if "clear" in PLAN:
        ask.cache_clear()
    print(ask("hi"))
"""


def test_cache_clear_is_seen_by_other_processes(run_script):
    fill, clear = f"PLAN = 'fill'\n{CLEARING}", f"PLAN = 'clear'\n{CLEARING}"
    indented = [source.replace("PLAN", "    PLAN", 1) for source in (fill, clear)]
    assert ["asked hi", "hi", "asked hi", "hi"] == [run_script(indented[n]) for n in (0, 0, 1, 0)]


@pytest.mark.parametrize("place", ["sqlite", "redis"])
def test_cache_clear_is_seen_by_other_caches(model, colour, run, tmp_path, place, request):
    url = request.getfixturevalue("redis_url") if place == "redis" else f"sqlite:///{tmp_path}/answers.db"
    here, there = Cache(url, timeout=5), Cache(url, timeout=5)
    mine, theirs = (ai_cached(model.function(colour), cache=cache) for cache in (here, there))
    run(mine("hi"))
    assert run(theirs.cache_contains("hi")) is True
    run(mine.cache_clear())
    assert run(theirs.cache_contains("hi")) is False
    here.close()
    there.close()


# Closing --------------------------------------------------------------------------------------------------------------


def test_a_closed_cache_can_be_used_again(model, colour, run, url):
    cache = Cache(url, timeout=5)
    ask = ai_cached(model.function(colour), cache=cache)
    for _ in range(3):
        run(ask("hi"))
        cache.close()
        cache.close()
    assert 0 == ask.cache_info().errors
    assert 1 == model.calls


def test_aclose_in_the_loop(model, url):
    async def main():
        async with Cache(url, timeout=5) as cache:
            ask = ai_cached(model.function("async"), cache=cache)
            await ask("hi")
            await cache.aclose()
            await ask("hi")

    asyncio.run(main())
    assert 1 == model.calls


def test_a_cache_is_a_context_manager(model, url):
    with Cache(url, timeout=5) as cache:
        assert "hi" == ai_cached(model.function("sync"), cache=cache)("hi")
    with pytest.raises(ZeroDivisionError), Cache(url):
        raise ZeroDivisionError


def test_a_cache_shows_its_place_without_the_password():
    cache = Cache("redis://me:hunter2@localhost:6399/2", namespace="n")
    assert "<Cache redis://localhost:6399/2 namespace='n'>" == repr(cache)


# Settings that cannot be meant ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"url": "nowhere://"}, ["nowhere://", "memory://", "sqlite:///", "redis://"]),
        ({"url": "memory"}, ["memory://"]),
        ({"url": ""}, ["memory://"]),
        ({"url": "sqlite://answers.db"}, ["sqlite:///relative/path", "sqlite:////absolute/path"]),
        ({"url": "sqlite:///"}, ["sqlite:///relative/path"]),
        ({"url": "redis://localhost:port"}, ["redis://[user:password@]host[:port][/database]"]),
        ({"url": "redis://localhost/0?colour=red"}, ["colour"]),
        ({"url": 5}, ["url", "int"]),
        ({"namespace": ""}, ["namespace", "non-empty"]),
        ({"namespace": None}, ["namespace"]),
        ({"timeout": 0}, ["timeout", "more than 0"]),
        ({"timeout": -1}, ["timeout", "0 or more"]),
        ({"timeout": "soon"}, ["timeout", "90s"]),
        ({"timeout": None}, ["timeout"]),
        ({"max_entries": 0}, ["max_entries", "1 or more"]),
        ({"max_entries": 1.5}, ["max_entries", "whole number"]),
        ({"max_entries": True}, ["max_entries"]),
        ({"max_bytes": -5}, ["max_bytes", "1 or more"]),
        ({"max_bytes": "1G"}, ["max_bytes", "whole number"]),
        ({"max_value_bytes": 0}, ["max_value_bytes"]),
        ({"max_value_bytes": None}, ["max_value_bytes"]),
        ({"prices": {"small": 5}}, ["prices", "dollars per million tokens"]),
        ({"prices": {"small": (1,)}}, ["prices"]),
        ({"prices": {"small": (1, -2)}}, ["prices"]),
        ({"prices": [("small", (1, 2))]}, ["prices"]),
        ({"trust": 5}, ["trust", "classes", "names of modules"]),
        ({"trust": [5]}, ["trust", "classes", "names of modules"]),
        ({"hooks": [5]}, ["hooks", "callables"]),
        ({"hooks": 5}, ["hooks", "callables"]),
        ({"require_scope": "yes"}, ["require_scope", "True"]),
        ({"ttl": "soon"}, ["ttl", "90s"]),
        ({"tll": 5}, ["tll", "ttl"]),
    ],
    ids=str,
)
def test_a_bad_setting_says_what_is_allowed(settings, words):
    with pytest.raises(ConfigurationError) as caught:
        Cache(**{"url": "memory://", **settings})
    for word in words:
        assert word in str(caught.value), word


@pytest.mark.parametrize("option", [5, b"memory://", ["memory://"], pytest.param(MemoryStore(), id="store")], ids=str)
def test_a_bad_cache_option_says_what_is_allowed(option):
    with pytest.raises(ConfigurationError, match="it takes a Cache, a url or None"):
        ai_cached(cache=option)


def test_a_bad_url_is_refused_when_decorating():
    with pytest.raises(ConfigurationError, match="memory://"):
        ai_cached(cache="nowhere://")


def test_a_bad_url_does_not_quote_a_password():
    with pytest.raises(ConfigurationError) as caught:
        Cache("redis://me:hunter2/@host:port/0")
    assert "hunter2" not in str(caught.value)


def test_a_one_price_list_and_one_hook_are_enough(model):
    seen = []
    ask = ai_cached(
        model.function("sync"), cache=Cache("memory://", hooks=seen.append, prices={"m": [1, 2.5]}, trust="tests")
    )
    ask("hi")
    assert 1 == len(seen)


# Bounds ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["memory", "sqlite"])
def test_the_least_recently_used_goes_first(model, tmp_path, place):
    url = "memory://" if place == "memory" else f"sqlite:///{tmp_path}/answers.db"
    cache = Cache(url, max_entries=2, timeout=5)
    ask = ai_cached(model.function("sync"), cache=cache)
    ask("a")
    ask("b")
    ask("a")
    ask("c")
    assert [True, False, True] == [ask.cache_contains(prompt) for prompt in "abc"]
    cache.close()


def test_relative_sqlite_urls_are_relative(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Cache("sqlite:///here/answers.db") as cache:
        ai_cached(model.function("sync"), cache=cache)("hi")
    assert (tmp_path / "here" / "answers.db").exists()


def test_hooks_get_a_status_after_each_call(model, colour, run):
    seen = []
    ask = ai_cached(model.function(colour), cache=Cache("memory://", hooks=[seen.append]))
    with trace() as calls:
        run(ask("hi"))
    run(ask("hi"))
    with mode("off"):
        run(ask("hi"))
    assert [False, True, False] == [status.hit for status in seen]
    assert calls == seen[:1]
