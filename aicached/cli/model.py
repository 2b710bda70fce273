"""
The model of the demo, and openai's own clients for it.

Law: whatever port the server happens to get, the clients speak to one address. The address is part of the key, as it
must be: another server is another model. A free port, new in each run, would keep a second run from ever hitting.
"""

from __future__ import annotations

from typing import Any

from openai import AsyncOpenAI, DefaultAsyncHttpxClient, DefaultHttpxClient, OpenAI

from ..testing.server import Failure, ModelServer

__all__ = ["ADDRESS", "async_client", "client", "server"]

ADDRESS = "http://model.localhost/v1"

server = ModelServer(latency=(0.25, 0.45), fail_every=7, failure=Failure(429, retry_after="0.2"))


def _lead(request: Any) -> None:
    """Send *request*, an httpx request to `ADDRESS`, to the port where the server listens."""
    request.url = request.url.copy_with(host="127.0.0.1", port=server.port)


async def _alead(request: Any) -> None:
    _lead(request)


# No retries of the SDK's own: those of the decorator are on show. No settings of the environment: a proxy there would
# not know the way to this machine.
client = OpenAI(
    base_url=ADDRESS,
    api_key="none",
    max_retries=0,
    http_client=DefaultHttpxClient(event_hooks={"request": [_lead]}, trust_env=False),
)
async_client = AsyncOpenAI(
    base_url=ADDRESS,
    api_key="none",
    max_retries=0,
    http_client=DefaultAsyncHttpxClient(event_hooks={"request": [_alead]}, trust_env=False),
)
