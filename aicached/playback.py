"""
What callers get of a stream: a real generator where the function is one, else an object that behaves like the SDK's.

Law: nothing is looked up or started before the first step of a generator function, and nothing here knows of keys or
stores. Who stops reading, however he does it, leaves his seat at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from typing import Any

from .pump import WARM, AsyncRecording
from .recording import ENDED, OVER, Seat, SyncRecording
from .tape import Replay

__all__ = ["AsyncPlayback", "Opening", "Playback", "asteps", "played", "steps"]

#: Chunks after which other tasks have a turn: 20,000 at once would hold a loop for milliseconds.
TURN = 256
#: Chunks after which an async consumer asks for more to be read ahead.
ASK = 32
GENERATOR, STREAM = "generator", "stream"


# Generators ----------------------------------------------------------------------------------------------------------


def steps(opened: Callable[[], Any], sleep: Callable[[float], Any] = time.sleep) -> Generator[Any, Any, Any]:
    """Yield the chunks of what *opened* returns, a `Seat`, a `Replay` or any iterator, and return its ending."""
    found = opened()
    if isinstance(found, Seat):
        try:
            return (yield from _live(found))
        finally:
            found.leave()
    if isinstance(found, Replay):
        return (yield from _replayed(found, sleep))
    return (yield from found)


def _replayed(replay: Replay, sleep: Callable[[float], Any]) -> Generator[Any, Any, Any]:
    delay, first = replay.delay, True
    for chunk in replay.chunks:
        if delay and not first:
            sleep(delay)
        first = False
        yield chunk
    return replay.ending


def _live(seat: Seat) -> Generator[Any, Any, Any]:
    recording, mark, first = seat.recording, seat.mark, seat.first
    assert isinstance(recording, SyncRecording)
    tape, pull, index = recording.tape, recording.pull, 0
    chunks, order = tape.chunks, None
    while True:
        if order is not None:
            chunk = recording.steer(mark, *order)
            order = None
        elif index < len(chunks):
            chunk = tape.give(index, first=first)
        else:
            chunk = pull(mark, index)
        if chunk is OVER:
            if index < len(chunks):
                continue
            return recording.result(first=first)
        index += 1
        mark[0] = index
        if tape.why is not None:
            recording.trim()
        try:
            sent = yield chunk
        except Exception as thrown:
            order = ("throw", thrown)
        else:
            if sent is not None:
                order = ("send", sent)


async def asteps(opened: Callable[[], Awaitable[Any]]) -> AsyncGenerator[Any, Any]:
    """Twin of `steps`."""
    found = await opened()
    if isinstance(found, Seat):
        inner: Any = _alive(found)
    elif isinstance(found, Replay):
        inner = _areplayed(found)
    else:
        inner = found if hasattr(found, "asend") else _steered(found)
    send = inner.asend
    try:
        chunk = await send(None)
        while True:
            try:
                sent = yield chunk
            except Exception as thrown:
                chunk = await inner.athrow(thrown)
            else:
                chunk = await send(sent)
    except StopAsyncIteration:
        return
    finally:
        await inner.aclose()


async def _steered(source: Any) -> AsyncGenerator[Any, Any]:
    try:
        async for chunk in source:
            yield chunk
    finally:
        closing = getattr(source, "aclose", None) or getattr(source, "close", None)
        made: Any = closing() if closing is not None else None
        if hasattr(made, "__await__"):
            await made


async def _areplayed(replay: Replay) -> AsyncGenerator[Any, Any]:
    from .runtime import ASYNCIO

    delay = replay.delay
    for index, chunk in enumerate(replay.chunks):
        if delay and index:
            await ASYNCIO.sleep(delay)
        elif not index % TURN and index:
            await asyncio.sleep(0)
        yield chunk


async def _alive(seat: Seat) -> AsyncGenerator[Any, Any]:
    recording, mark, first = seat.recording, seat.mark, seat.first
    assert isinstance(recording, AsyncRecording)
    tape, loop, index, ask = recording.tape, asyncio.get_running_loop(), 0, WARM
    chunks = tape.chunks
    try:
        while True:
            if index >= len(chunks):
                await recording.arrival(index)
                if index >= len(chunks):
                    recording.result(first=first)
                    return
            elif index >= ask:
                recording.want(index, loop)
                ask = index + ASK
                if not index % TURN:
                    await asyncio.sleep(0)
            chunk = tape.give(index, first=first)
            index += 1
            mark[0] = index
            if tape.why is not None:
                recording.trim()
            try:
                sent = yield chunk
            except Exception as thrown:
                recording.steer(mark, "athrow", thrown)
            else:
                if sent is not None:
                    recording.steer(mark, "asend", sent)
    finally:
        seat.leave()
        await recording.closed()


# Objects -------------------------------------------------------------------------------------------------------------


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
