"""
The content of a file that a call names by its path.

Law: a digest is remembered only while nothing can have changed unseen: by device, inode, size and both times, and only
where these times are older than two seconds, since a file may change twice within one tick of its clock.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from typing import Any

from ..errors import UnkeyableArgument

__all__ = ["content"]

LARGEST = 64 * 2**20
_SETTLED = 2.0
_known: dict[tuple[int, ...], bytes] = {}


def content(path: Any) -> Any:
    """
    Return what stands at *path*: a digest of a file, ``"directory"``, or None for nothing.

    Raises:
        UnkeyableArgument: the file is above 64 MiB, cannot be read, or is no regular file.
    """
    try:
        about = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise UnkeyableArgument(f"a path to a file that cannot be looked at ({type(error).__name__})") from error
    if stat.S_ISDIR(about.st_mode):
        return "directory"
    if not stat.S_ISREG(about.st_mode):
        raise UnkeyableArgument("a path to something that is no regular file")
    if about.st_size > LARGEST:
        raise UnkeyableArgument(f"a path to a file of {about.st_size:,} bytes; content is read up to {LARGEST:,}")
    return _digest(path, about)


def _digest(path: Any, about: os.stat_result) -> bytes:
    mark = (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    known = _known.get(mark)
    if known is not None:
        return known
    try:
        with open(path, "rb") as file:
            digest = hashlib.sha256(file.read(LARGEST + 1)).digest()
    except OSError as error:
        raise UnkeyableArgument(f"a path to a file that cannot be read ({type(error).__name__})") from error
    if time.time() - max(about.st_mtime, about.st_ctime) > _SETTLED:
        if len(_known) >= 10_000:
            _known.clear()
        _known[mark] = digest
    return digest
