"""Many consumers of one stream: one origin run, whoever comes, leaves, is slow or is cancelled."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from aicached import Cache, ai_cached, current_call, trace
from aicached.testing import ScriptedModel
from tests.streams.conftest import END

CHUNKS = [str(number) for number in range(30)]


def test_a_joiner_gets_what_was_there_at_once_and_the_rest_live(cache, reader):
    model = ScriptedModel(["a", "b", {"c": 1}, "d"])
    ask = ai_cached(model.streamer(reader.colour), cache=cache)

    async def scenario():
        one = ask("hi")
        first = await reader.some(one, 3)
        two = ask("hi")
        start = time.monotonic()
        joined = await reader.some(two, 3)
        assert time.monotonic() - start < 0.5
        assert ["a", "b", {"c": 1}] == first == joined
        assert joined[2] is not first[2]
        assert "d" == await reader.step(two)
        assert ["d", END] == await reader.some(one, 2)
        assert END == await reader.step(two)
        return await reader.whole(ask("hi"))

    assert ["a", "b", {"c": 1}, "d"] == reader.play(scenario)
    assert 1 == model.calls
    info = ask.cache_info()
    assert (1, 2, 1, 1) == (info.hits, info.misses, info.collapsed, info.stored)


def test_a_joiners_first_chunk_waits_for_nobody(cache):
    """Not even for the pull that is under way."""
    model = ScriptedModel(["a", "b"], delay=0.5)
    ask = ai_cached(model.streamer("sync"), cache=cache)
    one = ask("hi")
    next(one)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(next, one)
        time.sleep(0.1)
        two = ask("hi")
        start = time.monotonic()
        assert "a" == next(two)
        assert time.monotonic() - start < 0.3
        assert "b" == second.result() == next(two)
    assert [[], []] == [list(one), list(two)]


def test_who_leaves_hurts_nobody(cache, reader):
    model = ScriptedModel(CHUNKS)
    ask = ai_cached(model.streamer(reader.colour), cache=cache)

    async def scenario():
        one, two = ask("hi"), ask("hi")
        await reader.some(one, 3)
        await reader.some(two, 1)
        await reader.close(one)
        assert 1 == model.open
        return await reader.whole(two)

    assert CHUNKS[1:] == reader.play(scenario)
    assert (1, 1) == (model.calls, model.closed)
    assert 1 == ask.cache_info().stored


def test_when_the_last_one_leaves_the_source_is_closed_and_the_next_begins_anew(cache, reader):
    model = ScriptedModel(CHUNKS)
    ask = ai_cached(model.streamer(reader.colour), cache=cache)

    async def scenario():
        one, two = ask("hi"), ask("hi")
        await reader.some(one, 3)
        await reader.some(two, 1)
        await reader.close(two)
        assert 1 == model.open
        await reader.close(one)
        assert (0, 1) == (model.open, model.closed)
        return await reader.whole(ask("hi"))

    assert CHUNKS == reader.play(scenario)
    assert 2 == model.calls


def test_a_failure_reaches_everybody_after_the_chunks_before(cache, reader):
    model = ScriptedModel(["a", "b", ValueError("no")])
    ask = ai_cached(model.streamer(reader.colour), cache=cache)

    async def scenario():
        streams, errors = [ask("hi") for _ in range(3)], []
        for stream in streams:
            await reader.step(stream)
        for stream in streams:
            assert "b" == await reader.step(stream)
            with pytest.raises(ValueError, match="no") as caught:
                await reader.step(stream)
            errors.append(caught.value)
        assert 3 == len({id(error) for error in errors})

    reader.play(scenario)
    assert (1, 1) == (model.calls, model.closed)


def test_a_stream_that_is_not_kept_is_shared_all_the_same(cache, reader):
    model = ScriptedModel(CHUNKS)
    ask = ai_cached(model.streamer(reader.colour), cache=cache, cache_if=lambda chunks: False)

    async def scenario():
        streams = [ask("hi") for _ in range(3)]
        for stream in streams:
            await reader.step(stream)
        return [await reader.whole(stream) for stream in streams]

    assert [CHUNKS[1:]] * 3 == reader.play(scenario)
    assert 1 == model.calls


def test_who_does_not_share_streams_for_himself(cache, reader):
    model = ScriptedModel(CHUNKS)
    ask = ai_cached(model.streamer(reader.colour), cache=cache, coalesce=False)

    async def scenario():
        streams = [ask("hi") for _ in range(3)]
        for stream in streams:
            await reader.step(stream)
        return [await reader.whole(stream) for stream in streams]

    assert [CHUNKS[1:]] * 3 == reader.play(scenario)
    assert 3 == model.calls


def test_who_comes_after_an_invalidation_joins_no_stream_from_before(cache, reader):
    model = ScriptedModel(["old", "old"], ["new", "new"])
    ask = ai_cached(model.streamer(reader.colour), cache=cache)

    async def scenario():
        one = ask("hi")
        await reader.step(one)
        await reader.value(ask.cache_invalidate("hi"))
        two = ask("hi")
        assert "new" == await reader.step(two)
        assert ["old"] == await reader.whole(one)
        assert ["new"] == await reader.whole(two)
        return await reader.whole(ask("hi"))

    assert ["new", "new"] == reader.play(scenario)
    assert 2 == model.calls


def test_a_refresh_beside_a_stream_wins(cache, reader):
    model = ScriptedModel(["old", "old"], ["new", "new"])
    ask = ai_cached(model.streamer(reader.colour), cache=cache)

    async def scenario():
        one = ask("hi")
        await reader.step(one)
        assert ["new", "new"] == await reader.whole(await reader.value(ask.cache_refresh("hi")))
        assert ["old"] == await reader.whole(one)
        return await reader.whole(ask("hi"))

    assert ["new", "new"] == reader.play(scenario)


def test_a_stream_that_reads_itself_streams_inside(cache, reader):
    calls = []
    if reader.colour == "sync":

        def ask(prompt):
            calls.append(prompt)
            yield "a"
            if len(calls) < 2:
                yield from cached(prompt)
    else:

        async def ask(prompt):
            calls.append(prompt)
            yield "a"
            if len(calls) < 2:
                async for chunk in cached(prompt):
                    yield chunk

    cached = ai_cached(ask, cache=cache, version=1)

    async def scenario():
        return await reader.whole(cached("hi"))

    assert ["a", "a"] == reader.play(scenario)


def test_every_consumer_sees_the_source_in_the_first_ones_context(cache, reader):
    seen = []
    if reader.colour == "sync":

        def ask(prompt):
            for number in range(20):
                seen.append(current_call())
                yield number
    else:

        async def ask(prompt):
            for number in range(20):
                seen.append(current_call())
                yield number

    cached = ai_cached(ask, cache=cache, version=1)

    async def scenario():
        one, two = cached("hi"), cached("hi")
        await reader.some(one, 2)
        await reader.whole(two)
        await reader.whole(one)

    reader.play(scenario)
    assert 1 == len({id(each) for each in seen})


# A crowd -------------------------------------------------------------------------------------------------------------


def test_fifty_tasks_at_different_moments_some_cancelled_some_slow(cache):
    model = ScriptedModel(CHUNKS, delay=0.01)
    ask = ai_cached(model.streamer("async"), cache=cache)
    draw = random.Random(1)

    async def read(number):
        await asyncio.sleep(draw.uniform(0, 0.25))
        got = []
        async for chunk in ask("hi"):
            got.append(chunk)
            if number % 5 == 1:
                await asyncio.sleep(0.02)
        return got

    async def main():
        tasks = [asyncio.create_task(read(number)) for number in range(50)]
        for number in range(0, 50, 5):
            asyncio.get_running_loop().call_later(draw.uniform(0.05, 0.3), tasks[number].cancel)
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(main())
    whole = [result for result in results if not isinstance(result, asyncio.CancelledError)]
    assert len(whole) >= 40
    assert [CHUNKS] * len(whole) == whole
    assert (1, 1) == (model.calls, model.closed)


def test_the_first_of_many_is_cancelled_before_the_first_chunk(cache):
    model = ScriptedModel(CHUNKS, delay=0.1)
    ask = ai_cached(model.streamer("async"), cache=cache)

    async def read():
        return [chunk async for chunk in ask("hi")]

    async def main():
        first = asyncio.create_task(read())
        await asyncio.sleep(0.01)
        others = [asyncio.create_task(read()) for _ in range(3)]
        await asyncio.sleep(0.02)
        first.cancel()
        await asyncio.wait([first])
        model.delay = 0.001
        return await asyncio.gather(*others)

    assert [CHUNKS] * 3 == asyncio.run(main())
    assert 1 == model.calls


def test_all_are_cancelled_before_the_first_chunk(cache):
    model = ScriptedModel(CHUNKS, delay=0.1)
    ask = ai_cached(model.streamer("async"), cache=cache)

    async def read():
        return [chunk async for chunk in ask("hi")]

    async def main():
        tasks = [asyncio.create_task(read()) for _ in range(3)]
        await asyncio.sleep(0.02)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await asyncio.sleep(0)
        assert (0, 1) == (model.open, model.closed)

    asyncio.run(main())


def test_fifty_threads_at_different_moments_some_leaving_some_slow(cache):
    model = ScriptedModel(CHUNKS, delay=0.01)
    ask = ai_cached(model.streamer("sync"), cache=cache)
    draw = random.Random(1)
    waits = [draw.uniform(0, 0.25) for _ in range(50)]

    def read(number):
        time.sleep(waits[number])
        got = []
        for chunk in ask("hi"):
            got.append(chunk)
            if number % 5 == 0 and len(got) == 7:
                return None
            if number % 5 == 1:
                time.sleep(0.02)
        return got

    with ThreadPoolExecutor(50) as pool:
        results = list(pool.map(read, range(50)))
    whole = [result for result in results if result is not None]
    assert [CHUNKS] * 40 == whole
    assert (1, 1) == (model.calls, model.closed)


def test_consumers_in_several_event_loops(cache):
    model = ScriptedModel(CHUNKS, delay=0.01)
    ask = ai_cached(model.streamer("async"), cache=cache)

    async def read():
        return [chunk async for chunk in ask("hi")]

    with ThreadPoolExecutor(5) as pool:
        assert [CHUNKS] * 5 == list(pool.map(lambda _: asyncio.run(read()), range(5)))
    assert 1 == model.calls


def test_the_event_loop_of_the_recording_ends_and_the_others_are_told(cache):
    model = ScriptedModel(CHUNKS, delay=0.02)
    ask = ai_cached(model.streamer("async"), cache=cache)
    begun = threading.Event()

    async def short():
        async for _ in ask("hi"):
            begun.set()
            await asyncio.sleep(0.1)
            return  # and with it the loop

    async def long():
        async for _ in ask("hi"):
            pass

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(asyncio.run, short())
        begun.wait(5)
        with pytest.raises(RuntimeError, match="interrupted"):
            asyncio.run(long())
        first.result()


def test_a_consumer_that_is_slow_holds_nobody_back(cache):
    model = ScriptedModel([str(number) for number in range(500)])
    ask = ai_cached(model.streamer("async"), cache=cache)

    async def main():
        slow = ask("hi")
        await slow.__anext__()
        fast = await asyncio.wait_for(_whole(ask("hi")), 5)
        return fast, await _whole(slow)

    fast, slow = asyncio.run(main())
    assert 500 == len(fast) == len(slow) + 1


async def _whole(stream):
    return [chunk async for chunk in stream]


def test_the_source_is_read_at_most_64_chunks_ahead(cache):
    pulled = []

    @ai_cached(cache=cache, version=1)
    async def ask(prompt):
        for number in range(1000):
            pulled.append(number)
            yield number

    async def main():
        stream = ask("hi")
        ahead = []
        for number in range(300):
            await stream.__anext__()
            await asyncio.sleep(0)
            ahead.append(len(pulled) - number - 1)
        await stream.aclose()
        return ahead

    ahead = asyncio.run(main())
    assert max(ahead) <= 64
    assert max(ahead[:6]) <= 1


# Time-outs and scopes ------------------------------------------------------------------------------------------------


def test_a_timeout_inside_the_source_hits_the_source_alone(cache):
    async def limited(prompt):
        for number in range(3):
            try:
                await asyncio.wait_for(asyncio.sleep(10 if number == 1 else 0), 0.05)
                yield f"chunk {number}"
            except asyncio.TimeoutError:
                yield "late"

    ask = ai_cached(limited, cache=cache, version=1)

    async def main():
        one, two = ask("hi"), ask("hi")
        await one.__anext__()
        await two.__anext__()
        return await asyncio.gather(_whole(one), _whole(two))

    assert [["late", "chunk 2"]] * 2 == asyncio.run(main())


def test_a_scope_that_stays_open_over_chunks_belongs_to_the_sources_task(cache):
    """Cancel scopes must be left in the task that entered them, whoever reads."""
    anyio = pytest.importorskip("anyio")

    @ai_cached(cache=cache, version=1)
    async def ask(prompt):
        with anyio.move_on_after(0.2) as scope:
            for number in range(100):
                yield number
                await anyio.sleep(0.03)
        yield f"cancelled: {scope.cancelled_caught}"

    async def main():
        one = ask("hi")
        assert 0 == await one.__anext__()
        other = asyncio.create_task(_whole(ask("hi")))
        got = await _whole(one)
        return got[-1], (await other)[-1]

    assert ("cancelled: True",) * 2 == asyncio.run(main())


def test_a_timeout_around_a_consumer_hits_that_consumer_alone(cache):
    model = ScriptedModel(CHUNKS, delay=0.02)
    ask = ai_cached(model.streamer("async"), cache=cache)

    async def main():
        other = asyncio.create_task(_whole(ask("hi")))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(_whole(ask("hi")), 0.1)
        return await other

    assert CHUNKS == asyncio.run(main())
    assert (1, 1) == (model.calls, model.closed)


def test_a_finalizer_takes_no_lock(cache):
    """A stream is dropped by the collector while its very thread holds the lock of flights, or of the recording."""
    from aicached import flight

    model = ScriptedModel(CHUNKS)
    ask = ai_cached(model.streamer("sync"), cache=cache)
    stream = ask("hi")
    next(stream)
    recording = flight._table[next(iter(flight._table))].landing.content
    circle = [stream]
    circle.append(circle)
    del stream
    with flight._lock, recording.lock:
        del circle
        gc.collect()
    list(ask("other"))  # the next caller reads the notes
    assert ["a"] == list(ai_cached(ScriptedModel(["a"]).streamer("sync"), cache=cache)("hi"))
    other = ask("hi")
    assert "0" == next(other)
    other.close()
    assert 0 == model.open


def test_two_runs_never_mix(cache, reader):
    """Chunks carry the number of their run; streams are begun, left and joined at random."""
    runs = []
    if reader.colour == "sync":

        def ask(prompt):
            runs.append(prompt)
            run = len(runs)
            for number in range(10):
                yield run, number
    else:

        async def ask(prompt):
            runs.append(prompt)
            run = len(runs)
            for number in range(10):
                yield run, number

    cached = ai_cached(ask, cache=cache, version=1, cache_if=lambda chunks: False)
    draw = random.Random(7)

    async def scenario():
        open_streams, got = [], []
        for _ in range(600):
            action = draw.random()
            if action < 0.2 or not open_streams:
                open_streams.append((cached("hi"), []))
                got.append(open_streams[-1][1])
                continue
            index = draw.randrange(len(open_streams))
            stream, chunks = open_streams[index]
            if action < 0.35:
                await reader.close(stream)
                del open_streams[index]
                continue
            chunk = await reader.step(stream)
            if chunk == END:
                assert 10 == len(chunks)
                del open_streams[index]
            else:
                chunks.append(chunk)
        for stream, _ in open_streams:
            await reader.close(stream)
        return got

    for chunks in reader.play(scenario):
        assert len({run for run, _ in chunks}) <= 1
        assert list(range(len(chunks))) == [number for _, number in chunks]
    assert 3 < len(runs) < 100


def test_statuses_of_those_who_join(cache, reader):
    model = ScriptedModel(["a", "b"])
    ask = ai_cached(model.streamer(reader.colour), cache=cache)

    async def scenario():
        with trace() as calls:
            one, two = ask("hi"), ask("hi")
            await reader.step(one)
            await reader.step(two)
            await reader.whole(one)
            await reader.whole(two)
        return calls

    assert [(True, False), (False, True)] == [(call.collapsed, call.stored) for call in reader.play(scenario)]


def test_a_hundred_thousand_chunks_take_space_for_their_bytes(reader):
    """Counted are what the recording holds while it runs, and what stays when it is left."""
    import tracemalloc

    chunk = "word "
    if reader.colour == "sync":

        def ask(prompt):
            for number in range(100_000):
                yield f"{chunk}{number:05}"
    else:

        async def ask(prompt):
            for number in range(100_000):
                yield f"{chunk}{number:05}"

    cached = ai_cached(ask, cache=Cache("memory://"), version=1)

    async def scenario():
        gc.collect()
        tracemalloc.start()
        try:
            stream = cached("hi")
            for _ in range(90_000):
                await reader.step(stream)
            held = tracemalloc.get_traced_memory()[0]
            await reader.close(stream)
            del stream
            gc.collect()
            return held, tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()

    held, left = reader.play(scenario)
    assert held < 10 * 90_000 * len("word 00000")
    assert left < 300_000


def test_who_joins_and_leaves_at_once_takes_nothing_from_the_first(cache):
    async def source():
        await asyncio.sleep(0.05)
        for number in range(5):
            yield number

    async def scenario():
        ask = ai_cached(source, cache=cache)
        opened = ai_cached(_opening(source), cache=cache)

        async def all_of(stream):
            return [chunk async for chunk in stream]

        async def one_of(stream):
            found = await anext(stream)
            await stream.aclose()
            return found

        first = asyncio.ensure_future(all_of(ask()))
        await asyncio.sleep(0.01)
        assert 0 == await one_of(ask())
        assert list(range(5)) == await first

        async def opened_first():
            return await all_of(await opened())

        first = asyncio.ensure_future(opened_first())
        await asyncio.sleep(0.01)
        await opened()
        assert list(range(5)) == await first

    asyncio.run(scenario())


def _opening(source):
    async def create():
        return source()

    return create
