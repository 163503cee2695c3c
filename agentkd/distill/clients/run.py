"""`agentkd distill --task clients`: rounds of local training, an exchange of predictions, and a last local tuning.

Each client is a process of its own with any architecture. The server sees logits of the shared images and scores, and
no image of a client. The directory has a folder a client, an ordinary transformers model each with card, curve and
page, and `alone/` in it: the same model trained on the client's own images for as many passes.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agentkd.config import ClientsConfig, require_options, slug
from agentkd.distill.clients.client import LOGITS, TARGETS, Place, answers_of, exchanged, load, save
from agentkd.distill.clients.server import Clients
from agentkd.distill.images.classifier import find_classifier
from agentkd.distill.images.data import SUFFIXES, list_classes
from agentkd.errors import UserError
from agentkd.runs.progress import say
from agentkd.runs.read import is_complete, read_metrics
from agentkd.runs.store import RunDirectory
from agentkd.stats import bootstrap_interval, paired_difference
from agentkd.trace import content_hash


def distill_clients(config: ClientsConfig) -> dict[str, Any]:
    """Train and compare; returns the metrics. Raises UserError for wrong input before a directory is made."""
    places, config = find_places(config)
    out = Path(str(config.out))
    with Clients(places, config) as clients:
        facts = clients.facts()
        hashes = {"hash_data": content_hash([places[0].classes, *(fact["hash"] for fact in facts)])}
        with RunDirectory(out, "distill-clients", config, hashes) as run:
            if is_complete(out):
                say(f"{out} is complete: nothing to do")
                return {"out": str(out), **read_metrics(out)}
            metrics = run_rounds(places, config, clients)
            metrics |= {"clients": [place.name for place in places], "classes": len(places[0].classes)}
            metrics |= {"examples": sum(fact["train"] for fact in facts)}
            finish(out, places, metrics, run)
    return {"out": str(out), **metrics}


def find_places(config: ClientsConfig) -> tuple[list[Place], ClientsConfig]:
    """The clients by name, and the config with a directory. Raises UserError for what is missing."""
    require_options(
        "clients",
        ("--data", config.data, "a folder of clients, each a folder of class folders"),
        ("shared=", config.shared, "a folder of images without labels"),
        ("--student", config.student, "a model for all clients, or one for each, comma-separated"),
    )
    data, shared = Path(str(config.data)).expanduser(), Path(str(config.shared)).expanduser()
    for folder in (data, shared):
        if not folder.is_dir():
            raise UserError(f"no such folder: {folder}")
    folders = sorted(child for child in data.iterdir() if child.is_dir() and not child.name.startswith("."))
    if len(folders) < 2:
        raise UserError(f"{data} has {len(folders)} folders: give one for each of two clients or more")
    models = [model.strip() for model in str(config.student).split(",")]
    models = models * len(folders) if len(models) == 1 else models
    if len(models) != len(folders):
        names = ", ".join(folder.name for folder in folders)
        raise UserError(f"{len(models)} models for {len(folders)} clients ({names}): give one for all, or one for each")
    for model in set(models):
        find_classifier(model)
    files = tuple(sorted(file for file in shared.rglob("*") if file.suffix.lower() in SUFFIXES))
    if not files:
        raise UserError(f"{shared} has no image: give images that all clients may see")
    classes = list_classes(folders)
    out = config.out or f"students/{slug(data.resolve().name)}-{config.method}"
    places = [
        Place(folder.name, folder, model, classes, files, tuple(other.name for other in folders if other != folder))
        for folder, model in zip(folders, models, strict=True)
    ]
    return places, config.model_copy(update={"out": out})


def run_rounds(places: Sequence[Place], config: ClientsConfig, clients: Clients) -> dict[str, Any]:
    """All rounds; every step is whole or done again, so a run that was stopped goes on."""
    for turn in range(config.rounds):
        say(f"round {turn + 1} of {config.rounds}: {len(places)} clients learn, predict and take over")
        clients.ask("learn", turn)
        fuse_round(places, config, turn)
        clients.ask("digest", turn)
    return summarise(places, clients.ask("finish", config.rounds - 1))


def fuse_round(places: Sequence[Place], config: ClientsConfig, turn: int) -> None:
    """Make each client's targets of all clients' logits."""
    import torch

    from agentkd.methods.knfu import fedmd_consensus, fuse

    out = Path(str(config.out))
    logits = torch.stack([load(exchanged(out, turn, place.name, LOGITS)) for place in places])
    if config.method == "fedmd":
        targets = fedmd_consensus(logits).expand_as(logits)
    else:
        targets = fuse(logits, config.beta if config.method == "knfu" else 0.0)
    for place, own in zip(places, targets, strict=True):
        save(exchanged(out, turn, place.name, TARGETS), own)


def summarise(places: Sequence[Place], found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Percent correct on all held-out images, by client, too, and the paired difference to each client alone."""
    rows = []
    for name in ("student", "alone"):
        values = answers_of(found, name)
        low, high = bootstrap_interval(values)
        rows.append({"name": name, "accuracy": sum(values) / len(values), "low": low, "high": high})
    mean, low, high = paired_difference(answers_of(found, "student"), answers_of(found, "alone"))
    return {
        "held_out": len(answers_of(found, "alone")),
        "rows": rows,
        "differences": [{"minus": "alone", "accuracy": mean, "low": low, "high": high}],
        "per_client": {place.name: one["figures"] for place, one in zip(places, found, strict=True)},
        "parameters": {},
    }


def finish(out: Path, places: Sequence[Place], metrics: dict[str, Any], run: RunDirectory) -> None:
    """Write the report, metrics and the manifest; then remove what the rounds needed."""
    from agentkd.report.write import write_report

    write_report(out, metrics=metrics)
    run.finish(metrics)
    for place in places:
        for folder in (out / place.name).glob("round-*"):
            shutil.rmtree(folder, ignore_errors=True)
        for folder in (out / place.name, out / place.name / "alone"):
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
