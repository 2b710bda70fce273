"""What surrounds a call (scope, sample, trace), and what the origin says of its own (current_call)."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar, copy_context

import pytest

from aicached import Cache, CacheStatus, ConfigurationError, Usage, ai_cached, current_call, mode, sample, scope, trace
from aicached.stores.memory import MemoryStore
from aicached.testing import ScriptedModel

TENANT: ContextVar[str] = ContextVar("tenant")


@pytest.fixture
def model():
    return ScriptedModel()


@pytest.fixture
def ask(model, cache, colour):
    return ai_cached(model.function(colour), cache=cache)


def saying(what, colour):
    """Make a function that does *what* with its current call, and answers "answer"."""

    def ask(prompt):
        what(current_call())
        return "answer"

    async def aask(prompt):
        what(current_call())
        return "answer"

    return aask if colour == "async" else ask


# Scope ----------------------------------------------------------------------------------------------------------------


def test_scopes_share_nothing(ask, model, run):
    for name in ("a", "b", "a"):
        with scope(name):
            run(ask("hi"))
    run(ask("hi"))
    run(ask("hi"))
    assert 3 == model.calls


def test_nested_scopes_add_up(ask, model, run):
    paths = [("a", "b"), ("b", "a"), ("ab",), ("a",), ("b",), ("a", "b")]
    for path in paths:
        with scope(path[0]):
            if path[1:]:
                with scope(path[1]):
                    run(ask("hi"))
            else:
                run(ask("hi"))
    assert len(set(paths)) == model.calls


@pytest.mark.parametrize("name", ["", None, 5, ("a",)])
def test_a_scope_is_a_name(name):
    with pytest.raises(ConfigurationError, match="non-empty string"):
        scope(name)


def test_the_scope_is_taken_when_the_function_is_called(cache, model):
    ask = ai_cached(model.function("async"), cache=cache)

    async def main():
        with scope("a"):
            waiting = ask("hi")
        await waiting
        with scope("a"):
            return await ask.cache_contains("hi")

    assert asyncio.run(main()) is True


def test_a_scope_reaches_tasks_and_copied_contexts_alone(cache, model):
    ask = ai_cached(model.function("sync"), cache=cache)
    with scope("a"):
        key = ask.cache_key("hi")
        found = []
        for target in (lambda: copy_context().run(found.append, ask.cache_key("hi")), lambda: found.append(key)):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
        inside = copy_context()
    assert key == found[1] != found[0]
    assert key == inside.run(ask.cache_key, "hi")


def test_a_scope_option_can_be_a_name(ask, model, run):
    run(ask.cache_with(scope="a")("hi"))
    with scope("a"):
        run(ask("hi"))
    assert 1 == model.calls


def test_a_scope_option_can_be_a_function_of_the_arguments(ask, model, run):
    scoped = ask.cache_with(scope=lambda prompt, *, model="small", user, **_: user, ignore=("user",))
    for user in "aba":
        run(scoped("hi", user=user))
    assert 2 == model.calls


def test_a_scope_option_can_be_a_context_variable(ask, model, run):
    scoped = ask.cache_with(scope=TENANT)
    for tenant in "aba":
        token = TENANT.set(tenant)
        run(scoped("hi"))
        TENANT.reset(token)
    assert 2 == model.calls


def test_a_scope_option_adds_to_the_ambient_scope(ask, model, run):
    scoped = ask.cache_with(scope="b")
    with scope("a"):
        run(scoped("hi"))
        with scope("b"):
            run(ask("hi"))
    run(scoped("hi"))
    assert 2 == model.calls


@pytest.mark.parametrize("option", [lambda *_, **__: None, TENANT], ids=["function", "context variable"])
def test_a_scope_that_yields_none_bypasses_with_a_status_and_one_warning(ask, model, run, warned, option):
    scoped = ask.cache_with(scope=option)
    with trace() as calls:
        run(scoped("hi"))
        run(scoped("hi"))
    assert 2 == model.calls
    assert [("bypass", "no scope", None)] * 2 == [(call.fwd, call.detail, call.key) for call in calls]
    assert 2 == scoped.cache_info().bypassed
    (warning,) = warned()
    assert "scope=" in warning


@pytest.mark.parametrize("name", [5, "", b"a", ("a",)])
def test_a_scope_that_yields_no_name_is_an_error_of_the_configuration(ask, model, run, name):
    with pytest.raises(ConfigurationError, match="scope="):
        run(ask.cache_with(scope=lambda *_, **__: name)("hi"))
    assert 0 == model.calls


def test_require_scope_caches_nothing_outside_of_every_scope(model, colour, run, warned):
    ask = ai_cached(model.function(colour), cache=Cache("memory://", require_scope=True))
    with trace() as calls:
        run(ask("hi"))
        run(ask("hi"))
        with scope("a"):
            run(ask("hi"))
            run(ask("hi"))
    assert 3 == model.calls
    assert ["no scope", "no scope", None, None] == [call.detail for call in calls]
    assert 1 == len(warned())


def test_a_scope_option_satisfies_require_scope(model, colour, run):
    ask = ai_cached(model.function(colour), cache=Cache("memory://", require_scope=True), scope="a")
    run(ask("hi"))
    run(ask("hi"))
    assert 1 == model.calls


# Sample ---------------------------------------------------------------------------------------------------------------


def test_samples_are_independent_answers(ask, model, run):
    for index in (0, 1, 2, 1, 2):
        with sample(index):
            run(ask("hi"))
    assert 3 == model.calls


def test_sample_zero_is_the_plain_call(ask, model, run):
    run(ask("hi"))
    with sample(1), sample(0):
        run(ask("hi"))
    assert 1 == model.calls


@pytest.mark.parametrize("index", [-1, True, 1.0, "1", None])
def test_a_sample_is_a_number(index):
    with pytest.raises(ConfigurationError, match="0 or more"):
        sample(index)


# Trace ----------------------------------------------------------------------------------------------------------------


def test_a_trace_tells_every_call_in_order(ask, run):
    with trace() as calls:
        run(ask("hi"))
        run(ask("hi"))
        run(ask("ho"))
    assert [False, True, False] == [call.hit for call in calls]
    assert [True, False, True] == [call.stored for call in calls]
    assert ["uri-miss", None, "uri-miss"] == [call.fwd for call in calls]
    assert calls[0].key == calls[1].key != calls[2].key
    run(ask("ha"))
    assert 3 == len(calls)


def test_a_trace_is_in_order_of_completion(cache):
    go = []

    async def ask(prompt):
        while prompt == "first" and not go:
            await asyncio.sleep(0)
        go.append(prompt)
        return prompt

    cached = ai_cached(ask, cache=cache, usage=lambda answer: Usage(answer))

    async def main():
        with trace() as calls:
            await asyncio.gather(cached("first"), cached("second"))
        return [call.usage.model for call in calls]

    assert ["second", "first"] == asyncio.run(main())


def test_a_trace_tells_an_inner_call_before_the_outer_one(cache):
    @ai_cached(cache=cache)
    def inner(prompt):
        return prompt

    @ai_cached(cache=cache)
    def outer(prompt):
        return inner(prompt)

    with trace() as calls:
        outer("hi")
    assert ["inner", "outer"] == [call.function.rpartition(".")[2] for call in calls]


def test_traces_nest(ask, run):
    with trace() as outer:
        run(ask("a"))
        with trace() as inner:
            run(ask("b"))
    assert (2, 1) == (len(outer), len(inner))
    assert outer[1] is inner[0]


def test_a_status_tells_all_there_is_to_tell(clock, colour, run):
    cached = ai_cached(
        ScriptedModel("answer").function(colour),
        cache=Cache(MemoryStore(clock=clock), namespace="here"),
        ttl=9,
        usage=lambda answer: Usage("m", 3, 4, 0.5),
    )
    with trace() as calls:
        run(cached("hi"))
        clock.advance(2)
        run(cached("hi"))
    miss, hit = calls
    assert "here" == miss.namespace == hit.namespace
    assert cached.cache_key("hi") == miss.key == hit.key
    assert "aicached.testing.models:ask" == miss.function
    assert (9.0, 0.0) == (pytest.approx(miss.ttl), miss.age)
    assert (7.0, 2.0) == (pytest.approx(hit.ttl), pytest.approx(hit.age))
    assert Usage("m", 3, 4, 0.5) == miss.usage == hit.usage
    assert miss.seconds >= miss.origin_seconds > 0
    assert hit.origin_seconds == 0 < hit.store_seconds <= hit.seconds
    assert miss.error is None


def test_a_status_names_the_exception(cache, colour, run):
    ask = ai_cached(ScriptedModel(ValueError("secret")).function(colour), cache=cache)
    with trace() as calls, pytest.raises(ValueError, match="secret"):
        run(ask("hi"))
    assert ("ValueError", False) == (calls[0].error, calls[0].stored)
    assert "secret" not in str(calls[0])


def test_an_expired_entry_is_stale(clock, colour, run, model):
    ask = ai_cached(model.function(colour), cache=Cache(_Keeping(clock=clock)), ttl=5)
    run(ask("hi"))
    clock.advance(6)
    with trace() as calls:
        run(ask("hi"))
    assert "stale" == calls[0].fwd


class _Keeping(MemoryStore):
    """Forget nothing by itself."""

    def set(self, key, data, lifetime):
        super().set(key, data, None)


def test_a_status_reads_as_a_cache_status_header():
    status = CacheStatus("m:f", "default", hit=False, fwd="uri-miss", stored=True, ttl=59.9, key="ab", detail='a "b"')
    assert 'aicached; fwd=uri-miss; stored; ttl=59; key="ab"; detail="a \\"b\\""' == str(status)
    assert "aicached; hit; ttl=7" == str(CacheStatus("m:f", "default", hit=True, ttl=7.5))


# The current call -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ttl", "kept"), [(5, 5), ("2s", 2), (None, None)])
def test_the_origin_sets_the_ttl_of_its_answer(clock, colour, run, ttl, kept):
    def what(call):
        call.ttl = ttl

    cached = ai_cached(saying(what, colour), cache=Cache(MemoryStore(clock=clock)), ttl=9, version=1)
    run(cached("hi"))
    clock.advance((kept or 10**9) * 0.94)
    assert run(cached.cache_contains("hi")) is True
    clock.advance((kept or 0) * 0.07)
    assert run(cached.cache_contains("hi")) is (kept is None)


@pytest.mark.parametrize("ttl", [0, "soon", -1])
def test_a_ttl_of_nothing_keeps_nothing(cache, colour, run, ttl):
    def what(call):
        call.ttl = ttl

    cached = ai_cached(saying(what, colour), cache=cache, version=1)
    assert "answer" == run(cached("hi"))
    assert run(cached.cache_contains("hi")) is False


def test_the_origin_adds_tags(clock, colour, run):
    store = MemoryStore(clock=clock)
    cached = ai_cached(
        saying(lambda call: call.tags.add("mine"), colour), cache=Cache(store), tags=("theirs",), version=1
    )
    run(cached("hi"))
    assert ("mine", "theirs") == store.get(b"v" + bytes.fromhex(cached.cache_key("hi"))).meta.tags


def test_tags_can_be_a_function_of_the_arguments(colour, run, model):
    store = MemoryStore()
    ask = ai_cached(model.function(colour), cache=Cache(store), tags=lambda prompt, **_: [f"about {prompt}"])
    run(ask("hi"))
    assert ("about hi",) == store.get(b"v" + bytes.fromhex(ask.cache_key("hi"))).meta.tags


def test_the_origin_skips_its_answer(cache, colour, run):
    cached = ai_cached(saying(lambda call: call.skip("not today"), colour), cache=cache, version=1)
    with trace() as calls:
        run(cached("hi"))
    assert ("not today", False) == (calls[0].detail, calls[0].stored)
    assert 1 == cached.cache_info().refused


def test_the_origin_sees_the_entry_that_is_replaced(clock, colour, run):
    seen = []
    cached = ai_cached(
        saying(lambda call: seen.append(call.stale), colour), cache=Cache(_Keeping(clock=clock)), ttl=5, version=1
    )
    run(cached("hi"))
    clock.advance(60)
    run(cached("hi"))
    assert seen[0] is None
    assert 60.0 == seen[1].age(clock())


def test_what_one_call_says_is_forgotten_by_the_next(cache, colour, run):
    skips = iter(["first only"])
    cached = ai_cached(saying(lambda call: [call.skip(why) for why in skips], colour), cache=cache, version=1)
    run(cached("hi"))
    run(cached("hi"))
    assert (1, 1) == (cached.cache_info().refused, cached.cache_info().stored)


def test_an_inner_call_speaks_of_itself_alone(cache):
    @ai_cached(cache=cache)
    def inner(prompt):
        current_call().skip("inner")
        return prompt

    @ai_cached(cache=cache)
    def outer(prompt):
        said = inner(prompt)
        current_call().tags.add("outer")
        return said

    with trace() as calls:
        outer("hi")
    assert ["inner", None] == [call.detail for call in calls]


def test_outside_of_a_call_settings_go_nowhere(ask, run):
    call = current_call()
    call.ttl = 5
    call.tags.add("x")
    call.skip("why")
    assert call.stale is None
    assert "shown" == call.saw("shown")
    assert current_call() is not call
    run(ask("hi"))
    assert run(ask.cache_contains("hi")) is True


def test_after_a_call_nothing_is_current(ask, run):
    run(ask("hi"))
    assert current_call() is not current_call()


def test_calls_at_once_have_a_current_call_each(cache):
    async def ask(prompt):
        mine = current_call()
        await asyncio.sleep(0)
        assert mine is current_call()
        if prompt == "a":
            mine.skip("a")
        return prompt

    cached = ai_cached(ask, cache=cache, version=1)

    async def main():
        await asyncio.gather(*map(cached, "abc"))
        return [await cached.cache_contains(prompt) for prompt in "abc"]

    assert [False, True, True] == asyncio.run(main())


def test_saw_shows_that_an_answer_is_cut(cache, colour, run):
    cut = {"object": "chat.completion", "choices": [{"finish_reason": "length", "message": {"content": "cu"}}]}
    cached = ai_cached(saying(lambda call: call.saw(cut), colour), cache=cache, version=1)
    with trace() as calls:
        assert "answer" == run(cached("hi"))
    assert ("incomplete: length", False) == (calls[0].detail, calls[0].stored)


def test_a_bypassed_call_has_a_current_call_too(cache, colour, run):
    cached = ai_cached(saying(lambda call: call.skip("x"), colour), cache=cache, version=1)
    with mode("off"):
        assert "answer" == run(cached("hi"))
