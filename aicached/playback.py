"""
What callers get of a stream: a real generator where the function is one, else an object that behaves like the SDK's.

Law: nothing here knows of keys or stores, and who closes the object, or leaves it, has left the stream.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from typing import Any

from .recording import ENDED, Seat
from .steps import asteps, steps
from .tape import Replay

__all__ = ["AsyncPlayback", "Opening", "Playback", "asteps", "played", "steps"]

GENERATOR, STREAM = "generator", "stream"


class _Played:
    """Be what both colours have in common."""

    def __init__(self, found: Any) -> None:
        self._found = found
        self._form: str = found.form if isinstance(found, Replay) else found.recording.form

    def _leave(self) -> None:
        if isinstance(self._found, Seat):
            self._found.leave()

    def _ending(self) -> Any:
        """Return what the stream gave at its end."""
        found = self._found
        return found.ending if isinstance(found, Replay) else found.recording.result(first=found.first)

    def _own(self) -> Any:
        """Return the SDK's own method for the whole answer, for the consumer who has the SDK's own chunks."""
        found = self._found
        live = isinstance(found, Seat) and found.first and found.recording.state == ENDED
        return getattr(found.recording.stream, self._form) if live else None

    def _known(self, name: str) -> Any:
        """Return an attribute of the SDK's stream, where it is still there."""
        if name.startswith("_"):
            raise AttributeError(name)
        if name.startswith("current_") and isinstance(self._found, Replay):
            return self._found.ending
        if isinstance(self._found, Seat):
            return getattr(self._found.recording.stream, name)
        raise AttributeError(f"a replayed stream has no {name!r}: nobody was asked")

    def __repr__(self) -> str:
        return f"<cached {self._form} of {'a replay' if isinstance(self._found, Replay) else 'a recording'}>"


def _text(message: Any) -> str:
    """Return the text of a final message, as anthropic's ``get_final_text`` does."""
    return "".join(block.text for block in message.content if block.type == "text")


def _piece(event: Any) -> str | None:
    """Return the text in an event of a message stream."""
    delta: Any = event.delta if getattr(event, "type", None) == "content_block_delta" else None
    return delta.text if getattr(delta, "type", None) == "text_delta" else None


class Playback(_Played):
    """Be a stream that is iterated, closed and entered as the SDK's own; it is a generator's twin, too."""

    def __init__(self, found: Any, sleep: Callable[[float], Any]) -> None:
        super().__init__(found)
        self._steps = steps(lambda: found, sleep)

    def __iter__(self) -> Iterator[Any]:
        return self._steps

    def __next__(self) -> Any:
        return next(self._steps)

    def send(self, value: Any) -> Any:
        """Send into the generator that was recorded."""
        return self._steps.send(value)

    def throw(self, *error: Any) -> Any:
        """Throw into the generator that was recorded."""
        return self._steps.throw(*error)

    def close(self) -> None:
        """Read no further."""
        self._steps.close()
        self._leave()

    def __enter__(self) -> Playback:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        if name == self._form:
            return self._final
        if name == "get_final_text" and self._form == "get_final_message":
            return lambda: _text(self._final())
        if name == "text_stream" and self._form == "get_final_message":
            return (text for text in map(_piece, self._steps) if text is not None)
        if name == "until_done":
            return self._drained
        return self._known(name)

    def _drained(self) -> Playback:
        for _ in self._steps:
            pass
        return self

    def _final(self) -> Any:
        self._drained()
        own = self._own()
        return self._ending() if own is None else own()


class AsyncPlayback(_Played):
    """Twin of `Playback`."""

    def __init__(self, found: Any) -> None:
        super().__init__(found)

        async def opened() -> Any:
            return found

        self._steps = asteps(opened)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._steps

    def __anext__(self) -> Awaitable[Any]:
        return self._steps.__anext__()

    def asend(self, value: Any) -> Awaitable[Any]:
        """Send into the generator that was recorded."""
        return self._steps.asend(value)

    def athrow(self, *error: Any) -> Awaitable[Any]:
        """Throw into the generator that was recorded."""
        return self._steps.athrow(*error)

    async def aclose(self) -> None:
        """Read no further."""
        await self._steps.aclose()
        self._leave()
        if isinstance(self._found, Seat):
            await self._found.recording.closed()  # type: ignore[attr-defined]

    async def close(self) -> None:
        """Read no further; this is what the SDKs call it."""
        await self.aclose()

    async def __aenter__(self) -> AsyncPlayback:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    def __getattr__(self, name: str) -> Any:
        if name == self._form:
            return self._final
        if name == "get_final_text" and self._form == "get_final_message":
            return self._final_text
        if name == "text_stream" and self._form == "get_final_message":
            return self._texts()
        if name == "until_done":
            return self._drained
        return self._known(name)

    async def _texts(self) -> AsyncIterator[str]:
        async for event in self._steps:
            text = _piece(event)
            if text is not None:
                yield text

    async def _drained(self) -> AsyncPlayback:
        async for _ in self._steps:
            pass
        return self

    async def _final(self) -> Any:
        await self._drained()
        own = self._own()
        return self._ending() if own is None else await own()

    async def _final_text(self) -> str:
        return _text(await self._final())


def played(found: Any, sleep: Callable[[float], Any]) -> Any:
    """Return what a caller gets for a `Seat` or a `Replay`; anything else is itself."""
    if isinstance(found, Seat):
        return AsyncPlayback(found) if found.recording.source.asynchronous else Playback(found, sleep)
    if isinstance(found, Replay):
        return AsyncPlayback(found) if found.asynchronous else Playback(found, sleep)
    return found


class Opening(Coroutine[Any, Any, Any]):
    """
    Be what a plain function with ``colour="async"`` returns before anybody knows whether it is a stream.

    It can be awaited, as the result of a coroutine function; iterated; and entered, as the SDKs' stream managers. The
    call begins when one of these is done.
    """

    def __init__(self, fetch: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self._fetch = fetch
        self._made: Coroutine[Any, Any, Any] | None = None
        self._entered: Any = None

    def _coroutine(self) -> Coroutine[Any, Any, Any]:
        if self._made is None:
            self._made = self._fetch()
        return self._made

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._coroutine().__await__()

    def send(self, value: Any) -> Any:
        """Step the call, as an event loop does."""
        return self._coroutine().send(value)

    def throw(self, *error: Any) -> Any:
        """Throw into the call, as an event loop does."""
        return self._coroutine().throw(*error)

    def close(self) -> None:
        """Give the call up."""
        if self._made is not None:
            self._made.close()

    def __aiter__(self) -> AsyncIterator[Any]:
        if self._entered is None:
            self._entered = asteps(self._found)
        return self._entered  # type: ignore[no-any-return]

    def __anext__(self) -> Awaitable[Any]:
        return self.__aiter__().__anext__()

    async def _found(self) -> Any:
        made = await self._coroutine()
        return made._found if isinstance(made, AsyncPlayback) else made

    async def aclose(self) -> None:
        """Read no further."""
        if self._entered is not None:
            await self._entered.aclose()

    async def __aenter__(self) -> Any:
        self._entered = await self._coroutine()
        return await self._entered.__aenter__()

    async def __aexit__(self, *error: object) -> Any:
        return await self._entered.__aexit__(*error)
