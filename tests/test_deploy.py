"""The service of examples/ as deploy/ runs it: uvicorn, and a redis-server with the arguments of the compose file."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from aicached import Cache
from aicached.testing import ModelServer
from tests.servers import RedisServer

ROOT = Path(__file__).parent.parent
COMPOSE = (ROOT / "deploy" / "docker-compose.yml").read_text()
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()


def redis_arguments() -> list[str]:
    (line,) = re.findall(r"command: (\[.*\])", COMPOSE)
    program, *arguments = json.loads(line)
    assert "redis-server" == program
    return list(arguments)


class Service:
    """One replica, run as the Dockerfile runs it."""

    def __init__(self, models: str, redis_url: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        (line,) = re.findall(r"CMD (\[.*\])", DOCKERFILE)
        program, app, *_ = json.loads(line)
        command = [sys.executable, "-W", "error", "-m", program, "--app-dir", "examples", app, "--port", str(self.port)]
        environment = {**os.environ, "REDIS_URL": redis_url, "OPENAI_BASE_URL": models, "OPENAI_API_KEY": "none"}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=20)
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                assert "ok" == self.client.get("/health").json()["status"]
                return
            except httpx.ConnectError:
                assert self.process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def ask(self, text: str) -> tuple[str, str]:
        reply = self.client.post("/ask", json={"text": text})
        assert 200 == reply.status_code, reply.text
        return "hit" if "; hit" in reply.headers["cache-status"] else "miss", reply.json()["answer"]

    def sample(self, name: str, **labels: str) -> float:
        """Return a figure of /metrics, added up over the labels that are not named."""
        lines = self.client.get("/metrics/").text.splitlines()
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        fitting = [line for line in lines if re.match(rf"{name}\W", line) and all(each in line for each in wanted)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in fitting)

    def end(self) -> str:
        self.client.close()
        self.process.terminate()
        said, _ = self.process.communicate(timeout=20)
        return said


@pytest.fixture
def compose_redis() -> Iterator[RedisServer]:
    with RedisServer(*redis_arguments()) as server:
        yield server


def test_replicas_share_their_answers_and_outlive_their_redis(compose_redis: RedisServer) -> None:
    with ModelServer() as models:
        replicas = [Service(models.url, compose_redis.url) for _ in range(2)]
        try:
            first = replicas[0].ask("Why is the sky blue?")
            assert ("miss", "hit") == (first[0], replicas[1].ask("Why is the sky blue?")[0])
            assert 1 == models.calls
            compose_redis.kill()
            outcomes = [replica.ask(f"And now? {n}")[0] for replica in replicas for n in range(5)]
            assert ["miss"] * 10 == outcomes
            compose_redis.restart()
            deadline = time.monotonic() + 20
            while replicas[0].ask("Again?")[0] != "hit":
                assert time.monotonic() < deadline
                time.sleep(0.2)
        finally:
            said = [replica.end() for replica in replicas]
    for text in said:
        assert "Traceback" not in text
        assert "Application shutdown complete" in text


def test_under_load_headers_metrics_and_the_shared_sums_agree(compose_redis: RedisServer) -> None:
    async def load(ports: list[int]) -> list[str]:
        async with httpx.AsyncClient(timeout=30) as client:
            gate = asyncio.Semaphore(40)

            async def one(number: int) -> str:
                async with gate:
                    url = f"http://127.0.0.1:{ports[number % 2]}/ask"
                    reply = await client.post(url, json={"text": f"Question {number // 2 % 15}?"})
                return str(reply.headers["cache-status"])

            return await asyncio.gather(*map(one, range(400)))

    with ModelServer() as models:
        replicas = [Service(models.url, compose_redis.url) for _ in range(2)]
        try:
            said = asyncio.run(load([replica.port for replica in replicas]))
            hits = sum("; hit" in status for status in said)
            total = {
                name: sum(replica.sample(f"aicached_{name}_total") for replica in replicas)
                for name in ("hits", "misses", "collapsed")
            }
            assert (hits, 400 - hits) == (total["hits"], total["misses"])
            assert sum("; collapsed" in status for status in said) == total["collapsed"]
            assert 15 == models.calls
            requests = [replica.sample("aicached_http_request_seconds_count", path="/ask") for replica in replicas]
            assert [200, 200] == requests
        finally:
            for replica in replicas:
                replica.end()
    with Cache(compose_redis.url, namespace="service") as cache:
        assert (hits, 400 - hits) == (cache.stats().hits, cache.stats().misses)


def test_the_compose_file_says_what_the_docs_say() -> None:
    assert ["--maxmemory", "256mb", "--maxmemory-policy", "allkeys-lru"] == redis_arguments()
    for word in ("redis:7-alpine", "REDIS_URL", "healthcheck", "service_healthy", "volumes:"):
        assert word in COMPOSE
