"""Stop a run on a signal, a NaN loss or a full disk, with a one-line error.

The last good checkpoint is kept: the same command goes on from there.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

from agentkd.distill.checkpoints import is_whole, last_checkpoint
from agentkd.distill.processes import on_rank_0, world_size
from agentkd.errors import AgentkdError, UserError, WorldError
from agentkd.pretrained import first_line
from agentkd.runs.disk import disk_error
from agentkd.runs.interrupt import Interrupt
from agentkd.runs.progress import say


class Diverged(UserError):
    """A loss, gradient or weight is no longer finite."""


def train_until_stopped(trainer: Any, interrupt: Interrupt, checkpoint: str | None) -> Any:
    """Train, from a checkpoint where there is one, and return transformers' result.

    Ctrl-C and SIGTERM end it in a KeyboardInterrupt, after a checkpoint. Of several processes each stops at once: they
    would wait for each other, as they do not hear of it in the same step. Raises UserError for a checkpoint that cannot
    be read, or would run code."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):  # type: ignore[misc]
        stepped = False

        def on_step_end(self, *args: Any, **options: Any) -> None:
            self.stepped = True

    watch = Watch()
    trainer.add_callback(watch)
    try:
        with interrupt if world_size() == 1 else nullcontext():
            return trainer.train(resume_from_checkpoint=checkpoint)
    except (AgentkdError, OSError):
        raise
    except Exception as error:
        out_of_memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
        if checkpoint is None or watch.stepped or out_of_memory:
            raise
        what = "holds more than tensors" if type(error).__name__ == "UnpicklingError" else "cannot be read"
        raise UserError(
            f"{checkpoint} {what} ({type(error).__name__}: {first_line(error)}): "
            f"remove it, then training goes on from an earlier one, or begins anew"
        ) from error


def with_health_checks(trainer: Any) -> Any:
    """The trainer class, stopped by a loss, gradient or weight that is not finite, and by a failed checkpoint."""

    class Guarded(trainer):  # type: ignore[misc]
        def check_weights(self) -> None:
            """Raise UserError if a weight is not finite: a step may overflow, and only the next loss would show it."""
            own = (getattr(weight, "_local_tensor", weight) for weight in self.model.parameters())  # FSDP's shards
            if not all(bool(weight.isfinite().all()) for weight in own):
                self._diverged(f"weights are no longer finite after step {self.state.global_step}")

        def log(self, logs: dict[str, float], *args: Any, **options: Any) -> None:
            for name in ("loss", "grad_norm"):  # logged before a checkpoint of the same step is saved
                if not math.isfinite(logs.get(name, 0.0)):
                    what = "loss" if name == "loss" else "gradient"
                    self._diverged(f"the {what} is {logs[name]} at step {self.state.global_step}")
            super().log(logs, *args, **options)

        def _save_checkpoint(self, *args: Any, **options: Any) -> None:
            folder = Path(self.args.output_dir, f"checkpoint-{self.state.global_step}")
            self.check_weights()
            with guard_saving(folder, self._kept()):
                super()._save_checkpoint(*args, **options)

        def _diverged(self, what: str) -> NoReturn:
            raise Diverged(
                f"{what}: choose a smaller lr=… (it is {self.args.learning_rate:g}) and another --out{self._kept()}"
            )

        def _kept(self) -> str:
            last = last_checkpoint(Path(self.args.output_dir))
            return f"; {Path(last).name} is kept" if last else ""

    return Guarded


def train_and_save(trainer: Any, interrupt: Interrupt, folder: Path, save: Callable[[], None]) -> float:
    """Train from the last whole checkpoint, where there is one, and write the weights into `folder` by `save`.

    Returns the seconds of training. `trainer` is of a class of `with_health_checks`. Raises UserError for a loss or
    weight that is no number, WorldError where the disk refuses."""
    checkpoints = Path(trainer.args.output_dir)
    on_rank_0(lambda: remove_torn_checkpoints(checkpoints))
    last = on_rank_0(lambda: last_checkpoint(checkpoints))
    if last:
        say(f"going on from {last}")
    start = time.monotonic()
    train_until_stopped(trainer, interrupt, last)
    seconds = time.monotonic() - start
    trainer.check_weights()
    with guard_saving(folder / "model.safetensors", f"; {Path(last).name} is kept" if last else ""):
        save()
    return seconds


@contextmanager
def guard_saving(path: Path, kept: str = "") -> Iterator[None]:
    """Context manager around writing weights to `path`, a checkpoint folder or a file.

    If the disk refuses, it removes what is half written, to free the room that is missing, and raises WorldError."""
    from safetensors import SafetensorError

    try:
        yield
    except Exception as error:
        # torch, safetensors and tokenizers write files themselves; tokenizers raises a bare Exception
        if not isinstance(error, OSError | RuntimeError | SafetensorError) and "os error" not in str(error):
            raise
        if path.is_dir() and not is_whole(path):
            shutil.rmtree(path, ignore_errors=True)
        elif path.is_file():
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise WorldError(f"{disk_error(path, error)}{kept}") from None
        why = str(error).strip().splitlines()[0][:160]
        raise WorldError(f"cannot write {path} ({why}); make room and run the same command again{kept}") from None


def remove_torn_checkpoints(checkpoints: Path) -> None:
    """Remove the half-written checkpoints of a killed run."""
    for folder in checkpoints.glob("checkpoint-*"):
        if not is_whole(folder):
            shutil.rmtree(folder, ignore_errors=True)
