"""Progress for the user on stderr: a line or bar with count, rate, time left, tokens and yield."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from agentkd.runs.terminal import Terminal
from agentkd.trace import Usage

console = Terminal(stderr=True)
LONGEST = 10_000  # characters of one message; the middle of a longer one is left out
LOG_EVERY = 15.0  # seconds between lines where stderr is not a terminal

Say = Callable[[str], None]  # takes a line for the user
T = TypeVar("T")


def format_usd(usd: float) -> str:
    """Format a sum of money: cents from a dollar up, four digits below."""
    return f"${usd:,.2f}" if usd >= 1 else f"${usd:.4f}"


def say(text: str) -> None:
    """Print a line for the user on stderr; stdout stays free for `--json`.

    A line break in it is shown as \\n: names in it may come from anybody, and what follows would seem to be ours. Where
    nobody can read it any more, as the terminal was closed, the run goes on without."""
    text = text.replace("\r\n", "\n").replace("\n", "\\n")
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} … {len(text) - LONGEST:,} characters … {text[-LONGEST // 2 :]}"
    try:
        console.print(text, soft_wrap=True)
    except OSError:
        console.quiet = True


async def heartbeat(job: asyncio.Future[T], line: Callable[[float], str], say: Say) -> T:
    """Await `job`, and say `line(seconds)` every LOG_EVERY seconds until it is done.

    When cancelled, cancels the job and waits until it has cleaned up."""
    start = time.monotonic()
    try:
        while not (await asyncio.wait({job}, timeout=LOG_EVERY))[0]:
            say(line(time.monotonic() - start))
    except asyncio.CancelledError:
        job.cancel()
        await asyncio.wait({job})
        raise
    return job.result()


class Progress:
    """A progress bar on a terminal, a line every LOG_EVERY seconds elsewhere."""

    def __init__(self, label: str, total: int, unit: str = "verified") -> None:
        self.label, self.total, self.unit = label, total, unit
        self.count = self.good = self.errors = self.logged = 0
        self.usage = Usage()
        self.start = self.last = time.monotonic()
        self.bar: Bar | None = None
        if sys.stderr.isatty():
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TaskProgressColumn(show_speed=False),
                TimeRemainingColumn(),
                TextColumn("{task.fields[detail]}", markup=False),
            )
            self.bar = Bar(*columns, console=console, transient=False)
            self.task = self.bar.add_task(label, total=total, detail="")

    def __enter__(self) -> Self:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()
        elif self.count > self.logged:
            self._log()

    def advance(self, usage: Usage, *, good: bool) -> None:
        """Count one more finished item."""
        self.count += 1
        self.good += good
        self.usage += usage
        self._show()

    def count_failure(self) -> None:
        """Count one more that ended in an error."""
        self.count += 1
        self.errors += 1
        self._show()

    def _detail(self) -> str:
        seconds = max(time.monotonic() - self.start, 1e-9)
        parts = [f"{self.count / seconds:.2f}/s"]
        if self.unit:
            parts.append(f"{self.good} {self.unit}")
        if self.usage.tokens:
            parts.append(f"{self.usage.tokens:,} tokens")
        if self.usage.usd:
            parts.append(format_usd(self.usage.usd))
        if self.errors:
            parts.append(f"{self.errors} failed")
        return " · ".join(parts)

    def _show(self) -> None:
        if self.bar is not None:
            self.bar.update(self.task, completed=self.count, detail=self._detail())
        elif time.monotonic() - self.last >= LOG_EVERY:
            self._log()

    def _log(self) -> None:
        self.last, self.logged = time.monotonic(), self.count
        rate = self.count / max(self.last - self.start, 1e-9)
        left = f" · {(self.total - self.count) / rate:.0f} s left" if rate and self.count < self.total else ""
        say(f"{self.label} {self.count}/{self.total} · {self._detail()}{left}")
