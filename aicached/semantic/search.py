"""
What is known of one call that has no exact answer, and what is needed of the engine to look further.

Law: values and shapes alone.
"""

from __future__ import annotations

from typing import Any, Protocol

from ..call import Call
from ..codec.envelope import Codec
from ..entry import Entry
from ..runtime import Outcome
from ..stores.base import Store
from .index import Partition
from .verdict import Decision

__all__ = ["Search", "Shelf"]


class Shelf(Protocol):
    """What a matcher needs of an engine."""

    store: Store
    codec: Codec

    def opened(self, data: Any, digest: bytes) -> Entry | None: ...
    def hit(self, call: Call, entry: Entry) -> Outcome | None: ...


class Search:
    """Carry what is known of one call that has no exact answer."""

    __slots__ = ("decision", "found", "key", "partition", "shown", "text", "vector")

    def __init__(self, key: bytes, text: str, partition: Partition) -> None:
        self.key = key
        self.text = text
        self.partition = partition
        self.vector: Any = None
        self.decision = Decision("no match")
        #: The nearest that would match under some threshold: that threshold, and the entry whose answer is compared
        #: with the fresh one.
        self.found: tuple[float, Entry] | None = None
