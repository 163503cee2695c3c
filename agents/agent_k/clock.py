"""The run's clock: seconds worked over all resumes, and the model's share of them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from agentkd.errors import UserError, WorldError
from agentkd.runs.disk import write_atomically
from agentkd.runs.untrusted import read_small

SETUP_SHARE = 0.3  # of the run's time that the model may take before the solvers start
SOLVE_SHARE = 0.5  # of the run's time that the model may take in all; the solvers have the rest
RESERVE_SHARE = 0.08  # of the run's time that is kept for blending, validation and the report
LEAST_RESERVE = 8.0  # seconds
CLOCK_BYTES = 1000
_KEPT = TypeAdapter(dict[str, Annotated[float, Field(ge=0, le=1e9)]])


def read_seconds(path: Path) -> tuple[float, float]:
    """The seconds that were worked, and those of them that were the model's; 0 for a run without a file.

    Raises UserError where the file is damaged."""
    try:
        kept = _KEPT.validate_json(read_small(path, CLOCK_BYTES))
    except FileNotFoundError:
        return 0.0, 0.0
    except ValueError:
        raise UserError(f"{path} is damaged: remove it, then the run's time begins anew") from None
    return kept.get("elapsed", 0.0), kept.get("model", 0.0)


class Clock:
    """Seconds of work, kept in clock.json, so that a resumed run goes on with the rest.

    `used` are the seconds that this process has worked for the run before: starting takes time, too. The work since the
    last `save` is lost when the process is killed."""

    def __init__(self, run: Path, seconds: float, used: float = 0.0) -> None:
        self.path, self.seconds = run / "clock.json", seconds
        self.before, self.model = read_seconds(self.path)
        self.start = time.monotonic() - used

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

    def begin_anew(self) -> None:
        """Forget the work so far: it was on other files."""
        self.before, self.model, self.start = 0.0, 0.0, time.monotonic()

    def save(self) -> None:
        with suppress(WorldError):  # a full disk is reported where results are written
            write_atomically(self.path, json.dumps({"elapsed": round(self.elapsed, 2), "model": round(self.model, 2)}))
