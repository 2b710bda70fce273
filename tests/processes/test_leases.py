"""One computation among processes: real ones, that are killed, paused and cut off. A lease lasts one second here."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest
import redis

from tests.processes.fleet import Fleet
from tests.proxy import Proxy
from tests.servers import RedisServer

#: Seconds; a wait that should be as long as a lease takes less than three times that, on a machine that is busy.
LEASE = 1.0
LONG = 3 * LEASE


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/answers.db"
    return str(request.getfixturevalue("redis_url"))


@pytest.fixture
def proxied(redis_server: RedisServer, redis_url: str) -> Iterator[Proxy]:
    """Give a proxy before the shared server, emptied."""
    with Proxy(redis_server.port) as proxy:
        yield proxy


def test_eight_processes_make_one_call(url, tmp_path, colour):
    with Fleet(url, tmp_path, colour=colour, origin=1.0, callers=25, lease=10.0) as fleet:
        workers = fleet.start(8)
        for worker in workers:
            worker.go()
        done = [worker.wait_for("done") for worker in workers]
        assert 1 == fleet.calls
    answers = sum((Counter(each["answers"]) for each in done), Counter())
    assert [8 * 25] == list(answers.values())
    assert 0 == sum(each["errors"] for each in done)
    assert 1 == sum(each["stored"] for each in done)


@pytest.mark.slow
def test_eight_processes_with_two_hundred_callers_each_make_one_call(url, tmp_path, colour):
    with Fleet(url, tmp_path, colour=colour, origin=1.0, callers=200, lease=10.0, timeout=10) as fleet:
        workers = fleet.start(8)
        for worker in workers:
            worker.go()
        done = [worker.wait_for("done", 60) for worker in workers]
        assert 1 == fleet.calls
    assert [1600] == list(sum((Counter(each["answers"]) for each in done), Counter()).values())


def test_processes_send_few_commands_while_they_wait(own_redis, tmp_path, colour):
    with Fleet(own_redis.url, tmp_path, colour=colour, origin=1.0, callers=25, lease=10.0) as fleet:
        workers = fleet.start(4)
        with redis.Redis.from_url(own_redis.url) as client, client.monitor() as monitor:
            for worker in workers:
                worker.go()
            for worker in workers:
                worker.wait_for("done")
            client.echo("over")
            said = list(takewhile(lambda each: "ECHO" not in each["command"], monitor.listen()))
        assert 1 == fleet.calls
    # Commands of scripts are not sent, and each process begins with the stamps of its function and of its namespace.
    sent = Counter(each["command"].partition(" ")[0].lower() for each in said if each["client_type"] != "lua")
    counted = sum(sent[name] for name in ("mget", "eval", "evalsha", "subscribe", "unsubscribe", "get"))
    assert counted <= 10 * 4, sent


def test_who_dies_while_computing_is_followed_by_another(url, tmp_path, colour):
    with Fleet(url, tmp_path, colour=colour, origin=60.0) as fleet:
        (first,) = fleet.start()
        first.go()
        first.wait_for("computing")
        others = fleet.start(3, origin=0.1)
        for other in others:
            other.go()
        first.signal(signal.SIGKILL)
        start = time.monotonic()
        answers = [other.answer() for other in others]
        assert time.monotonic() - start < 3 * LONG
        assert 2 == fleet.calls
    assert 1 == len({answer["by"] for answer in answers})


def test_who_was_paused_does_not_overwrite_what_came_since(url, tmp_path, colour):
    with Fleet(url, tmp_path, colour=colour, origin=0.3) as fleet:
        first, second, third = fleet.start(3)
        first.go()
        first.wait_for("computing")
        first.signal(signal.SIGSTOP)
        second.go()
        newer = second.answer()
        assert second.pid == newer["by"]
        first.signal(signal.SIGCONT)
        done = first.wait_for("done")
        assert [first.pid] == [pid for pid in (first.pid, second.pid) if str(pid) in str(done["answers"])]
        assert (0, 1) == (done["stored"], done["refused"])
        third.go()
        assert newer == third.answer()
        assert 2 == fleet.calls


def test_an_answer_that_comes_after_its_lease_is_kept_where_nobody_has_taken_over(url, tmp_path, colour):
    with Fleet(url, tmp_path, colour=colour, origin=0.3) as fleet:
        first, second = fleet.start(2)
        first.go()
        first.wait_for("computing")
        first.signal(signal.SIGSTOP)
        time.sleep(1.5 * LEASE)
        first.signal(signal.SIGCONT)
        assert 1 == first.wait_for("done")["stored"]
        second.go()
        assert first.pid == second.answer()["by"]


def test_a_blocked_event_loop_keeps_its_lease(url, tmp_path):
    with Fleet(url, tmp_path, colour="async", origin=LONG, blocks=True) as fleet:
        first, second = fleet.start(2)
        first.go()
        first.wait_for("computing")
        second.go()
        assert first.pid == second.answer()["by"]
        assert 1 == fleet.calls


def test_a_computation_that_hangs_holds_others_back_for_max_compute(url, tmp_path, colour):
    with Fleet(url, tmp_path, colour=colour, options={"max_compute": 1}) as fleet:
        first, second = fleet.start(1, origin=4.0) + fleet.start(1, origin=0.1)
        first.go()
        first.wait_for("computing")
        start = time.monotonic()
        second.go()
        assert second.pid == second.answer()["by"]
        assert 0.3 < time.monotonic() - start < 3.5
        done = first.wait_for("done")
        assert (0, 1) == (done["stored"], done["refused"])


def test_of_those_who_waited_for_max_compute_one_takes_over(url, tmp_path):
    with Fleet(url, tmp_path, options={"max_compute": 1}) as fleet:
        first, *others = fleet.start(1, origin=30.0) + fleet.start(4, origin=0.7)
        first.go()
        first.wait_for("computing")
        for other in others:
            other.go()
        assert 1 == len({other.answer()["by"] for other in others})
        assert 2 == fleet.calls


@pytest.mark.parametrize("answers", ["truncated", "fail"])
def test_nobody_waits_in_a_row_for_what_is_not_kept(url, tmp_path, colour, answers):
    with Fleet(url, tmp_path, colour=colour, answers=answers, origin=1.0, lease=10.0) as fleet:
        workers = fleet.start(6)
        for worker in workers:
            worker.go()
        done = [worker.wait_for("done") for worker in workers]
        assert fleet.calls == len(workers)
    # One computes, then all others at once; after a failure one more tries before them. In a row it were six seconds.
    assert max(each["seconds"] for each in done) < 5.0


def test_an_emptied_server_is_no_error(own_redis, tmp_path, colour):
    with Fleet(own_redis.url, tmp_path, colour=colour, origin=1.0) as fleet:
        first, second = fleet.start(2)
        first.go()
        first.wait_for("computing")
        second.go()
        time.sleep(0.3)
        with redis.Redis.from_url(own_redis.url) as client:
            client.flushall()
        done = [worker.wait_for("done") for worker in (first, second)]
        assert [1, 1] == [sum(each["answers"].values()) for each in done]
        assert "Error" not in str(done)
        assert 0 == done[0]["stored"]


def test_a_server_that_is_killed_and_comes_back_empty_is_no_error(own_redis, tmp_path, colour):
    with Fleet(own_redis.url, tmp_path, colour=colour, origin=1.0, timeout=0.25) as fleet:
        first, second = fleet.start(2)
        first.go()
        first.wait_for("computing")
        second.go()
        time.sleep(0.3)
        own_redis.kill()
        own_redis.restart()
        done = [worker.wait_for("done") for worker in (first, second)]
        assert "Error" not in str([each["answers"] for each in done])


@pytest.mark.parametrize("reply", ["lease", "commit"])
def test_a_lost_reply_stalls_nobody(proxied, tmp_path, colour, reply):
    with Fleet(proxied.url, tmp_path, colour=colour, origin=1.0, lease=30.0, timeout=0.5) as fleet:
        first, second = fleet.start(2)
        if reply == "lease":
            proxied.lose = [b"EVAL"]
        first.go()
        first.wait_for("computing")
        if reply == "commit":
            proxied.lose = [b"EVAL"]
        second.go() if reply == "lease" else None
        done = first.wait_for("done")
        assert 1 == proxied.lost
        assert (1, 1) == (done["stored"], fleet.calls)
        if reply == "commit":
            second.go()
        assert first.pid == second.answer(10)["by"]
        assert 1 == fleet.calls


def test_waiters_find_out_by_themselves_where_no_news_come(proxied, tmp_path, colour):
    proxied.swallow = [b"SUBSCRIBE\r\n"]
    with Fleet(proxied.url, tmp_path, colour=colour, origin=2.0, lease=30.0) as fleet:
        first, second = fleet.start(2)
        first.go()
        first.wait_for("computing")
        second.go()
        time.sleep(0.5)
        proxied.cut()
        done = second.wait_for("done")
        assert done["seconds"] < 2.0 + LONG
        assert 1 == fleet.calls
    assert 2 <= proxied.swallowed  # before the cut, and after it
