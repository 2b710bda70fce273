"""Stale streams: served while they are refreshed behind, and where the origin fails before its first chunk."""

from __future__ import annotations

import pytest

from aicached import Cache, ai_cached, trace
from aicached.stores.memory import MemoryStore
from aicached.testing import FakeClock, ScriptedModel
from aicached.testing.models import ModelError


@pytest.fixture
def timed(clock: FakeClock) -> Cache:
    return Cache(MemoryStore(clock=clock))


def test_a_stale_stream_is_served_while_it_is_recorded_again(timed, clock, reader):
    model = ScriptedModel(["old", "er"], ["new", "er"])
    ask = ai_cached(model.streamer(reader.colour), cache=timed, ttl=5, stale_while_revalidate=60)

    async def scenario():
        await reader.whole(ask("hi"))
        clock.advance(10)
        with trace() as calls:
            assert ["old", "er"] == await reader.whole(ask("hi"))
        assert (True, "stale") == (calls[0].hit, calls[0].detail)
        for _ in range(200):
            if model.closed == 2 and await reader.value(ask.cache_contains("hi")):
                break
            await reader.sleep(0.01)
        return await reader.whole(ask("hi"))

    assert ["new", "er"] == reader.play(scenario)
    assert 2 == model.calls
    assert 0 == model.open


def test_a_stale_stream_is_served_where_the_origin_fails_before_its_first_chunk(timed, clock, reader):
    model = ScriptedModel(["old"], ModelError(503))
    ask = ai_cached(model.streamer(reader.colour), cache=timed, ttl=5, stale_if_error=60)

    async def scenario():
        await reader.whole(ask("hi"))
        clock.advance(10)
        with trace() as calls:
            got = await reader.whole(ask("hi"))
        assert "stale: ModelError" == calls[0].detail
        return got

    assert ["old"] == reader.play(scenario)


def test_a_failure_after_the_first_chunk_is_not_rescued(timed, clock, reader):
    model = ScriptedModel(["old", "er"], ["new", ModelError(503)])
    ask = ai_cached(model.streamer(reader.colour), cache=timed, ttl=5, stale_if_error=60)

    async def scenario():
        await reader.whole(ask("hi"))
        clock.advance(10)
        stream = ask("hi")
        assert "new" == await reader.step(stream)
        with pytest.raises(ModelError):
            await reader.step(stream)
        return await reader.step(ask("hi"))

    assert "new" == reader.play(scenario)


def test_a_refresh_that_fails_midway_keeps_what_was_there(timed, clock, reader, warned):
    model = ScriptedModel(["old", "er"], ["new", ModelError(503)], ["newest"])
    ask = ai_cached(model.streamer(reader.colour), cache=timed, ttl=5, stale_while_revalidate=60)

    async def scenario():
        await reader.whole(ask("hi"))
        clock.advance(10)
        await reader.whole(ask("hi"))
        for _ in range(200):
            if model.closed == 2 and warned():
                break
            await reader.sleep(0.01)
        return await reader.whole(ask("hi"))

    assert ["old", "er"] == reader.play(scenario)
    assert 2 == model.calls  # held off
    assert "raised ModelError" in warned()[0]
