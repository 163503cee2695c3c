"""`agentkd distill`: verified traces into a student, by one method or by several, one after another.

Each stage runs in a straight line: resolve → prepare → check → train → publish. A student's directory holds weights,
tokenizer, config.yaml, the dataset, metrics.json, curves and a card. The same command resumes what was stopped; the
manifest is written last, after the weights.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from agentkd.config import DistillConfig
from agentkd.distill import processes
from agentkd.distill.data.dataset import Dataset, load_training_set
from agentkd.distill.data.paraphrases import add_paraphrases, expect_paraphrases, hash_paraphrases
from agentkd.distill.data.private_tokens import hash_detectors
from agentkd.distill.data.teacher_scores import hash_teachers
from agentkd.distill.data.tokens import TrainingData
from agentkd.distill.loading import hash_template
from agentkd.distill.needs import check_needs
from agentkd.distill.prepare import check_later_stages, check_weights, find_teachers, prepare_data
from agentkd.distill.publish.card import write_card
from agentkd.distill.publish.lineage import write_lineage
from agentkd.distill.publish.table_row import remember_student
from agentkd.distill.resolve import Stage, resolve_run
from agentkd.distill.student import Model
from agentkd.distill.train import train_student
from agentkd.doubts.review import DOUBTFUL
from agentkd.runs.progress import say
from agentkd.runs.read import is_complete, read_metrics
from agentkd.runs.shapes import StudentFigures
from agentkd.runs.store import RunDirectory
from agentkd.tasks.items import is_foreign


def distill(config: DistillConfig) -> dict[str, Any]:
    """Run all stages and return the last one's metrics.

    Each method starts from the student of the one before, under `OUT/stages`; what is complete is not trained again.
    Raises UserError for wrong input before a directory is made."""
    processes.join_processes()
    stages = processes.on_rank_0(lambda: resolve_run(config))
    dataset = processes.on_rank_0(lambda: load_training_set(stages[0]))
    check_later_stages(stages)
    processes.on_rank_0(lambda: warn_of_doubts(dataset))
    for stage in stages[:-1]:
        run_stage(stage, dataset)
    alone = processes.world_size() == 1  # seconds of several processes are not comparable
    new = alone and not is_complete(stages[-1].out)
    metrics = run_stage(stages[-1], dataset)
    plain = not (config.mixup or config.paraphrase)  # the table knows no such option
    if new and plain and len(stages) == 1:  # a later stage starts from a student, not from the model
        remember_student(stages[0], dataset, metrics["seconds"])
    return {**metrics, "next": next_command(stages)}


def next_command(stages: Sequence[Stage]) -> str:
    """The command that compares the student with the model that it was, on the task of its traces; that serves it,
    where only the user's own agent can ask it."""
    if is_foreign(stages[-1].source.get("agent")):
        return shlex.join(["agentkd", "serve", str(stages[-1].out)])
    models = dict.fromkeys([stages[0].student.rstrip("/"), str(stages[-1].out)])
    return shlex.join(["agentkd", "eval", "--model", ",".join(models)])


def run_stage(stage: Stage, dataset: Dataset) -> dict[str, Any]:
    """Train by one method, leave a student directory, and return its metrics."""
    say_stage(stage, dataset)
    teachers = find_teachers(stage)
    identity = {"hash_dataset": dataset.hash, "processes": str(processes.world_size())}
    if teachers:
        identity["hash_teacher"] = processes.on_rank_0(lambda: hash_teachers(teachers))
    if (template := stage.config.chat_template) is not None:
        trust = stage.config.trust_remote_code
        identity["hash_template"] = processes.on_rank_0(lambda: hash_template(template, stage.student, trust=trust))
    if stage.config.privacy:
        identity |= processes.on_rank_0(lambda: hash_detectors(stage.config))
    if stage.config.paraphrase:
        identity["hash_paraphrases"] = processes.on_rank_0(lambda: hash_paraphrases(stage.config))
    complete = processes.on_rank_0(lambda: is_complete(stage.out))
    expected = processes.on_rank_0(lambda: expect_paraphrases(stage, dataset))
    data = None if complete else prepare_and_check(stage, teachers, expected)
    with ExitStack() as stack:
        run = RunDirectory(stage.out, "distill", stage.config, identity)
        if processes.on_rank_0(lambda: is_complete(stack.enter_context(run).path)):
            found = processes.on_rank_0(lambda: read_metrics(stage.out, StudentFigures))
            say(f"{stage.out} is complete: nothing to do")
            return {"out": str(stage.out), **found}
        if stage.config.paraphrase:
            dataset, data = processes.on_rank_0(lambda: add_paraphrases(stage, dataset)), None
        processes.on_rank_0(lambda: dataset.save(stage.out))
        data = data or prepare_data(stage, teachers, dataset)  # opening a complete run may find its manifest false
        metrics = {"traces": dataset.traces, **train_student(stage, data)}
        if processes.is_rank_0():
            publish(stage, dataset, run, metrics)
    return {"out": str(stage.out), **metrics}


def prepare_and_check(stage: Stage, teachers: Sequence[Model], dataset: Dataset) -> TrainingData:
    """The data to train on. Raises UserError if it is unusable, if the run would not fit, or, before its directory is
    made, if the method's trainer would read a model wrongly."""
    data = prepare_data(stage, teachers, dataset)
    processes.on_rank_0(lambda: check_needs(stage, data))
    if not processes.on_rank_0(stage.out.exists):
        processes.on_rank_0(lambda: check_weights(stage, data.student, teachers))
    return data


def warn_of_doubts(dataset: Dataset) -> None:
    """Say that doubtful traces are left out, and what decides about them."""
    if count := dataset.left_out[DOUBTFUL]:
        say(
            f"warning: {count} proven traces are left out, because their answers may not be what was asked; "
            f"`agentkd review` of the run decides, doubtful=true keeps them"
        )


def say_stage(stage: Stage, dataset: Dataset) -> None:
    """Print what is learned from what, and where it goes."""
    left_out = ", ".join(f"{count} {reason}" for reason, count in dataset.left_out.items())
    say(
        f"{stage.config.method} · {stage.config.form} · student {stage.student} · {len(dataset.examples)} examples of "
        f"{dataset.traces} traces from {stage.traces}{f' (left out: {left_out})' if left_out else ''} → {stage.out}"
    )
    if dataset.held_out:
        say(f"held out: {len(dataset.held_out)} examples of {len({one.id for one in dataset.held_out})} questions")


def publish(stage: Stage, dataset: Dataset, run: RunDirectory, metrics: dict[str, Any]) -> None:
    """Write lineage, card, report, metrics and, last, the manifest; then remove the checkpoints."""
    from agentkd.report.write import write_report

    write_lineage(stage.out, stage.source)
    write_card(stage, dataset, metrics)
    write_report(stage.out, metrics=metrics)
    run.finish(metrics)
    shutil.rmtree(stage.out / "checkpoints", ignore_errors=True)
