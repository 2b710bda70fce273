"""No prompt, answer, key or password in a log record or in the message of an exception of aicached's."""

from __future__ import annotations

import logging
import traceback

import openai
import pytest

from aicached import AICachedError, Cache, ConfigurationError, UnkeyableArgument, ai_cached, scope, trace
from aicached.stores.base import Store
from aicached.stores.memory import MemoryStore
from aicached.testing import FlakyStore, ScriptedModel

CANARY = "canary-7f3a"


class Secretive:
    """Show the canary to whoever asks for its text."""

    def __repr__(self):
        return CANARY

    __str__ = __repr__


@pytest.fixture(autouse=True)
def silence(caplog):
    """After each test, look for the canary in every record, formatted, with its arguments and its traceback."""
    caplog.set_level(logging.DEBUG)
    yield
    for record in caplog.get_records("call"):
        if record.name.partition(".")[0] == "aicached":
            shown = [
                record.getMessage(),
                repr(record.args),
                *(traceback.format_exception(*record.exc_info) if record.exc_info else ()),
            ]
            assert CANARY not in "".join(shown), record


def fails(*_, **__):
    raise ValueError(CANARY)


def test_callbacks_that_raise(colour, run):
    for option in ("cache_if", "ttl", "tags", "usage"):
        ask = ai_cached(
            ScriptedModel(CANARY).function(colour), cache=Cache("memory://", hooks=[fails]), **{option: fails}
        )
        assert CANARY == run(ask(CANARY))


def test_answers_that_cannot_be_stored(cache, colour, run, warned):
    for answer in (Secretive(), [Secretive()], {CANARY: Secretive()}):
        ask = ai_cached(ScriptedModel(answer).function(colour), cache=cache)
        run(ask(CANARY))
    assert 3 == len(warned())


@pytest.mark.parametrize(
    "argument",
    [Secretive(), [Secretive()], {f"{CANARY} key": Secretive()}, {"role": CANARY, "content": Secretive()}],
    ids=["bare", "list", "odd key", "dict"],
)
def test_arguments_that_cannot_be_keyed(cache, colour, run, argument, warned):
    ask = ai_cached(ScriptedModel().function(colour), cache=cache)
    with pytest.raises(UnkeyableArgument) as caught:
        run(ask(argument, system=CANARY))
    assert CANARY not in str(caught.value)
    run(ask.cache_with(on_unkeyable="bypass")(argument))
    assert 1 == len(warned())


def test_stores_that_fail(colour, run, warned):
    store = FlakyStore(MemoryStore(), fail=1.0)
    store.blocking = True
    ask = ai_cached(ScriptedModel(CANARY).function(colour), cache=Cache(store))
    for n in range(5):
        assert CANARY == run(ask(f"{CANARY} {n}"))
    assert 1 == len(warned())


def test_stores_that_quote_what_they_were_given(colour, run, warned):
    class Quoting(Store):
        def get(self, key):
            raise ValueError(CANARY)

        set = delete = get

    ask = ai_cached(ScriptedModel(CANARY).function(colour), cache=Cache(Quoting()))
    assert CANARY == run(ask(CANARY))
    assert 1 <= len(warned())


@pytest.mark.parametrize(
    "url",
    [
        f"redis://user:{CANARY}@localhost:port/0",
        f"redis://user:{CANARY}@localhost:99999999/0",
        f"redis://user:{CANARY}@[localhost/0",
        f"redis://user:{CANARY}@localhost/0?nonsense=1",
        f"mongodb://user:{CANARY}@localhost/0",
        f"redis:user:{CANARY}@localhost/0",
        f"redis:/user:{CANARY}@localhost/0",
    ],
)
def test_urls_that_cannot_be_meant(url):
    with pytest.raises(ConfigurationError) as caught:
        Cache(url)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("url", [f"redis://user:/{CANARY}@localhost/0", f"redis://localhost?password={CANARY}"])
def test_urls_that_mean_something_else(url):
    assert CANARY not in repr(Cache(url))


def test_the_password_of_a_redis_that_is_down(own_redis, colour, run, warned):
    own_redis.kill()
    cache = Cache(own_redis.url.replace("redis://", f"redis://user:{CANARY}@"))
    ask = ai_cached(ScriptedModel(CANARY).function(colour), cache=cache)
    for n in range(5):
        run(ask(f"{CANARY} {n}"))
    assert 1 == len(warned())
    assert CANARY not in repr(cache)
    cache.close()


def test_the_password_of_a_redis_that_refuses_it(own_redis, colour, run, warned):
    cache = Cache(own_redis.url.replace("redis://", f"redis://user:{CANARY}@"))
    ask = ai_cached(ScriptedModel(CANARY).function(colour), cache=cache)
    for n in range(5):
        run(ask(f"{CANARY} {n}"))
    assert 1 == len(warned())
    cache.close()


def test_redis_url(monkeypatch, own_redis):
    monkeypatch.setenv(
        "REDIS_URL", own_redis.url.replace("redis://", f"redis://user:{CANARY}@") + f"?password={CANARY}"
    )
    cache = Cache()
    assert CANARY not in repr(cache)


def test_api_keys_in_what_a_function_reads(server, cache, warned):
    with openai.OpenAI(
        base_url=server.url, api_key=CANARY, max_retries=0, default_headers={"X-Api-Key": CANARY}
    ) as client:
        api_key = f"sk-{CANARY}"
        helper = [CANARY]

        @ai_cached(cache=cache)
        def ask(prompt):
            return (
                api_key
                and helper
                and client.chat.completions.create(model="small", messages=[{"role": "user", "content": prompt}])
            )

        server.script(400)
        with pytest.raises(openai.BadRequestError):
            ask(CANARY)
        with trace() as calls:
            ask(CANARY)
        assert CANARY not in str(calls[0]) + repr(calls[0])
        shown = ask.cache_parameters()
        assert CANARY not in f"{shown['followed']} {shown['not_followed']}"


def test_constants_that_are_new_in_each_call(cache, warned, monkeypatch):
    @ai_cached(cache=cache)
    def ask(prompt):
        return RESTLESS  # noqa: F821

    for n in range(60):
        monkeypatch.setitem(globals(), "RESTLESS", f"{CANARY} {n}")
        ask("hi")
    (warning,) = warned()
    assert "ignore=('RESTLESS',)" in warning


def test_scopes_that_are_no_name(cache, colour, run):
    ask = ai_cached(ScriptedModel().function(colour), cache=cache, scope=lambda *_, **__: [CANARY])
    with pytest.raises(ConfigurationError) as caught:
        run(ask("hi"))
    assert CANARY not in str(caught.value)
    with pytest.raises(ConfigurationError) as caught:
        scope([CANARY])
    assert CANARY not in str(caught.value)


def test_damaged_entries(tmp_path, colour, run):
    class Damaging(MemoryStore):
        opened = False
        blocking = True

        def get_many(self, keys):
            return [
                data and CANARY.encode() if key[:1] == b"v" else data
                for key, data in zip(keys, super().get_many(keys), strict=True)
            ]

    ask = ai_cached(ScriptedModel(CANARY).function(colour), cache=Cache(Damaging()))
    with trace() as calls:
        run(ask(CANARY))
        run(ask(CANARY))
    assert CANARY not in repr(calls)


def test_nothing_is_logged_for_an_ordinary_call(cache, colour, run, caplog):
    ask = ai_cached(ScriptedModel().function(colour), cache=cache)
    run(ask("hi"))
    run(ask("hi"))
    assert [] == [record for record in caplog.records if record.name == "aicached" and record.levelno > logging.DEBUG]
    assert issubclass(UnkeyableArgument, AICachedError)
