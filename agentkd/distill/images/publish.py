"""Card, curve and report of a student of images, and the end of its run."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from agentkd.config import ImagesConfig, StageConfig
from agentkd.distill.images.methods import IMAGE_METHODS
from agentkd.distill.train import plot_curve
from agentkd.models import is_hub_name
from agentkd.prompts import render
from agentkd.runs.disk import write_atomically
from agentkd.runs.store import RunDirectory


def publish(config: ImagesConfig, metrics: dict[str, Any], run: RunDirectory) -> None:
    """Write card, curve, report, metrics and, last, the manifest; then remove the checkpoints."""
    from agentkd.report.write import write_report

    folder = run.path
    plot_curve([{"step": number, "loss": loss} for number, loss in enumerate(metrics["losses"])], folder / "loss.png")
    write_atomically(folder / "README.md", render_card(config, metrics) + "\n")
    write_report(folder, metrics=metrics)
    run.finish(metrics)
    for place in (folder, *(child for child in folder.iterdir() if child.is_dir())):
        shutil.rmtree(place / "checkpoints", ignore_errors=True)


def render_card(config: ImagesConfig, metrics: Mapping[str, Any]) -> str:
    """README.md of the student, in the form that the hub reads."""
    return render(
        "image_card",
        front=front_matter(str(config.student), "image-classification"),
        title=Path(str(config.out)).resolve().name,
        method=IMAGE_METHODS[config.method].text,
        config=config,
        metrics=metrics,
        differences=describe_differences(metrics),
        settings=list_values(config),
    )


def front_matter(student: str, pipeline: str) -> str:
    """The head of a card, as YAML: the model that the student was, and what it is for."""
    front = {
        "base_model": student if is_hub_name(student) else None,
        "license": "unknown",
        "library_name": "transformers",
        "pipeline_tag": pipeline,
        "tags": ["agentkd", "knowledge-distillation", pipeline],
    }
    return yaml.safe_dump({key: value for key, value in front.items() if value}, sort_keys=False).strip()


def describe_differences(metrics: Mapping[str, Any]) -> dict[str, str]:
    """The student's difference to each model, with its interval."""
    differences = {
        row["minus"]: f"{row['accuracy']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]"
        for row in metrics["differences"]
    }
    return {"student": "–", **differences}


def list_values(config: StageConfig) -> list[tuple[str, Any]]:
    """The options that have a value."""
    return [(name, value) for name, value in config.model_dump().items() if value not in (None, "", False)]
