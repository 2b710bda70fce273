"""
A service that answers questions, with one cache for all its replicas.

    uvicorn --app-dir examples service:app

Each response says in its ``Cache-Status`` header what the cache did, and /metrics is for Prometheus. Answers are
shared through the Redis that REDIS_URL names; without one they are kept in a file. It works without the cache, too: a
Redis that is down costs speed and money, not answers.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from openai import AsyncOpenAI
from prometheus_client import make_asgi_app
from pydantic import BaseModel

from aicached import Cache, ai_cached
from aicached.observe.asgi import CacheStatusMiddleware
from aicached.observe.prometheus import PrometheusHook

MODEL = os.environ.get("MODEL", "gpt-4o-mini")

cache = Cache(near=True, namespace="service", hooks=[PrometheusHook()])
client = AsyncOpenAI()


@ai_cached(cache=cache, ttl="1d")
async def answer(question: str, model: str = MODEL) -> str:
    reply = await client.chat.completions.create(model=model, messages=[{"role": "user", "content": question}])
    return reply.choices[0].message.content or ""


class Question(BaseModel):
    text: str


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    await cache.aclose()
    await client.close()


app = FastAPI(lifespan=lifespan)
app.add_middleware(CacheStatusMiddleware)
app.mount("/metrics", make_asgi_app())


@app.post("/ask")
async def ask(question: Question) -> dict[str, str]:
    return {"answer": await answer(question.text)}


@app.get("/health")
async def health() -> dict[str, object]:
    return {"status": "ok", "calls": answer.cache_info()._asdict()}
