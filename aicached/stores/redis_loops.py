"""
Connections to a Redis server, lent to the tasks of an event loop; what they read in the same tick travels together.

Law: as in `redis_wire`, which is for threads; and no connection is used by another event loop than its own, which
closes it when it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from typing import Any

import redis

from ..errors import StoreError
from .redis_commands import MGET
from .redis_wire import command, demoted

__all__ = ["Loops"]

_LINES = 16  # connections of one event loop
_SWEEPS = 10  # in one time-out
_CROWD = 20  # time-outs that somebody waits for a line, as long as others are served
_TOGETHER = 128  # values that travel in one command, so that a reply does not hold up all others


class Loops:
    """Lend connections to tasks, to each from its own event loop's."""

    def __init__(self, make: Callable[[], Any], failure: Callable[[Exception], StoreError], timeout: float) -> None:
        self._make, self._failure, self._timeout = make, failure, timeout
        self._lines: dict[asyncio.AbstractEventLoop, _Lines] = {}

    def begin(self) -> None:
        """Begin without connections, after a fork: closing the parent's would need its loop, which does not run."""
        _inherited.extend(self._lines.values())
        self._lines = {}

    async def ask(self, request: bytes, rides: bytes = b"") -> Any:
        """Twin of `Wire.ask`."""
        return await (await self.lines()).ask(request, (rides,) if rides else ())

    def settled(self) -> _Lines | None:
        """Return the connections of the running loop, None where there are none yet."""
        return self._lines.get(asyncio.get_running_loop())

    async def lines(self) -> _Lines:
        """Return the connections of the running loop."""
        return self._lines.get(asyncio.get_running_loop()) or await self._settle()

    def close(self, here: asyncio.AbstractEventLoop | None = None) -> None:
        """Let loops other than *here* close their connections; those that do not run do so when they end."""
        for loop, lines in self._lines.copy().items():
            if loop is not here and loop.is_running() and self._lines.pop(loop, None) is lines:
                ending = lines.end()
                try:
                    asyncio.run_coroutine_threadsafe(ending, loop)
                except RuntimeError:  # it has ended meanwhile
                    ending.close()

    async def aclose(self) -> None:
        here = asyncio.get_running_loop()
        self.close(here)
        if (lines := self._lines.pop(here, None)) is not None:
            await lines.end()

    async def _settle(self) -> _Lines:
        """Make the connections of the running loop; nothing here suspends, so no other task comes in between."""
        for loop in list(self._lines):
            if loop.is_closed():
                self._lines.pop(loop, None)
        here = asyncio.get_running_loop()
        self._lines[here] = lines = _Lines(self._make, self._failure, self._timeout)
        lines.holder = self._hold(here, lines)
        await anext(lines.holder)
        return lines

    async def _hold(self, loop: asyncio.AbstractEventLoop, lines: _Lines) -> AsyncGenerator[None, None]:
        """Close *lines* with their loop: asyncio ends the generators that are still open, this one among them."""
        try:
            yield
        finally:
            if self._lines.get(loop) is lines:
                del self._lines[loop]
            await lines.close()


#: What one task asks for: the name that is its own, those it has in common with others, what rides along, the reply.
_Read = tuple[bytes, tuple[bytes, ...], bytes, "asyncio.Future[Any]"]


class _Lines:
    """
    Lend connections to the tasks of one event loop; a task waits for one where all are out.

    A time-out of asyncio's around each reply would cost a third of the round trip. So a sweep looks, ten times per
    time-out and only while something is out, what has been out for too long, and stops that: whoever waits is told by
    the end of the connection.

    While something else blocks the loop, no reply is read, however soon it came, and that is not the server's fault. So
    it is the sweeps that are counted, of which the longest block is one. And where thousands want a line, those who
    wait are not timed as long as others get their replies.
    """

    def __init__(self, make: Callable[[], Any], failure: Callable[[Exception], StoreError], timeout: float) -> None:
        self._make, self._failure, self._timeout = make, failure, timeout
        self._closed = False
        self.holder: AsyncGenerator[None, None]
        self._loop = asyncio.get_running_loop()
        self._free: list[Any] = [None] * _LINES  # None: a place without a connection
        self._waiting: dict[asyncio.Future[Any], float] = {}  # for a line -> how many sweeps have met them
        self._out: dict[Callable[[], Any], int] = {}  # what stops it -> how many sweeps have met it
        self._sweeps = self._served = False
        self._reading = False  # somebody is out alone: the others gather
        self._batch: list[_Read] = []
        self._senders: set[asyncio.Task[None]] = set()

    async def fetch(self, name: bytes, others: tuple[bytes, ...], rides: bytes = b"") -> Any:
        """
        Read what is under some names, packed as `bulk` does: alone at once, else with all who ask in the same tick.

        Args:
            name, others: the first, and the rest, which many ask for.
            rides: a command that travels along, whose failure is nobody's; may be empty.

        Raises:
            StoreError: an object for each caller: raised by many, one would collect all their tracebacks.
        """
        if not self._reading:
            self._reading = True
            try:
                return await self.ask(command(MGET, name, *others), (rides,) if rides else ())
            except Exception as error:
                raise self._failure(error) from error
            finally:
                self._reading = False
        reply = self._loop.create_future()
        self._batch.append((name, others, rides, reply))
        if len(self._batch) == 1:
            # It starts when everybody who is to run in this tick has asked.
            sender = self._loop.create_task(self._send())
            self._senders.add(sender)
            sender.add_done_callback(self._senders.discard)
        found = await reply
        if isinstance(found, Exception):
            raise self._failure(found) from found
        return found

    async def _send(self) -> None:
        waiting, self._batch = self._batch, []
        few = len({name for name, *_ in waiting}) <= _TOGETHER
        count = len(waiting) if few else _TOGETHER
        try:
            while waiting:
                await self._send_some(waiting[:count])
                del waiting[:count]
        finally:
            for *_, reply in waiting:  # the loop is ending
                reply.cancel()

    async def _send_some(self, waiting: Sequence[_Read]) -> None:
        # Each name once: most ask for the same stamps, and many perhaps for the same value.
        names = dict.fromkeys([name for name, *_ in waiting])
        for others in {others for _, others, *_ in waiting}:
            names |= dict.fromkeys(others)
        try:
            rides = [rides for _, _, rides, _ in waiting if rides]
            values = await self.ask(command(MGET, *names), rides)
        except Exception as error:
            for *_, reply in waiting:
                if not reply.done():
                    reply.set_result(error)
            return
        found = dict(zip(names, values, strict=True))
        shared = {others: [found[name] for name in others] for others in {others for _, others, *_ in waiting}}
        for name, others, _, reply in waiting:
            if not reply.done():
                reply.set_result([found[name], *shared[others]])

    async def ask(self, request: bytes, rides: Sequence[bytes] = ()) -> Any:
        line = (self._free.pop() if self._free else await self._wait()) or self._make()
        try:
            reply = await (self._watched if line.is_connected else self._connected)(line, request, rides)
        except redis.ResponseError as error:
            await self._take_back(line, demoted(error))
            raise
        except GeneratorExit:  # collected, mostly after its loop has ended: nothing can be waited for
            with suppress(RuntimeError):
                self._put_back(None)
            raise
        except BaseException:
            await self._take_back(line, True)
            raise
        self._served = True
        if self._closed:
            await self._take_back(line, True)
        else:
            self._put_back(line)
        return reply

    async def _watched(self, line: Any, request: bytes, rides: Sequence[bytes]) -> Any:
        """Exchange on a kept line, which the server may have closed, and which the sweep cuts when it is late."""
        self._out[line.cut] = 0
        self._begin_sweeps()
        try:
            return await _aexchange(line, request, rides)
        except redis.ConnectionError:
            if line.cut not in self._out:
                raise asyncio.TimeoutError from None
            del self._out[line.cut]
            await line.disconnect(nowait=True)
            return await self._connected(line, request, rides)
        finally:
            self._out.pop(line.cut, None)

    async def _connected(self, line: Any, request: bytes, rides: Sequence[bytes]) -> Any:
        """Exchange on a line that has to be connected first: in a task, as nothing else can stop that."""
        task = self._loop.create_task(_aexchange(line, request, rides))
        self._out[task.cancel] = -_SWEEPS  # it takes up to twenty steps of the loop, where a reply takes three
        self._begin_sweeps()
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:  # and not GeneratorExit, which comes when the loop has ended
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
            raise
        finally:
            self._out.pop(task.cancel, None)
            if task.done() and not task.cancelled():
                task.exception()  # or asyncio logs, where this caller is cancelled too, that nobody looked
        if task.cancelled():
            raise asyncio.TimeoutError
        return task.result()

    def _begin_sweeps(self) -> None:
        if not self._sweeps:
            self._sweeps = True
            self._loop.call_later(self._timeout / _SWEEPS, self._sweep)

    def _sweep(self) -> None:
        for stop, met in self._out.copy().items():
            self._out[stop] = met + 1
            if met >= _SWEEPS:
                del self._out[stop]
                stop()
        served, self._served = self._served, False
        for waiter, waited in self._waiting.copy().items():
            self._waiting[waiter] = waited + (1 / _CROWD if served else 1)
            if waited >= _SWEEPS and not waiter.done():
                waiter.set_exception(StoreError(f"all {_LINES} connections of this event loop are in use"))
        self._sweeps = False
        if self._out or self._waiting:
            self._begin_sweeps()

    async def close(self) -> None:
        self._closed = True
        lines, self._free = self._free, [None] * len(self._free)  # for those who come in the meantime
        for line in lines:
            if line is not None:
                with suppress(redis.RedisError):
                    await line.disconnect()

    async def end(self) -> None:
        """Close, from within their loop."""
        await self.holder.aclose()

    async def _wait(self) -> Any:
        waiter = self._loop.create_future()
        self._waiting[waiter] = 0
        self._begin_sweeps()
        try:
            return await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled() and waiter.exception() is None:  # it was given a line in the same moment
                self._put_back(waiter.result())
            raise
        finally:
            del self._waiting[waiter]

    def _put_back(self, line: Any) -> None:
        """Give a line, or a place for one, to who has waited longest."""
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(line)
                return
        self._free.append(line)

    async def _take_back(self, line: Any, broken: bool) -> None:
        if broken or self._closed:
            self._put_back(None)
            await line.disconnect(nowait=True)
        else:
            self._put_back(line)


_inherited: list[_Lines] = []


async def _aexchange(line: Any, request: bytes, rides: Sequence[bytes]) -> Any:
    """Twin of `_exchange`."""
    if not rides:
        await line.send_packed_command(request, check_health=False)
        return await line.read_response()
    await line.send_packed_command(b"".join((request, *rides)), check_health=False)
    refusal = None
    try:
        reply = await line.read_response()
    except redis.ResponseError as error:
        refusal = error
    for _ in rides:
        with suppress(redis.ResponseError):
            await line.read_response()
    if refusal is not None:
        raise refusal
    return reply
