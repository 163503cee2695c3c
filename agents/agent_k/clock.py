"""The run's clock: seconds worked over all resumes, and the model's share of them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agentkd.runs.disk import write_atomically

SETUP_SHARE = 0.3  # of the run's time that the model may take before the solvers start
SOLVE_SHARE = 0.5  # of the run's time that the model may take in all; the solvers have the rest
RESERVE_SHARE = 0.08  # of the run's time that is kept for blending, validation and the report
LEAST_RESERVE = 8.0  # seconds


class Clock:
    """Seconds of work, kept in clock.json, so that a resumed run goes on with the rest.

    The work since the last `save` is lost when the process is killed."""

    def __init__(self, run: Path, seconds: float) -> None:
        self.path, self.seconds = run / "clock.json", seconds
        before = {}
        with suppress(OSError, ValueError):
            before = json.loads(self.path.read_text())
        self.before, self.model = float(before.get("elapsed", 0.0)), float(before.get("model", 0.0))
        self.start = time.monotonic()

    @property
    def elapsed(self) -> float:
        return self.before + time.monotonic() - self.start

    @property
    def reserve(self) -> float:
        """Seconds kept for the stages after the solvers."""
        return min(max(LEAST_RESERVE, RESERVE_SHARE * self.seconds), self.seconds / 3)

    @property
    def left(self) -> float:
        """Seconds until the solvers must end."""
        return self.seconds - self.reserve - self.elapsed

    def model_left(self, *, setup: bool) -> float:
        """Seconds that the model may still take, for its answers and the runs of its code."""
        share = SETUP_SHARE if setup else SOLVE_SHARE
        return min(share * self.seconds - self.model, self.left)

    @contextmanager
    def model_time(self) -> Iterator[None]:
        """Count the time of this block as the model's."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.model += time.monotonic() - start

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count the time of this block."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.before -= time.monotonic() - start

    def save(self) -> None:
        with suppress(OSError):  # a full disk is reported where results are written
            write_atomically(self.path, json.dumps({"elapsed": round(self.elapsed, 2), "model": round(self.model, 2)}))
