"""Card, curves and report of a student of texts, and the end of its run."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from agentkd.config import TextsConfig
from agentkd.distill.publish.card import find_base_model, find_weights_licence
from agentkd.distill.texts.train import plot_curves
from agentkd.prompts import render
from agentkd.runs.disk import write_atomically
from agentkd.runs.store import RunDirectory


def publish(config: TextsConfig, metrics: dict[str, Any], run: RunDirectory) -> None:
    """Write card, curves, report, metrics and, last, the manifest; then remove the checkpoints."""
    from agentkd.report.write import write_report

    folder = run.path
    plot_curves(metrics["losses"], metrics["held_out_losses"], folder / "loss.png")
    write_atomically(folder / "README.md", render_card(config, metrics, run.values) + "\n")
    write_report(folder, metrics=metrics)
    run.finish(metrics)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def render_card(config: TextsConfig, metrics: Mapping[str, Any], identity: Mapping[str, Any]) -> str:
    """README.md of the student, in the form that the hub reads."""
    base, licence = find_base_model(config.student), find_weights_licence(config.student)
    front = {
        "base_model": base,
        "license": licence or "unknown",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["agentkd", "knowledge-distillation"],
    }
    settings = [(name, value) for name, value in config.model_dump().items() if value not in (None, "", False)]
    return render(
        "texts_card",
        front=yaml.safe_dump({key: value for key, value in front.items() if value}, sort_keys=False).strip(),
        title=Path(str(config.out)).resolve().name,
        base=base,
        licence=licence,
        config=config,
        metrics=metrics,
        identity=identity,
        settings=settings,
    )
