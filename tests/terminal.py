"""A command on a terminal of 80 columns, as a person runs it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]


def on_a_terminal(command: Sequence[str], cwd: Path | None = None) -> tuple[int, str]:
    """Run *command* on a pseudo-terminal; return its exit code and what it shows, without colours."""
    child, fd = pty.fork()
    if child == 0:
        os.environ.update(PYTHONPATH=str(ROOT), TERM="xterm")
        os.environ.pop("COLUMNS", None)
        os.chdir(cwd or Path.cwd())
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        os.execv(command[0], command)
    shown = bytearray()
    try:
        while data := os.read(fd, 65536):
            shown.extend(data)
    except OSError:  # the other end is closed
        pass
    os.close(fd)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
