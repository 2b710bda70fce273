"""What a reader with fresh eyes found: one test for each, so that it stays found."""

from __future__ import annotations

import dataclasses
import functools
import sys
import types
from contextvars import ContextVar
from typing import NamedTuple

import pydantic
import pytest

from aicached import Cache, ConfigurationError, ai_cached, mode, trace
from aicached.stores import embedded
from aicached.stores.memory import MemoryStore
from aicached.testing import FlakyStore, ScriptedModel


def made(kind, fields):
    """Make a class ``Answer`` with these fields, as an edit of its module would."""
    if kind == "dataclass":
        cls = dataclasses.make_dataclass("Answer", fields)
    elif kind == "named tuple":
        cls = NamedTuple("Answer", fields)
    else:
        cls = pydantic.create_model("Answer", **{name: (hint, ...) for name, hint in fields})
    cls.__module__ = __name__
    return cls


@pytest.mark.parametrize("kind", ["dataclass", "named tuple", "pydantic"])
@pytest.mark.parametrize(
    "then", [[("text", list)], [("text", str), ("more", str)], []], ids=["retyped", "more", "fewer"]
)
def test_an_answer_of_a_class_that_was_edited_is_a_miss(tmp_path, kind, then):
    calls = []
    for fields in ([("text", str)], then):
        cls = made(kind, fields)

        def ask(prompt, cls=cls):
            calls.append(cls)
            return cls(**dict.fromkeys(cls.__annotations__, "x")) if cls is calls[0] else "new"

        ask.__annotations__["return"] = cls
        cached = ai_cached(ask, cache=Cache(f"sqlite:///{tmp_path}/a.db"), version=1, key=("prompt",))
        assert cached("hi") == cached("hi")
    assert 2 == len(calls)


def test_below_a_decorator_to_leave_out_is_not_to_pass_the_default(cache):
    def settings(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            kwargs.setdefault("model", "big")
            return function(*args, **kwargs)

        return wrapper

    @ai_cached(cache=cache)
    @settings
    def ask(prompt, *, model="small"):
        return f"{model}:{prompt}"

    for _ in range(2):
        assert ["big:hi", "small:hi"] == [ask("hi"), ask("hi", model="small")]
    assert 2 == ask.cache_info().hits


async def awaited(*args):
    return True


@pytest.mark.parametrize("option", ["cache_if", "key", "scope", "usage", "tags", "ttl", "normalize"])
def test_a_callback_that_nobody_would_await_is_refused(option):
    value = {"prompt": awaited} if option == "normalize" else awaited
    with pytest.raises(ConfigurationError, match=f"{option}.*plain function"):
        ai_cached(ScriptedModel().function("sync"), **{option: value})


def test_a_hook_that_nobody_would_await_is_refused():
    with pytest.raises(ConfigurationError, match="hooks"):
        Cache("memory://", hooks=[awaited])


def test_an_awaitable_out_of_cache_if_keeps_nothing(cache):
    ask = ai_cached(ScriptedModel().function("sync"), cache=cache, cache_if=lambda answer: types.SimpleNamespace())
    ask("hi")
    assert 1 == ask.cache_info().stored  # any true value

    class Promise:
        def __await__(self):
            yield

    ask = ai_cached(ScriptedModel().function("sync"), cache=cache, cache_if=lambda answer: Promise())
    ask("hi")
    assert (0, 1) == (ask.cache_info().stored, ask.cache_info().refused)


@pytest.mark.parametrize("style", ["from settings_of_the_test import MODEL", "import settings_of_the_test as s"])
def test_a_constant_that_is_imported_inside_the_function_is_followed(cache, monkeypatch, style):
    module = types.ModuleType("settings_of_the_test")
    module.MODEL = "a"
    monkeypatch.setitem(sys.modules, module.__name__, module)
    read = "MODEL" if style.startswith("from") else "s.MODEL"
    space = {"__name__": __name__}
    exec(f"def ask(prompt):\n    {style}\n    return {read} + prompt", space)
    ask = ai_cached(space["ask"], cache=cache)
    assert ["a!", "a!"] == [ask("!"), ask("!")]
    module.MODEL = "b"
    assert "b!" == ask("!")
    assert ["settings_of_the_test.MODEL"] == ask.cache_parameters()["followed"]


def test_a_store_that_has_failed_a_call_is_not_asked_again_by_it(colour, run):
    store = FlakyStore(MemoryStore())
    ask = ai_cached(ScriptedModel().function(colour), cache=Cache(store))
    store.always_fail()
    assert "hi" == run(ask("hi"))
    assert ["get_many"] == list(store.operations)  # neither stamps nor a commit: each would wait for a time-out


def test_tags_of_a_method_get_its_self_and_are_names(caplog):
    class Bot:
        def __cache_key__(self):
            return "bot"

        @ai_cached(cache=Cache("memory://"), tags=lambda self, prompt: (type(self).__name__,))
        def ask(self, prompt):
            return prompt

        @ai_cached(cache=Cache("memory://"), tags=lambda self, prompt: "news")
        def tell(self, prompt):
            return prompt

    Bot().ask("hi"), Bot().tell("hi")
    stores = [method._self_site.plan().home for method in (Bot.__dict__["ask"], Bot.__dict__["tell"])]
    assert [("Bot",), ("news",)] == [home.entries()[0].tags for home in stores]


def test_the_default_of_a_context_variable_is_a_scope(cache):
    ask = ai_cached(ScriptedModel().function("sync"), cache=cache, scope=ContextVar("tenant", default="public"))
    ask("hi"), ask("hi")
    assert (1, 0) == (ask.cache_info().hits, ask.cache_info().bypassed)


@pytest.mark.parametrize("name", ["off", "read_only"])
def test_what_a_mode_does_not_store_no_method_stores(cache, colour, run, name):
    ask = ai_cached(ScriptedModel("a", "b", "c", "d").function(colour), cache=cache)
    with mode(name):
        assert run(ask.cache_put("x", "hi")) is False
        assert "a" == run(ask.cache_refresh("hi"))
        assert ["b", "c"] == run(ask.cache_samples(2, "hi"))
    assert run(ask.cache_contains("hi")) is False


def test_without_a_home_answers_are_kept_in_memory(monkeypatch, caplog):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(embedded.Path, "expanduser", lambda self: (_ for _ in ()).throw(RuntimeError("no home")))
    assert isinstance(Cache().store, MemoryStore)
    assert "in memory" in caplog.text


def test_a_temporary_folder_that_others_may_write_is_not_used(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(embedded, "_is_remote", lambda folder: True)
    monkeypatch.setattr(embedded.tempfile, "gettempdir", lambda: str(tmp_path))
    (tmp_path / f"aicached-{embedded._user()}").mkdir(mode=0o777)
    (tmp_path / f"aicached-{embedded._user()}").chmod(0o777)
    assert isinstance(Cache().store, MemoryStore)
    assert "alone" in caplog.text


def test_functions_made_per_request_are_not_kept_alive():
    home = Cache("memory://")

    def made_for(user):
        state = {"of": user}

        @ai_cached(cache=home)
        def ask(prompt):
            return user + prompt if state else ""

        return ask

    for number in range(1200):
        made_for(str(number))("hi")
    assert len(home.unfollowed) <= 1000
    assert all(isinstance(each, int) for held in home.unfollowed.values() for each in held.values())


def test_a_sentence_is_no_credential(cache):
    space = {"__name__": __name__, "SYSTEM": "Bearer of good news, speak"}
    exec("def ask(prompt):\n    return SYSTEM + prompt", space)
    ask = ai_cached(space["ask"], cache=cache)
    ask("!")
    space["SYSTEM"] = "Bearer of bad news, speak"
    with trace() as calls:
        assert "Bearer of bad news, speak!" == ask("!")
    assert not calls[0].hit


def test_a_cached_function_shows_its_name_alone(cache):
    def ask(prompt):
        return prompt

    assert f"<cached {__name__}:{ask.__qualname__}>" == repr(ai_cached(ask, cache=cache))
    assert "lambda" in repr(ai_cached(functools.partial(lambda prompt: prompt, "hi"), cache=cache))
