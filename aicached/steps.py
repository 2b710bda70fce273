"""
The chunks of a stream, step by step: live from a recording, or from a tape that is replayed.

Law: nothing is looked up or started before the first step. Who stops reading, however he does it, leaves his seat at
once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any

from .pump import WARM, AsyncRecording
from .recording import OVER, Seat, SyncRecording
from .runtime import ASYNCIO
from .tape import Replay

__all__ = ["asteps", "steps"]

#: Chunks after which other tasks have a turn: 20,000 at once would hold a loop for milliseconds.
TURN = 256
#: Chunks after which an async consumer asks for more to be read ahead.
ASK = 32


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
