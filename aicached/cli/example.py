"""
The two functions of the demo: ordinary code around openai's client, and one line more.

Law: nothing here knows that it is a demo.
"""

from __future__ import annotations

from openai.types.chat import ChatCompletion

from aicached import ai_cached

from .model import async_client, client

__all__ = ["aask", "ask"]

STYLE = "You answer questions about caching in one or two plain sentences. You name a number where there is one."


@ai_cached(ttl="1d")
def ask(prompt: str, *, model: str = "small") -> ChatCompletion:
    """Ask the model, and wait for its answer."""
    return client.chat.completions.create(
        model=model,
        messages=[{"role": "system", "content": STYLE}, {"role": "user", "content": prompt}],
    )


@ai_cached(ttl="1d")
async def aask(prompt: str, *, model: str = "small") -> ChatCompletion:
    """Ask the model, and do other things meanwhile."""
    return await async_client.chat.completions.create(
        model=model,
        messages=[{"role": "system", "content": STYLE}, {"role": "user", "content": prompt}],
    )
