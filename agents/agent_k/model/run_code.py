"""Run the code of a folder in the sandbox, in a fresh work folder, and read back its files."""

from __future__ import annotations

import io
import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agentkd.agents.agent_k.contract import Failure
from agentkd.agents.agent_k.understand.tables import read_table
from agentkd.agents.agent_k.workbench import Workbench
from agentkd.agents.agent_k.workspace.checks import check_submission
from agentkd.agents.agent_k.workspace.files import save_table
from agentkd.errors import UserError
from agentkd.sandbox.collect import Outcome
from agentkd.sandbox.safe_read import read_inside

if TYPE_CHECKING:
    import pandas as pd

HARNESS = "agentkd.agents.agent_k.model.harness"
CODE_SECONDS = 60.0  # for code that is called once; a solution has its own limit
BYTES = 1 << 31  # of a file that is read

TrialResult = tuple[list[Failure], Outcome | None]


def make_work_folder(folder: Path, name: str = "work") -> Path:
    """Make an empty work folder beside code.py, with a copy of it.

    The sandbox may write there and nowhere else. What an earlier run of the code left behind, links included, is gone
    before we write into it."""
    work = folder / name
    if work.exists():
        shutil.rmtree(work)
    work.mkdir(parents=True)
    shutil.copy(folder / "code.py", work / "code.py")
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


def read_output(folder: Path, file: str) -> pd.DataFrame:
    """Read a table that code wrote, without following links.

    Raises UserError, OSError, ValueError."""
    import pandas as pd

    return pd.read_csv(io.BytesIO(read_inside(folder, file, BYTES)), dtype={"id": str}, low_memory=False)


async def measure_predictions(
    bench: Workbench, folder: Path, truth: pd.DataFrame, predictions: Sequence[pd.DataFrame]
) -> tuple[list[float], Outcome]:
    """Score prediction frames by the metric code in `folder`, one number each, none if it fails."""
    work = make_work_folder(folder)
    save_table(truth, work / "truth.csv")
    for number, frame in enumerate(predictions):
        save_table(frame, work / f"predictions-{number:03d}.csv")
    outcome = await bench.run_module(HARNESS, "metric", work=work, read=[], seconds=CODE_SECONDS)
    try:
        values = json.loads(read_inside(work, "values.json", 1 << 20)) if outcome.ok else []
    except (UserError, ValueError, OSError):
        values = []
    good = [float(value) for value in values if isinstance(value, int | float) and math.isfinite(value)]
    return (good if len(good) == len(predictions) else []), outcome


async def format_predictions(
    bench: Workbench, folder: Path, predictions: pd.DataFrame, file: Path
) -> tuple[list[Failure], Outcome]:
    """Turn predictions into the submission `file` by the format code in `folder`, and check it."""
    setup, data = bench.setup, bench.data
    work = make_work_folder(folder)
    save_table(predictions, work / "predictions.csv")
    save_table(read_table(data / setup.sample, text=True), work / "sample.csv")
    outcome = await bench.run_module(HARNESS, "format", work=work, read=[], seconds=CODE_SECONDS)
    if failures := run_failures(outcome, "format"):
        return failures, outcome
    try:
        file.write_bytes(read_inside(work, "submission.csv", BYTES))
    except (UserError, OSError) as error:
        return [Failure(test="submission is a file", stage="format", message=str(error))], outcome
    return check_submission(file, setup, data), outcome
