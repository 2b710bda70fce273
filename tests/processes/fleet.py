"""Processes that call one cached function: started together, watched, paused, killed."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DEFAULTS: dict[str, Any] = {
    "answers": "fine",
    "blocks": False,
    "callers": 1,
    "colour": "sync",
    "lease": 1.0,
    "options": {},
    "origin": 0.5,
    "prompt": "hi",
    "timeout": 2.0,
}


class Worker:
    """One process; see `worker.py` for what it does with its job."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("worker.py"))],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._said: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        self._tell(json.dumps(job))

    def go(self) -> None:
        """Let it call."""
        self._tell("go")

    def wait_for(self, event: str, seconds: float = 30) -> dict[str, Any]:
        """Return the next thing of that name that happens."""
        until = time.monotonic() + seconds
        while (said := self._said.get(timeout=max(0.01, until - time.monotonic()))) is not None:
            if said["event"] == event:
                return said
        raise AssertionError(f"it ended: {self._process.stderr.read() if self._process.stderr else ''}")

    def answer(self, seconds: float = 30) -> Any:
        """Return the one answer that all its callers got."""
        (answer,) = self.wait_for("done", seconds)["answers"]
        return json.loads(answer) if answer.startswith("{") else answer

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    @property
    def pid(self) -> int:
        return self._process.pid

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.put(json.loads(line))
        self._said.put(None)


class Fleet:
    """Any number of workers on one store: `with Fleet(url, folder) as fleet`."""

    def __init__(self, url: str, folder: Path, **job: Any) -> None:
        self.job = {**DEFAULTS, "url": url, "calls": str(folder / "calls.txt"), **job}
        self.workers: list[Worker] = []

    def __enter__(self) -> Fleet:
        Path(self.job["calls"]).touch()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.end()

    def start(self, count: int = 1, **job: Any) -> list[Worker]:
        """Start workers, and return them once all are ready to call."""
        made = [Worker({**self.job, **job}) for _ in range(count)]
        self.workers += made
        for worker in made:
            worker.wait_for("ready")
        return made

    @property
    def calls(self) -> int:
        """How often the origin was called, in all processes together."""
        return len(Path(self.job["calls"]).read_text().splitlines())
