"""Fixtures of hostile tests: each shared store in turn, and hands on the bytes in it."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["sqlite", "redis"])
def url(request, tmp_path):
    """Run the test once per store of bytes: a SQLite file, and a real Redis server."""
    if request.param == "redis":
        return request.getfixturevalue("redis_url")
    return f"sqlite:///{tmp_path / 'answers.db'}"


class Slot:
    """Get at the bytes of one call's entry, behind the cache's back."""

    def __init__(self, cache, digest):
        self.store, self.codec, self.digest = cache.store, cache.engine.codec, bytes.fromhex(digest)

    @property
    def blob(self):
        return self.store.get(b"v" + self.digest)

    @blob.setter
    def blob(self, blob):
        self.store.set(b"v" + self.digest, blob, None)

    @property
    def entry(self):
        return self.codec.open(self.blob, self.digest)

    def payload(self, payload):
        """Seal another payload as if this call had been answered so."""
        entry = self.entry
        entry.payload = payload
        self.blob = self.codec.seal(entry, self.digest)


@pytest.fixture
def slot():
    """Give what finds the entry of a call: ``slot(cache, ask.cache_key("hi")).blob``."""
    return Slot
