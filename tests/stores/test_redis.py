"""The store in Redis: against real servers that hang, die, come back, are full, or want a password."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from aicached import Cache, ai_cached
from aicached.errors import ConfigurationError, StoreError, StoreUnavailable, WriteRefused
from aicached.stores import redis_commands as commands
from aicached.stores import redis_server, redis_wire
from aicached.stores.redis import RedisStore
from aicached.testing.conformance import StoreConformance
from tests.proxy import Proxy
from tests.servers import RedisServer

TIMEOUT = 0.3


def value(name: int) -> bytes:
    return b"v" + random.Random(name).randbytes(32)


def name(key: bytes) -> str:
    return f"ac1:{key[:1].decode()}:{{{key[1:].hex()}}}"


def until(happens: Callable[[], Any], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def store(redis_url: str) -> Iterator[RedisStore]:
    store = RedisStore(redis_url, timeout=5)
    yield store
    store.close()
    # Whatever was left open warns here, in the test that did it.
    gc.collect()


def took(call: Callable[[], Any], error: type[StoreError] = StoreUnavailable) -> float:
    """Return the seconds until *call* fails with just that *error*."""
    began = time.monotonic()
    with pytest.raises(error) as caught:
        call()
    assert caught.type is error
    return time.monotonic() - began


class TestRedisStore(StoreConformance):
    @pytest.fixture(autouse=True)
    def places(self, redis_url: str) -> None:
        self.url = redis_url

    def make_store(self) -> RedisStore:
        return RedisStore(self.url, timeout=5)

    def teardown_method(self) -> None:
        super().teardown_method()
        gc.collect()


class TestBrokenRedisStore(StoreConformance):
    @pytest.fixture(autouse=True)
    def places(self, own_redis: RedisServer) -> None:
        self.server = own_redis

    def make_store(self) -> RedisStore:
        return RedisStore(self.server.url)

    def break_store(self, store: RedisStore) -> None:
        store.get(value(1))
        self.server.kill()


class TestWhatTheServerSees:
    def test_keys_name_the_kind_and_carry_the_digest_as_hash_tag(self, store: RedisStore, client: Any) -> None:
        key, mark = value(1), b"t" + bytes(32)
        store.set(key, b"answer", None)
        (stamp,) = store.stamps([mark])
        assert b"answer" == client.get(name(key))
        assert stamp == client.get("ac1:t:{" + "00" * 32 + "}")
        assert 2 == client.dbsize()

    def test_lifetimes_are_the_servers_business_to_the_millisecond(self, store: RedisStore, client: Any) -> None:
        for lifetime, least, most in ((1.5, 1, 1500), (3600, 3_590_000, 3_600_000), (0, 0, 1), (1e-9, 0, 1)):
            store.set(value(1), b"x", lifetime)
            left = client.pttl(name(value(1)))
            assert left == -2 if most == 1 and left < 0 else least <= left <= most
        for endless in (None, 1e12, float("inf")):
            store.set(value(1), b"x", endless)
            assert -1 == client.pttl(name(value(1)))

    def test_one_command_each_and_none_to_connect(self, own_redis: RedisServer) -> None:
        store = RedisStore(own_redis.url)

        async def asynchronous() -> None:
            await store.aset(value(1), b"x", 60)
            await store.aget(value(1))
            await store.aget_many([value(1), value(2)])
            await store.adelete(value(1))

        store.set(value(1), b"x", 60)
        store.get(value(1))
        store.get_many([value(1), value(2)])
        store.delete(value(1))
        asyncio.run(asynchronous())
        store.close()
        with redis.Redis.from_url(own_redis.url, protocol=2, **redis_server._NO_GREETING) as client:
            calls = {command: stats["calls"] for command, stats in client.info("commandstats").items()}
        calls.pop("cmdstat_ping", None)  # the server's own, by tests.servers
        assert {"cmdstat_set": 2, "cmdstat_get": 2, "cmdstat_mget": 2, "cmdstat_unlink": 2} == calls

    def test_the_database_of_the_url_is_used(self, redis_url: str, client: Any) -> None:
        store = RedisStore(redis_url.removesuffix("/0") + "/3")
        store.set(value(1), b"x", 60)
        asyncio.run(store.aset(value(2), b"x", 60))
        store.close()
        assert 0 == client.dbsize()

    def test_stamps_of_others_are_taken_over(self, store: RedisStore, client: Any) -> None:
        marks = [b"t" + bytes([byte]) * 32 for byte in range(3)]
        client.set(name(marks[1]), b"0123456789abcdef")
        for stamps in (store.stamps(marks), asyncio.run(store.astamps(marks))):
            assert b"0123456789abcdef" == stamps[1]
            assert stamps == client.mget([name(mark) for mark in marks])


class TestAddress:
    @pytest.mark.parametrize(
        ("url", "address"),
        [
            ("redis://localhost", "redis://localhost:6379/0"),
            ("redis://me:secret@host.example:6380/4", "redis://host.example:6380/4"),
            ("redis://:s%40cret@host/1?socket_timeout=9", "redis://host:6379/1"),
            ("rediss://host:1/0?db=2&password=secret", "rediss://host:1/2"),
            ("redis://[::1]:7000", "redis://[::1]:7000/0"),
            ("unix:///run/redis.sock?db=5", "unix:///run/redis.sock?db=5"),
            ("unix://me:secret@/run/redis.sock", "unix:///run/redis.sock?db=0"),
        ],
    )
    def test_it_is_the_url_without_credentials(self, url: str, address: str) -> None:
        assert address == RedisStore(url).address

    @pytest.mark.parametrize(
        "url",
        [
            "redis://:s3c/r3t@host",
            "http://s3c@host",
            "redis://:s3c@host:r3t",
            "s3c",
            "redis://me:1/s3c@host",
            "redis://:1#s3c@host",
            "redis://me:1?s3c=r3t@host",
            "redis://me:1?s3c@host",
            "redis://:x@s3c/r3t@host",
            "unix://me:/s3c@/run/redis.sock",
            "redis://host?password=x&s3c=r3t",
        ],
    )
    def test_what_is_no_url_is_refused_without_quoting_it(self, url: str) -> None:
        with pytest.raises(ConfigurationError) as caught:
            RedisStore(url)
        assert not any(part in str(caught.value) for part in ("s3c", "r3t"))
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__

    def test_what_is_no_option_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="colour"):
            RedisStore("redis://localhost", colour="red")

    def test_options_reach_the_connections_but_for_those_the_store_needs(self, own_redis: RedisServer) -> None:
        url = own_redis.url + "?decode_responses=true&socket_timeout=60"
        store = RedisStore(url, client_name="me", timeout=TIMEOUT)
        store.set(value(1), b"\xff", 60)
        assert b"\xff" == store.get(value(1)) == asyncio.run(store.aget(value(1)))
        with redis.Redis.from_url(own_redis.url) as client:
            assert "me" in {entry["name"] for entry in client.client_list()}
        own_redis.pause()
        assert took(lambda: store.get(value(1))) < 3 * TIMEOUT
        store.close()

    def test_a_socket_in_the_file_system(self, tmp_path: Path) -> None:
        socket = Path("/tmp" if len(str(tmp_path)) > 90 else tmp_path) / f"{os.getpid()}.sock"
        with RedisServer("--unixsocket", str(socket)):
            store = RedisStore(f"unix://{socket}")
            store.set(value(1), b"x", 60)
            assert b"x" == store.get(value(1)) == asyncio.run(store.aget(value(1)))
            store.close()


class TestRefusals:
    """What a healthy server says no to is no outage."""

    def test_a_key_of_another_type(self, store: RedisStore, client: Any) -> None:
        client.lpush(name(value(1)), "x")
        for _ in range(3):
            took(lambda: store.get(value(1)), StoreError)
            took(lambda: asyncio.run(store.aget(value(1))), StoreError)
        assert [None] == store.get_many([value(1)])
        store.set(value(1), b"x", None)
        assert b"x" == store.get(value(1))

    def test_what_was_to_be_kept_is_not_quoted(self) -> None:
        with RedisServer("--rename-command", "SET", "") as server:
            store = RedisStore(server.url)
            for write in (store.set, lambda *args: asyncio.run(store.aset(*args))):
                with pytest.raises(StoreError, match="unknown command .SET") as caught:
                    write(value(1), b"an answer", None)
                assert not any("an answer" in str(error) for error in (caught.value, caught.value.__cause__))
            store.close()

    @pytest.mark.parametrize("asynchronous", [False, True])
    def test_a_full_server_refuses_writes_and_answers_reads(self, asynchronous: bool) -> None:
        with RedisServer("--maxmemory", "1mb", "--maxmemory-policy", "noeviction") as server:
            store = RedisStore(server.url)
            with redis.Redis.from_url(server.url) as client:
                client.config_set("maxmemory", 0)
                store.set(value(1), b"x", None)
                client.config_set("maxmemory", 1)
            write = (lambda *args: asyncio.run(store.aset(*args))) if asynchronous else store.set
            with pytest.raises(WriteRefused, match="maxmemory"):
                write(value(2), b"x", None)
            assert b"x" == store.get(value(1)) == asyncio.run(store.aget(value(1)))
            store.delete(value(1))
            store.close()

    def test_a_server_that_may_not_write_is_connected_to_anew(self, own_redis: RedisServer) -> None:
        store = RedisStore(own_redis.url)
        store.set(value(1), b"x", None)
        with redis.Redis.from_url(own_redis.url) as client:
            client.replicaof("127.0.0.1", "1")
            took(lambda: store.set(value(1), b"y", None), WriteRefused)
            took(lambda: asyncio.run(store.aset(value(1), b"y", None)), WriteRefused)
            assert not store._wire._idle
            client.replicaof("NO", "ONE")
        store.set(value(1), b"y", None)
        assert b"y" == store.get(value(1))
        store.close()

    @pytest.mark.parametrize(
        "text", ["LOADING from disk", "BUSY with a script", "CLUSTERDOWN no slot", "MASTERDOWN no link"]
    )
    def test_a_server_that_is_there_but_not_yet_or_no_more_is_an_outage(self, text: str) -> None:
        from redis.connection import DefaultParser

        error = DefaultParser.parse_error(text)
        assert StoreUnavailable is type(RedisStore("redis://localhost")._server.failure(error))


class TestPasswords:
    @pytest.fixture
    def server(self) -> Iterator[RedisServer]:
        with RedisServer("--requirepass", "the password") as server:
            yield server

    def test_the_right_one_opens(self, server: RedisServer) -> None:
        store = RedisStore(server.url.replace("//", "//:the%20password@"))
        store.set(value(1), b"x", None)
        assert b"x" == store.get(value(1)) == asyncio.run(store.aget(value(1)))
        store.close()

    @pytest.mark.parametrize("credentials", ["", ":wr0ng@", "me:wr0ng@"])
    def test_a_wrong_one_is_an_outage_that_says_what_to_do(self, credentials: str, server: RedisServer) -> None:
        store = RedisStore(server.url.replace("//", f"//{credentials}"))
        for call in (lambda: store.get(value(1)), lambda: asyncio.run(store.aget(value(1)))):
            with pytest.raises(StoreUnavailable, match="user:password@host") as caught:
                call()
            texts = [repr(error) + str(error) for error in (caught.value, caught.value.__cause__)]
            assert not any("wr0ng" in text for text in texts)
        store.close()

    @pytest.mark.parametrize("credentials", ["", "me:"])
    def test_a_server_without_auth_repeats_it_and_the_store_does_not(self, credentials: str) -> None:
        with RedisServer("--rename-command", "AUTH", "") as server:
            store = RedisStore(server.url.replace("//", f"//{credentials or ':'}s3cret@"))
            for call in (lambda: store.get(value(1)), lambda: asyncio.run(store.aget(value(1)))):
                with pytest.raises(StoreError, match="unknown command .AUTH") as caught:
                    call()
                assert "s3cret" not in "".join(traceback.format_exception(caught.value))
            store.close()

    def test_no_message_quotes_it_however_a_server_does(self) -> None:
        error = redis.ResponseError("proxy: no AUTH s3cret here")
        assert "s3cret" not in str(RedisStore("redis://:s3cret@localhost")._server.failure(error)) + str(error)


class TestOutages:
    def test_nobody_at_the_door_fails_at_once(self, own_redis: RedisServer) -> None:
        store = RedisStore(own_redis.url, timeout=30)
        own_redis.kill()
        assert took(lambda: store.get(value(1))) < 10
        assert took(lambda: asyncio.run(store.aget(value(1)))) < 10
        own_redis.restart()
        store.set(value(1), b"x", None)
        assert b"x" == asyncio.run(store.aget(value(1)))
        store.close()

    @pytest.mark.parametrize("connected", [False, True])
    def test_a_hanging_server_costs_the_time_out(self, connected: bool, own_redis: RedisServer) -> None:
        store = RedisStore(own_redis.url, timeout=TIMEOUT)
        store.set(value(1), b"one", None)
        store.set(value(2), b"two", None)

        async def hang() -> None:
            if connected:
                assert b"one" == await store.aget(value(1))
            own_redis.pause()
            began = time.monotonic()
            outcomes = await asyncio.gather(*(store.aget(value(1)) for _ in range(8)), return_exceptions=True)
            assert {StoreUnavailable} == {type(outcome) for outcome in outcomes}
            assert TIMEOUT / 3 < time.monotonic() - began < 3 * TIMEOUT
            own_redis.resume()
            assert [b"two", b"one"] == await store.aget_many([value(2), value(1)])

        if not connected:
            store.close()
        own_redis.pause()
        assert TIMEOUT / 3 < took(lambda: store.get(value(1))) < 3 * TIMEOUT
        own_redis.resume()
        assert b"two" == store.get(value(2)), "the late reply to the first question must not answer the second"
        asyncio.run(hang())
        store.close()
        gc.collect()

    def test_a_hanging_server_in_the_middle_of_a_big_write(self, own_redis: RedisServer) -> None:
        store = RedisStore(own_redis.url, timeout=TIMEOUT)
        big = bytes(20_000_000)

        async def hang() -> None:
            await store.aset(value(1), b"x", None)
            own_redis.pause()
            began = time.monotonic()
            writes = (store.aset(value(1), big, None) for _ in range(3))
            outcomes = await asyncio.gather(*writes, return_exceptions=True)
            assert {StoreUnavailable} == {type(outcome) for outcome in outcomes}
            assert time.monotonic() - began < 5 * TIMEOUT

        asyncio.run(hang())
        assert took(lambda: store.set(value(1), big, None)) < 5 * TIMEOUT
        store.close()
        gc.collect()

    def test_kept_connections_that_the_server_has_closed_are_replaced_silently(
        self, store: RedisStore, client: Any
    ) -> None:
        def cut() -> None:
            client.client_kill_filter(_type="normal", skipme=True)

        async def asynchronous() -> None:
            for _ in range(2):
                answers = await asyncio.gather(*(store.aget_many([value(1), value(2)]) for _ in range(30)))
                assert [[b"x", None]] * 30 == answers
                cut()
                await asyncio.sleep(0)

        store.set(value(1), b"x", None)
        for call in (lambda: store.get(value(1)), lambda: store.stamps([b"t" + bytes(32)])):
            cut()
            assert call()
        asyncio.run(asynchronous())

    def test_a_server_that_restarts_is_found_again(self, own_redis: RedisServer) -> None:
        store = RedisStore(own_redis.url)

        async def asynchronous() -> None:
            await store.aset(value(1), b"x", None)
            own_redis.restart()
            await store.aset(value(1), b"y", None)
            assert b"y" == await store.aget(value(1))

        store.set(value(1), b"x", None)
        asyncio.run(asynchronous())
        assert b"y" == store.get(value(1))
        store.close()


class TestThreads:
    def test_a_caller_cut_short_does_not_leave_its_reply_to_the_next(
        self, store: RedisStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.set(value(1), b"one", None)
        store.set(value(2), b"two", None)
        exchange = redis_wire._exchange

        def interrupted(connection: Any, command: bytes, rides: bytes) -> Any:
            connection.send_packed_command((command,), check_health=False)
            raise KeyboardInterrupt

        monkeypatch.setattr(redis_wire, "_exchange", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.get(value(1))
        monkeypatch.setattr(redis_wire, "_exchange", exchange)
        assert b"two" == store.get(value(2))

    def test_connections_are_kept_and_shared(self, store: RedisStore, client: Any) -> None:
        before = client.info("stats")["total_connections_received"]
        for _ in range(50):
            store.set(value(1), b"x", 60)
        assert before + 1 == client.info("stats")["total_connections_received"]

    def test_more_threads_than_connections_wait_for_one(
        self, store: RedisStore, client: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(redis_wire, "_THREADS", 2)
        store.set(value(1), b"x", None)
        wrong, most = [], []

        def body() -> None:
            wrong.extend(1 for _ in range(50) if store.get(value(1)) != b"x")
            most.append(store._wire._open)

        threads = [threading.Thread(target=body) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ([], 8) == (wrong, len(most))
        assert max(most) <= 2

    def test_no_connection_free_in_time_is_no_outage(self, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(redis_wire, "_THREADS", 0)
        store = RedisStore(redis_url, timeout=TIMEOUT)
        assert TIMEOUT / 3 < took(lambda: store.get(value(1)), StoreError) < 3 * TIMEOUT
        with pytest.raises(StoreError) as caught:
            store.get(value(1))
        assert caught.value.__cause__ is None, "an error that is its own cause hangs those who follow causes"

    def test_failures_use_up_no_connections(self, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(redis_wire, "_THREADS", 3)
        store = RedisStore(own_redis.url)
        own_redis.kill()
        for _ in range(10):
            took(lambda: store.get(value(1)), StoreUnavailable)
        own_redis.restart()
        assert store.get(value(1)) is None
        store.close()
        assert 0 == store._wire._open

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    def test_no_connection_crosses_a_fork(self, store: RedisStore) -> None:
        async def asynchronous() -> list[int]:
            await store.aset(value(1), b"x", None)
            children = []
            for number in range(4):
                child = os.fork()
                if child == 0:
                    os._exit(_in_child(store, number))
                children.append(child)
            for _ in range(50):
                assert b"x" == await store.aget(value(1)) == store.get(value(1))
            return children

        store.set(value(1), b"x", None)
        children = asyncio.run(asynchronous())
        assert [0] * 4 == [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def _in_child(store: RedisStore, number: int) -> int:
    """Use *store* in a forked process, in both colours; return the exit code."""
    codes: list[int] = []

    async def asynchronous() -> None:
        for turn in range(20):
            await store.aset(value(100 * number + 100 + turn), b"%d" % turn, None)
            assert b"%d" % turn == await store.aget(value(100 * number + 100 + turn))

    def body() -> None:
        assert {} == store._loops._lines
        for _ in range(20):
            assert b"x" == store.get(value(1))
        asyncio.run(asynchronous())
        store.close()
        codes.append(0)

    # A thread, as the main one is inside the parent's loop.
    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    return codes[0] if codes else 1


class TestEventLoops:
    def test_many_callers_at_once_share_few_connections(self, store: RedisStore, client: Any) -> None:
        keys = [value(number) for number in range(200)]

        async def work() -> list[Any]:
            await asyncio.gather(*(store.aset(key, key, 60) for key in keys))
            return await asyncio.gather(*(store.aget(key) for key in keys))

        before = client.info("stats")["total_connections_received"]
        assert keys == asyncio.run(work())
        assert client.info("stats")["total_connections_received"] - before <= 16

    def test_a_lone_caller_keeps_to_one_connection(self, store: RedisStore, client: Any) -> None:
        async def work() -> None:
            for _ in range(30):
                await store.aset(value(1), b"x", 60)

        before = client.info("stats")["total_connections_received"]
        asyncio.run(work())
        assert before + 1 == client.info("stats")["total_connections_received"]

    def test_connections_end_with_their_loop(self, store: RedisStore, client: Any) -> None:
        async def work() -> None:
            await asyncio.gather(*(store.aget(value(number)) for number in range(40)))

        for _ in range(3):
            asyncio.run(work())
            gc.collect()
        assert {} == store._loops._lines
        deadline = time.monotonic() + 5
        while len(client.client_list(_type="normal")) > 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert 1 == len(client.client_list(_type="normal"))

    def test_a_loop_that_was_just_closed_does_not_harm_the_next(self, store: RedisStore) -> None:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(store.aset(value(1), b"x", 60))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        assert b"x" == asyncio.run(store.aget(value(1)))
        assert {} == store._loops._lines

    def test_cancelled_callers_do_no_harm(self, store: RedisStore) -> None:
        luck = random.Random(7)
        keys = [value(number) for number in range(50)]

        async def cancelled_maybe(key: bytes, after: float) -> bool | None:
            try:
                return await asyncio.wait_for(store.aget(key), after) == key
            except asyncio.TimeoutError:
                return None

        async def work() -> list[bool | None]:
            await asyncio.gather(*(store.aset(key, key, 60) for key in keys))
            outcomes: list[bool | None] = []
            for _ in range(30):
                picked = [(luck.choice(keys), luck.choice([0.0, luck.random() * 0.004, 1.0])) for _ in range(50)]
                outcomes += await asyncio.gather(*(cancelled_maybe(*pick) for pick in picked))
            assert keys == await asyncio.gather(*(store.aget(key) for key in keys))
            return outcomes

        outcomes = asyncio.run(work())
        assert 1500 == len(outcomes)
        assert False not in outcomes
        assert {True, None} == set(outcomes), "some are cancelled, some are not"

    def test_a_cancelled_caller_is_cancelled_not_failed(self, own_redis: RedisServer) -> None:
        store = RedisStore(own_redis.url, timeout=20)

        async def work() -> None:
            await store.aget(value(1))
            own_redis.pause()
            for _ in range(2):
                task = asyncio.ensure_future(store.aget(value(1)))
                await asyncio.sleep(0.01)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            own_redis.resume()
            assert await store.aget(value(1)) is None

        asyncio.run(work())

    def test_a_loop_that_ends_in_the_middle_of_everything(self, store: RedisStore) -> None:
        async def work() -> None:
            tasks = [asyncio.ensure_future(store.aset(value(number), bytes(1000), 60)) for number in range(100)]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)

        for _ in range(3):
            asyncio.run(work())
            gc.collect()
        assert {} == store._loops._lines

    def test_all_connections_in_use_is_no_outage(self, own_redis: RedisServer) -> None:
        store = RedisStore(own_redis.url, timeout=TIMEOUT)

        async def work() -> set[type]:
            await store.aget(value(1))
            own_redis.pause()
            outcomes = await asyncio.gather(*(store.aget(value(1)) for _ in range(40)), return_exceptions=True)
            own_redis.resume()
            return {type(outcome) for outcome in outcomes}

        began = time.monotonic()
        assert StoreUnavailable in asyncio.run(work())
        assert time.monotonic() - began < 4 * TIMEOUT
        store.close()

    # Python and redis-py say that their tasks and connections were left.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
    @pytest.mark.parametrize("connected", [True, False])
    def test_a_call_that_is_collected_after_its_loop_has_ended_asks_the_model_for_nobody(
        self, own_redis: RedisServer, connected: bool
    ) -> None:
        asked: list[int] = []

        async def ask(number: int) -> int:
            asked.append(number)
            return number

        with Proxy(own_redis.port) as proxy, Cache(proxy.url, timeout=5) as cache:
            cached = ai_cached(ask, cache=cache, version=1)

            async def begin() -> Any:
                if connected:
                    await cached(-1)
                proxy.delay = 0.3
                task = asyncio.ensure_future(cached(1))
                await asyncio.sleep(0.05)
                return task

            async def collect() -> None:
                gc.collect()
                await asyncio.sleep(0.05)

            loop = asyncio.new_event_loop()
            task = loop.run_until_complete(begin())
            loop.close()
            del task, loop
            proxy.delay = 0
            asyncio.run(collect())
            assert 1 not in asked
            assert 1 == asyncio.run(cached(1))
        gc.collect()

    def test_a_line_that_a_waiter_has_closed_is_opened_anew(self, store: RedisStore, client: Any) -> None:
        """A waiter that cannot say what he listens to closes the line in the middle of somebody's reading."""
        first, second = threading.Event(), threading.Event()
        names = [commands.channel(value(number)) for number in (1, 2)]
        store.watch(value(1), first.set)
        until(lambda: dict(client.pubsub_numsub(names[0]))[names[0]])
        store._news._line.disconnect()
        store.watch(value(2), second.set)
        until(lambda: all(dict(client.pubsub_numsub(*names)).values()))
        for name in names:
            client.publish(name, "1")
        assert first.wait(5)
        assert second.wait(5)

    def test_a_crowd_waits_for_its_turn_as_long_as_others_are_served(self, redis_url: str) -> None:
        store = RedisStore(redis_url, timeout=0.05)
        keys = [value(number) for number in range(1500)]

        async def work() -> list[Any]:
            began = time.monotonic()
            await asyncio.gather(*(store.aset(key, key, 60) for key in keys))
            assert time.monotonic() - began > 0.05, "or nobody has waited for longer than the time-out"
            return await asyncio.gather(*(store.aget(key) for key in keys))

        assert keys == asyncio.run(work())
        store.close()

    @pytest.mark.parametrize("connected", [True, False])
    def test_a_loop_that_somebody_blocks_is_no_outage(self, redis_url: str, connected: bool) -> None:
        store = RedisStore(redis_url, timeout=0.1)
        keys = [value(number) for number in range(40)]

        async def block(times: int) -> None:
            for _ in range(times):
                await asyncio.sleep(0)
                time.sleep(0.3)

        async def work() -> None:
            if connected:
                await store.aset(keys[0], b"x", 60)
            await asyncio.gather(block(3), *(store.aset(key, key, 60) for key in keys))
            *found, _ = await asyncio.gather(*(store.aget(key) for key in keys), block(2))
            assert keys == found

        asyncio.run(work())
        store.close()

    def test_a_loop_that_is_always_late_waits_no_longer_than_its_tries(self, own_redis: RedisServer) -> None:
        store = RedisStore(own_redis.url, timeout=0.05)

        async def block(ended: list[bool]) -> None:
            while not ended:
                await asyncio.sleep(0)
                time.sleep(0.07)

        async def work() -> None:
            ended: list[bool] = []
            blocking = asyncio.ensure_future(block(ended))
            with pytest.raises(StoreUnavailable):
                await store.aget(value(1))
            ended.append(True)
            await blocking

        own_redis.pause()
        began = time.monotonic()
        asyncio.run(work())
        assert time.monotonic() - began < 5
        own_redis.resume()
        store.close()

    def test_closing_from_elsewhere_closes_what_a_running_loop_has(self, store: RedisStore) -> None:
        ready, leave = threading.Event(), threading.Event()
        answers: list[Any] = []

        async def work() -> None:
            await store.aset(value(1), b"x", 60)
            ready.set()
            await asyncio.to_thread(leave.wait)
            answers.append(await store.aget(value(1)))

        thread = threading.Thread(target=lambda: asyncio.run(work()))
        thread.start()
        ready.wait(10)
        (lines,) = store._loops._lines.values()
        store.close()
        deadline = time.monotonic() + 5
        while not lines._closed and time.monotonic() < deadline:
            time.sleep(0.005)
        assert lines._closed
        leave.set()
        thread.join()
        assert [b"x"] == answers

    def test_who_asks_on_connections_being_closed_leaves_none_behind(self, store: RedisStore, client: Any) -> None:
        client.lpush(name(value(1)), "x")

        async def work() -> None:
            await store.aset(value(2), b"x", 60)
            (lines,) = store._loops._lines.values()
            asking = [asyncio.ensure_future(store.aget(value(1))) for _ in range(3)]
            await asyncio.sleep(0)
            await lines.close()
            assert {StoreError} == {type(error) for error in await asyncio.gather(*asking, return_exceptions=True)}
            assert b"x" == await store.aget(value(2))
            assert [None] * 16 == lines._free

        asyncio.run(work())

    def test_closing_while_others_ask_harms_nobody(self, store: RedisStore) -> None:
        async def work() -> list[Any]:
            await store.aset(value(1), b"x", 60)
            asking = [asyncio.ensure_future(store.aget(value(1))) for _ in range(100)]
            for _ in range(5):
                await asyncio.sleep(0)
                await store.aclose()
            return await asyncio.gather(*asking)

        assert [b"x"] * 100 == asyncio.run(work())

    def test_scripts_that_the_server_has_forgotten_are_sent_again(self, store: RedisStore, client: Any) -> None:
        async def work() -> None:
            assert await store.aswap({value(1): b"x"}, {value(1): (b"y", None)}) is None

        for _ in range(2):
            assert store.swap({value(1): None}, {value(1): (b"x", None)}) is None
            client.script_flush()
            asyncio.run(work())
            client.script_flush()
            assert store.swap({}, {value(1): None}) is None
