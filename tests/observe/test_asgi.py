"""The header that tells what the cache did for a response, under load too; metrics that agree with it."""

from __future__ import annotations

import asyncio
from collections import Counter

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from aicached import Cache, ai_cached
from aicached.observe.asgi import LIMIT, CacheStatusMiddleware
from aicached.observe.prometheus import PrometheusHook


class Service:
    """Be a small service in both colours, with all there is to observe."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.calls = 0
        cache = Cache("memory://", hooks=[PrometheusHook(self.registry)])

        @ai_cached(cache=cache)
        async def aask(prompt):
            self.calls += 1
            await asyncio.sleep(0.001)
            return prompt

        @ai_cached(cache=cache)
        def ask(prompt):
            self.calls += 1
            return prompt

        app = FastAPI()

        @app.get("/async/{prompt}")
        async def answer(prompt: str, times: int = 1):
            return [await aask(f"{prompt} {index}") for index in range(times)]

        @app.get("/sync/{prompt}")
        def answer_sync(prompt: str):
            return ask(prompt)

        @app.get("/none")
        async def none():
            return StreamingResponse(iter([b"one", b"two"]), headers={"Cache-Status": "proxy; hit"})

        @app.get("/broken/{prompt}")
        async def broken(prompt: str):
            await aask(prompt)
            raise ValueError(prompt)

        self.app = CacheStatusMiddleware(app, registry=self.registry)

    def get(self, *paths):
        async def ask():
            transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
                return await asyncio.gather(*map(client.get, paths))

        return asyncio.run(ask())

    def sample(self, name, **labels):
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_a_response_tells_whether_its_call_hit(service, kind):
    (first,), (second,) = service.get(f"/{kind}/hi"), service.get(f"/{kind}/hi")
    assert first.headers["cache-status"].startswith("aicached; fwd=uri-miss; stored; ttl=")
    assert second.headers["cache-status"].startswith("aicached; hit; ttl=")
    assert first.json() == second.json()


def test_several_calls_are_a_list_and_a_long_one_is_cut(service):
    (few,), (many,) = service.get("/async/a?times=3"), service.get("/async/b?times=50")
    assert 3 == len(few.headers["cache-status"].split(", "))
    assert LIMIT == len(many.headers["cache-status"].split(", "))


def test_a_response_without_calls_is_as_it_was(service):
    (response,) = service.get("/none")
    assert b"onetwo" == response.content
    assert ["proxy; hit"] == response.headers.get_list("cache-status")


def test_an_error_of_the_service_stays_one(service):
    (response,) = service.get("/broken/hi")
    assert 500 == response.status_code
    assert 1 == service.sample("aicached_http_request_seconds_count", path="/broken/{prompt}", status="miss")


def test_header_and_metrics_agree_under_load(service):
    responses = service.get(*(f"/{kind}/{index % 20}" for index in range(400) for kind in ("async", "sync")))
    assert {200} == {response.status_code for response in responses}
    said = Counter(response.headers["cache-status"].split("; ")[1] for response in responses)
    shared = Counter(
        response.headers["cache-status"].split("; ")[1]
        for response in responses
        if "; collapsed" in response.headers["cache-status"]
    )
    collapsed = sum(shared.values())
    assert 40 == service.calls
    assert 800 == said["hit"] + said["fwd=uri-miss"]
    # Not all that collapsed has missed: who leads after an answer was stored finds it, for all who have joined by then.
    assert 40 + shared["fwd=uri-miss"] == said["fwd=uri-miss"]
    total = lambda name: sum(  # noqa: E731
        sample.value for metric in service.registry.collect() for sample in metric.samples if sample.name == name
    )
    assert said["hit"] == total("aicached_hits_total")
    assert said["fwd=uri-miss"] == total("aicached_misses_total")
    assert collapsed == total("aicached_collapsed_total")
    by_path = [
        service.sample("aicached_http_request_seconds_count", path=path, status="hit") or 0
        for path in ("/async/{prompt}", "/sync/{prompt}")
    ]
    assert said["hit"] == sum(by_path)


def test_a_path_is_a_route_or_what_the_user_says_never_the_raw_one():
    registry, other = CollectorRegistry(), CollectorRegistry()

    async def hello(request):
        return PlainTextResponse("hello")

    app = Starlette(routes=[Route("/hello/{name}", hello)])
    for middleware in (
        CacheStatusMiddleware(app, registry=registry),
        CacheStatusMiddleware(app, registry=other, path=lambda scope: scope["path"][:6]),
        CacheStatusMiddleware(app, registry=False),
    ):

        async def ask(middleware=middleware):
            transport = httpx.ASGITransport(app=middleware)
            async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
                return await client.get("/hello/you")

        assert "hello" == asyncio.run(ask()).text
    paths = lambda where: {  # noqa: E731
        sample.labels["path"] for metric in where.collect() for sample in metric.samples if "path" in sample.labels
    }
    assert paths(registry) <= {"other", "/hello/{name}"}
    assert {"/hello"} == paths(other)


def test_what_is_no_request_passes_through():
    seen = []

    async def app(scope, receive, send):
        seen.append((scope, receive, send))

    scope = {"type": "lifespan"}
    asyncio.run(CacheStatusMiddleware(app, registry=False)(scope, 1, 2))
    assert [(scope, 1, 2)] == seen
