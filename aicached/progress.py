"""
How far a long run is: a bar where people look on and rich is installed, else now and then a line.

Law: all of it goes to stderr, and it shows counts alone, never an input.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

__all__ = ["Progress"]

#: Seconds between two lines where there is no terminal.
_PAUSE = 5.0


class Progress:
    """
    Show how many inputs are done.

    Args:
        total: how many there are; None = nobody knows.
        show: None = where stderr is a terminal; True: also elsewhere, in lines; False: not at all.
        clock: tells seconds.
    """

    def __init__(self, total: int | None, show: bool | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.total = total
        self.terminal = sys.stderr.isatty()
        self.shown = self.terminal if show is None else show
        self.clock = clock
        self.next = clock() + _PAUSE
        self.last = ""
        self.said = ""
        self.bar: Any = None

    def __enter__(self) -> Progress:
        if self.shown and self.terminal:
            self.bar = _bar(self.total)
        return self

    def show(self, done: int, text: str) -> None:
        """Take in that *done* inputs are done; *text* says what became of them."""
        if not self.shown:
            return
        self.last = f"{done} of {self.total}: {text}" if self.total else text
        if self.bar is not None:
            self.bar(done, text)
        elif self.terminal:
            print(f"\r\033[K{self.last}", end="", file=sys.stderr, flush=True)  # noqa: T201
        elif self.clock() >= self.next:
            self._say()

    def _say(self) -> None:
        self.next = self.clock() + _PAUSE
        if self.last != self.said:
            self.said = self.last
            print(self.last, file=sys.stderr, flush=True)  # noqa: T201

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.bar is not None:
            self.bar.stop()
        elif self.shown and self.terminal:
            print(file=sys.stderr)  # noqa: T201
        elif self.shown:
            self._say()


class _RichBar:
    """Be a bar of rich's."""

    def __init__(self, rich: Any, console: Any, total: int | None) -> None:
        columns = (rich.BarColumn(), rich.MofNCompleteColumn(), rich.TextColumn("{task.description}"))
        self.bars = rich.Progress(*columns, rich.TimeRemainingColumn(), console=console, transient=False)
        self.task = self.bars.add_task("", total=total)
        self.bars.start()

    def __call__(self, done: int, text: str) -> None:
        self.bars.update(self.task, completed=done, description=text)

    def stop(self) -> None:
        self.bars.stop()


def _bar(total: int | None) -> _RichBar | None:
    try:
        from rich import progress
        from rich.console import Console
    except ImportError:
        return None
    return _RichBar(progress, Console(stderr=True), total)
