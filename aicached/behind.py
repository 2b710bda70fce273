"""
What runs elsewhere than its caller: behind him, who goes on, or apart from him, who waits for it a while.

Law: a thread cannot be cancelled, so it is waited for, and not for ever; a task can be, and dies with its loop.
"""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

__all__ = ["Behind", "TaskBehind", "ThreadBehind", "workers"]


class Behind:
    """Be what runs behind its caller."""

    def over(self) -> bool:
        """Has it ended, or can it not end any more?"""
        raise NotImplementedError

    def settle(self, seconds: float) -> None:
        """See to it that it ends: wait for it, or cancel it where this thread cannot."""
        raise NotImplementedError

    async def asettle(self, seconds: float) -> None:
        """Wait for it, then cancel it where that can be done."""
        await asyncio.to_thread(self.settle, seconds)


class ThreadBehind(Behind):
    """Be a thread, which cannot be cancelled."""

    def __init__(self, thread: threading.Thread) -> None:
        self.thread = thread

    def over(self) -> bool:
        return not self.thread.is_alive()

    def settle(self, seconds: float) -> None:
        if self.thread is not threading.current_thread():  # a refresh may close its cache
            self.thread.join(seconds)


class TaskBehind(Behind):
    """Be a task, which dies with its loop."""

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task = task  # which the loop alone would not keep
        self.loop = task.get_loop()

    def over(self) -> bool:
        return self.task.done() or self.loop.is_closed()

    def settle(self, seconds: float) -> None:
        if not self.over():
            self.stop()

    def stop(self) -> None:
        """Cancel it, from any thread."""
        with suppress(RuntimeError):  # its loop is closed, and it is over
            self.loop.call_soon_threadsafe(self.task.cancel)

    async def asettle(self, seconds: float) -> None:
        if self.task is asyncio.current_task():  # it would wait for itself
            return
        if self.loop is asyncio.get_running_loop():
            await asyncio.wait({self.task}, timeout=seconds)
            if self.task.cancel():
                await asyncio.wait({self.task})
        else:
            self.settle(seconds)


_threads: ThreadPoolExecutor | None = None


def workers() -> ThreadPoolExecutor:
    """Give the threads of this process in which runs what may take long."""
    global _threads
    if _threads is None:
        # Two callers that get here at once may make two pools: the other one ends with its last task.
        _threads = ThreadPoolExecutor(4, thread_name_prefix="aicached-apart")
    return _threads


def _forget_workers() -> None:
    global _threads
    _threads = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_workers)
