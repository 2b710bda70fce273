"""Modes: what may be served, what may be called, what may be stored."""

from __future__ import annotations

import asyncio

import pytest

from aicached import Cache, ConfigurationError, ai_cached, configure, mode, trace
from aicached.context import forget_process_mode
from aicached.testing import ScriptedModel

#: mode -> what a call on a filled cache returns; calls of the model by then; what a plain call returns afterwards
TABLE = {
    "on": ("old", 1, "old"),
    "off": ("new", 2, "old"),
    "refresh": ("new", 2, "new"),
    "read_only": ("old", 1, "old"),
    "write_only": ("new", 2, "new"),
}
#: mode -> whether an answer to a call never made before is stored
STORES = {"on": True, "off": False, "refresh": True, "read_only": False, "write_only": True}


@pytest.fixture
def model():
    return ScriptedModel("old", "new")


@pytest.fixture
def ask(model, cache, colour):
    return ai_cached(model.function(colour), cache=cache)


@pytest.fixture
def process_mode(monkeypatch):
    """Give what sets AICACHED_MODE as if the process had begun with it."""

    def set_mode(name):
        monkeypatch.setenv("AICACHED_MODE", name)
        forget_process_mode()

    yield set_mode
    monkeypatch.undo()
    forget_process_mode()


@pytest.mark.parametrize("name", TABLE)
def test_mode_for_a_block(ask, model, run, name):
    said, calls, afterwards = TABLE[name]
    run(ask("hi"))
    with mode(name):
        assert said == run(ask("hi"))
    assert calls == model.calls
    assert afterwards == run(ask("hi"))


@pytest.mark.parametrize("name", TABLE)
def test_mode_of_a_function(ask, model, run, name):
    said, calls, afterwards = TABLE[name]
    run(ask("hi"))
    assert said == run(ask.cache_with(mode=name)("hi"))
    assert calls == model.calls
    assert afterwards == run(ask("hi"))


@pytest.mark.parametrize("name", TABLE)
def test_mode_of_the_process(ask, model, run, process_mode, name):
    said, calls, _ = TABLE[name]
    run(ask("hi"))
    process_mode(name)
    assert said == run(ask("hi"))
    assert calls == model.calls


@pytest.mark.parametrize("name", STORES)
def test_what_a_miss_stores(ask, run, name):
    with mode(name):
        run(ask("hi"))
    assert STORES[name] is run(ask.cache_contains("hi"))


@pytest.mark.parametrize(
    ("name", "fwd"), [("off", "bypass"), ("refresh", "request"), ("write_only", "request"), ("on", "uri-miss")]
)
def test_the_status_says_why_the_origin_was_called(ask, run, name, fwd):
    with trace() as calls, mode(name):
        run(ask("hi"))
    assert fwd == calls[0].fwd


def test_off_counts_as_bypassed(ask, run):
    with mode("off"):
        run(ask("hi"))
    assert (0, 0, 1) == ask.cache_info()[:3]


def test_off_touches_no_key(ask, run):
    """Nothing can be wrong with an argument that nobody looks at."""
    with mode("off"):
        assert "old" == run(ask(object()))


def test_the_functions_mode_overrules_the_blocks_and_that_the_processs(ask, model, run, process_mode):
    run(ask("hi"))
    process_mode("refresh")
    with mode("on"):
        assert "old" == run(ask("hi"))
        assert "new" == run(ask.cache_with(mode="off")("hi"))
        assert "old" == run(ask("hi"))


def test_blocks_nest(ask, run):
    run(ask("hi"))
    with mode("off"):
        with mode("on"):
            assert "old" == run(ask("hi"))
        assert "new" == run(ask("hi"))
    assert "old" == run(ask("hi"))


def test_one_block_can_be_made_now_and_entered_later(ask, run):
    run(ask("hi"))
    off = mode("off")
    assert "old" == run(ask("hi"))
    with off:
        assert "new" == run(ask("hi"))


def test_the_mode_is_taken_when_the_function_is_called(cache):
    model = ScriptedModel("old", "new")
    ask = ai_cached(model.function("async"), cache=cache)

    async def main():
        await ask("hi")
        with mode("off"):
            waiting = ask("hi")
        return await waiting

    assert "new" == asyncio.run(main())


def test_mode_of_a_cache(colour, run, model):
    ask = ai_cached(model.function(colour), cache=Cache("memory://", mode="off"))
    assert ["old", "new"] == [run(ask("hi")), run(ask("hi"))]


def test_a_refresh_that_fails_keeps_what_is_there(cache, colour, run):
    ask = ai_cached(ScriptedModel("old", ValueError("no")).function(colour), cache=cache)
    run(ask("hi"))
    with mode("refresh"), pytest.raises(ValueError, match="no"):
        run(ask("hi"))
    assert "old" == run(ask("hi"))


@pytest.mark.parametrize("name", ["of", "ON", "", None, 1, "replay all"])
def test_a_bad_name_says_which_there_are(name):
    with pytest.raises(ConfigurationError, match=r"'on', 'off', 'refresh', 'read_only', 'write_only'"):
        mode(name)


@pytest.mark.parametrize("name", ["of", 5])
def test_a_bad_mode_of_a_function_is_refused_when_decorating(name):
    with pytest.raises(ConfigurationError, match="mode"):
        ai_cached(mode=name)


def test_a_bad_mode_of_the_process_names_the_variable(ask, run, process_mode):
    process_mode("sometimes")
    with pytest.raises(ConfigurationError, match=r"AICACHED_MODE: no mode 'sometimes'"):
        run(ask("hi"))


def test_an_empty_mode_of_the_process_is_on(ask, model, run, process_mode):
    process_mode("")
    run(ask("hi"))
    run(ask("hi"))
    assert 1 == model.calls


def test_the_mode_of_the_process_is_read_by_a_new_process(run_script):
    script = """
        from aicached import ai_cached

        @ai_cached
        def ask(prompt):
            print("asked", end=" ")
            return prompt

        ask("hi")
        print(ask("hi"))
    """
    assert "asked asked hi" == run_script(script, AICACHED_MODE="off")
    assert "asked hi" == run_script(script, AICACHED_MODE="on")


def test_configure_takes_a_mode_too(model, colour, run):
    configure("memory://", mode="off")
    ask = ai_cached(model.function(colour))
    assert ["old", "new"] == [run(ask("hi")), run(ask("hi"))]
