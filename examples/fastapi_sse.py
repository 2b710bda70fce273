"""
Stream a model's answer to browsers as server-sent events, from a cached async generator.

Run it with ``uvicorn fastapi_sse:app`` from this folder; it needs fastapi, uvicorn and ``aicached[openai]``. Two
browsers that ask the same at the same time share one call of the model; a third one, later, costs nothing.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI

from aicached import ai_cached, current_call

app = FastAPI()
client = AsyncOpenAI()


@ai_cached(ttl="1d", on_abandon="finish")  # a reader who closes his tab does not waste what was paid for
async def tell(prompt: str, model: str = "gpt-4o-mini") -> AsyncIterator[str]:
    messages = [{"role": "user", "content": prompt}]
    async with await client.chat.completions.create(model=model, messages=messages, stream=True) as stream:
        async for chunk in stream:
            current_call().saw(chunk)  # its end mark tells the cache that the answer is whole
            if chunk.choices and (text := chunk.choices[0].delta.content):
                yield text


async def events(prompt: str, model: str) -> AsyncIterator[str]:
    try:
        async for text in tell(prompt, model):
            yield f"data: {json.dumps(text)}\n\n"
    except Exception as error:  # the headers have gone out: an event is all that can be said
        yield f"event: error\ndata: {json.dumps(type(error).__name__)}\n\n"
    else:
        yield "event: end\ndata: {}\n\n"


@app.get("/tell")
async def told(prompt: str, model: str = "gpt-4o-mini") -> StreamingResponse:
    return StreamingResponse(events(prompt, model), media_type="text/event-stream")
