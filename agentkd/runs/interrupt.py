"""Ends a run in order on ctrl-C, SIGTERM and SIGHUP.

Nothing new is sent, requests in flight may end, and finished samples are stored.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any, Self

from agentkd.runs.progress import say
from agentkd.runs.watchdog import LIMIT_SECONDS, SAME_SECONDS, SIGNALS

DRAIN_SECONDS = LIMIT_SECONDS - 5.0  # after the first signal, what is in flight is cancelled: the rest is for tidying
_received = signal.SIGINT  # the last of SIGNALS that came

Handler = Callable[[int, FrameType | None], Any]


@contextmanager
def catch_signals(handler: Handler, numbers: Sequence[signal.Signals] = SIGNALS) -> Iterator[None]:
    """Within the block `handler` gets these signals, but for those that were ignored, as `nohup` does with SIGHUP.

    Outside the main thread it does nothing: signals do not arrive there."""

    def handle(number: int, frame: FrameType | None) -> None:
        global _received
        _received = signal.Signals(number)
        handler(number, frame)

    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in numbers}
    try:
        for number, old in before.items():
            if old is not signal.SIG_IGN:
                signal.signal(number, handle)
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)


@contextmanager
def signals_like_ctrl_c() -> Iterator[None]:
    """Within the block SIGTERM and SIGHUP do what ctrl-C does at that moment."""
    global _received
    _received = signal.SIGINT

    def handle(number: int, frame: FrameType | None) -> None:
        ctrl_c = signal.getsignal(signal.SIGINT)  # of Python, of asyncio.run or of an `Interrupt`
        if not callable(ctrl_c):
            raise KeyboardInterrupt
        ctrl_c(number, frame)

    with catch_signals(handle, (signal.SIGTERM, signal.SIGHUP)):
        yield


def stop_code() -> int:
    """The exit code of a command that was stopped: 130 for ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
    return 128 + _received


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
