"""Ctrl-C, SIGTERM and SIGHUP: who gets them, and the exit code of a command that they stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SAME_SECONDS = 0.1  # signals so close together are one: a shell and its `timeout` may both pass one on
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
