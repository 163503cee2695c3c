"""What a run on texts needs of memory and disk, computed before anything is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agentkd.config import TextsConfig, has_gpu
from agentkd.distill.needs import SURE, available_memory, free_disk, model_sizes
from agentkd.distill.student import Student, make_skeleton
from agentkd.distill.texts.blocks import Corpus
from agentkd.errors import UserError
from agentkd.machine import memory_needs
from agentkd.machine.hardware import GB

UNPACKED = 4  # a gzipped text is about this much smaller


def compute_needs(config: TextsConfig, student: Student, corpus: Corpus) -> dict[str, Any]:
    """Parameters, and GB of memory and disk by what takes them. Blocks are taken to be as large as their texts."""
    skeleton = make_skeleton(student.settings, config.layers, trust=student.trust)
    parameters = sum(parameter.numel() for parameter in skeleton.parameters())
    memory = memory_needs.training_bytes(
        model_sizes(student.settings.get_text_config(), parameters, config.layers),
        config.batch * config.max_length,
        half=config.half,
        checkpointing=config.grad_checkpointing,
        gpu=has_gpu(),
    )
    files = [*corpus.files, *corpus.validation]
    texts = sum(file.stat().st_size * (UNPACKED if file.suffix == ".gz" else 1) for file in files)
    disk = {"weights": 4.0 * parameters, "two checkpoints": 24.0 * parameters, "blocks": float(texts)}
    return {
        "parameters": parameters,
        "memory": {name: size / GB for name, size in memory.items()},
        "disk": {name: size / GB for name, size in disk.items()},
    }


def check_needs(config: TextsConfig, student: Student, corpus: Corpus) -> None:
    """Raise UserError, with what would help, if the run surely does not fit into memory or onto the disk."""
    needs = compute_needs(config, student, corpus)
    where, free = available_memory()
    if (gb := sum(needs["memory"].values())) > SURE * free:
        raise UserError(
            f"training needs {gb:.1f} GB and {free:.1f} GB are {where}: try batch=1 "
            f"accumulate={config.batch * config.accumulate}, grad_checkpointing=true, or fewer layers="
        )
    room = free_disk(Path(str(config.out))) / GB
    if (gb := sum(needs["disk"].values())) > room:
        raise UserError(
            f"weights, checkpoints and blocks need {gb:.1f} GB and {room:.1f} GB are free on the disk of {config.out}: "
            f"make room, or choose another --out"
        )
