"""
A ``Cache-Status`` header (RFC 9211) on each HTTP response, for the cached calls that were made for it.

Law: the response itself passes through as it is. Headers leave before the body, so a call that ends later, in a
streamed body or in the background, is not in them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

from ..context import trace
from ..status import CacheStatus

__all__ = ["CacheStatusMiddleware"]

#: Proxies refuse headers above some kilobytes; a status takes about 150 bytes.
LIMIT = 16

Message = MutableMapping[str, Any]


class CacheStatusMiddleware:
    """
    Tell the client, and Prometheus, what the cache did: ``app.add_middleware(CacheStatusMiddleware)``.

    Args:
        app: any ASGI application.
        registry: of prometheus-client, for ``aicached_http_request_seconds`` by route; None = the default one where
            prometheus-client is installed; False = no metrics.
        path: scope -> the label of a request; None = the route that Starlette or FastAPI chose, else ``"other"``, as
            raw paths would be labels without bound.
    """

    def __init__(self, app: Any, *, registry: Any = None, path: Callable[[Message], str] | None = None) -> None:
        self.app = app
        self.path = _route if path is None else path
        self.seconds = None if registry is False else _histogram(registry)

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        with trace() as calls:

            async def send_with_status(message: Message) -> None:
                if message["type"] == "http.response.start" and calls:
                    header = (b"cache-status", ", ".join(map(str, calls[:LIMIT])).encode())
                    message = {**message, "headers": [*message.get("headers", ()), header]}
                await send(message)

            try:
                await self.app(scope, receive, send_with_status)
            finally:
                if self.seconds is not None:
                    self.seconds.labels(self.path(scope), _came_to(calls)).observe(time.perf_counter() - started)


def _histogram(registry: Any) -> Any:
    if registry is None:
        try:
            import prometheus_client  # noqa: F401
        except ImportError:
            return None
    from .prometheus import request_seconds

    return request_seconds(registry)


def _route(scope: Message) -> str:
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else "other"


def _came_to(calls: Sequence[CacheStatus]) -> str:
    """Return ``hit`` where all calls were hits, ``miss`` where one was not, ``none`` where there were none."""
    return "none" if not calls else "hit" if all(status.hit for status in calls) else "miss"
