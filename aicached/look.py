"""
One plain call's look-up, before it is known whether there will be more to it than a hit.

Law: whoever asks the store does so inside the look, so that its flight is ended whatever comes out of that.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

from .errors import StoreError
from .flight import Flight, abandon
from .keys.lanes import Lane
from .lease import Lease

__all__ = ["Look"]


class Look:
    """
    Be the look-up of one plain call: what its key is, whose flight it is aboard of, what the store said.

    It is entered around the question to the store: then its flight is ended, whatever comes out of that.

    Args:
        lane, digest: of the key.
        names, places: of the tags that are known, and of all stamps.
    """

    __slots__ = ("asked", "boarded", "digest", "found", "lane", "lease", "names", "places")

    def __init__(self, lane: Lane, digest: bytes, names: tuple[str, ...], places: tuple[bytes, ...]) -> None:
        self.lane, self.digest, self.names, self.places = lane, digest, names, places
        self.asked: tuple[bytes, ...] = ()
        #: The flight, and whether this call leads it, as `flight.join` tells; None: it is aboard of none.
        self.boarded: tuple[Flight | None, bool] | None = None
        #: The lease that it has asked for together with the answer.
        self.lease: Lease | None = None
        self.found: list[Any] | StoreError | None = None

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        if error is None:
            return False
        if isinstance(error, StoreError):  # the engine counts it
            self.found = error
            return True
        flight, leading = self.boarded or (None, False)
        if flight is not None and leading:
            abandon(flight)
        return False
