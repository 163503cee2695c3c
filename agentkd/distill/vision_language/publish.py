"""Card, curve and report of a student of answers, and the end of its run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from agentkd.config import VisionLanguageConfig
from agentkd.distill.images.publish import describe_differences, front_matter, list_values
from agentkd.distill.train import plot_curve
from agentkd.prompts import render
from agentkd.runs.disk import write_atomically
from agentkd.runs.store import RunDirectory


def publish(config: VisionLanguageConfig, metrics: dict[str, Any], run: RunDirectory) -> None:
    """Write card, curve, report, metrics and, last, the manifest; then remove what only the training needed."""
    from agentkd.report.write import write_report

    folder = run.path
    plot_curve([{"step": number, "loss": loss} for number, loss in enumerate(metrics["losses"])], folder / "loss.png")
    card = render(
        "vision_language_card",
        front=front_matter(str(config.student), "image-text-to-text"),
        title=Path(str(config.out)).resolve().name,
        config=config,
        metrics=metrics,
        differences=describe_differences(metrics),
        settings=list_values(config),
    )
    write_atomically(folder / "README.md", card + "\n")
    write_report(folder, metrics=metrics)
    run.finish(metrics)
    remove_stages(folder)


def remove_stages(folder: Path) -> None:
    """Remove the weights between stages, and all checkpoints."""
    for part in ("stages", "baseline/pt", "checkpoints", "baseline/checkpoints", "teacher/checkpoints"):
        shutil.rmtree(folder / part, ignore_errors=True)
