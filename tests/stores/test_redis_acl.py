"""The user that the docs propose may do all that the package does, and nothing else."""

from __future__ import annotations

import gc
import logging
import re
from pathlib import Path
from typing import Any

import pytest
import redis

from aicached import Cache, ai_cached, current_call, scope
from tests.servers import RedisServer

PAGE = Path(__file__).parents[2] / "docs" / "redis.md"


@pytest.fixture
def url(own_redis: RedisServer) -> str:
    (line,) = re.findall(r"ACL SETUSER aicached .*", PAGE.read_text())
    with redis.Redis.from_url(own_redis.url) as client:
        client.execute_command(*line.split())
        client.execute_command("ACL LOG RESET")
    return own_redis.url.replace("//", "//aicached:password@")


def everything(cache: Cache, ask: Any, run: Any, colour: str) -> None:
    """Do what a cache can do."""
    for prompt in ("a", "a", "b", "c", "d"):
        with scope("tenant"):
            run(ask(prompt))
        run(ask(prompt))
    run(ask.cache_refresh("a"))
    assert run(ask.cache_contains("a"))
    str(run(ask.cache_explain("new")))
    run(ask.cache_put("x", "e"))
    run(ask.cache_invalidate("a"))
    if colour == "async":
        run(cache.ainvalidate_tags("t", "added"))
        assert [] == run(cache.aentries())
        run(cache.apurge())
        run(cache.aclear())
    else:
        cache.invalidate_tags("t", "added")
        assert [] == cache.entries()
        cache.purge()
        cache.clear()
    assert 0 == ask.cache_info().errors
    assert ask.cache_info().stored >= 8
    run(ask.cache_clear())


@pytest.mark.parametrize("near", [False, True])
@pytest.mark.parametrize("bounds", [{}, {"max_entries": 3, "max_bytes": 10_000}])
def test_the_user_of_the_docs_is_denied_nothing(near, bounds, url, own_redis, colour, run, caplog):
    def answer(prompt):
        current_call().tags.add("added")
        return prompt

    async def aanswer(prompt):
        return answer(prompt)

    cache = Cache(url, near=near, timeout=5, **bounds)
    ask = ai_cached(aanswer if colour == "async" else answer, cache=cache, tags="t", version=1)
    everything(cache, ask, run, colour)
    run(cache.aclose()) if colour == "async" else cache.close()
    with redis.Redis.from_url(own_redis.url) as client:
        assert [] == client.execute_command("ACL LOG")
    assert [] == [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    gc.collect()


def test_it_may_nothing_else(url):
    with redis.Redis.from_url(url) as client:
        for words in (("GET", "mine"), ("FLUSHALL",), ("KEYS", "*"), ("CONFIG", "GET", "*"), ("PUBLISH", "mine", "x")):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*words)
