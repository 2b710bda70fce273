"""The example of the docs, with a real server and a real client."""

from __future__ import annotations

import importlib.util
import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest
import uvicorn

from aicached.testing import Failure

EXAMPLE = Path(__file__).parents[2] / "examples" / "fastapi_sse.py"


@pytest.fixture
def url(server, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    spec = importlib.util.spec_from_file_location("fastapi_sse", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "fastapi_sse", module)
    spec.loader.exec_module(module)
    module.client = module.client.with_options(max_retries=0)
    assert isinstance(module.client, openai.AsyncOpenAI)
    web = uvicorn.Server(uvicorn.Config(module.app, port=0, log_level="error", ws="none", lifespan="off"))
    thread = threading.Thread(target=web.run)
    thread.start()
    until = time.monotonic() + 10
    while not web.started and time.monotonic() < until:
        time.sleep(0.01)
    port = web.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    web.should_exit = True
    thread.join(10)


def read(url, prompt="Hello?", most=10_000):
    """Return the texts of the events, the names of the others, and when the first and the last came."""
    texts, names, times = [], [], []
    with httpx.stream("GET", f"{url}/tell", params={"prompt": prompt}, timeout=20) as response:
        assert "text/event-stream; charset=utf-8" == response.headers["content-type"]
        for line in response.iter_lines():
            times.append(time.monotonic())
            if line.startswith("event: "):
                names.append(line.removeprefix("event: "))
            elif line.startswith("data: ") and not names:
                texts.append(json.loads(line.removeprefix("data: ")))
            if len(texts) >= most:
                break
    return texts, names, times


def test_two_browsers_share_one_call_and_a_third_costs_nothing(server, url):
    server.pace = 0.02
    with ThreadPoolExecutor(2) as pool:
        (one, two) = pool.map(lambda _: read(url), range(2))
    third = read(url)
    assert one[:2] == two[:2] == third[:2]
    assert ["end"] == one[1]
    assert "Hello?" in "".join(one[0])
    assert len(one[0]) > 5
    assert one[2][-1] - one[2][0] > 0.1  # it came piece by piece
    assert 1 == server.calls


def test_a_browser_that_is_closed_early_wastes_nothing(server, url):
    server.pace = 0.01
    texts, _, _ = read(url, most=2)
    assert 2 == len(texts)
    time.sleep(1)
    whole, names, _ = read(url)
    assert ["end"] == names
    assert texts == whole[:2]
    assert 1 == server.calls


def test_a_failure_is_an_event_and_is_not_kept(server, url):
    server.script(Failure(cut_after=4))
    texts, names, _ = read(url)
    assert ["error"] == names
    assert 1 <= len(texts) <= 4
    assert ["end"] == read(url)[1]
    assert 2 == server.calls
