"""Generator functions of both colours: recorded as they are read, kept when they end, replayed chunk for chunk."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import math
import types
import weakref
from dataclasses import dataclass

import pytest

from aicached import Cache, ConfigurationError, UnkeyableArgument, ai_cached, current_call, mode, sample, scope, trace
from aicached.testing import RateLimited, ScriptedModel
from aicached.testing.models import ModelError
from tests.streams.conftest import END


@dataclass
class Piece:
    text: str
    number: float = 1.0


ODD = ["", "a", None, 0, False, b"", 0.0, -0.0, "", {"a": [1, (2, 3)]}, [], (), {1}, "\ud800", 2**70, Piece("x"), "end"]


def typed(chunks):
    return [(type(chunk), repr(chunk)) for chunk in chunks]


def test_a_generator_function_stays_one(cache, colour):
    ask = ai_cached(ScriptedModel().streamer(colour), cache=cache)
    if colour == "sync":
        assert inspect.isgeneratorfunction(ask)
        assert not inspect.isasyncgenfunction(ask)
        stream = ask("hi")
        assert inspect.isgenerator(stream)
        stream.close()
    else:
        assert inspect.isasyncgenfunction(ask)
        assert not inspect.iscoroutinefunction(ask)
        assert inspect.isasyncgen(ask("hi"))


def test_every_kind_of_chunk_comes_back_as_it_was(any_cache, reader):
    model = ScriptedModel(ODD)
    cached = ai_cached(model.streamer(reader.colour), cache=any_cache)
    if reader.colour == "sync":

        def ask(prompt) -> Piece:
            yield from model.streamer("sync")(prompt)
    else:

        async def ask(prompt) -> Piece:
            async for chunk in model.streamer("async")(prompt):
                yield chunk

    cached = ai_cached(ask, cache=any_cache, version=1)

    async def scenario():
        first = await reader.whole(cached("hi"))
        return first, await reader.whole(cached("hi"))

    first, second = reader.play(scenario)
    assert typed(ODD) == typed(first) == typed(second)
    assert 1 == model.calls


def test_a_stream_of_no_chunks_is_a_stream(any_cache, reader):
    model = ScriptedModel([])
    ask = ai_cached(model.streamer(reader.colour), cache=any_cache)

    async def scenario():
        return [await reader.whole(ask("hi")) for _ in range(2)]

    assert [[], []] == reader.play(scenario)
    assert 1 == model.calls


def test_chunks_go_out_as_they_come(cache, reader):
    model = ScriptedModel(["a", "b", "c"])
    ask = ai_cached(model.streamer(reader.colour), cache=cache)

    async def scenario():
        stream = ask("hi")
        assert 0 == model.calls  # nothing begins before the first step
        assert "a" == await reader.step(stream)
        assert 1 == model.open
        assert not await reader.value(ask.cache_contains("hi"))
        assert ["b", "c", END] == await reader.some(stream, 3)
        assert await reader.value(ask.cache_contains("hi"))
        assert END == await reader.step(stream)

    reader.play(scenario)
    assert (0, 1) == (model.open, model.closed)


def test_a_generators_return_value_is_part_of_the_tape(any_cache):
    @ai_cached(cache=any_cache, version=1)
    def ask(prompt):
        yield "a"
        return {"tokens": 7}

    def outer():
        return (yield from ask("hi"))

    for _ in range(2):
        stream = outer()
        assert "a" == next(stream)
        with pytest.raises(StopIteration) as ended:
            next(stream)
        assert {"tokens": 7} == ended.value.value
    assert 1 == ask.cache_info().hits


def test_who_changes_a_chunk_changes_no_other(cache, reader):
    ask = ai_cached(ScriptedModel([{"a": []}, "b"]).streamer(reader.colour), cache=cache)

    async def scenario():
        stream = ask("hi")
        (await reader.step(stream))["a"].append("mine")
        await reader.whole(stream)
        second = await reader.whole(ask("hi"))
        second[0]["a"].append("mine")
        return await reader.whole(ask("hi"))

    assert [{"a": []}, "b"] == reader.play(scenario)


def test_a_stream_that_is_left_is_not_kept_and_the_next_is_whole(any_cache, reader):
    model = ScriptedModel(["a", "b", "c", "d"])
    ask = ai_cached(model.streamer(reader.colour), cache=any_cache)

    async def scenario():
        stream = ask("hi")
        assert ["a", "b"] == await reader.some(stream, 2)
        await reader.close(stream)
        assert (0, 1) == (model.open, model.closed)
        assert END == await reader.step(stream)
        assert not await reader.value(ask.cache_contains("hi"))
        return await reader.whole(ask("hi"))

    assert ["a", "b", "c", "d"] == reader.play(scenario)
    assert (2, 2) == (model.calls, model.closed)


def test_a_stream_that_is_dropped_closes_its_source(cache):
    model = ScriptedModel(["a", "b"])
    ask = ai_cached(model.streamer("sync"), cache=cache)
    stream = ask("hi")
    next(stream)
    del stream
    gc.collect()
    assert (0, 1) == (model.open, model.closed)


def test_a_cancelled_reader_closes_the_source_before_he_is_gone(cache):
    model = ScriptedModel(["a", "b"], delay=0.05)
    ask = ai_cached(model.streamer("async"), cache=cache)

    async def read():
        async for _ in ask("hi"):
            pass

    async def main():
        task = asyncio.create_task(read())
        await asyncio.sleep(0.08)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (0, 1) == (model.open, model.closed)
        return [chunk async for chunk in ask("hi")]

    assert ["a", "b"] == asyncio.run(main())


def test_a_source_that_fails_midway_fails_after_the_chunks_before(any_cache, reader):
    model = ScriptedModel(["a", "b", KeyError("no")], ["a", "b", "c"])
    ask = ai_cached(model.streamer(reader.colour), cache=any_cache)

    async def scenario():
        stream = ask("hi")
        assert ["a", "b"] == await reader.some(stream, 2)
        with pytest.raises(KeyError, match="no"):
            await reader.step(stream)
        assert not await reader.value(ask.cache_contains("hi"))
        assert END == await reader.step(stream)
        return await reader.whole(ask("hi"))

    assert ["a", "b", "c"] == reader.play(scenario)
    assert 2 == model.closed


def test_only_what_fails_before_the_first_chunk_is_tried_again(cache, reader, waits):
    model = ScriptedModel(RateLimited(2), [ModelError(503), "never"], ["a", ModelError(503)], ["b"])
    ask = ai_cached(model.streamer(reader.colour), cache=cache)

    async def scenario():
        stream = ask("hi")
        assert "a" == await reader.step(stream)
        with pytest.raises(ModelError):
            await reader.step(stream)

    reader.play(scenario)
    assert 3 == model.calls
    assert 2 == waits[0]
    assert 2 == len(waits)


def test_retries_can_be_switched_off(cache, reader):
    model = ScriptedModel(RateLimited(), ["a"])
    ask = ai_cached(model.streamer(reader.colour), cache=cache, retry=False)

    async def scenario():
        with pytest.raises(RateLimited):
            await reader.step(ask("hi"))

    reader.play(scenario)
    assert 1 == model.calls


def test_the_rule_sees_the_list_of_chunks(cache, reader):
    shown = []
    model = ScriptedModel(["a", {"b": 1}])
    ask = ai_cached(model.streamer(reader.colour), cache=cache, cache_if=lambda chunks: shown.append(chunks))

    async def scenario():
        return [await reader.whole(ask("hi")) for _ in range(2)]

    assert [["a", {"b": 1}]] * 2 == reader.play(scenario) == shown
    assert 2 == model.calls
    assert 2 == ask.cache_info().refused


def test_a_rule_that_is_new_is_asked_about_what_is_stored(cache, reader):
    model = ScriptedModel(["a"])
    ask = ai_cached(model.streamer(reader.colour), cache=cache)

    async def scenario():
        await reader.whole(ask("hi"))
        await reader.whole(ask.cache_with(cache_if=lambda chunks: chunks == ["a"])("hi"))
        assert 1 == model.calls
        await reader.whole(ask.cache_with(cache_if=lambda chunks: chunks != ["a"])("hi"))
        assert 2 == model.calls

    reader.play(scenario)


def test_the_source_can_say_something_about_its_answer(cache, reader):
    if reader.colour == "sync":

        def ask(prompt):
            current_call().tags.add("mine")
            yield "a"
            current_call().ttl = 60
    else:

        async def ask(prompt):
            current_call().tags.add("mine")
            yield "a"
            current_call().ttl = 60

    cached = ai_cached(ask, cache=cache)

    async def scenario():
        await reader.whole(cached("hi"))

    reader.play(scenario)
    (info,) = cache.entries()
    assert ("mine",) == info.tags
    assert 50 < info.ttl <= 60


def test_statuses_and_counts(cache, reader):
    model = ScriptedModel(["a", "b"])
    ask = ai_cached(model.streamer(reader.colour), cache=cache)

    async def scenario():
        with trace() as calls:
            for _ in range(2):
                await reader.whole(ask("hi"))
            stream = ask("other")
            await reader.step(stream)
            await reader.close(stream)
        return calls

    calls = reader.play(scenario)
    assert [(False, True, None), (True, False, None), (False, False, "abandoned")] == [
        (call.hit, call.stored, call.detail) for call in calls
    ]
    info = ask.cache_info()
    assert (1, 2, 1) == (info.hits, info.misses, info.stored)


def test_modes(cache, reader):
    model = ScriptedModel(["a"], ["b"], ["c"], ["d"], ["e"])
    ask = ai_cached(model.streamer(reader.colour), cache=cache)

    async def scenario():
        got = []
        for name in ("read_only", "on", "on", "off", "refresh", "on", "write_only", "on"):
            with mode(name):
                stream = ask("hi")
            got += await reader.whole(stream)
        return got

    assert ["a", "b", "b", "c", "d", "d", "e", "e"] == reader.play(scenario)


def test_samples_and_scopes_are_apart(cache, reader):
    model = ScriptedModel(["a"], ["b"], ["c"])
    ask = ai_cached(model.streamer(reader.colour), cache=cache)

    async def scenario():
        got = await reader.whole(ask("hi"))
        with sample(1):
            got += await reader.whole(ask("hi"))
        with scope("tenant"):
            got += await reader.whole(ask("hi"))
        return got + await reader.whole(ask("hi"))

    assert ["a", "b", "c", "a"] == reader.play(scenario)


def test_the_methods_of_a_cached_generator_function(any_cache, reader):
    model = ScriptedModel(["a"], ["b"], ["c"], ["d"])
    ask = ai_cached(model.streamer(reader.colour), cache=any_cache)

    async def scenario():
        value = reader.value
        assert await value(ask.cache_put(["x", "", 1], "hi"))
        assert await value(ask.cache_contains("hi"))
        assert ["x", "", 1] == await reader.whole(ask("hi"))
        assert (await value(ask.cache_explain("hi"))).hit
        await value(ask.cache_invalidate("hi"))
        assert ["a"] == await reader.whole(ask("hi"))
        assert ["b"] == await reader.whole(await value(ask.cache_refresh("hi")))
        assert ["b"] == await reader.whole(ask("hi"))
        await value(ask.cache_clear())
        assert ["c"] == await reader.whole(ask("hi"))
        streams = await value(ask.cache_samples(2, "hi"))
        assert [["c"], ["d"]] == [await reader.whole(stream) for stream in streams]

    reader.play(scenario)
    assert 4 == model.calls


def test_an_argument_without_a_key_fails_at_the_first_step(cache, reader):
    ask = ai_cached(ScriptedModel().streamer(reader.colour), cache=cache)

    async def scenario():
        stream = ask(object())
        with pytest.raises(UnkeyableArgument):
            await reader.step(stream)
        bypassed = ask.cache_with(on_unkeyable="bypass")("hi", other=object())
        assert ["hi"] == await reader.whole(bypassed)

    reader.play(scenario)


def test_methods_classmethods_staticmethods_and_partials(cache):
    calls = []

    class Model:
        def __cache_key__(self):
            return "model"

        @ai_cached(cache=cache)
        def plain(self, prompt):
            calls.append(prompt)
            yield prompt

        @ai_cached(cache=cache)
        @classmethod
        def of_class(cls, prompt):
            calls.append(prompt)
            yield cls.__name__

        @ai_cached(cache=cache)
        @staticmethod
        def of_none(prompt):
            calls.append(prompt)
            yield prompt

    def two(prompt, word):
        calls.append(prompt)
        yield prompt + word

    part = ai_cached(functools.partial(two, word="!"), cache=cache)
    for _ in range(2):
        assert ["a"] == list(Model().plain("a"))
        assert ["Model"] == list(Model.of_class("a"))
        assert ["a"] == list(Model.of_none("a"))
        assert ["a!"] == list(part("a"))
    assert 4 == len(calls)


# Sending and throwing ------------------------------------------------------------------------------------------------


def echo(colour):
    def ask(prompt):
        got = yield prompt
        while got is not None:
            try:
                got = yield f"got {got}"
            except ValueError as error:
                got = yield f"caught {error}"

    async def aask(prompt):
        got = yield prompt
        while got is not None:
            try:
                got = yield f"got {got}"
            except ValueError as error:
                got = yield f"caught {error}"

    return ask if colour == "sync" else aask


def test_what_is_sent_and_thrown_reaches_the_source_and_nothing_is_kept(cache, reader):
    ask = ai_cached(echo(reader.colour), cache=cache)

    async def scenario():
        stream = ask("hi")
        send = stream.send if reader.colour == "sync" else stream.asend
        throw = stream.throw if reader.colour == "sync" else stream.athrow
        got = [await reader.step(stream)]
        got += [await reader.value(send(1)), await reader.value(throw(ValueError("no"))), await reader.value(send(2))]
        assert ["hi", "got 1", "caught no", "got 2"] == got
        assert END == await reader.step(stream)
        assert not await reader.value(ask.cache_contains("hi"))
        assert "steered" in str(ask.cache_info().refused and "steered")

    reader.play(scenario)


def test_nobody_sends_into_a_stream_that_others_read(cache, reader):
    ask = ai_cached(echo(reader.colour), cache=cache)

    async def scenario():
        one, two = ask("hi"), ask("hi")
        assert ["hi", "hi"] == [await reader.step(one), await reader.step(two)]
        send = one.send if reader.colour == "sync" else one.asend
        with pytest.raises(RuntimeError, match="others read"):
            await reader.value(send(1))
        return await reader.whole(two)

    assert [] == reader.play(scenario)


def test_what_is_thrown_into_a_replay_comes_back(cache, reader):
    ask = ai_cached(ScriptedModel(["a", "b"]).streamer(reader.colour), cache=cache)

    async def scenario():
        await reader.whole(ask("hi"))
        stream = ask("hi")
        assert "a" == await reader.step(stream)
        throw = stream.throw if reader.colour == "sync" else stream.athrow
        with pytest.raises(ValueError, match="mine"):
            await reader.value(throw(ValueError("mine")))
        stream = ask("hi")
        await reader.step(stream)
        send = stream.send if reader.colour == "sync" else stream.asend
        assert "b" == await reader.value(send("nobody is there"))

    reader.play(scenario)


# Options -------------------------------------------------------------------------------------------------------------


def test_a_replay_can_be_paced(cache, reader, waits):
    ask = ai_cached(ScriptedModel(["a", "b", "c"]).streamer(reader.colour), cache=cache, replay_delay="20ms")

    async def scenario():
        await reader.whole(ask("hi"))
        assert [] == waits
        return await reader.whole(ask("hi"))

    assert ["a", "b", "c"] == reader.play(scenario)
    assert [0.02, 0.02] == waits


@pytest.mark.parametrize(
    "options", [{"on_abandon": "keep"}, {"stream_wait": -1}, {"replay_delay": math.nan}, {"replay_delay": True}]
)
def test_options_that_cannot_be_meant(options):
    (name,) = options
    with pytest.raises(ConfigurationError, match=name):
        ai_cached(ScriptedModel().streamer("sync"), **options)


def test_a_stream_that_nobody_reads_any_more_can_be_recorded_to_its_end(any_cache, reader):
    model = ScriptedModel([str(number) for number in range(100)], delay=0.001)
    ask = ai_cached(model.streamer(reader.colour), cache=any_cache, on_abandon="finish")

    async def scenario():
        stream = ask("hi")
        await reader.some(stream, 2)
        await reader.close(stream)
        for _ in range(500):
            if await reader.value(ask.cache_contains("hi")):
                break
            await reader.sleep(0.01)
        return await reader.whole(ask("hi"))

    assert [str(number) for number in range(100)] == reader.play(scenario)
    assert (1, 1) == (model.calls, model.closed)


def test_a_stream_that_goes_on_for_nobody_can_be_joined(cache, reader):
    model = ScriptedModel([str(number) for number in range(20)], delay=0.02)
    ask = ai_cached(model.streamer(reader.colour), cache=cache, on_abandon="finish")

    async def scenario():
        stream = ask("hi")
        await reader.some(stream, 2)
        await reader.close(stream)
        return await reader.whole(ask("hi"))

    assert [str(number) for number in range(20)] == reader.play(scenario)
    assert 1 == model.calls


# Bounds --------------------------------------------------------------------------------------------------------------


def test_a_stream_that_is_too_long_goes_on_unrecorded(reader):
    cache = Cache("memory://", max_value_bytes=1000)
    chunks = [str(number) * 5 for number in range(500)]
    model = ScriptedModel(chunks)
    ask = ai_cached(model.streamer(reader.colour), cache=cache)

    async def scenario():
        with trace() as calls:
            assert chunks == await reader.whole(ask("hi"))
        assert "too large" == calls[0].detail
        assert not await reader.value(ask.cache_contains("hi"))

    reader.play(scenario)


def test_a_chunk_that_cannot_be_stored_is_passed_on(cache, reader, warned):
    odd = object()
    model = ScriptedModel(["a", odd, "b"])
    ask = ai_cached(model.streamer(reader.colour), cache=cache)

    async def scenario():
        return [await reader.whole(ask("hi")) for _ in range(2)]

    assert [["a", odd, "b"]] * 2 == reader.play(scenario)
    assert 1 == len(warned())


def test_what_was_passed_on_of_a_stream_that_is_too_long_is_let_go(reader):
    class Big:
        pass

    known = []

    def chunk():
        big = Big()
        known.append(weakref.ref(big))
        return big

    if reader.colour == "sync":

        def ask(prompt):
            for _ in range(50):
                yield chunk()
    else:

        async def ask(prompt):
            for _ in range(50):
                yield chunk()

    cached = ai_cached(ask, cache=Cache("memory://"), version=1)

    async def scenario():
        stream = cached("hi")
        await reader.some(stream, 6)
        gc.collect()
        assert [None] * 4 == [each() for each in known[:4]]
        await reader.close(stream)

    reader.play(scenario)


# What functions return -----------------------------------------------------------------------------------------------


class Stream:
    """Look like an SDK's stream."""

    made = 0

    def __init__(self, chunks):
        Stream.made += 1
        self.chunks = iter(chunks)
        self.closes = 0
        self.response = "a response"

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.chunks)

    def close(self):
        self.closes += 1


class AsyncStream(Stream):
    __iter__ = __next__ = None

    def __aiter__(self):
        return self

    async def __anext__(self):
        try:
            return next(self.chunks)
        except StopIteration:
            raise StopAsyncIteration from None

    async def close(self):
        self.closes += 1


def returning(colour, chunks, kept):
    def ask(prompt):
        kept.append(Stream(chunks))
        return kept[-1]

    async def aask(prompt):
        kept.append(AsyncStream(chunks))
        return kept[-1]

    return ask if colour == "sync" else aask


def test_a_stream_that_a_function_returns(any_cache, reader):
    kept = []
    ask = ai_cached(returning(reader.colour, ["a", "", "b"], kept), cache=any_cache, version=1)

    async def scenario():
        first = await reader.value(ask("hi"))
        assert "a response" == first.response
        assert ["a", "", "b"] == await reader.whole(first)
        second = await reader.value(ask("hi"))
        assert not hasattr(second, "response")
        assert ["a", "", "b"] == await reader.whole(second)
        await reader.close(second)

    reader.play(scenario)
    assert [1] == [stream.closes for stream in kept]


def test_a_returned_stream_is_a_context_manager(cache, reader):
    kept = []
    ask = ai_cached(returning(reader.colour, ["a", "b", "c"], kept), cache=cache, version=1)

    async def scenario():
        stream = await reader.value(ask("hi"))
        if reader.colour == "sync":
            with stream as entered:
                assert "a" == next(entered)
        else:
            async with stream as entered:
                assert "a" == await entered.__anext__()
        assert [1] == [each.closes for each in kept]
        assert not await reader.value(ask.cache_contains("hi"))

    reader.play(scenario)


def test_a_returned_stream_that_nobody_reads_is_closed(cache, reader):
    kept = []
    ask = ai_cached(returning(reader.colour, ["a", "b"], kept), cache=cache, version=1)

    async def scenario():
        stream = await reader.value(ask("hi"))
        del stream
        gc.collect()
        await reader.sleep(0.01)
        assert [1] == [each.closes for each in kept]

    reader.play(scenario)


def test_a_generator_that_a_function_returns(cache, reader):
    model = ScriptedModel(["a", "b"])
    stream = model.streamer(reader.colour)

    def ask(prompt):
        return stream(prompt)

    async def aask(prompt):
        return stream(prompt)

    cached = ai_cached(ask if reader.colour == "sync" else aask, cache=cache, version=1)

    async def scenario():
        return [await reader.whole(await reader.value(cached("hi"))) for _ in range(2)]

    assert [["a", "b"]] * 2 == reader.play(scenario)
    assert 1 == model.calls


def test_a_coroutine_that_returns_a_sync_generator(cache):
    @ai_cached(cache=cache, version=1)
    async def ask(prompt):
        return (word for word in prompt.split())

    async def main():
        return [list(await ask("a b")) for _ in range(2)]

    assert [["a", "b"]] * 2 == asyncio.run(main())
    assert 1 == ask.cache_info().hits


def test_a_plain_function_that_returns_an_async_iterator(cache):
    model = ScriptedModel(["a", "b"])

    def ask(prompt):
        return model.streamer("async")(prompt)

    cached = ai_cached(ask, cache=cache, version=1, colour="async")

    async def main():
        assert ["a", "b"] == [chunk async for chunk in cached("hi")]
        assert ["a", "b"] == [chunk async for chunk in cached("hi")]
        assert ["a", "b"] == [chunk async for chunk in await cached("hi")]
        async with cached("hi") as stream:
            assert "a" == await stream.__anext__()
        assert await cached.cache_contains("hi")

    asyncio.run(main())
    assert 1 == model.calls


def test_a_plain_function_that_returns_an_awaitable_still_does(cache):
    @ai_cached(cache=cache, version=1, colour="async")
    def ask(prompt):
        return ScriptedModel().acall(prompt)

    async def main():
        assert ["hi", "hi"] == await asyncio.gather(ask("hi"), asyncio.create_task(ask("hi")))
        assert "hi" == await asyncio.wait_for(ask("hi"), 1)

    asyncio.run(main())


def test_a_wrapper_around_an_async_generator_function(cache):
    model = ScriptedModel(["a", "b"])
    inner = model.streamer("async")

    @functools.wraps(inner)
    def wrapper(*args, **kwargs):
        return inner(*args, **kwargs)

    cached = ai_cached(wrapper, cache=cache, version=1)

    async def main():
        first = [chunk async for chunk in cached("hi")]
        return first, [chunk async for chunk in cached("hi")]

    assert (["a", "b"], ["a", "b"]) == asyncio.run(main())
    assert 1 == model.calls


def test_a_sync_function_that_returns_an_async_stream_is_told_of_its_colour(cache, warned):
    model = ScriptedModel(["a", "b"])

    @ai_cached(cache=cache, version=1)
    def ask(prompt):
        return model.streamer("async")(prompt)

    async def main():
        assert isinstance(ask("hi"), types.AsyncGeneratorType)
        return [chunk async for chunk in ask("hi")]

    assert ["a", "b"] == asyncio.run(main())
    assert ["colour=" in text for text in warned()] == [True]


def test_files_and_cursors_are_no_streams(cache, tmp_path, warned):
    path = tmp_path / "lines"
    path.write_text("a\nb\n")

    @ai_cached(cache=cache)
    def ask(prompt):
        return path.open()

    with ask("hi") as lines:
        assert ["a\n", "b\n"] == lines.readlines()
    assert 1 == len(warned())


def test_streaming_and_plain_answers_of_one_call_are_two_entries(cache):
    calls = []

    @ai_cached(cache=cache, version=1, ignore=("stream",))
    def ask(prompt, *, stream=False):
        calls.append(stream)
        return (word for word in prompt.split()) if stream else prompt

    for _ in range(2):
        assert ["a", "b"] == list(ask("a b", stream=True))
        assert "a b" == ask("a b")
    assert [True, False] == calls


def test_a_value_that_was_stored_before_a_function_became_a_generator_is_a_miss(cache):
    def plain(prompt):
        return [prompt]

    def stream(prompt):
        yield prompt

    plain.__qualname__ = stream.__qualname__ = "ask"
    assert ["hi"] == ai_cached(plain, cache=cache, version=1)("hi")
    cached = ai_cached(stream, cache=cache, version=1)
    assert [["hi"], ["hi"]] == [list(cached("hi")) for _ in range(2)]
    assert 1 == cached.cache_info().hits
