"""The story of a call: what hits, what is kept, and what never breaks it."""

from __future__ import annotations

import asyncio
import datetime
import gc
import sys
import threading
import traceback
import weakref

import openai
import pytest

from aicached import Cache, UnkeyableArgument, Usage, ai_cached, current_call, trace
from aicached.stores.memory import MemoryStore
from aicached.testing import ModelServer, RateLimited, ScriptedModel

FALSY = [None, "", 0, [], {}, False, 0.0, (), b"", set()]


# What hits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", FALSY, ids=repr)
def test_falsy_values_are_values_and_hit(any_cache, colour, run, value):
    model = ScriptedModel(value)
    ask = ai_cached(model.function(colour), cache=any_cache)
    answers = [run(ask("hi")), run(ask("hi"))]
    assert [value, value] == answers
    assert [type(value)] * 2 == [type(answer) for answer in answers]
    assert 1 == model.calls


def test_the_first_caller_gets_the_origins_own_object(cache, colour, run):
    value = ["own"]
    ask = ai_cached(ScriptedModel(value).function(colour), cache=cache)
    assert run(ask("hi")) is value
    assert run(ask("hi")) is not value


def test_changing_a_returned_value_changes_nothing_that_is_stored(any_cache, colour, run):
    ask = ai_cached(ScriptedModel({"deep": {"a": [1]}}).function(colour), cache=any_cache)
    for _ in range(3):  # the origin's own object, then two hits
        answer = run(ask("hi"))
        assert {"deep": {"a": [1]}} == answer
        answer["deep"]["a"].append(2)
        answer["more"] = 3


def test_a_recursive_function_is_cached_at_each_step(cache, colour, run):
    calls = []

    @ai_cached(cache=cache)
    def count(n):
        calls.append(n)
        return 0 if n == 0 else 1 + count(n - 1)

    @ai_cached(cache=cache)
    async def acount(n):
        calls.append(n)
        return 0 if n == 0 else 1 + await acount(n - 1)

    made = acount if colour == "async" else count
    assert [10, 10, 5] == [run(made(10)), run(made(10)), run(made(5))]
    assert list(range(10, -1, -1)) == calls


def test_a_sync_function_works_inside_a_running_event_loop(any_cache):
    model = ScriptedModel()
    ask = ai_cached(model.function("sync"), cache=any_cache)

    async def main():
        return [ask("hi"), ask("hi")]

    assert ["hi", "hi"] == asyncio.run(main())
    assert 1 == model.calls


def test_async_calls_at_once_in_one_loop(any_cache):
    model = ScriptedModel()
    ask = ai_cached(model.function("async"), cache=any_cache)

    async def main():
        return await asyncio.gather(*(ask(str(n % 5)) for n in range(50)))

    assert [str(n % 5) for n in range(50)] == asyncio.run(main())
    asyncio.run(main())
    before = model.calls
    asyncio.run(main())
    assert before == model.calls


# Arguments that change ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [lambda messages: messages.append("b"), lambda messages: messages.append(object())])
def test_arguments_that_change_before_the_origin_starts_are_not_stored(any_cache, change):
    seen = []

    @ai_cached(cache=any_cache)
    async def ask(messages):
        seen.append(list(messages))
        return "answer"

    async def main():
        messages = ["a"]
        with trace() as calls:
            waiting = ask(messages)
            change(messages)
            assert "answer" == await waiting
        return calls

    (status,) = asyncio.run(main())
    assert ("arguments-changed", False) == (status.detail, status.stored)
    assert 2 == len(seen[0])
    asyncio.run(ask(["a"]))
    assert ["a"] == seen[1]


def test_a_sync_callers_arguments_that_change_before_the_origin_starts_are_not_stored(cache):
    """Another thread changes them while the store is asked: here the store itself does."""
    messages = ["a"]

    class Meddling(MemoryStore):
        def get_many(self, keys):
            messages.append("b")
            return super().get_many(keys)

    ask = ai_cached(ScriptedModel().function("sync"), cache=Cache(Meddling()))
    with trace() as calls:
        ask(messages)
    assert "arguments-changed" == calls[0].detail
    assert 1 == ask.cache_info().refused


def test_arguments_that_change_between_attempts_are_not_stored(cache, waits, colour, run):
    messages = ["a"]

    def answers(prompt):
        if len(prompt) == 1:
            prompt.append("b")
            raise RateLimited(0)
        return "answer"

    async def aanswers(prompt):
        return answers(prompt)

    ask = ai_cached(aanswers if colour == "async" else answers, cache=cache)
    assert "answer" == run(ask(messages))
    assert (0, 1) == (ask.cache_info().stored, ask.cache_info().refused)


def test_an_origin_may_change_its_own_arguments(any_cache, colour, run):
    calls = []

    def ask(messages):
        calls.append(list(messages))
        messages.append("answer")
        return messages

    async def aask(messages):
        return ask(messages)

    cached = ai_cached(aask if colour == "async" else ask, cache=any_cache, version=1)
    assert ["a", "answer"] == run(cached(["a"]))
    assert ["a", "answer"] == run(cached(["a"]))
    assert [["a"]] == calls


# Freshness ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ttl", "seconds"),
    [
        (5, 5),
        (0.5, 0.5),
        ("90s", 90),
        ("1h30m", 5400),
        ("500ms", 0.5),
        ("1d", 86400),
        (" 1d 2h ", 93600),
        ("1w", 604800),
        ("1.5h", 5400),
        (datetime.timedelta(minutes=2), 120),
    ],
    ids=str,
)
def test_an_answer_is_fresh_for_its_ttl(clock, colour, run, ttl, seconds):
    model = ScriptedModel()
    ask = ai_cached(model.function(colour), cache=Cache(MemoryStore(clock=clock)), ttl=ttl)
    run(ask("hi"))
    clock.advance(seconds * 0.94)  # up to 5 % may be taken off
    run(ask("hi"))
    assert 1 == model.calls
    clock.advance(seconds * 0.07)
    run(ask("hi"))
    assert 2 == model.calls


def test_expiry_on_every_store(any_cache, clock, colour, run):
    model = ScriptedModel("first", "second")
    ask = ai_cached(model.function(colour), cache=any_cache, ttl=9)
    assert "first" == run(ask("hi"))
    clock.advance(8.9)
    assert "first" == run(ask("hi"))
    assert run(ask.cache_contains("hi")) is True
    clock.advance(0.2)
    assert run(ask.cache_contains("hi")) is False
    assert "second" == run(ask("hi"))
    assert "second" == run(ask("hi"))
    assert 2 == model.calls


def test_a_hit_does_not_extend_a_ttl(any_cache, clock, colour, run):
    model = ScriptedModel()
    ask = ai_cached(model.function(colour), cache=any_cache, ttl=9)
    for _ in range(4):
        run(ask("hi"))
        clock.advance(3)
    run(ask("hi"))
    assert 2 == model.calls


def test_ttl_none_is_for_ever(any_cache, clock, colour, run):
    model = ScriptedModel()
    ask = ai_cached(model.function(colour), cache=any_cache, ttl=None)
    run(ask("hi"))
    clock.advance(100 * 365 * 86400)
    with trace() as calls:
        run(ask("hi"))
    assert (True, None) == (calls[0].hit, calls[0].ttl)
    assert 1 == model.calls


def test_ttl_zero_keeps_nothing(any_cache, colour, run, warned):
    model = ScriptedModel()
    ask = ai_cached(model.function(colour), cache=any_cache, ttl=0)
    run(ask("hi"))
    run(ask("hi"))
    assert 2 == model.calls
    assert (0, 2) == (ask.cache_info().stored, ask.cache_info().refused)
    assert [] == warned()


def test_a_callable_ttl_decides_by_the_answer(clock, colour, run):
    model = ScriptedModel("short", "long")
    ask = ai_cached(
        model.function(colour),
        cache=Cache(MemoryStore(clock=clock)),
        ttl=lambda answer: {"short": 5, "long": "1h"}[answer],
    )
    run(ask("a"))
    run(ask("b"))
    clock.advance(60)
    assert [False, True] == [run(ask.cache_contains(prompt)) for prompt in "ab"]


def fails(*_):
    raise ZeroDivisionError("a callback of the user's")


@pytest.mark.parametrize(
    "ttl", [fails, lambda answer: None, lambda answer: "soon", lambda answer: -1, lambda answer: True]
)
def test_a_callable_ttl_that_fails_keeps_nothing_and_warns_once(cache, colour, run, warned, ttl):
    model = ScriptedModel()
    ask = ai_cached(model.function(colour), cache=cache, ttl=ttl)
    assert ["hi", "hi"] == [run(ask("hi")), run(ask("hi"))]
    assert 2 == model.calls == ask.cache_info().refused
    assert 1 == len(warned())
    assert "ttl" in warned()[0]


# Callbacks that raise -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["cache_if", "tags"])
def test_callbacks_that_raise_keep_nothing_and_warn_once(cache, colour, run, warned, option):
    model = ScriptedModel()
    ask = ai_cached(model.function(colour), cache=cache, **{option: fails})
    assert ["hi", "hi"] == [run(ask("hi")), run(ask("hi"))]
    assert 2 == model.calls
    assert 2 == ask.cache_info().refused
    assert 1 == len(warned())


def test_usage_that_raises_is_warned_of_once(cache, colour, run, warned):
    model = ScriptedModel()
    ask = ai_cached(model.function(colour), cache=cache, usage=fails)
    assert ["hi", "ho", "hi"] == [run(ask("hi")), run(ask("ho")), run(ask("hi"))]
    assert 1 == len(warned())
    assert "usage" in warned()[0]


def test_usage_of_the_wrong_type_is_warned_of(cache, colour, run, warned):
    ask = ai_cached(ScriptedModel().function(colour), cache=cache, usage=lambda answer: 5)
    assert "hi" == run(ask("hi"))
    assert 1 == len(warned())


def test_a_hook_that_raises_is_counted_and_warned_of_once(colour, run, warned):
    seen = []
    ask = ai_cached(ScriptedModel().function(colour), cache=Cache("memory://", hooks=[fails, seen.append]))
    assert ["hi", "hi"] == [run(ask("hi")), run(ask("hi"))]
    assert [False, True] == [status.hit for status in seen]
    assert 2 == ask.cache_info().errors
    assert 1 == len(warned())


@pytest.mark.parametrize("option", ["key", "scope"])
def test_key_and_scope_raise_as_they_are_before_the_origin_runs(cache, colour, run, option):
    model = ScriptedModel()
    ask = ai_cached(model.function(colour), cache=cache, **{option: fails_for_any_call})
    with pytest.raises(ZeroDivisionError):
        run(ask("hi"))
    assert 0 == model.calls


def fails_for_any_call(prompt, model="small", **kwargs):
    raise ZeroDivisionError


def test_normalize_raises_as_it_is_before_the_origin_runs(cache, colour, run):
    model = ScriptedModel()
    ask = ai_cached(model.function(colour), cache=cache, normalize={"prompt": str.strip})
    with pytest.raises(TypeError, match="strip"):
        run(ask(5))
    assert 0 == model.calls


def test_a_value_that_cannot_be_stored_is_returned_with_one_warning(cache, colour, run, warned):
    value = object()
    model = ScriptedModel(value)
    ask = ai_cached(model.function(colour), cache=cache)
    with trace() as calls:
        assert run(ask("hi")) is value
        assert run(ask("hi")) is value
    assert "unstorable" == calls[0].detail
    assert 1 == len(warned())
    assert 2 == ask.cache_info().refused


def test_a_value_with_a_property_that_raises_is_returned(cache, colour, run):
    class Odd:
        def __getattr__(self, name):
            raise ZeroDivisionError(name)

    value = Odd()
    ask = ai_cached(ScriptedModel(value).function(colour), cache=cache)
    assert run(ask("hi")) is value


def test_a_value_that_is_too_large_is_returned_and_not_kept(colour, run):
    model = ScriptedModel("x" * 100)
    ask = ai_cached(model.function(colour), cache=Cache("memory://", max_value_bytes=50))
    with trace() as calls:
        run(ask("hi"))
        run(ask("hi"))
    assert ["too large"] * 2 == [call.detail for call in calls]
    assert 2 == model.calls


# Exceptions -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("no"), StopAsyncIteration(), KeyError("k"), OSError(5, "x")], ids=repr)
def test_an_exception_is_the_origins_own_object_and_is_not_stored(any_cache, colour, run, error):
    model = ScriptedModel(error, "answer")
    ask = ai_cached(model.function(colour), cache=any_cache, retry=False)
    with pytest.raises(type(error)) as caught:
        run(ask("hi"))
    assert caught.value is error
    assert error.__cause__ is None
    assert error.__context__ is None
    assert "answer" == run(ask("hi"))
    assert (0, 2, 1) == (ask.cache_info().hits, ask.cache_info().misses, ask.cache_info().stored)


def test_stop_iteration_from_an_origin_survives(any_cache):
    """Of a sync one: from a coroutine Python itself makes a RuntimeError of it."""
    error = StopIteration("end")
    ask = ai_cached(ScriptedModel(error, "answer").function("sync"), cache=any_cache)
    with pytest.raises(StopIteration) as caught:
        ask("hi")
    assert caught.value is error
    assert "answer" == ask("hi")


def test_a_traceback_stays_short(cache, colour, run):
    """An exception that one origin raises again and again does not grow, and few frames of aicached are in it."""
    error = ValueError("no")
    ask = ai_cached(ScriptedModel(error).function(colour), cache=cache, retry=False)
    lengths = []
    for _ in range(3):
        error.__traceback__ = None
        with pytest.raises(ValueError, match="no") as caught:
            run(ask("hi"))
        frames = traceback.extract_tb(caught.value.__traceback__)
        lengths.append(len(frames))
    assert 1 == len(set(lengths))
    assert sum("/aicached/" in frame.filename and "/testing/" not in frame.filename for frame in frames) <= 5


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, asyncio.CancelledError, GeneratorExit])
def test_what_is_no_exception_is_never_tried_again(cache, waits, run, kind):
    model = ScriptedModel(kind(), "answer")
    ask = ai_cached(model.function("sync"), cache=cache, retry=5)
    with pytest.raises(kind):
        ask("hi")
    assert (1, []) == (model.calls, waits)
    assert 0 == ask.cache_info().hits
    assert "answer" == ask("hi")
    assert 0 == ask.cache_info().hits


def test_a_cancelled_call_is_not_tried_again_and_stores_nothing(cache):
    model = ScriptedModel("answer", delay=30)
    ask = ai_cached(model.function("async"), cache=cache, retry=5)

    async def main():
        task = asyncio.create_task(ask("hi"))
        while not model.calls:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await ask.cache_contains("hi")

    assert asyncio.run(main()) is False
    assert 1 == model.calls
    assert (0, 0) == (ask.cache_info().hits, ask.cache_info().stored)


def test_a_cancellation_that_the_origin_raises_itself_is_not_tried_again(cache, waits):
    model = ScriptedModel(asyncio.CancelledError(), "answer")
    ask = ai_cached(model.function("async"), cache=cache, retry=5)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(ask("hi"))
    assert (1, []) == (model.calls, waits)


def test_an_unkeyable_argument_is_raised_at_the_await(cache, colour, run):
    model = ScriptedModel()
    ask = ai_cached(model.function(colour), cache=cache)
    if colour == "async":
        waiting = ask(object())
        (error,) = asyncio.run(_gathered(waiting))
        assert isinstance(error, UnkeyableArgument)
    else:
        with pytest.raises(UnkeyableArgument):
            ask(object())
    assert 0 == model.calls


async def _gathered(*waiting):
    return await asyncio.gather(*waiting, return_exceptions=True)


def test_an_unkeyable_argument_names_function_path_type_and_ways_out(cache):
    ask = ai_cached(ScriptedModel().function("sync"), cache=cache)
    with pytest.raises(UnkeyableArgument) as caught:
        ask([{"role": "user", "content": threading.Lock()}])
    message = str(caught.value)
    for word in ("ask()", "prompt[0].content", "lock", "ignore=", "key=", "register_key", "__cache_key__"):
        assert word in message, word


def test_an_unkeyable_argument_bypasses_where_the_policy_says_so(cache, colour, run, warned):
    model = ScriptedModel("one", "two")
    ask = ai_cached(model.function(colour), cache=cache, on_unkeyable="bypass")
    with trace() as calls:
        assert ["one", "two"] == [run(ask(object())), run(ask(object()))]
    assert ("bypass", "unkeyable", None) == (calls[0].fwd, calls[0].detail, calls[0].key)
    assert 2 == ask.cache_info().bypassed
    assert 1 == len(warned())


# Loops, threads, processes --------------------------------------------------------------------------------------------


def test_two_runs_of_an_event_loop_one_after_the_other_on_redis(redis_url):
    """Nothing of the first loop is touched in the second."""
    model = ScriptedModel()
    cache = Cache(redis_url, timeout=5)
    ask = ai_cached(model.function("async"), cache=cache)

    async def main():
        return await asyncio.gather(*(ask(str(n)) for n in range(20)))

    answers = [asyncio.run(main()) for _ in range(3)]
    assert [[str(n) for n in range(20)]] * 3 == answers
    assert 20 == model.calls
    cache.close()


def test_two_threads_with_a_loop_each_on_redis(redis_url):
    cache = Cache(redis_url, timeout=5)
    model = ScriptedModel()
    ask = ai_cached(model.function("async"), cache=cache)
    answers: list[list[str]] = []

    async def main():
        said = []
        for n in range(50):
            said += await asyncio.gather(ask(str(n)), ask(str(n + 1)))
        return said

    threads = [threading.Thread(target=lambda: answers.append(asyncio.run(main()))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = [str(n + step) for n in range(50) for step in (0, 1)]
    assert [expected, expected] == answers
    assert 0 == ask.cache_info().errors
    cache.close()


def test_both_colours_share_one_redis(redis_url):
    cache = Cache(redis_url, timeout=5)
    model = ScriptedModel()
    ask, aask = (ai_cached(model.function(colour), cache=cache, version=1) for colour in ("sync", "async"))
    assert "hi" == ask("hi") == asyncio.run(aask("hi"))
    assert 1 == model.calls
    cache.close()


SCRIPT = """
    from aicached import ai_cached

    @ai_cached
    def ask(prompt):
        print("asked", end=" ")
        return {answer}

    print(ask("hi"))
"""


def test_answers_hit_after_a_restart_of_the_process(run_script):
    assert "asked 42" == run_script(SCRIPT.format(answer=42))
    assert "42" == run_script(SCRIPT.format(answer=42))


def test_async_answers_hit_after_a_restart_of_the_process(run_script):
    script = """
        import asyncio
        from aicached import ai_cached

        @ai_cached
        async def ask(prompt):
            print("asked", end=" ")
            return prompt

        print(asyncio.run(ask("hi")))
    """
    assert "asked hi" == run_script(script)
    assert "hi" == run_script(script)


def test_answers_hit_under_another_hash_seed(run_script):
    script = """
        from aicached import ai_cached

        @ai_cached
        def ask(prompt, words):
            print("asked", end=" ")
            return prompt in {"a", "b", "hi"}

        print(ask("hi", {"x", "y", "z", "w"}))
    """
    assert "asked True" == run_script(script, PYTHONHASHSEED="1")
    assert "True" == run_script(script, PYTHONHASHSEED="2")


def test_an_edited_function_reads_no_old_answer(run_script):
    assert "asked 42" == run_script(SCRIPT.format(answer=42))
    assert "asked 43" == run_script(SCRIPT.format(answer=43))
    assert "43" == run_script(SCRIPT.format(answer=43))
    assert "42" == run_script(SCRIPT.format(answer=42))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('MODEL = "small"', 'MODEL = "large"'),
        ("MODEL = 1", "MODEL = True"),
        ("MODEL = 1", "MODEL = 1.0"),
        ("MODEL = (1, 2)", "MODEL = (1, 3)"),
    ],
)
def test_an_edited_constant_reads_no_old_answer(run_script, before, after):
    script = """
        from aicached import ai_cached

        {constant}

        @ai_cached
        def ask(prompt):
            print("asked", end=" ")
            return MODEL

        print(ask("hi"))
    """
    first, second = run_script(script.format(constant=before)), run_script(script.format(constant=after))
    assert first.startswith("asked ")
    assert second.startswith("asked ")
    assert first != second
    assert second == "asked " + run_script(script.format(constant=after))


def test_two_projects_do_not_share_by_accident(run_script, tmp_path):
    """On the embedded default, the folder with a pyproject.toml above the script tells them apart."""
    for project in ("one", "two"):
        (tmp_path / project / "inner").mkdir(parents=True)
        (tmp_path / project / "pyproject.toml").touch()
    names = ["one/inner/script.py", "two/inner/script.py", "one/script.py"]
    assert ["asked 42", "asked 42", "42"] == [run_script(SCRIPT.format(answer=42), name) for name in names]


def test_a_script_that_moves_finds_its_answers_again(run_script, tmp_path):
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
    assert "asked 42" == run_script(SCRIPT.format(answer=42), "here/script.py")
    assert "42" == run_script(SCRIPT.format(answer=42), "there/script.py")


def test_comments_and_lines_are_no_edit(run_script):
    assert "asked 42" == run_script(SCRIPT.format(answer=42))
    assert "42" == run_script("\n    # new\n" + SCRIPT.format(answer="42  # the answer"))


def test_a_constant_that_changes_in_the_running_process_is_noticed(cache, colour, run, monkeypatch):
    monkeypatch.setitem(globals(), "SETTING", "a")

    def ask(prompt):
        return SETTING  # noqa: F821

    async def aask(prompt):
        return SETTING  # noqa: F821

    cached = ai_cached(aask if colour == "async" else ask, cache=cache)
    assert "a" == run(cached("hi"))
    monkeypatch.setitem(globals(), "SETTING", "b")
    assert "b" == run(cached("hi"))
    monkeypatch.setitem(globals(), "SETTING", "a")
    assert "a" == run(cached("hi"))
    assert (1, 2) == cached.cache_info()[:2]


# Functions of one factory ---------------------------------------------------------------------------------------------


def made_by(cache, thing):
    """Make a function that closes over *thing*."""

    @ai_cached(cache=cache)
    def ask(prompt):
        return shown(thing)

    return ask


def shown(thing):
    return thing() if callable(thing) else thing


class One:
    said = 1

    def __new__(cls):
        return cls.said


class Two:
    said = 2

    def __new__(cls):
        return cls.said


@pytest.mark.parametrize(
    ("a", "b"),
    [(1, 2), (1, True), ("1", 1), ((1, 2), (1, 3)), (lambda: 1, lambda: 2), (One, Two), (None, 0)],
    ids=["numbers", "number and flag", "types", "tuples", "functions", "classes", "falsy"],
)
def test_functions_of_one_factory_never_share(cache, a, b):
    first, second = made_by(cache, a), made_by(cache, b)
    expected = [shown(a), shown(b)]
    for _ in range(2):
        answers = [first("hi"), second("hi")]
        assert expected == answers
        assert [type(each) for each in expected] == [type(each) for each in answers]
    assert (1, 1) == first.cache_info()[:2] == second.cache_info()[:2]


def test_functions_of_one_factory_over_functions_with_other_constants_never_share(cache):
    def constant(n):
        return lambda: n

    assert [1, 2] == [made_by(cache, constant(n))("hi") for n in (1, 2)]


def test_functions_of_one_factory_over_clients_never_share(cache):
    with ModelServer(answer=lambda _: "a") as a, ModelServer(answer=lambda _: "b") as b:

        def asking(url):
            client = openai.OpenAI(base_url=url, api_key="any")

            @ai_cached(cache=cache)
            def ask(prompt):
                said = client.chat.completions.create(model="small", messages=[{"role": "user", "content": prompt}])
                return said.choices[0].message.content

            return ask, client

        functions = [asking(server.url) for server in (a, b, a)]
        assert ["a", "b", "a"] == [ask("hi") for ask, _ in functions]
        assert (1, 1) == (a.calls, b.calls)
        for _, client in functions:
            client.close()


def test_functions_of_one_factory_over_what_is_not_followed_are_warned_of(cache, warned):
    first, second = made_by(cache, [1]), made_by(cache, [2])
    first("hi")
    second("hi")
    (warning,) = warned()
    assert "'thing'" in warning
    assert "version=" in warning
    assert ["thing"] == first.cache_parameters()["not_followed"]


def test_lambdas_on_one_line_never_share(cache):
    one, two = ai_cached(lambda: 1, cache=cache), ai_cached(lambda: 2, cache=cache)
    assert [1, 2, 1, 2] == [one(), two(), one(), two()]


def test_version_pins_a_function_by_hand(cache):
    def made(answer, version):
        space: dict = {}
        exec(f"def ask(prompt): return {answer}", space)
        return ai_cached(space["ask"], cache=cache, version=version)

    assert [1, 1, 3] == [made(1, "v1")("hi"), made(2, "v1")("hi"), made(3, "v2")("hi")]


def test_ignore_takes_arguments_out_of_the_key(cache, colour, run):
    model = ScriptedModel()
    ask = ai_cached(model.function(colour), cache=cache, ignore=("model", "trace_id"))
    run(ask("hi", model="a", trace_id=1))
    run(ask("hi", model="b", trace_id=2))
    assert 1 == model.calls
    run(ask("hi", user="x"))
    assert 2 == model.calls


def test_normalize_changes_the_key_and_not_what_the_origin_gets(cache, colour, run):
    model = ScriptedModel()
    ask = ai_cached(model.function(colour), cache=cache, normalize={"prompt": str.strip})
    assert [" hi ", " hi "] == [run(ask(" hi ")), run(ask("hi"))]
    assert 1 == model.calls


def test_key_names_what_alone_counts(cache, colour, run):
    model = ScriptedModel()
    by_names = ai_cached(model.function(colour), cache=cache, key=("prompt",))
    by_function = ai_cached(model.function(colour, name="other"), cache=cache, key=lambda prompt, **_: prompt.lower())
    for ask in (by_names, by_function):
        run(ask("hi", model="a"))
        run(ask("hi", model="b"))
    assert 2 == model.calls
    run(by_function("HI"))
    assert 2 == model.calls


def test_a_key_without_content_is_unkeyable(cache, colour, run):
    model = ScriptedModel()
    ask = ai_cached(model.function(colour), cache=cache, key=lambda *_, **__: object())
    with pytest.raises(UnkeyableArgument, match="key="):
        run(ask("hi"))
    assert 0 == model.calls


def test_current_rules_are_asked_of_older_entries(cache, colour, run):
    """An entry that other rules admitted is asked again where today's differ."""
    model = ScriptedModel("bad", "good")
    lax = ai_cached(model.function(colour), cache=cache)
    strict = lax.cache_with(cache_if=lambda answer: answer != "bad")
    assert "bad" == run(lax("hi"))
    assert "good" == run(strict("hi"))
    assert "good" == run(strict("hi"))
    assert 2 == model.calls


def test_what_the_origin_says_of_its_answer(cache, colour, run):
    def ask(prompt):
        current_call().skip("because")
        return prompt

    async def aask(prompt):
        return ask(prompt)

    cached = ai_cached(aask if colour == "async" else ask, cache=cache, usage=lambda _: Usage("m", 1, 2))
    with trace() as calls:
        run(cached("hi"))
    assert ("because", False, Usage("m", 1, 2)) == (calls[0].detail, calls[0].stored, calls[0].usage)


def test_two_calls_that_differ_in_anything_never_share(cache):
    values = [
        1,
        1.0,
        True,
        "1",
        b"1",
        None,
        "None",
        [1],
        (1,),
        {1},
        frozenset({1}),
        0.0,
        -0.0,
        {"a": 1},
        {"a": True},
        "\u00e9",
        "e\u0301",
    ]
    model = ScriptedModel()
    ask = ai_cached(model.function("sync"), cache=cache)
    for value in values:
        ask(value)
    assert len(values) == model.calls
    assert len(values) == len({ask.cache_key(value) for value in values})


def test_no_frames_keep_an_exception_alive(cache):
    """An exception that was raised to the caller is freed with the last reference to it, without the collector."""

    class Failure(Exception):
        pass

    def ask(prompt):
        raise Failure(prompt)

    cached = ai_cached(ask, cache=cache)
    gc.disable()
    try:
        try:
            cached("hi")
        except Failure as error:
            known = weakref.ref(error)
        if sys.version_info >= (3, 13):  # a frame keeps those that called it, and so the exception, in a circle
            gc.collect()
        assert known() is None
    finally:
        gc.enable()
