"""ctrl-C lets a run end in order: nothing new is sent, what is in flight may end, what is finished is stored."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from agentkd.runs.progress import say

DRAIN_SECONDS = 30.0


class Drain:
    """A block in whose course the first ctrl-C calls `stop` and sets `asked`; the second one, or DRAIN_SECONDS,
    cancels the task that entered it. The block then ends in a KeyboardInterrupt (exit code 130).

    Outside the main thread it changes nothing: signals do not arrive there."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self.asked = False
        self._stop = stop
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        with suppress(RuntimeError, ValueError, NotImplementedError):
            self._loop.add_signal_handler(signal.SIGINT, self.interrupt)
        return self

    def interrupt(self) -> None:
        assert self._task is not None
        if self.asked:
            self._task.cancel()
            return
        self.asked = True
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
        if self.asked and (error is None or isinstance(error, asyncio.CancelledError)):
            raise KeyboardInterrupt from None
