"""Run the code of a folder in the sandbox, in a fresh work folder, and read back its files."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field, TypeAdapter

from agentkd.agents.agent_k.border import (
    Bounds,
    Refused,
    bound_columns,
    judge,
    read_left,
    read_left_json,
    read_left_table,
    refuse,
)
from agentkd.agents.agent_k.contract import Failure, Setup
from agentkd.agents.agent_k.model.user_metric import PREFIX, show_user
from agentkd.agents.agent_k.understand.tables import read_table
from agentkd.agents.agent_k.workbench import Workbench
from agentkd.agents.agent_k.workspace.checks import bound_submission, check_predictions, check_submission
from agentkd.agents.agent_k.workspace.files import save_table
from agentkd.errors import UserError
from agentkd.runs.disk import write_atomically
from agentkd.sandbox.collect import Outcome
from agentkd.sandbox.remove import remove_folder
from agentkd.sandbox.usage import Unmeasurable, measure_folder

if TYPE_CHECKING:
    import pandas as pd

HARNESS = "agentkd.agents.agent_k.model.harness"
CODE_SECONDS = 60.0  # for code that is called once; a solution has its own limit
MOST_SCORE = 1e300  # of a metric: the difference of two scores is finite


def _check_score(value: float) -> float:
    if abs(value) > MOST_SCORE:
        raise ValueError(f"a score is between {-MOST_SCORE:g} and {MOST_SCORE:g}")
    return value


SCORES = TypeAdapter(list[Annotated[float, Field(allow_inf_nan=False), AfterValidator(_check_score)]])

TrialResult = tuple[list[Failure], Outcome | None]


def make_work_folder(folder: Path, name: str = "work") -> Path:
    """Make an empty work folder beside code.py, with a copy of it.

    The sandbox may write there and nowhere else. What an earlier run of the code left behind, links included, is gone
    before we write into it."""
    work = folder / name
    remove_folder(work)
    work.mkdir(parents=True)
    shutil.copy(folder / "code.py", work / "code.py")
    return work


def keep_work_folder(folder: Path) -> Path:
    """The work folder of a candidate, with what a killed run has left: the study that a search goes on with.

    One that the sandbox cannot measure is made anew."""
    work = folder / "work"
    try:
        usable = work.is_dir() and not work.is_symlink() and measure_folder(work) >= 0
    except Unmeasurable:
        usable = False
    if not usable:
        remove_folder(work)
    work.mkdir(parents=True, exist_ok=True)
    return work


def run_failures(outcome: Outcome, stage: str) -> list[Failure]:
    """The failure of code that did not end well, with the end of its output; else none."""
    if outcome.ok:
        return []
    lines = outcome.output.strip().splitlines()
    what = f"ended with code {outcome.code}"
    if outcome.stopped:  # the sandbox's last line says at which limit
        what = lines.pop().strip("[]") if lines else f"stopped, over its limit of {outcome.stopped}"
    lines = lines or ["it printed nothing"]
    before = " | ".join(lines[-12:-1])[-700:]
    message = f"{what}: {lines[-1][:400]}" + (f" (before it: {before})" if before else "")
    return [Failure(test=f"{stage} code runs", stage=stage, message=message)]


def bound_predictions(setup: Setup, ids: list[str]) -> Bounds:
    return bound_columns(["id", *setup.predicted], ids)


def read_predictions(folder: Path, file: str, setup: Setup, ids: list[str], split: str) -> pd.DataFrame:
    """Read and check the predictions of `ids` that code left; raises Refused and what the border raises."""
    frame = read_left_table(folder, file, bound_predictions(setup, ids))
    refuse(check_predictions(frame, setup, ids, split))
    return frame


async def measure_predictions(
    bench: Workbench, folder: Path, truth: pd.DataFrame, predictions: Sequence[pd.DataFrame]
) -> tuple[list[float] | Refused, Outcome]:
    """Score prediction frames by the metric code in `folder`, one number each."""
    work = make_work_folder(folder)
    if folder.name.startswith(PREFIX):
        truth, predictions = show_user(bench.setup, bench.workspace, truth, list(predictions))
    save_table(truth, work / "truth.csv")
    for number, frame in enumerate(predictions):
        save_table(frame, work / f"predictions-{number:03d}.csv")
    outcome = await bench.run_module(HARNESS, "metric", work=work, read=[], seconds=CODE_SECONDS)
    if failures := run_failures(outcome, "metric"):
        return Refused(failures), outcome

    def read() -> list[float]:
        values = read_left_json(work, "values.json", SCORES)
        if len(values) != len(predictions):
            raise UserError(f"values.json has {len(values)} numbers, not {len(predictions)}")
        return values

    return await judge("metric", "metric gives numbers", read), outcome


async def format_predictions(
    bench: Workbench, folder: Path, predictions: pd.DataFrame, file: Path
) -> tuple[list[Failure], Outcome]:
    """Turn predictions into the submission `file` by the format code in `folder`, and check it."""
    setup, data = bench.setup, bench.data
    sample = read_table(data / setup.sample, text=True)
    work = make_work_folder(folder)
    save_table(predictions, work / "predictions.csv")
    save_table(sample, work / "sample.csv")
    outcome = await bench.run_module(HARNESS, "format", work=work, read=[], seconds=CODE_SECONDS)
    if failures := run_failures(outcome, "format"):
        return failures, outcome

    def take() -> list[Failure]:
        write_atomically(file, read_left(work, "submission.csv", bound_submission(sample, setup).bytes))
        return check_submission(file, setup, data)

    found = await judge("format", "submission is a file", take)
    return found.failures if isinstance(found, Refused) else found, outcome
