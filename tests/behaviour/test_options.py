"""Options that cannot be meant are refused when decorating, with the way out in the message."""

from __future__ import annotations

import inspect

import pytest

import aicached
from aicached import ConfigurationError, ai_cached
from aicached.policy import OPTIONS
from aicached.typing import Options


def ask(prompt: str, *, model: str = "small") -> str:
    return prompt


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ttl": -1}, ["ttl", "-1", "0 or more"]),
        ({"ttl": True}, ["ttl", "True", "seconds"]),
        ({"ttl": float("nan")}, ["ttl", "nan"]),
        ({"ttl": float("inf")}, ["ttl", "inf"]),
        ({"ttl": "soon"}, ["ttl", "'soon'", "90s", "1h30m"]),
        ({"ttl": ""}, ["ttl", "90s"]),
        ({"ttl": "1y"}, ["ttl", "ms s m h d w"]),
        ({"ttl": "5"}, ["ttl", "90s"]),
        ({"ttl": "1h -5s"}, ["ttl", "90s"]),
        ({"ttl": [5]}, ["ttl", "list"]),
        ({"key": 5}, ["key", "names"]),
        ({"key": ("prompt", 5)}, ["key", "names"]),
        ({"key": ("promt",)}, ["key", "'promt'", "prompt", "model"]),
        ({"ignore": 5}, ["ignore", "names"]),
        ({"ignore": b"model"}, ["ignore", "names"]),
        ({"ignore": {"model": 1}}, ["ignore", "names"]),
        ({"ignore": ("mode",)}, ["ignore", "'mode'", "prompt", "model"]),
        ({"ignore": ("",)}, ["ignore", "names"]),
        ({"normalize": str.strip}, ["normalize", "str.strip"]),
        ({"normalize": {"prompt": "strip"}}, ["normalize", "str.strip"]),
        ({"normalize": {"promt": str.strip}}, ["normalize", "'promt'", "prompt"]),
        ({"scope": ""}, ["scope", "non-empty string"]),
        ({"scope": 5}, ["scope", "non-empty string"]),
        pytest.param({"version": object()}, ["version", "object"], id="version-object"),
        ({"tags": 5}, ["tags", "names"]),
        ({"tags": [5]}, ["tags", "names"]),
        ({"retry": 0}, ["retry", "1 or more", "tenacity"]),
        ({"retry": -1}, ["retry", "1 or more"]),
        ({"retry": "3"}, ["retry", "'3'", "number of attempts"]),
        ({"retry": 2.5}, ["retry", "number of attempts"]),
        ({"retry": None}, ["retry", "False"]),
        ({"cache_if": 5}, ["cache_if", "function"]),
        ({"cache_if": "always"}, ["cache_if", "function"]),
        ({"usage": 5}, ["usage", "function"]),
        ({"colour": "blue"}, ["colour", "'sync'", "'async'"]),
        ({"colour": True}, ["colour", "'sync'"]),
        ({"mode": "of"}, ["mode", "'off'", "'refresh'"]),
        ({"mode": 5}, ["mode", "'off'"]),
        ({"on_unkeyable": "ignore"}, ["on_unkeyable", "'raise'", "'bypass'"]),
        ({"on_unkeyable": None}, ["on_unkeyable", "'raise'"]),
        ({"tll": 5}, ["'tll'", "ttl", "cache"]),
        ({"wait_timeout": 5}, ["'wait_timeout'"]),
        ({"backend": 5}, ["'backend'"]),
    ],
    ids=str,
)
def test_a_bad_option_says_what_is_allowed(options, words):
    with pytest.raises(ConfigurationError) as caught:
        ai_cached(ask, **options)
    for word in words:
        assert word in str(caught.value), word


@pytest.mark.parametrize("options", [{"ttl": "soon"}, {"tll": 5}, {"retry": 0}], ids=str)
def test_a_bad_option_is_refused_before_there_is_a_function(options):
    with pytest.raises(ConfigurationError):
        ai_cached(**options)


@pytest.mark.parametrize("option", ["key", "ignore", "normalize"])
def test_names_that_a_function_with_keywords_may_be_given_are_allowed(cache, option):
    def ask(prompt, **kwargs):
        return prompt

    names = {"user": str.strip} if option == "normalize" else ("user",)
    cached = ai_cached(ask, cache=cache, **{option: names})
    assert ["hi", "hi"] == [cached("hi", user=" a "), cached("hi", user=" a ")]
    assert 1 == cached.cache_info().misses


def test_ignore_may_name_followed_globals_and_closed_over_variables(cache):
    mood = "good"

    @ai_cached(cache=cache, ignore=("mood", "HELLO"))
    def ask(prompt):
        return [mood, HELLO, prompt]

    assert ["good", "hello", "hi"] == ask("hi")
    mood = "bad"
    assert ["good", "hello", "hi"] == ask("hi")
    assert [] == ask.cache_parameters()["followed"]


HELLO = "hello"


def test_a_name_may_stand_alone(cache):
    cached = ai_cached(ask, cache=cache, ignore="model", tags="x", key="prompt")
    cached("hi", model="a")
    cached("hi", model="b")
    assert (1, 1) == cached.cache_info()[:2]


def test_every_option_is_documented_and_typed():
    """One name, one meaning: the table of checks, the docstring and the types for checkers name the same options."""
    assert set(OPTIONS) == set(Options.__annotations__)
    documented = inspect.getdoc(ai_cached) or ""
    for name in OPTIONS:
        assert f"{name}:" in documented, name


def test_cache_parameters_shows_every_option(cache):
    shown = ai_cached(ask, cache=cache, ttl="1h").cache_parameters()
    assert set(OPTIONS) <= shown.keys()
    assert (3600.0, ["prompt", "model"], "default") == (shown["ttl"], shown["parameters"], shown["namespace"])


def test_a_configuration_error_is_a_value_error():
    assert issubclass(ConfigurationError, ValueError)
    assert issubclass(aicached.UnkeyableArgument, TypeError)
    assert issubclass(aicached.StoreUnavailable, aicached.StoreError)
    assert all(
        issubclass(each, aicached.AICachedError)
        for each in (ConfigurationError, aicached.UnkeyableArgument, aicached.UnstorableValue, aicached.StoreError)
    )
