"""Watches a started run until it ends or a limit ends it, and collects its output."""

from __future__ import annotations

import os
import re
import select
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agentkd.errors import UserError
from agentkd.sandbox.limits import Limits, StartedRun, StopReason
from agentkd.sandbox.usage import Unmeasurable, UsageWatch

_FLOOD = 64  # times the kept output that may be written
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # a terminal that shows the output would obey them


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    `ok`: the code ended by itself with status 0. `code`: its exit status, 128 + n for signal n; None where we stopped
    it. `output`: stdout and stderr together, without control characters; a long one has its middle cut out. Its last
    line says why the run was stopped."""

    ok: bool
    code: int | None
    seconds: float
    output: str
    stopped: StopReason = ""


def collect_outcome(
    started: StartedRun, limits: Limits, folders: Sequence[Path], cancel: threading.Event | None
) -> Outcome:
    """Wait until a run ends, a limit is exceeded or `cancel` is set; all its processes are gone then.

    `folders` are those that the run may write to. Raises UserError where their size cannot be measured."""
    begin, over = time.monotonic(), None
    kept = _KeptOutput(limits.output_kb << 10)
    assert started.process.stdout is not None
    with started.process.stdout as stdout:
        pipe, is_open = stdout.fileno(), True
        try:
            watch = UsageWatch(started, limits, folders)
            while started.process.poll() is None and over is None:
                if is_open and select.select([pipe], [], [], 0.05)[0]:
                    is_open = kept.read(pipe)
                elif not is_open:
                    time.sleep(0.005)
                seconds = time.monotonic() - begin
                over = _exceeded(seconds, limits, kept, cancel) or watch.exceeded(time.monotonic())
            seconds = time.monotonic() - begin
        except Unmeasurable as error:
            raise UserError(f"{folders[0]} {error}: empty it before code runs there") from None
        finally:
            started.end()
        os.set_blocking(pipe, False)  # a process that escaped us may hold its other end
        while is_open and kept.total <= _FLOOD * kept.size:
            is_open = kept.read(pipe)
    over = over or watch.disk_exceeded()
    process = started.process
    if over is not None:
        return Outcome(False, None, seconds, f"{kept.text()}\n[stopped: {over[1]}]\n".lstrip("\n"), over[0])
    code = process.returncode if process.returncode >= 0 else 128 - process.returncode
    return Outcome(code == 0, code, seconds, kept.text())


def _exceeded(
    seconds: float, limits: Limits, kept: _KeptOutput, cancel: threading.Event | None
) -> tuple[StopReason, str] | None:
    """The limit of time or output that is exceeded, and a text for the user."""
    if seconds > limits.seconds:
        return "time", f"{limits.seconds:.1f} s, the limit of time"
    if cancel is not None and cancel.is_set():
        return "stop", "asked to stop"
    if kept.total > _FLOOD * kept.size:
        return "output", f"{kept.total >> 10} KB of output, at most {_FLOOD * limits.output_kb} are allowed"
    return None


class _KeptOutput:
    """The first quarter and the last three of an output, `size` bytes together."""

    def __init__(self, size: int) -> None:
        self.size, self.total = size, 0
        self._head, self._tail = b"", bytearray()

    def read(self, pipe: int) -> bool:
        """Read from the pipe; False at its end, or where it is empty now."""
        try:
            data = os.read(pipe, 1 << 16)
        except BlockingIOError:
            return False
        self.total += len(data)
        room = self.size // 4 - len(self._head)
        self._head += data[:room]
        self._tail += data[room:] if room > 0 else data
        if len(self._tail) > 2 * self.size:
            del self._tail[: -self.size]
        return bool(data)

    def text(self) -> str:
        """The kept output as text, without control characters."""
        tail = bytes(self._tail[-(self.size - self.size // 4) :])
        cut = self.total - len(self._head) - len(tail)
        between = f"\n[… {cut:,} bytes cut out …]\n" if cut else ""
        text = self._head.decode("utf-8", "replace") + between + tail.decode("utf-8", "replace")
        return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
