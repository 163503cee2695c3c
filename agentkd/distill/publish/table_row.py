"""What the table of distillations keeps of a student of traces: facts before training, and a row after it.

`facts.json` in the student's folder holds them, so that `eval` adds the score later.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from agentkd.distill.data.dataset import Dataset
from agentkd.distill.method import METHODS
from agentkd.distill.resolve import Stage
from agentkd.distill.student import count_parameters, find_model
from agentkd.recommend.table import Candidate, Row, Value, place_row, remember
from agentkd.runs.disk import write_atomically
from agentkd.runs.progress import say
from agentkd.runs.untrusted import METRICS_BYTES, parse_json, read_small

FILE = "facts.json"


def measure_facts(stage: Stage, dataset: Dataset, *, teacher: str | None) -> dict[str, Value]:
    """Sizes of the task and of the models. With several teachers the first one counts."""
    config, trust = stage.config, stage.config.trust_remote_code
    facts: dict[str, Value] = {
        "examples": float(len(dataset.examples)),
        "targets": float(len({example.target for example in dataset.examples})),
        "target characters": fmean(len(example.target) for example in dataset.examples),
        "epochs": stage.epochs,
        "batch": float(stage.batch * config.accumulate),
        "form": config.form or "path",
        "student parameters": float(count_parameters(find_model(stage.student, trust=trust))),
    }
    if config.layers:
        facts["layers"] = float(config.layers)
    if teacher:
        facts["teacher parameters"] = float(count_parameters(find_model(teacher.split(",")[0].strip(), trust=trust)))
    return facts


def candidate_of(stage: Stage) -> Candidate:
    """A stage's method with the options that belong to it."""
    name = stage.config.method
    values: dict[str, Any] = {**stage.config.model_dump(), "lr": stage.lr, "divergence": stage.divergence}
    return Candidate(name, {option: values[option] for option in METHODS[name].ranges})


def make_row(
    task: str,
    facts: Mapping[str, Value],
    candidate: Candidate,
    *,
    score: float | None,
    seconds: float,
    seed: int,
    fold: int | None = None,
) -> Row:
    """A row of the table; `fold` is the part of the training questions that a trial was scored on."""
    return Row(
        kind="questions",
        **place_row(task, facts, fold),
        method=candidate.method,
        options=dict(candidate.options),
        seed=seed,
        score=score,
        seconds=seconds,
    )


def remember_student(stage: Stage, dataset: Dataset, seconds: float) -> None:
    """Add a finished student to the table, without a score: `eval` adds it."""
    facts = measure_facts(stage, dataset, teacher=stage.config.teacher)
    row = make_row(dataset.hash, facts, candidate_of(stage), score=None, seconds=seconds, seed=stage.config.seed)
    write_atomically(stage.out / FILE, row.model_dump_json() + "\n")
    remember([row])


def remember_score(folder: Path, f1: float) -> None:
    """Put the strict F1 of a student's evaluation into its row. The last evaluation counts."""
    file = folder / FILE
    if not file.is_file():
        return
    try:
        row = Row.model_validate(parse_json(read_small(file, METRICS_BYTES)))
    except ValueError:
        say(f"warning: {file} is damaged: this score is not in the table of distillations")
        return
    remember([row.model_copy(update={"score": f1})])
