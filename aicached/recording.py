"""
A stream that is being received, for everybody who wants it.

Each chunk is pulled once, kept on the tape, and given to each consumer in order. Who consumes is a `Seat`; whoever is
ahead pulls. An async source is not pulled by its consumers, but by a task of its own: see `pump`.

Law: two runs never mix: a consumer gets one recording from its first chunk to its end, or its error. The tape is kept
once, when the source ended by itself. Whatever else leaves a pull fails the recording, since a generator that failed
once says StopIteration ever after, and the next one to pull would take that for the end.

Finalizers end here: a dropped iterator leaves, inside any allocation, also one under this very lock. So `leave` takes
no lock that it would have to wait for: it writes a note, and who holds the lock reads the notes when he lets go.
"""

from __future__ import annotations

import _thread
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from typing import Any, NamedTuple

from .flight import Flight, clone, retire
from .tape import Tape

__all__ = ["OVER", "Interrupted", "Recording", "Seat", "Source", "SyncRecording"]

#: What a pull returns where nothing comes any more.
OVER: Any = object()
RUNNING, ENDED, FAILED, LEFT = "running", "ended", "failed", "left"


class Interrupted(RuntimeError):
    """Say that whoever received a stream for all was stopped."""


class Source(NamedTuple):
    """
    Say where chunks come from.

    Args:
        value: what the origin returned.
        manager: must it be entered first?
        asynchronous: of which colour is it?
    """

    value: Any
    manager: bool
    asynchronous: bool


class Seat:
    """Be one consumer's place at a recording."""

    __slots__ = ("__weakref__", "first", "mark", "recording")

    def __init__(self, recording: Recording, mark: list[int], *, first: bool) -> None:
        self.recording: Recording = recording
        #: How many chunks were taken; the recording holds this, and not the seat, so that a dropped seat is collected.
        self.mark = mark
        self.first = first

    def leave(self) -> None:
        """Want nothing more; a second time does nothing."""
        self.recording.leave(self.mark)

    def __del__(self) -> None:
        self.recording.leave(self.mark)


class Recording:
    """
    Be one run of a source.

    Args:
        source: where chunks come from.
        tape: empty.
        flight: who is to join finds it there; None: nobody joins.
        form_of: what is iterated -> what callers get of it; see `playback`.
        see: is shown each chunk as it comes.
        finish: (recording) -> something to await, or nothing: what becomes of the tape when it is over; never raises.
        patience: seconds for which it is recorded when nobody reads any more; 0 = it is closed at once.
    """

    def __init__(
        self,
        source: Source,
        tape: Tape,
        flight: Flight | None,
        form_of: Callable[[Any], str],
        see: Callable[[Any], None],
        finish: Callable[[Recording], Any],
        patience: float,
    ) -> None:
        self.source = source
        self.tape = tape
        self.flight = flight
        self.form_of = form_of
        self.see = see
        self.finish = finish
        self.patience = patience
        self.state = RUNNING
        self.error: BaseException | None = None
        self.ending: Any = None
        #: What is iterated: the source, or what its manager gave.
        self.stream: Any = source.value
        self.marks: list[list[int]] = []
        self.notes: deque[list[int]] = deque()
        self.lock = threading.Lock()
        self.until: float | None = None
        #: Its first chunk is there: what fails from now on fails in a consumer's hands.
        self.begun = False
        #: Who began has had his seat, or will not come: until then nobody else's leaving ends it.
        self.led = False

    # Who is there ------------------------------------------------------------------------------------------------

    def attach(self, *, first: bool = False) -> Seat | None:
        """Return a place from the first chunk on, None where that cannot be had any more."""
        mark = [0]
        with self.lock:
            if self.state == LEFT or self.tape.low or (self.tape.why is not None and not first):
                return None
            self.marks.append(mark)
            self.led = self.led or first
        self._settle()
        return Seat(self, mark, first=first)

    def leave(self, mark: list[int]) -> None:
        """Note that a consumer has gone; called by finalizers, so it waits for nothing."""
        self.notes.append(mark)
        self._settle()

    def _settle(self) -> None:
        """Read the notes, unless somebody holds the lock: who does reads them afterwards."""
        while self.notes and self.lock.acquire(blocking=False):
            try:
                deserted = self._read_notes()
            finally:
                self.lock.release()
            if deserted:
                self.deserted()

    def _read_notes(self) -> bool:
        before = len(self.marks)
        while self.notes:
            mark = self.notes.popleft()
            self.marks = [each for each in self.marks if each is not mark]
        if self.marks or not before or not self.led or self.state != RUNNING:
            return False
        if self.patience and self.tape.why is None:
            if self.until is None:
                self.until = time.monotonic() + self.patience
            self.go_on()
            return False
        self.state = LEFT
        return True

    def alone(self, mark: list[int]) -> bool:
        """Is there no other consumer, and none that could come?"""
        with self.lock:
            found = self.marks == [mark]
        self._settle()
        return found

    def trim(self) -> None:
        """Let go of what all have had, of a tape that is not kept."""
        with self.lock:
            self.tape.trim(min((mark[0] for mark in self.marks), default=len(self.tape.chunks)))
        self._settle()

    def expired(self) -> bool:
        """Has it gone on for nobody as long as it may? Then it is left, once and for all."""
        if self.until is None:
            return False
        with self.lock:
            over = not self.marks and time.monotonic() >= self.until
            if over and self.state == RUNNING:
                self.state = LEFT
        self._settle()
        return over

    def deserted(self) -> None:
        """Close the source: the last consumer has gone."""
        raise NotImplementedError

    def go_on(self) -> None:
        """Have the rest recorded behind everybody."""
        raise NotImplementedError

    # How it ends -------------------------------------------------------------------------------------------------

    def over(self, state: str, error: BaseException | None = None) -> None:
        """Note how it ended; who comes now begins anew."""
        with self.lock:
            if self.state == RUNNING:
                self.state = state
            self.error = error
        self._settle()
        if self.flight is not None:
            retire(self.flight)

    def result(self, *, first: bool) -> Any:
        """Return the ending, or raise what ended it: to the first consumer itself, to the others as their own."""
        if self.state == ENDED:
            return self.copied(self.ending, first=first)
        error = self.failure()
        raise error if first else clone(error)

    def failure(self) -> Exception:
        """Return what ended it."""
        if isinstance(self.error, Exception):
            return self.error
        return Interrupted("the stream was interrupted: whoever received it was stopped")

    def copied(self, ending: Any, *, first: bool) -> Any:
        """Return a copy of what the stream gave at its end, itself where it has none."""
        if first or ending is None:
            return ending
        with suppress(Exception):
            return self.tape.unpack(self.tape.pack_alone(ending))
        return ending

    @property
    def form(self) -> str:
        """What callers get."""
        return self.form_of(self.stream)

    def payload(self) -> bytes:
        """Return what is stored of it; see `tape.Tape.payload`."""
        return self.tape.payload(self.form, self.ending, asynchronous=self.source.asynchronous)

    def whole(self) -> Any:
        """Ask an SDK's stream that is over for the whole answer; None where it has none, or refuses."""
        with suppress(Exception):
            ask = getattr(self.stream, self.form, None)
            return None if ask is None else ask()
        self.tape.why = self.tape.why or "no final answer"
        return None


class SyncRecording(Recording):
    """Pull from an iterator, in the thread of whoever is ahead and in the context of who began."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.pulling = threading.Lock()
        self.run = copy_context().run
        self.closed = self.goes_on = False
        self.step: Callable[[], Any] = self._enter

    def begin(self) -> Exception | None:
        """Pull the first chunk; return the failure that came in its place."""
        self.pull(None, 0)
        self.begun, error = True, self.error
        return error if isinstance(error, Exception) else None

    def pull(self, mark: list[int] | None, index: int) -> Any:
        """Return chunk *index* to who is the first to want it; `OVER` where it is there by now, or none comes."""
        tape = self.tape
        with self.pulling:
            if index < len(tape.chunks) or self.state != RUNNING:
                return OVER
            try:
                chunk = self.run(self.step)
            except StopIteration as stop:
                self._end(stop.value)
                return OVER
            except BaseException as error:
                self._fail(error)
                if mark is None and isinstance(error, Exception):
                    return OVER
                raise
            self.see(chunk)
            tape.add(chunk, keep=mark is None)
        if self.state == LEFT:  # the last one left meanwhile
            self.deserted()
        return chunk

    def steer(self, mark: list[int], method: str, *args: Any) -> Any:
        """Send or throw into the source, for its only consumer; what comes of it belongs to no other call."""
        if not self.alone(mark) or mark[0] < len(self.tape.chunks):
            raise RuntimeError(f"{method}() into a stream that others read too")
        if not hasattr(self.stream, method):
            raise AttributeError(f"{type(self.stream).__name__} has no {method}()")
        step, self.step = self.step, lambda: getattr(self.stream, method)(*args)
        self.tape.why = self.tape.why or "steered"
        if self.flight is not None:
            retire(self.flight)
        try:
            return self.pull(mark, mark[0])
        finally:
            self.step = step

    def _enter(self) -> Any:
        value = self.source.value
        self.stream = value.__enter__() if self.source.manager else value
        self.step = self.stream.__next__
        return self.step()

    def _end(self, value: Any) -> None:
        self.ending = self.whole() if value is None else value
        self.state = ENDED
        self._close()
        self.finish(self)
        self.over(ENDED)

    def _fail(self, error: BaseException) -> None:
        self._close()
        self.over(FAILED, error)
        if self.begun:
            self.finish(self)

    def _close(self) -> None:
        if self.closed:
            return
        self.closed = True
        with suppress(Exception):
            if self.source.manager:
                self.run(self.source.value.__exit__, None, None, None)
            elif hasattr(self.stream, "close"):
                self.run(self.stream.close)

    def deserted(self) -> None:
        if not self.pulling.acquire(blocking=False):
            return  # who pulls sees to it
        try:
            if not self.closed:
                self._close()
                self.over(LEFT)
                self.finish(self)
        finally:
            self.pulling.release()

    def go_on(self) -> None:
        if self.goes_on:
            return
        self.goes_on = True
        # Bare: a finalizer may be here, and `threading.Thread.start` takes locks.
        _thread.start_new_thread(self._to_the_end, ())

    def _to_the_end(self) -> None:
        with suppress(BaseException):  # it is told to who joins
            while self.state == RUNNING and not self.expired():
                self.pull([], len(self.tape.chunks))
        if self.state == LEFT:
            self.deserted()
