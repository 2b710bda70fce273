"""
A model on loopback: real HTTP, OpenAI's and Anthropic's shapes, plausible latency, failures on demand.

Law: nothing goes wrong unless it was asked to, and after `stop` no thread and no socket is left. All requests are
answered on one thread with an event loop of its own, which is why counting needs no lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import islice
from types import TracebackType
from typing import Any, TypeVar, cast

from .answers import Exchange, Reply, compose
from .responses import RESPONSES, as_chat
from .shapes import ANTHROPIC, OPENAI, Dialect, embeddings
from .wire import Request, read_request, send, send_stream

__all__ = ["Failure", "ModelServer", "Reply", "Request"]

_MODELS = {
    "object": "list",
    "data": [{"id": name, "object": "model", "created": 0, "owned_by": "aicached"} for name in ("large", "small")],
}
_NEEDED = {
    "/v1/chat/completions": ("model", "messages"),
    "/v1/messages": ("model", "messages", "max_tokens"),
    "/v1/responses": ("model", "input"),
    "/v1/embeddings": ("model", "input"),
}
_DIALECTS = {"/v1/messages": ANTHROPIC, "/v1/responses": RESPONSES}
_Server = TypeVar("_Server", bound="ModelServer")


@dataclass(frozen=True, slots=True)
class Failure:
    """
    Describe how one request goes wrong.

    Attributes:
        status: of the HTTP answer.
        retry_after: the value of the header ``Retry-After``: seconds, or a date.
        message, code: what the error body says, in the provider's own shape; None: something plausible.
        headers: further headers.
        cut_after: in place of an answer with *status*, begin a good stream and hang up after so many events of it; 0,
            or where no stream was asked for: hang up before the first byte.
        tidy: with *cut_after*: end the stream there as if it were whole, rather than hang up.
    """

    status: int = 429
    retry_after: str | float | None = None
    message: str | None = None
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    tidy: bool = False


class ModelServer:
    """
    Serve a model on loopback: chat completions, responses, messages, embeddings and the list of models, under ``/v1``.

    Use it as a context manager, or `start` and `stop` it; it may be started again. Each request that the model is
    asked counts in `calls`; every request is in `requests`.

    Args:
        latency: seconds before an answer begins: a number, or from and to. A failure comes at once, as from a gateway.
        pace: seconds between two events of a stream.
        fail_every: each N-th call gets *failure*; None: none does.
        failure: what these calls get.
        answer: what the model says, from the body of the request: a text, a mapping of fields of `Reply` (such as
            ``{"text": "cut", "finish_reason": "length"}``), a `Reply` or a `Failure`. None: something of its own, the
            same for the same question. It runs on the server's only thread, so it must not wait. May be set later.
        port: to listen on; 0: any that is free.
        seed: of the latencies.
    """

    def __init__(
        self,
        *,
        latency: float | tuple[float, float] = 0.0,
        pace: float = 0.0,
        fail_every: int | None = None,
        failure: Failure | None = None,
        answer: Callable[[Any], object] | None = None,
        port: int = 0,
        seed: int = 0,
    ) -> None:
        self.latency = latency
        self.pace = pace
        self.fail_every = fail_every
        self.failure = Failure(429, retry_after="0.05") if failure is None else failure
        self.answer = answer
        self.port = port
        self.calls = 0
        self.failures = 0
        self.requests: list[Request] = []
        self._wanted_port = port
        self._random = random.Random(seed)
        self._script: deque[Failure | None] = deque()
        self._running: tuple[threading.Thread, Callable[[], object]] | None = None

    @property
    def root(self) -> str:
        """Where the server listens, without ``/v1``: the base URL for anthropic's client."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The base URL for openai's client."""
        return f"{self.root}/v1"

    def script(self, *steps: int | Failure) -> None:
        """Make the next calls go wrong in this way, in order; 200 is a call that goes well. Adds to what is left."""
        wrap = {200: None}
        self._script.extend(step if isinstance(step, Failure) else wrap.get(step, Failure(step)) for step in steps)

    def reset(self) -> None:
        """Forget the calls, the requests, and what is left of the script."""
        self.calls = self.failures = 0
        self.requests.clear()
        self._script.clear()

    def start(self: _Server) -> _Server:
        """Listen, on a thread of its own; a port that is taken is an OSError."""
        if self._running is not None:
            raise RuntimeError("this server is running already")
        listener = socket.create_server(("127.0.0.1", self._wanted_port), backlog=1024)
        self.port = listener.getsockname()[1]
        ready: Future[Callable[[], object]] = Future()
        thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(listener, ready)), name="ModelServer", daemon=True
        )
        thread.start()
        self._running = thread, ready.result()
        return self

    def stop(self) -> None:
        """Hang up on everybody and wait until thread and sockets are gone; nothing happens where it does not run."""
        if self._running is not None:
            (thread, end), self._running = self._running, None
            end()
            thread.join()

    def __enter__(self: _Server) -> _Server:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def _serve(self, listener: socket.socket, ready: Future[Callable[[], object]]) -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._converse, sock=listener, limit=2**20)
        ready.set_result(lambda: loop.call_soon_threadsafe(ended.set))
        await ended.wait()
        # The conversations are cancelled by `asyncio.run`, those too that were accepted a moment ago.
        server.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request after the other on a connection, until either side hangs up."""
        try:
            while (request := await read_request(reader)) is not None:
                self.requests.append(request)
                await self._respond(request, writer)
        except ConnectionError:
            pass
        except asyncio.CancelledError:
            # Not raised again: before Python 3.12 asyncio logs a traceback for a connection that ends so.
            writer.transport.abort()
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _respond(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if request.path == "/v1/models":
            await send(writer, 200, _MODELS)
            return
        failure = self._count()
        cut = failure.cut_after if failure else None
        outcome = failure if failure and cut is None else _reject(request) or self._answer(request)
        dialect = _DIALECTS.get(request.path, OPENAI)
        if isinstance(outcome, Failure):
            await _refuse(writer, dialect, outcome)
            return
        await asyncio.sleep(self._delay())
        if isinstance(outcome, Exchange) and request.json.get("stream") and cut != 0:
            events = dialect.stream(outcome)
            if failure is not None and failure.tidy:
                events, cut = islice(events, cut), None
            await send_stream(writer, self._paced(events, cut))
        elif cut is None:
            await send(writer, 200, dialect.whole(outcome) if isinstance(outcome, Exchange) else outcome)
        else:
            raise ConnectionAbortedError("asked to hang up")

    def _count(self) -> Failure | None:
        """Count one call, and return how it goes wrong, if it does."""
        self.calls += 1
        if self._script:
            failure = self._script.popleft()
        else:
            failure = self.failure if self.fail_every and self.calls % self.fail_every == 0 else None
        self.failures += failure is not None
        return failure

    def _delay(self) -> float:
        low, high = self.latency if isinstance(self.latency, tuple) else (self.latency, self.latency)
        return self._random.uniform(low, high)

    def _answer(self, request: Request) -> Exchange | Mapping[str, Any] | Failure:
        try:
            if request.path == "/v1/embeddings":
                return embeddings(request.json)
            said = self.answer(request.json) if self.answer else None
            if isinstance(said, Failure):
                return said
            body = as_chat(request.json) if request.path == "/v1/responses" else request.json
            replies = [_reply(said, body, index) for index in range(body.get("n") or 1)]
            return replies[0].body or Exchange(body, replies, self.calls)
        except Exception as error:
            # A broken question or a broken *answer* must reach the test as an answer, not as a silent connection.
            return Failure(500, message=f"{type(error).__name__}: {error}")

    async def _paced(self, events: Iterator[bytes], cut: int | None) -> AsyncGenerator[bytes, None]:
        for number, event in enumerate(events):
            if number == cut:
                raise ConnectionAbortedError("asked to hang up")
            if number and self.pace:
                await asyncio.sleep(self.pace)
            yield event


def _reply(said: object, body: Mapping[str, Any], index: int) -> Reply:
    if said is None:
        return compose(body, index)
    if isinstance(said, Reply):
        return said
    return Reply(text=said) if isinstance(said, str) else Reply(**cast("dict[str, Any]", said))


def _reject(request: Request) -> Failure | None:
    """Return the failure of a question that no model could answer."""
    needed = _NEEDED.get(request.path)
    if needed is None:
        return Failure(404, message=f"there is nothing at {request.path}")
    if not isinstance(request.json, dict):
        return Failure(400, message="the body is no JSON object")
    missing = next((name for name in needed if request.json.get(name) in (None, [])), None)
    return Failure(400, message=f"missing: {missing}") if missing else None


async def _refuse(writer: asyncio.StreamWriter, dialect: Dialect, failure: Failure) -> None:
    headers = {name: str(value) for name, value in failure.headers.items()}
    if failure.retry_after is not None:
        headers["retry-after"] = str(failure.retry_after)
    message = failure.message or f"made to fail with status {failure.status}"
    await send(writer, failure.status, dialect.error(failure.status, message, failure.code), headers)
