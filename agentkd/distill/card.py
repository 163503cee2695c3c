"""The model card: what the student is, what it was taught, from where, and under which licences."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentkd.config import DistillConfig
from agentkd.distill.dataset import Dataset
from agentkd.models import PACKAGED
from agentkd.prompts import render
from agentkd.store import write_atomically


def write_card(
    out: Path, config: DistillConfig, source: Mapping[str, Any], dataset: Dataset, metrics: Mapping[str, Any]
) -> None:
    """Write README.md, the card that the hub shows, into the student directory. `source` is the run's config."""
    base = "HuggingFaceTB/SmolLM2-135M-Instruct" if config.student == PACKAGED else config.student
    text = render(
        "card",
        config=config,
        source=source,
        metrics=metrics,
        base=base,
        dequantised=config.student == PACKAGED,
        dataset_hash=dataset.hash,
        left_out=dict(dataset.left_out),
    )
    write_atomically(out / "README.md", text + "\n")
