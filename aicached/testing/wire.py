"""
As much of HTTP/1.1 as the model's server needs: kept connections, JSON in, JSON or server-sent events out.

Law: bytes in, bytes out; what a request means is decided elsewhere.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

__all__ = ["Request", "read_request", "send", "send_stream"]


@dataclass(frozen=True, slots=True)
class Request:
    """Hold one request: *json* is its body, None where that is empty or no JSON; header names are in lower case."""

    method: str
    path: str
    json: Any
    headers: Mapping[str, str]


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """Read the next request of a connection; None when the other side has hung up, or does not speak HTTP."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        method, target, _ = first.split(" ", 2)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
        return None
    # A target may be a whole URL: that is how a client speaks to a proxy.
    return Request(method, urlsplit(target).path, _parse(body), headers)


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


async def send(
    writer: asyncio.StreamWriter, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> None:
    """Send a whole answer."""
    content = json.dumps(body).encode()
    sizes = {"content-type": "application/json", "content-length": str(len(content))}
    writer.write(_head(status, {**sizes, **(headers or {})}) + content)
    await writer.drain()


async def send_stream(writer: asyncio.StreamWriter, events: AsyncGenerator[bytes, None]) -> None:
    """Send *events* as they come, each in a chunk of its own."""
    writer.write(_head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"}))
    async with aclosing(events):
        async for event in events:
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        # 529 (overloaded) is Anthropic's own.
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
