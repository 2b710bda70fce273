"""Retries of misses: which failures, how often, how long in between. No test waits: the waits are recorded."""

from __future__ import annotations

import asyncio
import datetime
import email.utils
import time

import anthropic
import httpx
import openai
import pytest
import tenacity

from aicached import ai_cached
from aicached.retry import transient, wait_asked
from aicached.testing import RateLimited, ScriptedModel
from aicached.testing.models import ModelError

REQUEST = httpx.Request("POST", "http://model.example")


class Shaped(Exception):
    """Fail in the shape that is given."""

    def __init__(self, **shape):
        super().__init__("shaped")
        for name, value in shape.items():
            setattr(self, name, value)


class Broken(Exception):
    @property
    def status_code(self):
        raise ZeroDivisionError


def date(seconds: float) -> str:
    """Write the moment in so many seconds as HTTP does."""
    moment = datetime.datetime.fromtimestamp(time.time() + seconds, datetime.timezone.utc)
    return email.utils.format_datetime(moment, usegmt=True)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529, 599])
def test_these_statuses_are_transient(status):
    assert transient(ModelError(status))
    assert transient(Shaped(status_code=status))
    assert transient(httpx.HTTPStatusError("x", request=REQUEST, response=httpx.Response(status, request=REQUEST)))


@pytest.mark.parametrize("status", [300, 400, 401, 402, 403, 404, 405, 410, 413, 418, 422, 451])
def test_these_statuses_are_not(status):
    assert not transient(ModelError(status))


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError(),
        ConnectionRefusedError(),
        ConnectionResetError(),
        BrokenPipeError(),
        TimeoutError(),
        asyncio.TimeoutError(),
        httpx.ConnectError("x"),
        httpx.ReadTimeout("x"),
        httpx.RemoteProtocolError("x"),
        openai.APIConnectionError(request=REQUEST),
        openai.APITimeoutError(request=REQUEST),
        anthropic.APIConnectionError(request=REQUEST),
        anthropic.APITimeoutError(request=REQUEST),
    ],
    ids=lambda error: f"{type(error).__module__}.{type(error).__name__}",
)
def test_connections_and_time_outs_are_transient(error):
    assert transient(error)


@pytest.mark.parametrize(
    "error",
    [
        Exception(),
        ValueError(),
        KeyError("status_code"),
        OSError(2, "no such file"),
        StopIteration(),
        Shaped(status_code="429"),
        Shaped(status_code=None),
        Shaped(status_code=True),
        Broken(),
        KeyboardInterrupt(),
        SystemExit(),
        asyncio.CancelledError(),
        GeneratorExit(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_everything_else_is_not(error):
    assert not transient(error)


@pytest.mark.parametrize("shape", [{"code": "insufficient_quota"}, {"type": "insufficient_quota"}])
def test_an_empty_account_is_not_transient(shape):
    assert not transient(Shaped(status_code=429, **shape))


def test_the_server_knows_best():
    assert transient(ModelError(400, {"x-should-retry": "true"}))
    assert not transient(ModelError(503, {"x-should-retry": "false"}))
    assert transient(ModelError(503, {"x-should-retry": "perhaps"}))


@pytest.mark.parametrize(
    "headers",
    [{"retry-after": "31"}, {"retry-after-ms": "30001"}, pytest.param({"retry-after": date(3600)}, id="date")],
    ids=str,
)
def test_a_wait_above_the_longest_ends_the_retries(headers):
    assert not transient(ModelError(429, headers))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        pytest.param({"retry-after": date(-3600)}, 0.0, id="date that has passed"),
    ],
    ids=str,
)
def test_what_the_server_asks_to_wait(headers, expected):
    assert expected == wait_asked(ModelError(429, headers))


def test_a_date_to_wait_for():
    assert 15 < wait_asked(ModelError(429, {"retry-after": date(20)})) <= 20


# Attempts -------------------------------------------------------------------------------------------------------------


def test_two_failures_then_an_answer_are_three_attempts_and_one_value(cache, waits, colour, run):
    model = ScriptedModel(RateLimited(0.25), RateLimited(7), "answer")
    ask = ai_cached(model.function(colour), cache=cache)
    assert ["answer", "answer"] == [run(ask("hi")), run(ask("hi"))]
    assert 3 == model.calls
    assert [0.25, 7.0] == waits
    assert (1, 1, 1) == (ask.cache_info().hits, ask.cache_info().misses, ask.cache_info().stored)


def test_the_waits_grow_with_jitter_between_half_a_second_and_thirty(cache, waits, colour, run):
    ask = ai_cached(ScriptedModel(ConnectionError).function(colour), cache=cache, retry=12)
    with pytest.raises(ConnectionError):
        run(ask("hi"))
    assert 11 == len(waits)
    assert all(0.5 <= wait <= 30 for wait in waits)
    assert len(set(waits)) > 3


@pytest.mark.parametrize(("option", "attempts"), [(True, 3), (False, 1), (1, 1), (2, 2), (5, 5)])
def test_the_number_of_attempts_in_all(cache, waits, colour, run, option, attempts):
    """1 is one attempt, though 1 == True."""
    model = ScriptedModel(RateLimited(0))
    ask = ai_cached(model.function(colour), cache=cache, retry=option)
    with pytest.raises(RateLimited):
        run(ask("hi"))
    assert attempts == model.calls
    assert attempts - 1 == len(waits)


def test_the_last_failure_is_raised_as_it_is(cache, waits, colour, run):
    errors = [RateLimited(0), ConnectionError("second"), TimeoutError("third")]
    ask = ai_cached(ScriptedModel(*errors).function(colour), cache=cache)
    with pytest.raises(TimeoutError, match="third") as caught:
        run(ask("hi"))
    assert caught.value is errors[2]
    assert caught.value.__cause__ is None


def test_a_failure_that_is_not_transient_ends_the_retries(cache, waits, colour, run):
    model = ScriptedModel(RateLimited(0), ValueError("no"), "answer")
    ask = ai_cached(model.function(colour), cache=cache)
    with pytest.raises(ValueError, match="no"):
        run(ask("hi"))
    assert 2 == model.calls


def test_a_long_retry_after_is_raised_at_once(cache, waits, colour, run):
    model = ScriptedModel(RateLimited(3600), "answer")
    ask = ai_cached(model.function(colour), cache=cache)
    with pytest.raises(RateLimited):
        run(ask("hi"))
    assert (1, []) == (model.calls, waits)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_interruptions_during_a_later_attempt_are_not_tried_again(cache, waits, kind):
    model = ScriptedModel(RateLimited(0), kind(), "answer")
    ask = ai_cached(model.function("sync"), cache=cache, retry=5)
    with pytest.raises(kind):
        ask("hi")
    assert 2 == model.calls


def test_a_cancellation_during_a_wait_ends_the_retries(cache):
    model = ScriptedModel(RateLimited(25), "answer")
    ask = ai_cached(model.function("async"), cache=cache)

    async def main():
        task = asyncio.create_task(ask("hi"))
        while not model.calls:
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert 1 == model.calls


def test_calls_at_once_count_their_attempts_apart(cache, waits):
    """tenacity keeps its state on the object: one shared by two calls would count them together."""
    model = ScriptedModel(RateLimited(0), RateLimited(0), RateLimited(0), RateLimited(0), "answer")
    ask = ai_cached(model.function("async"), cache=cache)

    async def main():
        return await asyncio.gather(ask("a"), ask("b"))

    assert ["answer", "answer"] == asyncio.run(main())
    assert 6 == model.calls


def test_a_bypassed_call_is_tried_again_too(cache, waits, colour, run):
    model = ScriptedModel(RateLimited(0), "answer")
    ask = ai_cached(model.function(colour), cache=cache, mode="off")
    assert "answer" == run(ask("hi"))
    assert 2 == model.calls


def test_importing_the_sdks_is_not_needed(run_script):
    """Their errors are known by class, looked up and never imported."""
    script = """
        import sys
        from aicached.retry import transient
        imported = {"openai", "anthropic", "httpx"} & set(sys.modules)
        print(transient(ConnectionError()), transient(ValueError()), imported)
    """
    assert "True False set()" == run_script(script)


# tenacity's own objects -----------------------------------------------------------------------------------------------


def retrying(colour, **rules):
    return (tenacity.AsyncRetrying if colour == "async" else tenacity.Retrying)(**rules)


@pytest.mark.parametrize("option", ["sync", "async"])
def test_the_rules_of_a_retrying_stand(cache, waits, colour, run, option):
    """In either of its kinds, whatever the function's colour; the waits go through the runtime."""
    model = ScriptedModel(ValueError(), ValueError(), "answer")
    rules = retrying(
        option,
        stop=tenacity.stop_after_attempt(4),
        wait=tenacity.wait_fixed(2),
        retry=tenacity.retry_if_exception_type(ValueError),
    )
    ask = ai_cached(model.function(colour), cache=cache, retry=rules)
    if option == colour:
        rules.sleep = _no_sleep if colour == "sync" else _no_async_sleep
    assert "answer" == run(ask("hi"))
    assert 3 == model.calls
    assert [2.0, 2.0] == (waits or SLEPT[-2:])


SLEPT: list[float] = []


def _no_sleep(seconds):
    SLEPT.append(seconds)


async def _no_async_sleep(seconds):
    SLEPT.append(seconds)


def test_a_retrying_raises_the_origins_own_exception(cache, waits, colour, run):
    error = ValueError("no")
    rules = retrying("async" if colour == "sync" else "sync", stop=tenacity.stop_after_attempt(2))
    ask = ai_cached(ScriptedModel(error).function(colour), cache=cache, retry=rules)
    with pytest.raises(ValueError, match="no") as caught:
        run(ask("hi"))
    assert caught.value is error


def test_a_retrying_keeps_no_state_between_calls(cache, waits, colour, run):
    model = ScriptedModel(ValueError(), "a", ValueError(), "b")
    rules = retrying("async" if colour == "sync" else "sync", stop=tenacity.stop_after_attempt(2))
    ask = ai_cached(model.function(colour), cache=cache, retry=rules)
    assert ["a", "b"] == [run(ask("one")), run(ask("two"))]


def test_a_retry_by_result_tries_again(cache, waits, colour, run):
    model = ScriptedModel("", "", "answer")
    rules = retrying(
        "async" if colour == "sync" else "sync",
        retry=tenacity.retry_if_result(lambda answer: answer == ""),
        stop=tenacity.stop_after_attempt(5),
    )
    ask = ai_cached(model.function(colour), cache=cache, retry=rules)
    assert "answer" == run(ask("hi"))
    assert 3 == model.calls
