"""
Where the store is that nobody has configured: a SQLite file in the user's cache folder.

Law: it always gives a store. A folder that cannot be written is memory instead, one on a network file system is the
machine's temporary folder instead, each with one warning.
"""

from __future__ import annotations

import logging
import os
import stat
import sys
import tempfile
from pathlib import Path

from .base import Store

__all__ = ["embedded_store", "project_folder"]

log = logging.getLogger("aicached")

LIMIT = 2**30
_NETWORK = frozenset(("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "fuse.sshfs", "ceph", "glusterfs", "lustre"))
_MARKS = ("pyproject.toml", "setup.py", ".git")


def cache_folder() -> Path:
    """Return the user's cache folder for this package, as the platform wants it (XDG Base Directory)."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "aicached"


def embedded_store(*, timeout: float, max_entries: int | None, max_bytes: int | None) -> Store:
    """Return the store for those who have configured none."""
    bound = LIMIT if max_bytes is None else max_bytes
    try:
        from .sqlite import SQLiteStore

        path = str(_folder() / "answers.db")
        return SQLiteStore(path, timeout=timeout, max_entries=max_entries, max_bytes=bound)
    except (OSError, RuntimeError, ImportError) as error:  # RuntimeError: there is no home; ImportError: no SQLite
        log.warning("answers are kept in memory, for this process alone: %s", error)
    from .memory import MemoryStore

    return MemoryStore(max_entries=max_entries, max_bytes=bound)


def _folder() -> Path:
    """
    Return a folder for the file, made if it is not there.

    Raises:
        OSError: it cannot be written, or is somebody else's.
    """
    folder = cache_folder()
    if not _is_remote(folder):
        _check_writable(folder)
        return folder
    folder = Path(tempfile.gettempdir()) / f"aicached-{_user()}"
    log.warning("the cache folder is on a network file system, which SQLite cannot use; answers are kept in %s", folder)
    _check_writable(folder)
    about = folder.lstat()
    # Anybody may make a folder of this name there first, and then feed us answers.
    if hasattr(os, "getuid") and (
        not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or about.st_mode & 0o077
    ):
        raise PermissionError(f"{folder} is not this user's alone")
    return folder


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(f"the cache folder {folder} cannot be written ({type(error).__name__})") from error


def _is_remote(folder: Path) -> bool:
    """Is *folder* mounted from another machine? Only Linux says so in a file; elsewhere the answer is no."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except (OSError, IndexError):
        return False
    path = str(folder.absolute())
    above = [(len(point), kind) for point, kind in mounts if path == point or path.startswith(point.rstrip("/") + "/")]
    return bool(above) and max(above)[1] in _NETWORK


def project_folder(start: Path | None = None) -> str:
    """
    Return the nearest folder with a pyproject.toml, setup.py or .git, above *start*, or the main script's folder.

    Without a script it begins at the working folder. Empty where there is none: then the namespace is unchanged.
    """
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    try:
        start = start or (Path(script).resolve().parent if script else Path.cwd())
    except OSError:
        return ""
    for folder in (start, *start.parents):
        if any((folder / mark).exists() for mark in _MARKS):
            return str(folder)
    return ""
