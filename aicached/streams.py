"""
The story of a stream: recognize it when it comes back, record it, keep it when it is over.

It is told from inside a call: look-up, flight, stamps, retries and the commit are the engine's. What is here begins
where the origin has returned something to iterate, and ends when that is over, perhaps long after the call.

Law: an attempt has succeeded when the first chunk is there, so that what fails before is tried again, and what fails
after never is. One commit, when the source ended by itself and the rules agree.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from types import AsyncGeneratorType, GeneratorType
from typing import Any, Protocol

from . import providers
from .call import Call
from .codec.chunks import Chunks
from .codec.values import IMMUTABLE
from .keeping import payload_of
from .lease import Lease
from .playback import GENERATOR, STREAM
from .pump import AsyncRecording
from .recording import Recording, Seat, Source, SyncRecording
from .runtime import ASYNCIO, BLOCKING, Outcome, Runtime, drive
from .steps import asteps, steps
from .tape import Tape

__all__ = ["PLAIN", "begin", "source_of", "tape_of", "to_the_end"]

#: Types of answers that are no streams.
PLAIN = IMMUTABLE | {dict, list}
#: What has one of these is a file, a socket or a cursor: its items are no chunks of an answer.
_FOREIGN = ("read", "fileno", "execute", "fetchone")
#: Chunks that may go by before a provider is recognized.
_TRIES = 16


class Keeper(Protocol):
    """What is done with a stream that is over."""

    async def stream_over(self, rt: Runtime, call: Call, recording: Recording) -> None:
        """Keep the tape if the rules allow it, give back what the call holds, and count."""


def source_of(value: Any) -> Source | None:
    """Return how to iterate what an origin has returned; None where it is no stream."""
    kind = type(value)
    if kind in PLAIN:
        return None
    if kind is GeneratorType or kind is AsyncGeneratorType:
        return Source(value, manager=False, asynchronous=kind is AsyncGeneratorType)
    if providers.of_manager(value) is not None:
        return Source(value, manager=True, asynchronous=hasattr(kind, "__aenter__"))
    asynchronous = hasattr(kind, "__anext__")
    if not (asynchronous or hasattr(kind, "__next__")) or not (hasattr(kind, "close") or hasattr(kind, "aclose")):
        return None
    if any(hasattr(kind, name) for name in _FOREIGN):
        return None
    return Source(value, manager=False, asynchronous=asynchronous)


def form_of(stream: Any) -> str:
    """Return what callers get of a stream: its name for the whole answer, where it gives one at its end."""
    if isinstance(stream, (GeneratorType, AsyncGeneratorType)):
        return GENERATOR
    return next((name for p in providers.PROVIDERS if (name := p.final(stream)) is not None), STREAM)


class Sight:
    """See chunks go by: those of the stream, or those that the origin shows of the one behind it."""

    __slots__ = ("current", "tries", "watch")

    def __init__(self, call: Call) -> None:
        self.current = call.current
        self.watch: providers.Watch | None = None
        self.tries = _TRIES
        self.current.watching = self._look

    def see(self, chunk: Any) -> None:
        """Take in a chunk."""
        if chunk.__class__ not in IMMUTABLE:
            self._look(chunk)

    def _look(self, chunk: Any) -> None:
        if not self.tries:
            return
        try:
            if self.watch is None:
                self.tries -= 1
                self.watch = providers.watch(chunk)
            if self.watch is not None:
                self.tries = _TRIES
                self.watch.see(chunk)
        except Exception:  # foreign code: a property, a __getattr__
            self.tries, self.watch = 0, None

    def told(self) -> None:
        """Leave what was seen where the rules and the counting look for it."""
        self.current.watching = None
        if self.watch is not None:
            self.current.seen = self.watch


def tape_for(call: Call) -> Tape:
    """Return an empty tape for the chunks of a call."""
    classes, verified = call.classes, call.facts.verified
    chunks = Chunks(classes, verified)
    pack_alone = partial(payload_of, allowed=lambda: classes, verified=verified)
    return Tape(chunks.pack, pack_alone, chunks.unpack, call.facts.max_value_bytes)


def tape_of(call: Call, chunks: Any) -> Tape:
    """Return a tape with these chunks, as if they had just been received."""
    tape, sight = tape_for(call), Sight(call)
    for chunk in chunks:
        sight.see(chunk)
        tape.add(chunk, keep=False)
    sight.told()
    return tape


async def begin(keeper: Keeper, call: Call, source: Source) -> Outcome:
    """Begin to record, and return the recording with its first chunk; or what failed before that."""
    rt: Runtime = ASYNCIO if source.asynchronous else BLOCKING
    started, sight = rt.monotonic(), Sight(call)

    async def over(recording: Recording) -> None:
        call.origin_seconds = rt.monotonic() - started
        sight.told()
        await keeper.stream_over(rt, call, recording)

    finish: Callable[[Recording], Any] = over if source.asynchronous else lambda recording: drive(over(recording))
    policy = call.facts.policy
    patience = policy.max_compute if policy.on_abandon == "finish" else 0.0
    tape = tape_for(call)
    if call.lease is not None:
        _lasting(call.lease, tape, policy.max_compute)
    made = (source, tape, call.flight, form_of, sight.see, finish, patience)
    if source.asynchronous:
        pumped = AsyncRecording(*made)
        error = await pumped.begin()
        return (True, pumped) if error is None else (False, error)
    recording = SyncRecording(*made)
    error = recording.begin()
    return (True, recording) if error is None else (False, error)


def _lasting(lease: Lease, tape: Tape, longest: float) -> None:
    """Have a lease renewed as long as chunks come: a stream may be long, but not silent."""
    alive, count, since = lease.alive, 0, time.monotonic()

    def comes() -> bool:
        nonlocal count, since
        if len(tape.chunks) > count:
            count, since = len(tape.chunks), time.monotonic()
        return time.monotonic() - since < longest and bool(alive())

    lease.alive, lease.ends = comes, float("inf")


async def to_the_end(recording: Recording) -> Outcome:
    """Read a recording that nobody else may read, so that it is kept."""
    seat = recording.attach(first=True)
    try:
        if isinstance(recording, AsyncRecording):
            async for _ in asteps(partial(_itself, seat)):
                pass
        else:
            for _ in steps(lambda: seat):
                pass
    except Exception as error:
        return False, error
    return True, None


async def _itself(seat: Seat | None) -> Seat | None:
    return seat
