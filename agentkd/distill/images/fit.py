"""Train one lesson with transformers' Trainer, resumed from its checkpoints, and ask classifiers for their logits."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from agentkd.distill.checkpoints import progress_callback, tracking_callbacks, trainer_arguments
from agentkd.distill.health import train_and_save, with_health_checks
from agentkd.distill.images.classifier import Classifier
from agentkd.distill.images.pixels import Pixels
from agentkd.runs.disk import write_atomically
from agentkd.runs.interrupt import Interrupt
from agentkd.runs.untrusted import METRICS_BYTES, parse_json, read_small

if TYPE_CHECKING:
    from torch import Tensor


class Examples(Protocol):
    """What is learned from: rows that torch's loader takes, how they become a batch, and the unit of the loss."""

    unit: str

    def __len__(self) -> int: ...
    def __getitem__(self, place: int) -> dict[str, Any]: ...
    def collate(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]: ...


class Settings(Protocol):
    """What a training takes from the config of its command."""

    @property
    def seed(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def log(self) -> str | None: ...


def fit(lesson: Any, data: Examples, folder: Path, config: Settings, epochs: float, lr: float) -> dict[str, Any]:
    """Train, write the lesson's student into `folder`, and return steps, seconds and losses.

    A lesson is a module with a `student` that has `save`, and with `parameter_groups`.

    `fit.json`, written last, says that the folder is whole. Raises UserError for a loss that is no number."""
    interrupt = Interrupt(lambda: None)
    checkpoints = folder / "checkpoints"
    trainer = make_trainer(lesson, data, checkpoints, config, epochs=epochs, lr=lr, interrupt=interrupt)
    for callback in tracking_callbacks(config.log):
        trainer.add_callback(callback)
    start = time.monotonic()
    train_and_save(trainer, interrupt, folder, lambda: lesson.student.save(folder))
    history = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    facts = {
        "steps": trainer.state.global_step,
        "seconds": round(time.monotonic() - start, 1),
        "losses": [round(value, 4) for value in history],
    }
    write_atomically(folder / "fit.json", json.dumps(facts) + "\n")
    return facts


def read_fit(folder: Path) -> dict[str, Any] | None:
    """What `fit` has returned for a folder that is whole, else None."""
    file = folder / "fit.json"
    found = parse_json(read_small(file, METRICS_BYTES)) if file.is_file() else None
    return found if isinstance(found, dict) else None


def make_trainer(
    lesson: Any,
    data: Examples,
    checkpoints: Path,
    config: Settings,
    *,
    epochs: float,
    lr: float,
    interrupt: Interrupt,
) -> Any:
    """transformers' Trainer with our health checks and the groups of parameters that the lesson names."""
    import torch
    from transformers import PrinterCallback, Trainer, TrainingArguments

    class Learning(with_health_checks(Trainer)):  # type: ignore[misc]
        def create_optimizer(self, *args: Any, **options: Any) -> Any:
            lr = self.args.learning_rate
            self.optimizer = torch.optim.AdamW(self.model.parameter_groups(lr), lr=lr)
            return self.optimizer

    steps = max(1, -(-len(data) // config.batch))
    arguments = TrainingArguments(
        **{**trainer_arguments(checkpoints, config.seed), "logging_steps": max(1, round(steps * epochs / 100))},
        num_train_epochs=epochs,
        learning_rate=lr,
        warmup_steps=max(1, steps // 2),
        per_device_train_batch_size=config.batch,
        logging_nan_inf_filter=False,
        remove_unused_columns=False,
    )
    trainer = Learning(
        model=lesson,
        args=arguments,
        train_dataset=data,
        data_collator=data.collate,
        callbacks=[progress_callback(data.unit, interrupt)],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def ask(classifier: Classifier, pixels: Pixels) -> Tensor:
    """Logits [N, C] of all images in order, on the CPU."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = classifier.model.to(device).eval()
    with torch.inference_mode():
        rows = [
            model(pixel_values=classifier.inputs(batch["pixels"].to(device))).logits.float().cpu()
            for batch in pixels.batches()
        ]
    return torch.cat(rows).clone()
