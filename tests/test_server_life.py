"""The model's server as a thread with sockets: counting, latency, starting, stopping."""

from __future__ import annotations

import gc
import json
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator

import openai
import pytest

from aicached.testing import ModelServer


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


def connect(server):
    return openai.OpenAI(base_url=server.url, api_key="any", max_retries=0)


def ask(client, **settings):
    return client.chat.completions.create(model="small", messages=[{"role": "user", "content": "Hello?"}], **settings)


def test_threads_are_counted_exactly(server):
    with connect(server) as client:
        threads = [threading.Thread(target=lambda: [ask(client) for _ in range(10)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert server.calls == len(server.requests) == 80


def test_latency_and_pace_take_their_time():
    server = ModelServer(latency=(0.05, 0.06), pace=0.005)
    with server, connect(server) as client:
        began = time.perf_counter()
        chunks = list(ask(client, stream=True))
    assert time.perf_counter() - began >= 0.05 + 0.005 * (len(chunks) - 1)


def test_a_server_can_be_started_again_and_stopped_twice():
    server = ModelServer()
    for _ in range(2):
        server.start()
        with pytest.raises(RuntimeError):
            server.start()
        with urllib.request.urlopen(f"{server.url}/models") as answer:
            assert json.load(answer)["object"] == "list"
        server.stop()
        server.stop()


def test_stopping_leaves_no_thread_and_no_socket():
    before = set(threading.enumerate())
    with ModelServer(latency=60) as server:
        client = connect(server)
        list(client.models.list())
        waiting = threading.Thread(target=lambda: pytest.raises(openai.APIConnectionError, ask, client))
        waiting.start()
        while server.calls == 0:
            time.sleep(0.001)
    waiting.join(5)
    client.close()
    gc.collect()
    assert set(threading.enumerate()) == before


def test_a_taken_port_is_an_error(server):
    with pytest.raises(OSError, match="in use"):
        ModelServer(port=server.port).start()


def test_what_is_no_http_is_hung_up_on(server):
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        raw.sendall(b"hello\r\n\r\n")
        assert raw.recv(10) == b""
    with connect(server) as client:
        assert ask(client).choices
