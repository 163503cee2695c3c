"""A stage's trainer: TRL's, with the arguments that all methods share, and the method's own loss and inputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkd.config import DistillConfig
from agentkd.distill import processes
from agentkd.distill.checkpoints import trainer_arguments
from agentkd.distill.data.tokens import TrainingData
from agentkd.distill.method import load_function
from agentkd.distill.resolve import Stage

if TYPE_CHECKING:
    from agentkd.distill.lessons.teacher_signal import TeacherSignal


def make_teacher_signal(stage: Stage, data: TrainingData, folder: Path) -> TeacherSignal | None:
    """Score these rows with the method's teachers, or read or continue the scores in `folder`.

    Rank 0 scores, the others wait and read. None for a method without a scoring pass."""
    if stage.method.signal is None:
        return None
    make = load_function(stage.method.signal)
    if processes.world_size() > 1:
        processes.on_rank_0(lambda: make(stage, data, folder) and None)
    signal: TeacherSignal = make(stage, data, folder)
    return signal


def make_trainer(
    stage: Stage,
    data: TrainingData,
    model: Any,
    folder: Path,
    signal: TeacherSignal | None = None,
    *,
    max_steps: int = -1,
    callbacks: Sequence[Any] = (),
) -> Any:
    """The method's trainer. It writes checkpoints under `folder`."""
    from datasets import Dataset as Table
    from transformers import PrinterCallback

    config, inputs = stage.config, data.inputs.rows
    batch = min(stage.batch, len(inputs))
    examples_a_step = batch * config.accumulate * processes.world_size()
    arguments: dict[str, Any] = {
        **trainer_arguments(folder, config.seed),
        "num_train_epochs": stage.epochs,
        "max_steps": max_steps,
        "learning_rate": stage.lr,
        "lr_scheduler_type": config.lr_scheduler_type,
        "warmup_steps": warmup_steps(config, len(inputs) // examples_a_step),
        "weight_decay": config.weight_decay,
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": config.accumulate,
        "bf16": config.half,
        "activation_checkpointing": config.grad_checkpointing,
        "logging_nan_inf_filter": False,  # it would show the last loss in place of one that is no number
        "remove_unused_columns": False,
    }
    parts: dict[str, Any] = {
        "model": model,
        "train_dataset": Table.from_list(inputs),
        "processing_class": data.student.tokenizer,
        "callbacks": list(callbacks),
    }
    if config.lora:
        from agentkd.distill.lora import lora_config

        parts["peft_config"] = lora_config(model, config.lora)
    trainer = load_function(stage.method.trainer)(stage, data, arguments, parts, signal)
    trainer.remove_callback(PrinterCallback)
    return trainer


def warmup_steps(config: DistillConfig, steps_per_epoch: int) -> float:
    """The steps of the warm-up, or, below 1, their share of all steps: as the config says, else a quarter epoch."""
    if config.warmup_steps is not None:
        return config.warmup_steps
    if config.warmup_ratio is not None:
        return config.warmup_ratio
    return max(1, steps_per_epoch // 4)
