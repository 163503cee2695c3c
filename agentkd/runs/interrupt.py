"""Ends a run in order on ctrl-C, SIGTERM and SIGHUP.

Nothing new is sent, requests in flight may end, and finished samples are stored.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from types import FrameType, TracebackType
from typing import Any, Self

from agentkd.runs.progress import say
from agentkd.runs.signals import SAME_SECONDS, catch_signals
from agentkd.runs.watchdog import LIMIT_SECONDS

DRAIN_SECONDS = LIMIT_SECONDS - 5.0  # after the first signal, what is in flight is cancelled: the rest is for tidying


class Interrupt:
    """Context manager: the first signal calls `stop` and sets `requested`.

    Around a task of asyncio the second one, or DRAIN_SECONDS, cancels the task; elsewhere the second one raises. The
    block ends in a KeyboardInterrupt."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self.requested = False
        self._stop = stop
        self._timer: asyncio.TimerHandle | None = None
        self._first = 0.0
        self._signals = ExitStack()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None

    def __enter__(self) -> Self:
        with suppress(RuntimeError):
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._signals.enter_context(catch_signals(self._handle))
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Between any two instructions of the main thread: the loop does the rest when it comes to it."""
        if self.requested and time.monotonic() - self._first < SAME_SECONDS:
            return
        if self.requested:
            if self._loop is None or self._task is None:
                raise KeyboardInterrupt
            self._loop.call_soon_threadsafe(self._task.cancel)
            return
        self.requested, self._first = True, time.monotonic()
        with suppress(RuntimeError):  # stderr was being written to at this very moment
            say(f"stopping: what is in flight may end, for at most {LIMIT_SECONDS:.0f} s; ctrl-C again stops at once")
        if self._loop is None:
            self._stop()
        else:
            self._loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        assert self._loop is not None and self._task is not None
        self._stop()
        self._timer = self._loop.call_later(DRAIN_SECONDS, self._task.cancel)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._signals.close()
        if self.requested and (error is None or isinstance(error, asyncio.CancelledError)):
            raise KeyboardInterrupt from None
