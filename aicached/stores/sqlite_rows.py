"""
What one connection has read a moment ago, given again while nobody has committed since.

Law: it is given again only after the file was asked whether it has changed, by ``pragma data_version``, which takes a
third of the time that reading does and sees the commits of all other connections, in whatever process.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Rows"]

#: Bytes that one connection keeps.
_LIMIT = 4 * 2**20
_ASKED = 1000
#: Bytes that a key takes, with its place in the dict and in a list.
_EACH = 200

Keys = tuple[bytes, ...]


class Rows:
    """
    Remember what was under some keys.

    It is kept from the second time on that it is asked for between two commits: else every read beside a busy writer
    would pay for the question too.
    """

    __slots__ = ("_asked", "_known", "_size", "_version", "_wanted")

    def __init__(self) -> None:
        self._known: dict[Keys, Any] = {}
        self._asked: set[Keys] = set()
        self._size = 0
        self._version: Any = None
        #: What is going to be read, after the version was asked for.
        self._wanted: Keys | None = None

    def expects(self, keys: Keys) -> bool:
        """Is it worth asking for the file's version before these are read?"""
        if keys in self._asked:
            return True
        if len(self._asked) >= _ASKED:
            self._asked.clear()
        self._asked.add(keys)
        self._wanted = None
        return False

    def find(self, keys: Keys, version: Any) -> Any:
        """Return what was under *keys* when the file had this *version*; None where that is not known."""
        if version != self._version:
            self._known.clear()
            self._size, self._version = 0, version
        found = self._known.get(keys)
        self._wanted = keys if found is None else None
        return found

    def keep(self, keys: Keys, found: Any, size: int) -> None:
        """Take in what was read, if that was after `find` had asked for it."""
        if keys is not self._wanted:
            return
        self._wanted = None
        size += _EACH * len(keys)
        self._size += size
        if self._size > _LIMIT:
            self._known.clear()
            self._size = size
        self._known[keys] = found
