"""
A model that says what a test has written down.

Law: one call takes one line of the script, whatever the thread and the colour; the last line is said for ever.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, overload

__all__ = ["ModelError", "RateLimited", "ScriptedModel"]

_serial = itertools.count(1)


@dataclass(frozen=True)
class Response:
    """Hold the part of an HTTP response that retries look at."""

    status_code: int
    headers: Mapping[str, str] = field(default_factory=dict)


class ModelError(Exception):
    """Fail as an SDK does: with a `status_code` and a `response` that has headers."""

    def __init__(self, status_code: int = 500, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status_code, headers)
        self.status_code = status_code
        self.response = Response(status_code, dict(headers or {}))


class RateLimited(ModelError):
    """Fail with a 429, and with a ``Retry-After`` of *retry_after* seconds where given."""

    def __init__(self, retry_after: float | None = None) -> None:
        super().__init__(429, {} if retry_after is None else {"retry-after": str(retry_after)})
        self.args = (retry_after,)


class ScriptedModel:
    """
    Stand in for a model, in both colours.

    Each call takes the next item of *script*: an exception (class or instance) is raised, anything else returned; the
    last one repeats. Without a script the model echoes its prompt.

    Args:
        script: what the calls return or raise, in order.
        delay: seconds that each call takes, in real time.
        identity: what the model counts as in the keys of the functions made by `function`. None makes it different
            from every other model of this process; give two models one identity to play a restart.
    """

    def __init__(self, *script: object, delay: float = 0.0, identity: str | None = None) -> None:
        self.arguments: list[dict[str, Any]] = []
        self.delay = delay
        #: Streams that are being read, and those that are over, whatever ended them.
        self.open = self.closed = 0
        self.identity = f"model {next(_serial)}" if identity is None else identity
        self._script = script
        self._lock = threading.Lock()

    @property
    def calls(self) -> int:
        """How often the model was called, failures included."""
        return len(self.arguments)

    def __cache_key__(self) -> str:
        return self.identity

    def __call__(self, prompt: str, *, model: str = "small", **kwargs: Any) -> Any:
        """Return or raise the next item of the script."""
        item = self._take({"prompt": prompt, "model": model, **kwargs})
        time.sleep(self.delay)
        return _say(item)

    async def acall(self, prompt: str, *, model: str = "small", **kwargs: Any) -> Any:
        """Return or raise the next item of the script, without blocking the loop meanwhile."""
        item = self._take({"prompt": prompt, "model": model, **kwargs})
        await asyncio.sleep(self.delay)
        return _say(item)

    @overload
    def function(self, colour: Literal["sync"], *, name: str = ...) -> Callable[..., Any]: ...
    @overload
    def function(self, colour: Literal["async"], *, name: str = ...) -> Callable[..., Awaitable[Any]]: ...
    @overload
    def function(self, colour: str, *, name: str = ...) -> Callable[..., Any]: ...

    def function(self, colour: str, *, name: str = "ask") -> Callable[..., Any]:
        """
        Make a real function over this model: ``name(prompt: str, *, model: str = "small", **kwargs)``.

        Args:
            colour: "sync" for a plain function, "async" for a coroutine function.
            name: its `__name__` and `__qualname__`.
        """
        if colour not in ("sync", "async"):
            raise ValueError(f'a colour is "sync" or "async", not {colour!r}')

        def ask(prompt: str, *, model: str = "small", **kwargs: Any) -> Any:
            return self(prompt, model=model, **kwargs)

        async def aask(prompt: str, *, model: str = "small", **kwargs: Any) -> Any:
            return await self.acall(prompt, model=model, **kwargs)

        made: Callable[..., Any] = ask if colour == "sync" else aask
        made.__name__ = made.__qualname__ = name
        return made

    def streamer(self, colour: str, *, name: str = "ask") -> Callable[..., Any]:
        """
        Make a real generator function over this model; each item of the script is a list of chunks to yield.

        An exception among the chunks, class or instance, is raised in its place; `delay` is waited before each chunk.
        Without a script the words of the prompt are yielded. `open` and `closed` count the streams.

        Args:
            colour: "sync" for a generator function, "async" for an async generator function.
            name: its `__name__` and `__qualname__`.
        """
        if colour not in ("sync", "async"):
            raise ValueError(f'a colour is "sync" or "async", not {colour!r}')

        def ask(prompt: str, *, model: str = "small", **kwargs: Any) -> Iterator[Any]:
            with self._streaming({"prompt": prompt, "model": model, **kwargs}) as chunks:
                for chunk in chunks:
                    time.sleep(self.delay)
                    yield _say(chunk)

        async def aask(prompt: str, *, model: str = "small", **kwargs: Any) -> AsyncIterator[Any]:
            with self._streaming({"prompt": prompt, "model": model, **kwargs}) as chunks:
                for chunk in chunks:
                    await asyncio.sleep(self.delay)
                    yield _say(chunk)

        made: Callable[..., Any] = ask if colour == "sync" else aask
        made.__name__ = made.__qualname__ = name
        return made

    @contextmanager
    def _streaming(self, arguments: dict[str, Any]) -> Iterator[Iterable[Any]]:
        item = self._take(arguments)
        self.open += 1
        try:
            if isinstance(item, str):
                yield item.split()
            else:
                yield item if isinstance(item, (list, tuple)) else [item]
        finally:
            self.open -= 1
            self.closed += 1

    def _take(self, arguments: dict[str, Any]) -> object:
        with self._lock:
            self.arguments.append(arguments)
            if not self._script:
                return arguments["prompt"]
            return self._script[min(len(self.arguments), len(self._script)) - 1]


def _say(item: object) -> object:
    if isinstance(item, BaseException) or (isinstance(item, type) and issubclass(item, BaseException)):
        raise item
    return item
