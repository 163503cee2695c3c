"""A client's card, curve and page, in its folder: the client itself writes them, as it knows its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agentkd.config import ClientsConfig
from agentkd.distill.images.publish import describe_differences, front_matter, list_values
from agentkd.distill.train import plot_curve
from agentkd.prompts import render
from agentkd.report.page import render_images
from agentkd.runs.disk import write_atomically

METHODS = {
    "knfu": "the predictions that agree with its own",
    "mean": "the plain mean of all predictions",
    "fedmd": "the mean of all logits",
}


def publish_client(
    folder: Path, config: ClientsConfig, metrics: Mapping[str, Any], losses: Sequence[float], names: Mapping[str, Any]
) -> None:
    """Write README.md, loss.png and report.html. `names` are the client's `model` and the `others`, and the number of
    `shared` images."""
    plot_curve([{"step": number, "loss": loss} for number, loss in enumerate(losses)], folder / "loss.png")
    card = render(
        "client_card",
        front=front_matter(str(names["model"]), "image-classification"),
        title=folder.name,
        folder=folder,
        channels=metrics["channels"],
        method=METHODS[config.method],
        config=config,
        metrics=metrics,
        differences=describe_differences(metrics),
        settings=list_values(config),
        **names,
    )
    write_atomically(folder / "README.md", card + "\n")
    values = {"stage": "distill-clients", **config.model_dump(mode="json"), "student": names["model"]}
    shown = {**metrics, "losses": losses, "parameters": {"student": metrics["parameters"]}}
    write_atomically(folder / "report.html", render_images(values, shown).encode(errors="replace"))
