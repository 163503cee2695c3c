"""Make a run's submission again from the competition's files: what `agentkd kaggle export` puts into its script."""

from __future__ import annotations

import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.contract import Setup, find_plain
from agentkd.agents.agent_k.scoring.blenders import from_log_scale, to_log_scale, uses_log_scale
from agentkd.agents.agent_k.scoring.predictions import align_predictions
from agentkd.agents.agent_k.solvers.cross_fit import SolverRun, TimeBudget
from agentkd.agents.agent_k.workspace.arrays import CompetitionData, load_data
from agentkd.agents.agent_k.workspace.build import build_maps
from agentkd.agents.agent_k.workspace.files import read_csv, write_predictions
from agentkd.agents.agent_k.workspace.submission_file import write_submission
from agentkd.errors import WorldError

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]
Solver = Callable[[CompetitionData, SolverRun], tuple[Array, Array]]


@dataclass(frozen=True)
class Solution:
    """A run's best solution.

    Candidates by name have kind, params, seed, threads and seconds; solvers go by kind, weights by name. What has no
    weight is not among the candidates. `thresholds` decide labels, where there are any. A `stack` is fitted on
    out-of-fold predictions, in place of weights. Where the files are not one row for each row of the submission,
    `reshape` makes plain tables of them, from what the pages say and the user has settled, and `turn_back` the
    submission of theirs."""

    setup: Setup
    candidates: Mapping[str, Mapping[str, Any]]
    solvers: Mapping[str, Solver]
    weights: Mapping[str, float]
    thresholds: Sequence[float] | None
    seed: int
    stack: Callable[[Setup, Array, Array, Array, int], Callable[[Array], Array]] | None = None
    reshape: Callable[[Path, str, Mapping[str, Any], Path], object] | None = None
    turn_back: Callable[[Path, Path, Path], pd.DataFrame | None] | None = None
    pages: str = ""
    settled: Mapping[str, str] = field(default_factory=dict)


def replay(solution: Solution, data: Path, out: Path) -> None:
    """Write the submission. Raises WorldError where a candidate's process dies."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        (workspace / "data").symlink_to(data.resolve())
        if solution.reshape:
            solution.reshape(data, solution.pages, solution.settled, workspace)
        tables = find_plain(workspace) or data
        build_maps(solution.setup, tables, workspace, solution.seed)
        for name in solution.candidates:
            start = time.monotonic()
            train_alone(solution, name, workspace)
            print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr)
        made = workspace / "submission.csv"
        found, test = blend(solution, workspace), workspace / "test.csv"
        write_predictions(test, solution.setup, load_data(workspace).test_ids, found)
        write_submission(read_csv(test), solution.setup, tables, made, solution.thresholds)
        frame = solution.turn_back(made, data, workspace) if solution.turn_back else None
        if frame is None:
            shutil.copyfile(made, out)
        else:
            frame.to_csv(out, index=False)


def blend(solution: Solution, workspace: Path) -> Array:
    """The test rows' predictions of all candidates as one: their weighted sum, or a stack."""
    setup, data = solution.setup, load_data(workspace)
    log = len(solution.weights) > 1 and uses_log_scale(setup.metric)

    def read(name: str, split: str) -> Array:
        if name not in solution.candidates:
            return np.zeros((len(data.ids[split]), len(setup.predicted)))
        frame = read_csv(workspace / name / f"{split}.csv")
        return to_log_scale(align_predictions(setup, frame, frame["id"]), log)

    test = np.stack([read(name, "test") for name in solution.weights])
    if solution.stack:
        oof = np.stack([read(name, "oof") for name in solution.weights])
        found = solution.stack(setup, data.y, oof, np.arange(data.n_train), solution.seed)(test)
    else:
        found = np.tensordot(np.array(list(solution.weights.values())), test, axes=1)
    return from_log_scale(found, log)


def train_alone(solution: Solution, name: str, workspace: Path) -> None:
    """Train a candidate in a process of its own: folds are forked, which the threads of another model would disturb."""
    (workspace / name).mkdir()
    process = multiprocessing.get_context("fork").Process(target=train, args=(solution, name, workspace))
    process.start()
    process.join()
    if process.exitcode:
        raise WorldError(f"{name} ended with {process.exitcode}")


def train(solution: Solution, name: str, workspace: Path) -> None:
    """Train a candidate, and write what it predicts for the test rows, and out of fold for those of training."""
    spec = solution.candidates[name]
    data = load_data(workspace)
    budget = TimeBudget(spec["seconds"])
    run = SolverRun(dict(spec["params"]), spec["seed"], spec["threads"], budget, workspace / name)
    oof, test = solution.solvers[spec["kind"]](data, run)
    write_predictions(workspace / name / "test.csv", solution.setup, data.test_ids, test)
    write_predictions(workspace / name / "oof.csv", solution.setup, list(data.targets["id"]), oof)
