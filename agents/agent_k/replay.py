"""Make a run's submission again from the competition's files: what `agentkd kaggle export` puts into its script."""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.contract import Setup
from agentkd.agents.agent_k.scoring.blenders import from_log_scale, to_log_scale, uses_log_scale
from agentkd.agents.agent_k.scoring.predictions import align_predictions
from agentkd.agents.agent_k.solvers.cross_fit import SolverRun, TimeBudget
from agentkd.agents.agent_k.workspace.arrays import CompetitionData, load_data
from agentkd.agents.agent_k.workspace.build import build_maps
from agentkd.agents.agent_k.workspace.files import read_csv, write_predictions
from agentkd.agents.agent_k.workspace.submission_file import write_submission
from agentkd.errors import WorldError

Solver = Callable[[CompetitionData, SolverRun], tuple[npt.NDArray[Any], npt.NDArray[Any]]]


@dataclass(frozen=True)
class Solution:
    """A run's best solution.

    Candidates by name have kind, params, seed, threads and seconds; solvers go by kind, weights by name. `thresholds`
    decide labels, where there are any."""

    setup: Setup
    candidates: Mapping[str, Mapping[str, Any]]
    solvers: Mapping[str, Solver]
    weights: Mapping[str, float]
    thresholds: Sequence[float] | None
    seed: int


def replay(solution: Solution, data: Path, out: Path) -> None:
    """Write the submission. Raises WorldError where a candidate's process dies."""
    setup = solution.setup
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        build_maps(setup, data, workspace, solution.seed)
        ids = load_data(workspace).test_ids
        log = len(solution.weights) > 1 and uses_log_scale(setup.metric)
        total: npt.NDArray[Any] = np.zeros(())
        for name, weight in solution.weights.items():
            start = time.monotonic()
            train_alone(solution, name, workspace)
            print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr)
            found = read_csv(workspace / name / "test.csv")
            values = align_predictions(setup, found, found["id"])
            total = total + weight * to_log_scale(values, log)
        write_predictions(workspace / "test.csv", setup, ids, from_log_scale(total, log))
        write_submission(read_csv(workspace / "test.csv"), setup, data, out, solution.thresholds)


def train_alone(solution: Solution, name: str, workspace: Path) -> None:
    """Train a candidate in a process of its own: folds are forked, which the threads of another model would disturb."""
    (workspace / name).mkdir()
    process = multiprocessing.get_context("fork").Process(target=train, args=(solution, name, workspace))
    process.start()
    process.join()
    if process.exitcode:
        raise WorldError(f"{name} ended with {process.exitcode}")


def train(solution: Solution, name: str, workspace: Path) -> None:
    """Train a candidate, and write what it predicts for the test rows."""
    spec = solution.candidates[name]
    data = load_data(workspace)
    budget = TimeBudget(spec["seconds"])
    run = SolverRun(dict(spec["params"]), spec["seed"], spec["threads"], budget, workspace / name)
    _, test = solution.solvers[spec["kind"]](data, run)
    write_predictions(workspace / name / "test.csv", solution.setup, data.test_ids, test)
