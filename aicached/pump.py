"""
An async stream that is being received: one task pulls, and consumers in any task, thread or loop wait for it.

Law: no consumer ever awaits the source. A consumer that is cancelled would kill it for all, and its timeouts and cancel
scopes would be entered in one task and left in another. The task runs in a copy of the first consumer's context; it
reads ahead, so that it need not be woken for each chunk, but not before a consumer has taken a few: who sends into a
generator reaches the very place where it waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from .recording import ENDED, FAILED, LEFT, RUNNING, Recording

__all__ = ["AsyncRecording"]

#: Chunks that are read ahead of the fastest consumer; and how many he takes before anything is.
AHEAD, WARM = 64, 8


class AsyncRecording(Recording):
    """Pull from an async iterator, in a task of its own."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.loop = asyncio.get_running_loop()
        #: Chunks that may be there before the task waits.
        self.wanted = 1
        self.gate: asyncio.Future[None] | None = None
        self.waiting: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()
        self.steered: deque[tuple[str, tuple[Any, ...]]] = deque()
        self.steers = False
        self.task: asyncio.Task[None] | None = None
        #: The task is over: what could be kept is.
        self.settled = False
        self.alarm: asyncio.TimerHandle | None = None

    async def begin(self) -> Exception | None:
        """Start the task, and wait for the first chunk; return the failure that came in its place."""
        self.task = self.loop.create_task(self._pump())
        self.task.add_done_callback(self._done)
        try:
            await self.arrival(0)
        except BaseException:
            self.task.cancel()
            await asyncio.wait({self.task})  # its own clean-up comes first, as if it had been called directly
            raise
        self.begun = True
        # Who led may have been cancelled, and so may all who waited, before any of them has taken a seat.
        self.alarm = self.loop.call_later(1.0, self._look_round)
        return self.failure() if self.state == FAILED and not self.tape.chunks else None

    def _look_round(self) -> None:
        with self.lock:
            self.led = True
            empty = not self.marks and self.state == RUNNING and self.until is None
            if empty:
                self.state = LEFT
        self._settle()
        if empty:
            self.deserted()

    # The task ----------------------------------------------------------------------------------------------------

    async def _pump(self) -> None:
        state: str = FAILED
        error: BaseException | None = None
        try:
            try:
                await self._receive()
                state = ENDED
            finally:
                await self._close()
        except Exception as failure:
            error = failure
        finally:
            await self._ended(state, error)

    async def _receive(self) -> None:
        value = self.source.value
        if self.source.manager:
            self.stream = value = await value.__aenter__()
        step, tape, see = value.__anext__, self.tape, self.see
        chunks = tape.chunks
        while True:
            if len(chunks) >= self.wanted:
                await self._gate()
            try:
                chunk = await (self._steered_step() if self.steered else step())
            except StopAsyncIteration:
                break
            see(chunk)
            tape.add(chunk, keep=True)
            if self.waiting:
                self._wake()
        found = self.whole()
        with suppress(Exception):
            self.ending = await found if hasattr(found, "__await__") else found
            return
        self.tape.why = self.tape.why or "no final answer"

    def _steered_step(self) -> Any:
        method, args = self.steered.popleft()
        return getattr(self.stream, method)(*args)

    async def _gate(self) -> None:
        """Wait until more is wanted; end where nobody wants any, unless it is recorded for later."""
        while len(self.tape.chunks) >= self.wanted:
            if self.state == LEFT or self.expired():
                raise asyncio.CancelledError
            if self.until is not None and not self.marks:
                return
            self.gate = self.loop.create_future()
            try:
                await self.gate
            finally:
                self.gate = None

    async def _close(self) -> None:
        with suppress(Exception):
            if self.source.manager:
                await self.source.value.__aexit__(None, None, None)
                return
            close = getattr(self.stream, "aclose", None) or getattr(self.stream, "close", None)
            closing: Any = close() if close is not None else None
            if hasattr(closing, "__await__"):
                await closing

    async def _ended(self, state: str, error: BaseException | None) -> None:
        if state == ENDED:
            self.state = ENDED
            await self.finish(self)
            self.over(ENDED)
        else:
            self.over(state, error)
            if self.begun:
                await self.finish(self)

    def _done(self, task: asyncio.Task[None]) -> None:
        """The task has ended, perhaps with its loop and before its first step."""
        if not task.cancelled():
            task.exception()  # else asyncio logs that nobody looked
        if self.state == RUNNING:
            self.over(FAILED)
        self.settled = True
        if self.alarm is not None:
            self.alarm.cancel()  # it would keep the tape alive
        self._wake()

    # Its consumers -----------------------------------------------------------------------------------------------

    async def arrival(self, index: int) -> None:
        """Wait until chunk *index* is there, or none comes; look again each second, where its loop may be gone."""
        chunks, loop = self.tape.chunks, asyncio.get_running_loop()
        while index >= len(chunks) and not self.settled:
            if loop is not self.loop and self.loop.is_closed():
                self.over(FAILED)
                return
            gate = loop.create_future()
            # Noted before the look: in the other order a chunk of another thread's loop may come between the two.
            self.waiting.append((loop, gate))
            self.want(index, loop)
            if index < len(chunks) or self.settled:
                return
            alarm = loop.call_later(1.0, _release, gate) if loop is not self.loop else None
            try:
                await gate
            finally:
                if alarm is not None:
                    alarm.cancel()

    def want(self, index: int, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Ask for chunk *index*, and for some ahead of it."""
        wanted = index + 1 + (AHEAD if index >= WARM and not self.steers else 0)
        if loop is self.loop:
            self._want(wanted)
        elif wanted > self.wanted or self.gate is not None:
            # In the pump's own loop alone, or of two threads that want more the one that wants less may have the last
            # word, and the other's chunk never comes.
            _soon(self.loop, self._want, wanted)

    def _want(self, wanted: int) -> None:
        self.wanted = max(self.wanted, wanted)
        self._open()

    def _open(self) -> None:
        if self.gate is not None and not self.gate.done():
            self.gate.set_result(None)

    def _wake(self) -> None:
        while self.waiting:
            loop, gate = self.waiting.popleft()
            if loop is self.loop:
                _release(gate)
            else:
                _soon(loop, _release, gate)

    def steer(self, mark: list[int], method: str, *args: Any) -> None:
        """Send or throw into the source, for its only consumer; what comes of it belongs to no other call."""
        if not self.alone(mark):
            raise RuntimeError(f"{method}() into a stream that others read too")
        if not hasattr(self.stream, method):
            raise AttributeError(f"{type(self.stream).__name__} has no {method}()")
        self.tape.why = self.tape.why or "steered"
        self.steers = True
        self.steered.append((method, args))

    def deserted(self) -> None:
        if self.task is not None:
            _soon(self.loop, self.task.cancel)

    def go_on(self) -> None:
        _soon(self.loop, self._open)
        _soon(self.loop, self.loop.call_later, self.patience + 0.01, self._late)

    def _late(self) -> None:
        if self.expired():
            self.deserted()

    async def closed(self) -> None:
        """Wait until the source is closed, where that is done in this loop."""
        if self.state == LEFT and self.task is not None and asyncio.get_running_loop() is self.loop:
            await asyncio.wait({self.task})


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[..., Any], *args: Any) -> None:
    """Call in another loop; nothing waits in one that is closed."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(call, *args)


def _release(gate: asyncio.Future[None]) -> None:
    if not gate.done():
        gate.set_result(None)
