"""`agentkd distill`: verified traces into a student, in one method or in several, one after another.

A student's directory holds weights, tokenizer, config.yaml, the dataset, metrics.json, curves and a card; the same
command resumes what was stopped (`train.py`). The manifest is written last, after the weights.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

from agentkd.config import DistillConfig, slug, task_label
from agentkd.distill import processes
from agentkd.distill.data.dataset import Dataset, load
from agentkd.distill.data.teacher_scores import teacher_identity
from agentkd.distill.publish.card import write_card
from agentkd.distill.train import prepare, train
from agentkd.errors import UserError
from agentkd.runs.progress import say
from agentkd.runs.read import find_newest_run, is_complete, read_config
from agentkd.runs.store import RunDirectory
from agentkd.tasks.decontaminate import evaluation_questions

METHODS = {  # and what teacher= is to name
    "sft": None,
    "logits": "a larger model of the student's vocabulary",
    "on-policy": "a larger model of the student's vocabulary",
    "preference": None,
    "cross-tokenizer": "a model of another vocabulary",
    "multi-teacher": "several models of the student's vocabulary, separated by commas",
}
EPOCHS = {"preference": 1.0, "on-policy": 1.0}
LR = {"preference": 2e-5, "on-policy": 2e-5}
DIVERGENCE: dict[str, Literal["forward", "reverse"]] = {"on-policy": "reverse"}


def distill(config: DistillConfig) -> dict[str, Any]:
    """Run the stage and return its metrics. Of several methods each starts from the student that the one before has
    left, under `OUT/stages`; what is complete is not trained again. Wrong input is refused before a directory is made.
    """
    processes.join()
    stages, source, dataset = processes.first(lambda: choose(config))
    for stage in stages[:-1]:
        run_stage(stage, source, dataset)
    return run_stage(stages[-1], source, dataset)


def choose(config: DistillConfig) -> tuple[list[DistillConfig], dict[str, Any], Dataset]:
    """A config a stage with what was left open, the config of the traces' run, and the dataset."""
    methods = config.method.split(",")
    if unknown := [method for method in methods if method not in METHODS]:
        raise UserError(f"unknown method '{unknown[0]}': the methods are {', '.join(METHODS)}")
    traces = Path(config.traces) if config.traces else find_newest_run(Path("runs"))
    source = read_config(traces)
    if not is_complete(traces):
        say(f"{traces} is not complete: training on what it has")
    out = config.out or f"students/{slug(task_label(source['task']))}-{'-'.join(methods)}"
    stages = resolve(config.model_copy(update={"traces": str(traces), "out": out}), methods)
    dataset = load(
        traces,
        config.form,
        rationalised=config.rationalised,
        verified=config.control != "unverified",
        held_out=evaluation_questions(source),
    ).limited(config.limit, config.seed)
    return stages, source, dataset.shuffled(config.seed) if config.control == "shuffled" else dataset


def resolve(config: DistillConfig, methods: Sequence[str]) -> list[DistillConfig]:
    """One config a method, with what the user left open filled in. Raises UserError where options do not fit."""
    stages: list[DistillConfig] = []
    for number, method in enumerate(methods):
        last = number == len(methods) - 1
        stages.append(
            config.model_copy(
                update={
                    "method": method,
                    "student": stages[-1].out if stages else config.student,
                    "layers": None if stages else config.layers,
                    "teacher": config.teacher if METHODS[method] else None,
                    "out": config.out if last else str(Path(str(config.out)) / "stages" / f"{number + 1}-{method}"),
                    "epochs": (one_of(config.epochs, number, methods, "epochs") or EPOCHS.get(method, 3.0),),
                    "lr": (one_of(config.lr, number, methods, "lr") or LR.get(method, 2e-4),),
                    "batch": config.batch or (16 if config.form == "path" else 4),
                    "divergence": config.divergence or DIVERGENCE.get(method, "forward"),
                }
            )
        )
        if METHODS[method] and config.teacher is None:
            raise UserError(f"--method {method} needs teacher=MODEL: {METHODS[method]}")
        if method == "cross-tokenizer" and config.form == "dialogue":
            raise UserError("--method cross-tokenizer aligns one target, not the turns of a dialogue: form=one-call")
        if method == "on-policy" and str(stages[-1].divergence).startswith("skew"):
            raise UserError(f"--method on-policy measures forward, reverse or jsd, not divergence={config.divergence}")
    return stages


def one_of(values: tuple[float, ...] | None, number: int, methods: Sequence[str], name: str) -> float | None:
    """The value for a stage: the only one, or the one in its place."""
    if values is not None and len(values) not in (1, len(methods)):
        raise UserError(f"{name} has {len(values)} values for {len(methods)} methods: give one, or one for each")
    return values[min(number, len(values) - 1)] if values else None


def run_stage(config: DistillConfig, source: Mapping[str, Any], dataset: Dataset) -> dict[str, Any]:
    """Train one method and leave a student directory."""
    out = Path(str(config.out))
    left_out = ", ".join(f"{count} {reason}" for reason, count in dataset.left_out.items())
    say(
        f"{config.method} · {config.form} · student {config.student} · {len(dataset.examples)} examples of "
        f"{dataset.traces} traces from {config.traces}{f' (left out: {left_out})' if left_out else ''} → {out}"
    )
    identity = {"hash_dataset": dataset.hash, "processes": str(processes.world())}
    if config.teacher is not None:
        identity["hash_teacher"] = processes.first(lambda: teacher_identity(config.teacher_specs))
    ready = None
    if not processes.first(lambda: is_complete(out)):
        from agentkd.distill.plan import check

        ready = prepare(config, dataset)
        processes.first(lambda: check(config, ready))
    with ExitStack() as stack:
        run = RunDirectory(out, "distill", config, identity)
        if processes.first(lambda: is_complete(stack.enter_context(run).path)):
            metrics: dict[str, Any] = processes.first(lambda: json.loads((out / "metrics.json").read_text()))
            say(f"{out} is complete: nothing to do")
            return {"out": str(out), **metrics}
        from agentkd.report.write import write_report

        processes.first(lambda: dataset.save(out))
        metrics = {"traces": dataset.traces, **train(config, ready or prepare(config, dataset), out)}
        if processes.is_first():
            write_card(out, config, source, dataset, metrics)
            write_report(out, metrics=metrics)
            run.finish(metrics)
            shutil.rmtree(out / "checkpoints", ignore_errors=True)
    return {"out": str(out), **metrics}
