"""
The right to compute a key, among processes and machines: what it is made of, and what a store's answer means for it.

Law: a lease saves calls, no more. What keeps answers right is that a commit is compared with what its computation began
with: the value that was there, and the lease, which an invalidation takes away, as another computation may. Who holds
none, or has lost it, is compared with the generation, which an invalidation changes. So a lease may be lost, outlived
or taken over at any time, and no clock of a client has a say in it.

After R. Nishtala et al., "Scaling Memcache at Facebook" (NSDI 2013), section 3.2.1, where a lease is a token that an
invalidation takes away; the generation is what makes that safe where the store may lose things by itself.
"""

from __future__ import annotations

import os
from typing import Any

from .stores.base import Head

__all__ = [
    "FAILED",
    "FREE",
    "HELD",
    "MINE",
    "OUTAGE",
    "PASS",
    "SECONDS",
    "WORD_SECONDS",
    "Lease",
    "standing",
    "version_of",
]

#: Seconds that a lease lasts unless it is renewed.
SECONDS = 10.0
#: Seconds that a word about how a computation ended is left in the lease's place.
WORD_SECONDS = 10.0

#: Seconds for which a process may stand still, and have its answer kept if nobody has computed another.
_STANDSTILL = 3 * SECONDS

_COMPUTING, _AGAIN = b"c", b"r"
#: Words in the place of a lease. The answer is not kept: compute, wait for nobody. It failed: one tries again. The
#: provider is down: serve what is stale.
PASS, FAILED, OUTAGE = b"p", b"f", b"o"
FREE, HELD, MINE = b"", b"h", b"m"
_TOKEN = 16
_VERSION = 16


class Lease:
    """
    Be one try to compute a key, with or without the right to hold others back.

    Args:
        store: where it is; digest: of the call.
        seen: first bytes of the value that it would replace; None where there is none.
        longest: seconds for which it may hold others back.
        alive: () -> can the computation still end? Not once its event loop is closed.
    """

    __slots__ = (
        "again",
        "alive",
        "begun",
        "digest",
        "ends",
        "generation",
        "lasting",
        "longest",
        "mine",
        "rival",
        "seen",
        "store",
        "token",
        "word",
    )

    def __init__(self, store: Any, digest: bytes, seen: bytes | None, longest: float, alive: Any) -> None:
        self.store = store
        self.digest = digest
        self.seen = seen
        self.longest = longest
        self.lasting = 2 * longest + SECONDS
        self.ends = self.begun = 0.0
        self.alive = alive
        drawn = os.urandom(2 * _TOKEN)
        self.token = drawn[:_TOKEN]
        #: What an invalidation changes. A store that may forget is given one with the lease: were there none, one that
        #: was put by an invalidation and then lost could not be told from none at all.
        self.generation: bytes | None = drawn[_TOKEN:] if store.forgets else None
        #: The computation before this one has failed.
        self.again = False
        #: It is held: renewed from time to time. Before, it is only known, so that it can be given up.
        self.mine = False
        #: The word that lets it compute without the right to hold others back.
        self.word: bytes | None = None
        #: What is in the place of the lease while another holds it.
        self.rival: bytes | None = None

    @property
    def content(self) -> bytes:
        """What is kept in the place of the lease while this one computes."""
        return self.word if self.word is not None else (_AGAIN if self.again else _COMPUTING) + self.token

    def keys(self) -> tuple[bytes, bytes, bytes]:
        """Return the store keys of value, lease and generation."""
        return b"v" + self.digest, b"l" + self.digest, b"g" + self.digest

    def begin(self, now: float) -> None:
        """Let its time count from *now*, the monotonic time in seconds: it is claimed, perhaps after a long wait."""
        self.ends = now + self.longest
        self.begun = self.store.now()

    def forgotten(self) -> bool:
        """Might an invalidation that has come since it began be forgotten by now?"""
        return self.generation is None and self.store.now() >= self.begun + 2 * self.longest

    def writes(self, now: float) -> dict[bytes, tuple[bytes, float]]:
        """Return what is put into the store to take or to renew it."""
        _, lease, generation = self.keys()
        puts = {lease: (self.content, max(0.001, min(SECONDS, self.ends - now)))}
        if self.generation is not None:
            # Where it has to be there, that it is gone says enough: it need not last for as long as anybody computes.
            puts[generation] = (self.generation, _STANDSTILL if self.store.forgets else self.lasting)
        return puts

    def ending(self, failed: bool, down: bool) -> bytes | None:
        """Return the word to leave: about a computation that was not kept, that *failed*, as the provider is *down*."""
        if down:
            return OUTAGE
        return FAILED if failed and not self.again else PASS


def standing(head: Head, token: bytes = b"") -> bytes:
    """
    Return what stands in the place of a lease: `FREE`, `HELD`, `MINE`, or a word.

    What this protocol did not write, or what would stay for ever, counts as nothing, and is written over.
    """
    data = head.data
    if data is None or head.left is None:
        return FREE
    if data in (PASS, FAILED, OUTAGE):
        return data
    if len(data) != 1 + _TOKEN or data[:1] not in (_COMPUTING, _AGAIN):
        return FREE
    return MINE if data[1:] == token else HELD


def version_of(data: Any) -> bytes | None:
    """Return the first bytes of a stored value, by which one commit is told from another; None where there are none."""
    return bytes(data[:_VERSION]) if data else None
