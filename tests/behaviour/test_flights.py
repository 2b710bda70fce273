"""One computation for all callers of a key in this process: threads, tasks, event loops."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from aicached import Cache, ai_cached, flight, mode, trace
from aicached.plan import Plan
from aicached.testing import ScriptedModel

CALLERS = 20
#: Seconds that the model takes: long enough for all callers to be there.
SLOW = 0.2


def together(function, *calls, colour):
    """Call a function with each of *calls* at once; return answers, exceptions in their places."""

    async def tasks():
        return await asyncio.gather(*(function(*call) for call in calls), return_exceptions=True)

    there = threading.Barrier(len(calls))

    def attempt(call):
        there.wait()
        try:
            return function(*call)
        except Exception as error:
            return error

    if colour == "async":
        return asyncio.run(tasks())
    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(attempt, calls))


@pytest.fixture(params=["memory", "sqlite", "redis"])
def shared(request, tmp_path):
    """Give a cache on each store."""
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/a.db"}
    url = urls.get(request.param) or request.getfixturevalue("redis_url")
    return Cache(url, timeout=5)


@pytest.fixture(autouse=True)
def nothing_left():
    """Leave no flight behind."""
    yield
    assert {} == flight._table


def test_many_callers_of_a_cold_key_make_one_call(shared, colour):
    model = ScriptedModel({"answer": []}, delay=SLOW)
    ask = ai_cached(model.function(colour), cache=shared)
    answers = together(ask, *[("hi",)] * CALLERS, colour=colour)
    assert [{"answer": []}] * CALLERS == answers
    assert 1 == model.calls
    info = ask.cache_info()
    # On a busy machine a thread may come when the flight has landed.
    assert (CALLERS - 1, 1) == (info.collapsed + info.hits, info.stored)


def test_each_caller_gets_a_copy_of_his_own(cache, colour):
    ask = ai_cached(ScriptedModel({"answer": []}, delay=SLOW).function(colour), cache=cache)
    answers = together(ask, *[("hi",)] * 3, colour=colour)
    answers[0]["answer"].append("mine")
    assert 3 == len({id(answer["answer"]) for answer in answers})
    assert [{"answer": []}] * 2 == answers[1:]


def test_a_failure_reaches_everybody_as_an_exception_of_his_own(cache, colour):
    model = ScriptedModel(KeyError("no"), delay=SLOW)
    errors = together(ai_cached(model.function(colour), cache=cache), *[("hi",)] * 5, colour=colour)
    assert ["KeyError('no')"] * 5 == list(map(repr, errors))
    assert 5 == len({id(error) for error in errors})
    assert 1 == model.calls


def test_an_answer_that_is_not_kept_is_shared_all_the_same(cache, colour):
    model = ScriptedModel("a", "b", delay=SLOW)
    ask = ai_cached(model.function(colour), cache=cache, cache_if=lambda answer: False)
    assert ["a"] * 5 == together(ask, *[("hi",)] * 5, colour=colour)
    assert 1 == model.calls


def test_an_answer_that_cannot_be_copied_is_computed_by_each(cache, colour):
    class Odd:
        pass

    model = ScriptedModel(Odd(), delay=SLOW)
    ask = ai_cached(model.function(colour), cache=cache)
    start = time.monotonic()
    assert [Odd] * 5 == [type(answer) for answer in together(ask, *[("hi",)] * 5, colour=colour)]
    assert 5 == model.calls
    assert time.monotonic() - start < 3 * 2 * SLOW  # at once and together, not one after the other


@pytest.mark.parametrize("mode_", ["on", "read_only"])
@pytest.mark.parametrize("fails", [False, True], ids=["answers", "fails"])
def test_an_answer_to_changed_arguments_is_nobody_elses(cache, mode_, fails):
    """The leader's list grows before his computation begins: what he gets is not what the others asked."""

    @ai_cached(cache=cache, version=1, mode=mode_)
    async def ask(messages):
        await asyncio.sleep(SLOW)
        if fails and len(messages) > 1:
            raise ValueError(messages)
        return list(messages)

    async def main():
        messages = ["a"]
        leader = ask(messages)
        messages.append("b")
        return await asyncio.gather(leader, ask(["a"]), ask(["a"]), return_exceptions=True)

    first, *others = asyncio.run(main())
    assert [["a"], ["a"]] == others
    assert isinstance(first, ValueError) if fails else ["a", "b"] == first


def test_who_does_not_want_it_computes_for_himself(cache, colour):
    model = ScriptedModel("a", delay=SLOW)
    together(ai_cached(model.function(colour), cache=cache, coalesce=False), *[("hi",)] * 3, colour=colour)
    assert 3 == model.calls


def test_write_only_waits_for_nobody(cache, colour):
    model = ScriptedModel("a", delay=SLOW)
    ask = ai_cached(model.function(colour), cache=cache, mode="write_only")
    together(ask, *[("hi",)] * 3, colour=colour)
    assert 3 == model.calls


def test_two_refreshes_are_one(cache, colour):
    model = ScriptedModel("a", "b", delay=SLOW)
    ask = ai_cached(model.function(colour), cache=cache, mode="refresh")
    assert ["a", "a"] == together(ask, *[("hi",)] * 2, colour=colour)
    assert 1 == model.calls


def test_statuses_say_who_waited(cache):
    ask = ai_cached(ScriptedModel("a", delay=SLOW).function("async"), cache=cache)

    async def main():
        with trace() as calls:
            await asyncio.gather(ask("hi"), ask("hi"))
        return calls

    assert [(False, True), (True, False)] == sorted((call.collapsed, call.stored) for call in asyncio.run(main()))


def test_a_refresh_beside_a_flight_computes_anew_and_wins(cache):
    answers = iter(["old", "new"])

    @ai_cached(cache=cache, version=1)
    async def ask(prompt):
        answer = next(answers)
        await asyncio.sleep(3 * SLOW if answer == "old" else SLOW / 4)
        return answer

    async def main():
        plain = asyncio.ensure_future(ask("hi"))
        await asyncio.sleep(SLOW / 4)
        assert "new" == await ask.cache_refresh("hi")
        assert "old" == await plain
        return await ask("hi")

    assert "new" == asyncio.run(main())


@pytest.mark.parametrize("forget", [lambda ask: ask.cache_invalidate("hi"), lambda ask: ask.cache_clear()])
def test_who_comes_after_an_invalidation_joins_nothing_from_before(cache, forget):
    ask = ai_cached(ScriptedModel("old", "new", delay=SLOW).function("async"), cache=cache)

    async def main():
        plain = asyncio.ensure_future(ask("hi"))
        await asyncio.sleep(SLOW / 4)
        await forget(ask)
        return await ask("hi"), await plain, await ask("hi")

    assert ("new", "old", "new") == asyncio.run(main())


# Cancellation ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [0, 1, 4], ids=["the leader", "a waiter", "the last"])
def test_whoever_is_cancelled_leaves_the_others_alone(cache, left):
    model = ScriptedModel("a", delay=SLOW)
    ask = ai_cached(model.function("async"), cache=cache)

    async def main():
        tasks = [asyncio.ensure_future(ask("hi")) for _ in range(5)]
        await asyncio.sleep(SLOW / 4)
        tasks[left].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = asyncio.run(main())
    assert isinstance(answers.pop(left), asyncio.CancelledError)
    assert ["a"] * 4 == answers
    assert 1 == model.calls


def test_when_nobody_is_left_the_computation_is_cancelled_and_cleans_up_first(cache):
    seen = []

    @ai_cached(cache=cache, version=1)
    async def ask(prompt):
        try:
            await asyncio.sleep(60)
        finally:
            seen.append("cleaned up")

    async def main():
        tasks = [asyncio.ensure_future(ask("hi")) for _ in range(3)]
        await asyncio.sleep(SLOW / 4)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert ["cleaned up"] == seen
        assert not await ask.cache_contains("hi")

    asyncio.run(main())


def test_a_time_out_inside_the_function_stays_inside(cache):
    @ai_cached(cache=cache)
    async def ask(prompt):
        try:
            await asyncio.wait_for(asyncio.sleep(60), SLOW / 4)
        except asyncio.TimeoutError:
            return "late"

    assert ["late"] * 3 == together(ask, *[("hi",)] * 3, colour="async")


def test_keyboard_interrupt_of_the_leader_makes_a_waiter_lead(cache):
    calls = []

    @ai_cached(cache=cache, version=1)
    def ask(prompt):
        calls.append(prompt)
        time.sleep(SLOW)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return "answer"

    seen = []

    def attempt():
        try:
            seen.append(ask("hi"))
        except KeyboardInterrupt:
            seen.append("interrupted")

    threads = [threading.Thread(target=attempt) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert ["answer"] * 3 + ["interrupted"] == sorted(seen)
    assert 2 == len(calls)


# Loops, circles, forks ------------------------------------------------------------------------------------------------


def test_event_loops_in_several_threads_share_one_call(cache):
    model = ScriptedModel("a", delay=SLOW)
    ask = ai_cached(model.function("async"), cache=cache)
    with ThreadPoolExecutor(4) as pool:
        assert ["a"] * 4 == list(pool.map(lambda _: asyncio.run(ask("hi")), range(4)))
    assert 1 == model.calls


def test_a_flight_whose_loop_is_closed_is_gone(cache):
    model = ScriptedModel("a", delay=SLOW)
    ask = ai_cached(model.function("async"), cache=cache)
    loop = asyncio.new_event_loop()

    async def begin():
        asyncio.ensure_future(ask("hi"))
        await asyncio.sleep(SLOW / 4)

    loop.run_until_complete(begin())
    abandoned = asyncio.all_tasks(loop)
    loop.close()
    assert "a" == asyncio.run(ask("hi"))
    assert 2 == model.calls
    for task in abandoned:  # or they say at their end that nobody waited for them
        task._log_destroy_pending = False
        task.get_coro().close()


def test_two_caches_on_one_store_share_their_flights(tmp_path, colour):
    model = ScriptedModel("a", delay=SLOW)
    url = f"sqlite:///{tmp_path}/a.db"
    function = model.function(colour)
    first, second = (ai_cached(function, cache=Cache(url, timeout=5)) for _ in range(2))

    def either(index):
        return (first, second)[index % 2]("hi")

    assert ["a"] * 6 == together(either, *[(index,) for index in range(6)], colour=colour)
    assert 1 == model.calls


def test_the_same_key_in_recursion_computes(cache, colour, run):
    depth = []

    @ai_cached(cache=cache, version=1)
    def ask(prompt):
        depth.append(prompt)
        return "deep" if len(depth) > 1 else ask(prompt)

    @ai_cached(cache=cache, version=1)
    async def aask(prompt):
        depth.append(prompt)
        return "deep" if len(depth) > 1 else await aask(prompt)

    assert "deep" == run((aask if colour == "async" else ask)("hi"))


def test_two_functions_that_want_each_other_do_not_hang(cache, colour):
    here = threading.Barrier(2, timeout=20)
    met = []

    @ai_cached(cache=cache, version=1)
    def first(prompt, nested=False):
        if not met:
            here.wait()
            met.append(1)
        return "first" if len(met) > 6 else (met.append(1), second(prompt))[1]

    @ai_cached(cache=cache, version=1)
    def second(prompt, nested=False):
        if not met:
            here.wait()
        return "second" if len(met) > 6 else (met.append(1), first(prompt))[1]

    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(first, "hi"), pool.submit(second, "hi")]
        assert {"first", "second"} >= {answer.result(20) for answer in answers}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this platform")
def test_a_child_does_not_wait_for_its_parents_flights(cache):
    ask = ai_cached(ScriptedModel("a", delay=5 * SLOW).function("sync"), cache=cache)
    thread = threading.Thread(target=ask, args=("hi",))
    thread.start()
    time.sleep(SLOW)
    child = os.fork()
    if child == 0:
        os._exit(0 if flight._table == {} else 1)
    assert 0 == os.waitpid(child, 0)[1]
    thread.join(20)


def test_after_a_long_wait_one_waiter_computes_and_lands_it_for_all(cache, monkeypatch):
    monkeypatch.setattr("aicached.collapse.PATIENCE", SLOW)
    calls, release = [], threading.Event()

    @ai_cached(cache=cache, version=1)
    def ask(prompt):
        calls.append(prompt)
        if len(calls) == 1:
            release.wait(20)
        return len(calls)

    with ThreadPoolExecutor(4) as pool:
        stuck = pool.submit(ask, "hi")
        time.sleep(SLOW / 4)
        waiting = [pool.submit(ask, "hi") for _ in range(3)]
        assert [2, 2, 2] == [answer.result(20) for answer in waiting]
        release.set()
        stuck.result(20)
    assert 2 == len(calls)


def test_a_mode_that_does_not_read_is_not_answered_from_a_store(cache, colour, run):
    model = ScriptedModel("a", "b")
    ask = ai_cached(model.function(colour), cache=cache)
    run(ask("hi"))
    with mode("refresh"):
        assert "b" == run(ask("hi"))


def test_who_may_not_store_keeps_nobodys_answer_from_being_stored(cache, colour):
    model = ScriptedModel("a", delay=SLOW)
    ask = ai_cached(model.function(colour), cache=cache)
    reader = ask.cache_with(mode="read_only")
    assert ["a", "a"] == together(lambda first: reader("hi") if first else ask("hi"), (True,), (False,), colour=colour)
    assert 1 == ask.cache_info().stored


def test_who_is_interrupted_before_he_asks_holds_nobody_up(redis_url, monkeypatch):
    with Cache(redis_url) as cache:
        model = ScriptedModel("one")
        ask = ai_cached(model.function("sync"), cache=cache)
        board = Plan.board

        def interrupted(*about):
            board(*about)
            raise KeyboardInterrupt

        monkeypatch.setattr(Plan, "board", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ask("hi")
        monkeypatch.setattr(Plan, "board", board)
        started = time.monotonic()
        assert "one" == ask("hi")
        assert time.monotonic() - started < 20  # and not the whole patience of a minute


def test_who_leads_after_a_wait_looks_again(tmp_path):
    calls, entered, leave, answers = [], threading.Event(), threading.Event(), []

    def origin(prompt):
        calls.append(prompt)
        if calls == ["warm", "hi"]:
            entered.set()
            assert leave.wait(10)
            raise KeyboardInterrupt
        return prompt

    with Cache(f"sqlite:///{tmp_path}/a.db", timeout=5) as cache:
        ask = ai_cached(origin, cache=cache)
        ask("warm")

        def call():
            try:
                answers.append(ask("hi"))
            except KeyboardInterrupt:
                answers.append("interrupted")

        leader, waiter = threading.Thread(target=call), threading.Thread(target=call)
        leader.start()
        assert entered.wait(10)
        (flown,) = flight._table.values()
        waiter.start()
        until = time.monotonic() + 10
        while flown.aboard < 2 and time.monotonic() < until:
            time.sleep(0.001)
        ask.cache_clear()
        leave.set()
        leader.join()
        waiter.join()
        assert ["hi", "interrupted"] == sorted(answers)
        assert "hi" == ask("hi")
        assert ["warm", "hi", "hi"] == calls, "what was stored after the clearing is no answer from before it"
