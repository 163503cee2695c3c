"""Progress, trackers and checkpoints by the clock, for every training stage, and hints to the allocator."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agentkd.errors import UserError, unknown_name
from agentkd.runs.interrupt import Interrupt
from agentkd.runs.progress import Progress
from agentkd.runs.untrusted import METRICS_BYTES, parse_json, read_small
from agentkd.trace import Usage

CHECKPOINT_SECONDS = 300.0
PROJECT = "agentkd"  # as trackers show it
TRACKERS = {"trackio": "trackio", "wandb": "wandb", "mlflow": "mlflow-skinny"}
"""The package of each tracker, as pip knows it."""
_NAME = re.compile(r"checkpoint-\d{1,15}")


def last_checkpoint(folder: Path) -> str | None:
    """The path of the newest whole checkpoint, or None."""
    whole = [path for path in folder.glob("checkpoint-*") if _NAME.fullmatch(path.name) and is_whole(path)]
    return str(max(whole, key=lambda path: int(path.name.split("-")[1]))) if whole else None


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint is complete: trainer_state.json is written last, so that a torn one lacks it or has half."""
    try:
        return isinstance(parse_json(read_small(checkpoint / "trainer_state.json", METRICS_BYTES)), dict)
    except (OSError, UserError, ValueError):
        return False


def trainer_arguments(checkpoints: Path, seed: int) -> dict[str, Any]:
    """The arguments that all trainers of transformers share here: a cosine schedule, checkpoints by the clock (one at a
    time; `progress_callback` saves them), and no output but ours."""
    import torch

    return {
        "output_dir": str(checkpoints),
        "lr_scheduler_type": "cosine",
        "seed": seed,
        "save_strategy": "steps",
        "save_steps": 10**9,
        "save_total_limit": 1,
        "logging_steps": 1,
        "report_to": [],  # `tracking_callbacks` adds what the user asks for
        "project": PROJECT,
        "run_name": checkpoints.parent.name,
        "disable_tqdm": True,
        "use_cpu": not torch.cuda.is_available(),
    }


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks and use large pages.

    Each step frees gigabytes and asks for them again, and on a CPU the kernel spends much of the time on zeroing fresh
    pages. Both are hints, without effect elsewhere."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    threshold, trim = -3, -1  # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of mallopt(3)
    with contextlib.suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.mallopt(threshold, 2**30)
        libc.mallopt(trim, 2**31 - 1)


def progress_callback(unit: str, interrupt: Interrupt) -> Any:
    """Make a transformers callback that shows steps, rate, ETA and loss, and saves every CHECKPOINT_SECONDS.

    Once the interrupt is requested, training stops after the step under way, with a checkpoint."""
    from transformers import TrainerCallback

    class Report(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.progress = Progress("steps", total=state.max_steps - state.global_step, unit="")
            self.progress.__enter__()
            self.saved = time.monotonic()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if time.monotonic() - self.saved > CHECKPOINT_SECONDS and state.global_step < state.max_steps:
                self.saved = time.monotonic()
                control.should_save = True
            if interrupt.requested:
                control.should_save = control.should_training_stop = True

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if logs and "loss" in logs:
                self.progress.label = f"steps, loss {logs['loss']:.3f} {unit},"
                self.progress.advance(Usage(), good=True)

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.progress.__exit__(None, None, None)

    return Report()


def check_trackers(log: str | None) -> list[str]:
    """Split a list of trackers. Raises UserError for an unknown one, and for one whose package is missing."""
    names = [name for part in (log or "").split(",") if (name := part.strip())]
    for name in names:
        if name not in TRACKERS:
            raise unknown_name("tracker", name, TRACKERS)
        if find_spec(name) is None:
            raise UserError(f"--log {name} needs its package: pip install {TRACKERS[name]}")
    return names


def tracking_callbacks(log: str | None) -> list[Any]:
    """The callbacks that a trainer needs to send its curve to the trackers."""
    if not (names := check_trackers(log)):
        return []
    from transformers.integrations import get_reporting_integration_callbacks

    return [make_quiet(kind) for kind in get_reporting_integration_callbacks(names)]


def make_quiet(kind: Any) -> Any:
    """A callback's class whose greetings go to stderr: stdout is the command's result."""

    class Quiet(kind):  # type: ignore[misc]
        def on_train_begin(self, *args: Any, **options: Any) -> None:
            with contextlib.redirect_stdout(sys.stderr):
                super().on_train_begin(*args, **options)

        def on_train_end(self, *args: Any, **options: Any) -> None:
            with contextlib.redirect_stdout(sys.stderr):
                super().on_train_end(*args, **options)

    return Quiet
