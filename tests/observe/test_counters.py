"""What all processes come to together, and what it costs a call: nothing."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import time
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from aicached import Cache, CacheInfo, ConfigurationError, Savings, StoreError, Usage, ai_cached, calculate_savings
from aicached.counters import DAYS, Ledger, Tally
from aicached.stores.memory import MemoryStore
from aicached.testing import FakeClock, FlakyStore

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the address of each store that processes can share."""
    return f"sqlite:///{tmp_path}/answers.db" if request.param == "sqlite" else request.getfixturevalue("redis_url")


def start(tmp_path: Path, source: str, *arguments: str) -> subprocess.Popen[str]:
    script = tmp_path / "worker.py"
    script.write_text(textwrap.dedent(source))
    command = [sys.executable, "-W", "error", str(script), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


WORKER = """
    import sys
    from aicached import Cache, Usage, ai_cached

    cache = Cache(sys.argv[1])

    @ai_cached(cache=cache, usage=lambda value: Usage("small", 30, 20, 0.25))
    def ask(prompt): return prompt

    for prompt in ("a", "b", "a", "a", sys.argv[2]):
        ask(prompt)
    print("done", flush=True)
    input()
"""


def test_three_processes_add_up_when_they_end(url, tmp_path):
    for name in ("one", "two", "three"):
        worker = start(tmp_path, WORKER, url, name)
        out, _ = worker.communicate("\n", timeout=30)
        assert (worker.returncode, out) == (0, "done\n")
    with Cache(url) as cache:
        stats, savings = cache.stats(), cache.savings()
        today = cache.savings(since=date.today() - timedelta(days=1))
    assert list(stats) == ["worker.py:ask"]
    assert (stats["worker.py:ask"].hits, stats.misses, stats.stored) == (10, 5, 5)
    assert stats.hit_rate == 10 / 15
    assert (stats.tokens_spent, stats.tokens_saved, stats.cost_saved) == (250, 500, 2.5)
    assert savings[:5] == (10, 500, 300, 200, 2.5)
    assert "tokens=500," in str(savings)
    assert today == savings


def test_a_process_that_is_killed_loses_no_more_than_its_last_second(url, tmp_path):
    worker = start(tmp_path, WORKER, url, "c")
    assert worker.stdout.readline() == "done\n"
    with Cache(url) as cache:
        for _ in range(100):
            if cache.stats().get("worker.py:ask", CacheInfo()).hits == 2:
                break
            time.sleep(0.05)
        worker.send_signal(signal.SIGKILL)
        worker.communicate(timeout=30)
        assert (cache.stats().hits, cache.stats().misses) == (2, 3)


def test_a_child_pays_for_its_own_calls_alone(url, tmp_path):
    worker = start(
        tmp_path,
        """
        import os, sys
        from aicached import Cache, ai_cached

        cache = Cache(sys.argv[1])

        @ai_cached(cache=cache)
        def ask(prompt): return prompt

        ask("a"); ask("a")
        child = os.fork()
        ask("a")
        if child == 0:
            cache.close()
            os._exit(0)
        os.waitpid(child, 0)
        """,
        url,
    )
    worker.communicate(timeout=30)
    assert worker.returncode == 0
    with Cache(url) as cache:
        assert (cache.stats().hits, cache.stats().misses) == (3, 1)


def test_children_of_multiprocessing_add_theirs_when_they_end(url, tmp_path):
    worker = start(
        tmp_path,
        """
        import multiprocessing, sys
        from aicached import Cache, ai_cached

        cache = Cache(sys.argv[1])

        @ai_cached(cache=cache)
        def ask(prompt): return prompt

        if __name__ == "__main__":
            ask("a")
            children = [multiprocessing.get_context("fork").Process(target=ask, args=("a",)) for _ in range(3)]
            for child in children: child.start()
            for child in children: child.join()
        """,
        url,
    )
    worker.communicate(timeout=30)
    assert worker.returncode == 0
    with Cache(url) as cache:
        assert (cache.stats().hits, cache.stats().misses) == (3, 1)


def answers(cache: Cache, colour: str):
    """Give a function that says what it cost."""
    options = {"cache": cache, "usage": lambda value: Usage("small", 3, 2, 0.1)}
    if colour == "sync":
        return ai_cached(**options)(lambda prompt: prompt)

    async def ask(prompt):
        return prompt

    return ai_cached(**options)(ask)


def test_what_was_counted_a_moment_ago_is_in_the_figures(colour, run):
    cache = Cache("memory://")
    ask = answers(cache, colour)
    for _ in range(4):
        run(ask("hi"))
    stats, savings = (
        (cache.stats(), cache.savings()) if colour == "sync" else (run(cache.astats()), run(cache.asavings()))
    )
    assert (stats.hits, stats.misses) == (3, 1)
    assert savings._replace(seconds=0) == Savings(3, 15, 9, 6, pytest.approx(0.3), 0)
    assert stats.total == next(iter(stats.values()))
    assert not hasattr(stats, "hats")


def test_no_call_asks_the_store_to_count(colour, run):
    store = FlakyStore(MemoryStore())
    ask = answers(Cache(store), colour)
    for _ in range(100):
        run(ask("hi"))
    assert store.operations["add"] == 0


def test_what_a_store_does_not_take_is_added_when_it_does(colour, run):
    store = FlakyStore(MemoryStore())
    cache, clock = Cache(store), FakeClock()
    cache.engine.store.clock = clock
    ask = answers(cache, colour)
    run(ask("hi"))
    run(ask("hi"))
    store.always_fail()
    cache.ledger.flush()
    with pytest.raises(StoreError):
        cache.stats() if colour == "sync" else run(cache.astats())
    store.heal()
    clock.advance(5)
    cache.ledger.flush()
    assert cache.stats().hits == 1
    assert Cache(store).stats().hits == 1  # without anything that this process owes


def test_a_function_that_is_gone_has_still_been_counted():
    cache = Cache("memory://")
    for index in range(50):
        ask = answers(cache, "sync")
        ask(index)
        ask(index)
    del ask
    gc.collect()
    assert (cache.stats().hits, cache.stats().misses) == (50, 50)
    assert len(cache.ledger._followed) <= 1


def test_forgetting_a_functions_counts_leaves_the_sums():
    cache = Cache("memory://")
    ask = answers(cache, "sync")
    ask("hi"), ask("hi")
    ask.cache_clear()
    assert ask.cache_info() == CacheInfo()
    ask("hi")
    assert (ask.cache_info().misses, cache.stats().misses, cache.stats().hits) == (1, 2, 1)


def test_each_cache_counts_what_was_called_on_it():
    first, second = Cache("memory://"), Cache("memory://")
    ask = answers(first, "sync")
    other = ask.cache_with(cache=second)
    ask("hi"), other("hi"), other("hi")
    assert (first.stats().misses, first.stats().hits) == (1, 0)
    assert (second.stats().misses, second.stats().hits) == (1, 1)
    assert (ask.cache_info().misses, ask.cache_info().hits) == (2, 1)


def test_namespaces_count_apart(url):
    with Cache(url, namespace="a") as one, Cache(url, namespace="b") as two:
        answers(one, "sync")("hi")
        assert one.stats().misses == 1
        assert two.stats() == {}
        assert two.stats().total == CacheInfo()
        assert two.savings() == Savings()


class Days:
    """Be a wall clock that is moved by days."""

    def __init__(self) -> None:
        self.now = datetime(2026, 2, 28, 23, 59, tzinfo=timezone.utc).timestamp()

    def __call__(self) -> float:
        return self.now


def test_savings_since_a_day_are_those_of_that_day_and_later():
    days = Days()
    ledger = Ledger(MemoryStore(), "default", days)
    tally = Tally()
    counts = tally.on(ledger, "app:ask")
    for hits in (1, 10, 100):
        counts.hits += hits
        ledger.flush()
        days.now += 86400
    days.now -= 86400  # the evening of the third day
    asked = {
        date(2026, 2, 28): 111,
        date(2026, 3, 1): 110,
        date(2026, 3, 2): 100,
        date(2026, 3, 3): 0,
        date(1999, 1, 1): 111,
        datetime(2026, 3, 1, 23, tzinfo=timezone.utc): 110,
        timedelta(days=1): 110,
        "2d": 111,
        0: 100,
        None: 111,
    }
    assert asked == {since: ledger.savings(since).calls for since in asked}
    assert [1, 10, 100] == [figures["app:ask"]["hits"] for figures in ledger.days(3).values()]
    assert len(ledger.days(DAYS)) == DAYS


@pytest.mark.parametrize("since", ["yesterday", -1, True, float("nan"), [3]])
def test_a_since_that_says_nothing_is_an_error_that_names_it(since):
    with pytest.raises(ConfigurationError, match="since"):
        Cache("memory://").savings(since)


def test_misses_are_told_apart_by_their_reason():
    cache = Cache("memory://")
    ask = answers(cache, "sync")
    ask("hi")
    ask.cache_refresh("hi")
    counts = next(iter(cache.ledger.days(1).values()))[ask.cache_key.__self__._self_site.name]
    assert (counts["misses"], counts["requested"], counts.get("expired", 0)) == (2, 1, 0)


# The calculator ------------------------------------------------------------------------------------------------------


def test_the_calculator_gives_the_figures_of_a_plan():
    assert calculate_savings(10000, 0.70) == {
        "requests": 10000,
        "cache_hit_rate": "70.0%",
        "daily_cost": "$4.50",
        "daily_savings": "$10.50",
        "monthly_savings": "$315.00",
    }
    assert calculate_savings(0, 0)["daily_savings"] == "$0.00"
    assert calculate_savings(10, 1, 2.0, 1000)["daily_savings"] == "$20.00"


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((10000, 1.1), "cache_hit_rate"),
        ((10000, -0.1), "cache_hit_rate"),
        ((-1, 0.5), "requests_per_day"),
        ((1, 0.5, -0.1), "api_cost_per_1k_tokens"),
        ((1, 0.5, 0.1, -5), "avg_tokens_per_request"),
        ((1, float("nan")), "cache_hit_rate"),
        ((float("inf"), 0.5), "requests_per_day"),
        ((1, "70%"), "cache_hit_rate"),
        ((True, 0.5), "requests_per_day"),
    ],
)
def test_a_number_that_cannot_be_meant_is_a_value_error_that_names_it(arguments, name):
    with pytest.raises(ValueError, match=name):
        calculate_savings(*arguments)


# Prices --------------------------------------------------------------------------------------------------------------


def test_prices_of_known_models_come_from_the_price_list_unless_given():
    million = lambda value: Usage("gpt-4o-mini", 1_000_000, 1_000_000)  # noqa: E731
    cost = {}
    for name, prices in (("listed", None), ("given", {"gpt-4o-mini": (1.0, 2.0)})):
        ask = ai_cached(lambda prompt: prompt, cache=Cache("memory://", prices=prices), usage=million)
        ask("hi")
        cost[name] = ask.cache_info().cost_spent
    assert cost["given"] == 3.0
    assert cost["listed"] == pytest.approx(0.15 + 0.60)


def test_a_model_that_no_list_knows_costs_nothing():
    ask = ai_cached(lambda prompt: prompt, cache=Cache("memory://"), usage=lambda value: Usage("my own", 10, 10))
    ask("hi")
    assert (ask.cache_info().tokens_spent, ask.cache_info().cost_spent) == (20, 0.0)
