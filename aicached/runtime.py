"""
What differs between blocking code and asyncio: calling, sleeping, asking a store.

The engine is written once, as coroutines, and touches the world only through a Runtime. The asyncio runtime suspends.
The blocking runtime does everything before it returns, so its coroutines finish at their first step, and `drive` runs
them without an event loop: to await a coroutine that never suspends is an ordinary call.

Law: nothing of freshness here, and under the blocking runtime nothing suspends.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from . import retry
from .flight import Flight, Landing, abandon, board, leave
from .stores.base import Store

__all__ = ["ASYNCIO", "BLOCKING", "Runtime", "drive"]

T = TypeVar("T")
Outcome = tuple[bool, Any]


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends, and return its result."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    else:
        raise RuntimeError("an awaitable suspended under the blocking runtime")
    finally:
        coroutine.close()


class Runtime:
    """Be one colour's way to call, sleep and reach a store."""

    #: Seconds that only differences of mean anything.
    monotonic = staticmethod(time.perf_counter)
    #: Does it do everything before it returns?
    blocking = False

    async def call(self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Outcome:
        """Call an origin once: ``(True, value)`` or ``(False, exception)``; only an `Exception` is an outcome."""
        raise NotImplementedError

    async def again(self, option: Any, first: Exception | None, attempt: Callable[[], Any]) -> Outcome:
        """Go on after a first attempt that failed with *first* (None: there was none); ``attempt()`` makes the next."""
        raise NotImplementedError

    async def lead(self, flight: Flight, story: Coroutine[Any, Any, Outcome]) -> Outcome:
        """Run the computation of a flight that this caller leads; whatever ends it ends the flight."""
        raise NotImplementedError

    async def wait(self, flight: Flight, patience: float) -> Landing | None:
        """Wait until a flight lands, for *patience* seconds at most; None where it has not."""
        raise NotImplementedError

    async def ask(self, store: Store, verb: str, *args: Any) -> Any:
        """Call a store's method of that name, by this colour's twin of it."""
        raise NotImplementedError

    async def together(self, stories: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
        """Run several coroutines, at once where this colour can."""
        raise NotImplementedError


class Blocking(Runtime):
    """Do everything in the caller's thread before returning."""

    blocking = True

    def __init__(self, sleep: Callable[[float], Any] = time.sleep) -> None:
        self.sleep = sleep

    async def call(self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Outcome:
        try:
            return True, function(*args, **kwargs)
        except Exception as error:
            return False, error

    async def again(self, option: Any, first: Exception | None, attempt: Callable[[], Any]) -> Outcome:
        waiting = [] if first is None else [first]

        def next_attempt() -> Any:
            if waiting:
                raise waiting.pop()
            ok, value = drive(attempt())
            if ok:
                return value
            raise value

        try:
            return True, retry.retrying(option, asynchronous=False, sleep=self.sleep)(next_attempt)
        except Exception as error:
            return False, error

    async def lead(self, flight: Flight, story: Coroutine[Any, Any, Outcome]) -> Outcome:
        try:
            return await story
        finally:
            abandon(flight)  # which says nothing where it has landed

    async def wait(self, flight: Flight, patience: float) -> Landing | None:
        landed = threading.Event()
        try:
            if board(flight, landed.set):
                landed.wait(patience)
            return flight.landing
        finally:
            if leave(flight):
                flight.stop()

    async def ask(self, store: Store, verb: str, *args: Any) -> Any:
        return getattr(store, verb)(*args)

    async def together(self, stories: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
        return [drive(story) for story in stories]


class Asyncio(Runtime):
    """Suspend while the world is slow."""

    def __init__(self, sleep: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep) -> None:
        self.sleep = sleep

    async def call(self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Outcome:
        try:
            made = function(*args, **kwargs)
            return True, (await made if inspect.isawaitable(made) else made)
        except Exception as error:
            return False, error

    async def again(self, option: Any, first: Exception | None, attempt: Callable[[], Any]) -> Outcome:
        waiting = [] if first is None else [first]

        async def next_attempt() -> Any:
            if waiting:
                raise waiting.pop()
            ok, value = await attempt()
            if ok:
                return value
            raise value

        try:
            return True, await retry.retrying(option, asynchronous=True, sleep=self.sleep)(next_attempt)
        except Exception as error:
            return False, error

    async def lead(self, flight: Flight, story: Coroutine[Any, Any, Outcome]) -> Outcome:
        """
        Give the computation a task of its own, and wait for it like everybody else.

        So that the leader's cancellation is a waiter's: the computation goes on while anyone wants it.
        """
        flight.loop = loop = asyncio.get_running_loop()
        task = loop.create_task(story)
        flight.stop = partial(loop.call_soon_threadsafe, task.cancel)
        task.add_done_callback(partial(_over, flight))
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            if leave(flight):
                task.cancel()
                await asyncio.wait({task})  # its own clean-up comes first, as if it had been called directly
            raise
        return task.result()

    async def wait(self, flight: Flight, patience: float) -> Landing | None:
        loop = asyncio.get_running_loop()
        gate = loop.create_future()
        alarm = loop.call_later(patience, _open, gate)
        try:
            if board(flight, partial(_wake, loop, gate)):
                await gate
            return flight.landing
        finally:
            alarm.cancel()
            if leave(flight):
                flight.stop()

    async def ask(self, store: Store, verb: str, *args: Any) -> Any:
        return await getattr(store, f"a{verb}")(*args)

    async def together(self, stories: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
        return await asyncio.gather(*stories)


def _open(gate: asyncio.Future[None]) -> None:
    if not gate.done():
        gate.set_result(None)


def _wake(loop: asyncio.AbstractEventLoop, gate: asyncio.Future[None]) -> None:
    """Open a gate from any thread; nobody waits behind that of a loop that is closed."""
    try:
        here = asyncio.get_running_loop() is loop
    except RuntimeError:
        here = False
    if here:
        _open(gate)
    else:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_open, gate)


def _over(flight: Flight, task: asyncio.Task[Outcome]) -> None:
    """A computation's task has ended, perhaps with its loop, and perhaps before it could land the flight."""
    if not task.cancelled():
        task.exception()  # else asyncio logs that nobody looked
    abandon(flight)


BLOCKING, ASYNCIO = Blocking(), Asyncio()
