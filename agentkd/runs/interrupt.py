"""Ends a run in order on ctrl-C.

Nothing new is sent, requests in flight may end, and finished samples are stored.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from agentkd.runs.progress import say

DRAIN_SECONDS = 30.0


class Interrupt:
    """Context manager: the first ctrl-C calls `stop` and sets `requested`.

    The second one, or DRAIN_SECONDS, cancels the task that entered the block. The block then ends in a
    KeyboardInterrupt (exit code 130).

    Outside the main thread it does nothing: signals do not arrive there."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self.requested = False
        self._stop = stop
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        with suppress(RuntimeError, ValueError, NotImplementedError):
            self._loop.add_signal_handler(signal.SIGINT, self._handle)
        return self

    def _handle(self) -> None:
        assert self._task is not None
        if self.requested:
            self._task.cancel()
            return
        self.requested = True
        say(f"stopping: what is in flight may end, for at most {DRAIN_SECONDS:.0f} s; ctrl-C again stops at once")
        self._stop()
        self._timer = self._loop.call_later(DRAIN_SECONDS, self._task.cancel)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        with suppress(RuntimeError, ValueError, NotImplementedError):
            self._loop.remove_signal_handler(signal.SIGINT)
        if self.requested and (error is None or isinstance(error, asyncio.CancelledError)):
            raise KeyboardInterrupt from None
