"""Compute a stage's needs of memory and disk from config.json and the lengths of the stage's own rows.

Every run checks its needs before it starts; `distill --plan` prints them.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agentkd.config import has_gpu
from agentkd.distill import processes
from agentkd.distill.data.tokens import IGNORED, TrainingData
from agentkd.distill.loading import NF4_BYTES
from agentkd.distill.resolve import Stage
from agentkd.distill.student import Model, can_checkpoint, count_parameters, make_skeleton
from agentkd.errors import UserError
from agentkd.machine import memory_needs
from agentkd.machine.hardware import GB, read_memory
from agentkd.pretrained import load_settings
from agentkd.runs.progress import say

SURE = 1.15  # refuse a need above this multiple of the free memory: the arithmetic is not exact (docs/distill.md)
SECOND = "the next beside it"


def compute_needs(stage: Stage, data: TrainingData) -> dict[str, Any]:
    """Sizes of model and data, number of steps, GB of memory per process by phase, and GB of disk."""
    from agentkd.distill.lora import count_lora_parameters

    config = stage.config
    lengths = [len(row["input_ids"]) for row in data.rows]
    targets = sum(label != IGNORED for row in data.rows for label in row["labels"][1:])
    skeleton = make_skeleton(data.student.settings, config.layers, trust=data.student.trust)
    parameters = sum(parameter.numel() for parameter in skeleton.parameters())
    adapters = count_lora_parameters(skeleton, config.lora) if config.lora else 0
    trained = adapters or parameters
    sizes = model_sizes(data.student.settings.get_text_config(), parameters, config.layers)
    training = memory_needs.training_bytes(
        sizes._replace(parameters=parameters + adapters),
        min(stage.batch, len(data.inputs.tokens)) * max(data.inputs.tokens),
        trained=trained,
        half=config.half,
        checkpointing=config.grad_checkpointing,
        gpu=has_gpu(),
        shards=processes.world_size() if processes.is_sharded() else 1,
    )
    if config.load_in_4bit:
        kept = sizes.vocabulary * sizes.hidden * (1 if data.student.settings.tie_word_embeddings else 2)
        training["weights"] = NF4_BYTES * (parameters - kept) + 4.0 * (kept + adapters)
    memory = {"training": training}
    # A checkpoint is kept until the next one is whole. A short run makes its first one at its end.
    disk = {"weights": 4.0 * parameters, "a checkpoint": 12.0 * trained, SECOND: 12.0 * trained}
    if config.keep_adapter:
        disk["adapters"] = 4.0 * trained
    if config.eval_fraction:
        disk["the best weights"] = 4.0 * trained
    if stage.method.teacher_in_memory:
        training["the teacher"] = 4.0 * max(map(count_parameters, data.teachers))
    if stage.makes_logits:
        from agentkd.distill.losses import LOGITS

        # a chunk's logits and their gradient; the head's gradient, which is separate from its tied twin's
        logits = 8.0 * LOGITS + 4.0 * sizes.vocabulary * sizes.hidden
        training["gradients or logits"] = max(4.0 * trained, logits)
    if stage.method.signal:
        memory["the teacher's scores"] = scoring_memory(data.teachers, lengths)
        disk["teacher's scores"] = (8.0 * config.top_k + 4) * targets * len(data.teachers)
    examples_a_step = stage.batch * config.accumulate * processes.world_size()
    inputs = len(data.inputs.rows)
    return {
        "parameters": parameters,
        "trained": trained,
        "examples": inputs,
        "tokens_per_epoch": sum(lengths),
        "target_tokens_per_epoch": targets,
        "longest": max(lengths),
        "examples_a_step": examples_a_step,
        "steps": round(stage.epochs * -(-inputs // examples_a_step)),
        "memory": {phase: {name: size / GB for name, size in parts.items()} for phase, parts in memory.items()},
        "disk": {name: size / GB for name, size in disk.items()},
    }


def model_sizes(settings: Any, parameters: int, layers: int | None = None) -> memory_needs.ModelSizes:
    """A model's sizes from its config.json, or the usual ones where it does not name them.

    Of a list by layers (Gemma 3n), the largest counts."""

    def size(name: str) -> int | None:
        value = getattr(settings, name, None)
        return max(value) if isinstance(value, list | tuple) and value else value or None

    heads = size("num_attention_heads") or 1
    return memory_needs.ModelSizes(
        name=settings.model_type,
        parameters=parameters,
        layers=layers or settings.num_hidden_layers,
        hidden=settings.hidden_size,
        kv_heads=size("num_key_value_heads") or heads,
        head=size("head_dim") or settings.hidden_size // heads,
        vocabulary=settings.vocab_size,
        inner=size("intermediate_size") or 4 * settings.hidden_size,
    )


def scoring_memory(teachers: Sequence[Model], lengths: Sequence[int]) -> dict[str, float]:
    """Bytes of the largest teacher's scoring pass: its weights, and one layer's activations and the logits of its
    batch. One teacher is in memory at a time."""
    from agentkd.distill.data.teacher_scores import BATCH

    counts = [count_parameters(teacher) for teacher in teachers]
    parameters = max(counts)
    largest = teachers[counts.index(parameters)]
    settings = load_settings(largest.folder, trust=largest.trust).get_text_config()
    tokens = min(BATCH, len(lengths)) * max(lengths)
    layer = model_sizes(settings, parameters)._replace(layers=1)
    return {
        "weights": 4.0 * parameters,
        "activations": memory_needs.training_bytes(layer, tokens)["activations"],
        "logits": 12.0 * tokens * settings.vocab_size,  # at most: only targets have logits
        "process": memory_needs.TRAIN_BYTES,
    }


def available_memory() -> tuple[str, float]:
    """The memory that a process has, as a phrase and in GB: the smallest GPU's, or its share of the main memory."""
    found = read_memory()
    if found.gpus:
        return "free on the GPU", min(gpu.free_gb for gpu in found.gpus)
    return "free", found.available_gb / processes.local_world_size()


def free_disk(out: Path) -> int:
    """Free bytes on the disk of `out`, which need not exist yet."""
    while not out.exists():
        out = out.parent
    return shutil.disk_usage(out).free


def check_needs(stage: Stage, data: TrainingData) -> None:
    """Raise UserError, with what would help, if the run surely does not fit into memory or its results onto the
    disk."""
    needs = compute_needs(stage, data)
    where, free = available_memory()
    for phase, parts in needs["memory"].items():
        if (gb := sum(parts.values())) > SURE * free:
            remedy = "choose a smaller teacher, or --method sft"
            if phase == "training":
                remedy = suggest_changes(stage, data, free)
            raise UserError(f"{phase} needs {gb:.1f} GB and {free:.1f} GB are {where}: {remedy}")
    disk, free = needs["disk"], free_disk(stage.out) / GB
    least = sum(size for name, size in disk.items() if name != SECOND)
    if least > free:
        raise UserError(
            f"weights and a checkpoint need {least:.1f} GB and {free:.1f} GB are free on the disk of "
            f"{stage.config.out}: make room, or choose another --out"
        )
    if (most := sum(disk.values())) > free:
        say(
            f"{stage.config.out} may need {most:.1f} GB and {free:.1f} GB are free: "
            f"a run of more than five minutes, with two checkpoints, will stop"
        )


def suggest_changes(stage: Stage, data: TrainingData, free: float) -> str:
    """The mildest change that fits into `free` GB: the same steps in smaller batches, then more time, then another
    student."""
    batch = stage.batch
    examples_a_step = batch * stage.config.accumulate
    changes: list[dict[str, Any]] = []
    while batch > 1:
        batch //= 2
        changes.append({"batch": batch, "accumulate": -(-examples_a_step // batch)})
    twice = {"grad_checkpointing": True} if can_checkpoint(data.student.settings, trust=data.student.trust) else {}
    one = {"batch": 1, "accumulate": examples_a_step, **twice}
    layers = max(1, (stage.config.layers or data.student.settings.get_text_config().num_hidden_layers) // 2)
    changes += [twice] if twice else []
    changes += [one, {**one, "lora": 16}, {**one, "lora": 16, "layers": layers}]
    for change in changes:
        needs = compute_needs(stage.with_changes(**change), data)
        if sum(needs["memory"]["training"].values()) <= free:
            return "try " + " ".join(f"{key}={str(value).lower()}" for key, value in change.items())
    return "choose a smaller student, or a shorter max_length=…"
