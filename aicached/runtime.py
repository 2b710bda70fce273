"""
What differs between blocking code and asyncio: calling, sleeping, waiting, asking a store, going on behind.

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
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from . import retry
from .behind import Behind, TaskBehind, ThreadBehind, workers
from .bells import Bell, LoopBell, ThreadBell
from .flight import Flight, Landing, abandon, board, leave
from .stores.base import Store

__all__ = ["ASYNCIO", "BLOCKING", "Runtime", "drive"]

T = TypeVar("T")
Outcome = tuple[bool, Any]
#: item -> a coroutine that works on it
Work = Callable[[Any], Coroutine[Any, Any, Any]]
#: index, item, result
Done = Callable[[int, Any, Any], None]


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

    async def again(self, option: Any, first: Exception | None, attempt: Callable[[], Any], seconds: float) -> Outcome:
        """
        Go on after a first attempt that failed with *first* (None: there was none); ``attempt()`` makes the next.

        None begins after *seconds* have passed.
        """
        raise NotImplementedError

    async def lead(self, flight: Flight, story: Coroutine[Any, Any, Outcome]) -> Outcome:
        """Run the computation of a flight that this caller leads; whatever ends it ends the flight."""
        raise NotImplementedError

    async def wait(self, flight: Flight, patience: float) -> Landing | None:
        """
        Wait until a flight lands, for *patience* seconds at most.

        Returns:
            how it has landed; None where it has not, and the caller is still aboard: to wait again, or to `leave`.
        """
        bell = self.bell()
        try:
            if board(flight, bell.ring):
                await bell.wait(patience)
        except BaseException:
            if leave(flight):
                flight.stop()
            raise
        if flight.landing is not None:
            leave(flight)
        return flight.landing

    def loop(self) -> Any:
        """Return the event loop that this caller lives in; None where he needs none."""
        return None

    def bell(self) -> Bell:
        """Return what wakes this caller."""
        raise NotImplementedError

    def alive(self) -> Callable[[], bool]:
        """Return what tells, in any thread, whether what runs here can still come to its end."""
        raise NotImplementedError

    def spawn(self, story: Callable[[], Coroutine[Any, Any, None]]) -> Behind:
        """Run a coroutine behind this caller, with a copy of his context variables."""
        raise NotImplementedError

    def ask(self, store: Store, verb: str, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        """Call a store's method of that name, by this colour's twin of it."""
        raise NotImplementedError

    async def apart(self, function: Callable[..., Any], *args: Any, timeout: float) -> Any:
        """Call what may take long, sync or async, in a thread, and wait for it for *timeout* seconds at most."""
        raise NotImplementedError

    async def together(self, stories: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
        """Run several coroutines, at once where this colour can."""
        raise NotImplementedError

    async def spread(self, work: Work, items: Iterable[Any], concurrency: int, done: Done) -> None:
        """
        Run ``work(item)`` for each item, at most *concurrency* at a time, each in a copy of the caller's context.

        ``done(index, item, result)`` is called where the caller is, as they end; what it raises ends it all.
        """
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

    async def again(self, option: Any, first: Exception | None, attempt: Callable[[], Any], seconds: float) -> Outcome:
        waiting = [] if first is None else [first]

        def next_attempt() -> Any:
            if waiting:
                raise waiting.pop()
            ok, value = drive(attempt())
            if ok:
                return value
            raise value

        try:
            return True, retry.retrying(option, seconds, asynchronous=False, sleep=self.sleep)(next_attempt)
        except Exception as error:
            return False, error

    async def lead(self, flight: Flight, story: Coroutine[Any, Any, Outcome]) -> Outcome:
        try:
            return await story
        finally:
            if flight.landing is None:
                abandon(flight)

    def bell(self) -> Bell:
        return ThreadBell()

    def alive(self) -> Callable[[], bool]:
        return lambda: True

    def spawn(self, story: Callable[[], Coroutine[Any, Any, None]]) -> Behind:
        context = copy_context()
        # A daemon, as the interpreter must not wait for a model at its exit; what may be waited for is, for a while.
        thread = threading.Thread(target=lambda: context.run(drive, story()), name="aicached-behind", daemon=True)
        thread.start()
        return ThreadBehind(thread)

    async def ask(self, store: Store, verb: str, *args: Any, **kwargs: Any) -> Any:
        return getattr(store, verb)(*args, **kwargs)

    async def apart(self, function: Callable[..., Any], *args: Any, timeout: float) -> Any:
        def finished() -> Any:
            made = function(*args)
            return asyncio.run(_awaited(made)) if inspect.isawaitable(made) else made

        return workers().submit(finished).result(timeout)

    async def together(self, stories: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
        return [drive(story) for story in stories]

    async def spread(self, work: Work, items: Iterable[Any], concurrency: int, done: Done) -> None:
        pool = ThreadPoolExecutor(concurrency, thread_name_prefix="aicached-many")
        running: dict[Future[Any], tuple[int, Any]] = {}

        def collect(when: str) -> None:
            for future in wait(running, return_when=when).done:
                done(*running.pop(future), future.result())

        try:
            for index, item in enumerate(items):
                if len(running) >= concurrency:
                    collect(FIRST_COMPLETED)
                # No coroutine is made here: one that never ran would be warned of.
                future = pool.submit(copy_context().run, lambda item=item: drive(work(item)))
                running[future] = (index, item)
            while running:
                collect(FIRST_COMPLETED)
        except Exception:
            pool.shutdown(cancel_futures=True)
            raise
        finally:
            # Whoever is interrupted waits for nobody: what is under way is kept when it ends, or ends with the process.
            pool.shutdown(wait=False, cancel_futures=True)


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

    async def again(self, option: Any, first: Exception | None, attempt: Callable[[], Any], seconds: float) -> Outcome:
        waiting = [] if first is None else [first]

        async def next_attempt() -> Any:
            if waiting:
                raise waiting.pop()
            ok, value = await attempt()
            if ok:
                return value
            raise value

        try:
            return True, await retry.retrying(option, seconds, asynchronous=True, sleep=self.sleep)(next_attempt)
        except Exception as error:
            return False, error

    async def lead(self, flight: Flight, story: Coroutine[Any, Any, Outcome]) -> Outcome:
        """
        Give the computation a task of its own, and wait for it like everybody else.

        So that the leader's cancellation is a waiter's: the computation goes on while anyone wants it.
        """
        loop = asyncio.get_running_loop()
        task = loop.create_task(story)
        flight.stop = TaskBehind(task).stop
        task.add_done_callback(partial(_over, flight))
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            if leave(flight):
                task.cancel()
                await asyncio.wait({task})  # its own clean-up comes first, as if it had been called directly
            flight.orphan = True
            raise
        return task.result()

    def loop(self) -> Any:
        return asyncio.get_running_loop()

    def bell(self) -> Bell:
        return LoopBell()

    def alive(self) -> Callable[[], bool]:
        loop = asyncio.get_running_loop()
        return lambda: not loop.is_closed()

    def spawn(self, story: Callable[[], Coroutine[Any, Any, None]]) -> Behind:
        return TaskBehind(asyncio.get_running_loop().create_task(story()))

    def ask(self, store: Store, verb: str, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        return getattr(store, f"a{verb}")(*args, **kwargs)  # type: ignore[no-any-return]

    async def apart(self, function: Callable[..., Any], *args: Any, timeout: float) -> Any:
        async def finished() -> Any:
            if inspect.iscoroutinefunction(function):
                return await function(*args)
            made = await asyncio.get_running_loop().run_in_executor(workers(), function, *args)
            return await made if inspect.isawaitable(made) else made

        return await asyncio.wait_for(finished(), timeout)

    async def together(self, stories: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
        return await asyncio.gather(*stories)

    async def spread(self, work: Work, items: Iterable[Any], concurrency: int, done: Done) -> None:
        rest = enumerate(items)

        async def worker() -> None:
            for index, item in rest:  # one iterator for all: who is free takes the next
                done(index, item, await work(item))

        tasks = [asyncio.ensure_future(worker()) for _ in range(concurrency)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


def _over(flight: Flight, task: asyncio.Task[Outcome]) -> None:
    """A computation's task has ended, perhaps with its loop, and perhaps before it could land the flight."""
    if not task.cancelled():
        task.exception()  # else asyncio logs that nobody looked
    abandon(flight)


async def _awaited(made: Awaitable[T]) -> T:
    return await made


BLOCKING, ASYNCIO = Blocking(), Asyncio()
