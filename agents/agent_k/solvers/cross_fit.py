"""Cross-fit a model: training rows are predicted by models that have not seen them, test rows by all."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.contract import Setup
from agentkd.agents.agent_k.scoring.truth import is_known
from agentkd.agents.agent_k.solvers.workers import run_jobs
from agentkd.agents.agent_k.workspace.arrays import CompetitionData
from agentkd.errors import UserError

Array = npt.NDArray[Any]
CUT = "cut by the clock"  # begins a line of the log
_LOG_METRICS = ("rmsle", "msle", "mape", "smape", "rmspe")  # errors of ratios: the logarithm is the scale to learn on


@dataclass(frozen=True)
class Problem:
    """One thing to predict: class codes, or a value."""

    y: Array  # codes 0 … classes-1, -1 where unknown; floats where `classes` is 0, NaN where unknown
    classes: int = 0
    log: bool = False  # y is log1p of the target
    level: float | None = None  # the quantile to predict, None for a mean

    @property
    def width(self) -> int:
        """Columns of a prediction."""
        return max(1, self.classes)


@dataclass(frozen=True)
class TimeBudget:
    """Seconds that may be used from `start` on; None for as many as it takes."""

    seconds: float | None
    start: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds left."""
        return float("inf") if self.seconds is None else self.seconds - (time.monotonic() - self.start)

    def share(self, place: int, jobs: int, workers: int) -> float:
        """Seconds for the `place`-th of so many jobs: the time left, over the rounds of workers left."""
        return max(self.left, 0.0) / -(-(jobs - place) // max(1, workers))


@dataclass(frozen=True)
class SolverRun:
    """How a candidate is run."""

    params: dict[str, Any]
    seed: int
    workers: int  # folds in parallel
    budget: TimeBudget
    folder: Path  # to write in


Learn = Callable[[Problem, Array, Array, int], Array]
"""(problem, training rows, rows to predict, seed) -> probabilities (rows, classes) or values (rows, 1)"""


def make_problems(setup: Setup, y: Array) -> list[Problem]:
    """One problem per target, or one for all classes of a classification."""
    if setup.task in ("binary", "multiclass"):
        return [Problem(y, len(setup.classes))]
    if setup.task == "multilabel":
        return [Problem(y[:, i], 2) for i in range(y.shape[1])]
    if setup.quantiles:
        return [Problem(column, level=level) for column, level in zip(y.T, setup.quantiles, strict=True)]
    out = []
    for column in y.T:
        log = setup.metric in _LOG_METRICS and bool(np.nanmin(column) >= 0)
        out.append(Problem(np.log1p(column) if log else column, 0, log))
    return out


def iterate_folds(data: CompetitionData, problem: Problem) -> Iterator[tuple[int, Array, Array, Array]]:
    """Yield (fold, training rows, held-out rows, test rows) as indices into train + test.

    Rows without a true value of the problem are not among the training rows."""
    learnable = is_known(problem.y)
    test = np.arange(data.n_train, data.n_train + len(data.test_ids))
    for number in np.unique(data.fold):
        held = data.fold == number
        yield int(number), np.flatnonzero(~held & learnable), np.flatnonzero(held), test


def weigh_folds(data: CompetitionData) -> Array:
    """The weights of the folds' models in the mean for the test rows, `(folds,)`.

    They are equal, but where the test rows are later, the model that has not seen the last block has none."""
    numbers = np.unique(data.fold)
    weights = np.ones(len(numbers))
    weights[-1] -= bool(data.setup.later) and len(numbers) > 1
    return np.asarray(weights / weights.sum())


def fit_predict(learn: Learn, problem: Problem, train: Array, rest: Array, seed: int) -> Array:
    """Call `learn`, unless the training rows are too uniform for a model.

    Classes without a training row get probability 0, a lone class 1, and a constant target its value. Values are
    clipped to a range around the training values. Raises UserError without any training row."""
    if not len(train):
        raise UserError("a fold has no training row with a true value: give more rows, or fewer folds")
    y = problem.y[train]
    if not problem.classes:
        if np.ptp(y) == 0:
            return np.full((len(rest), 1), y[0])
        return np.clip(learn(problem, train, rest, seed), *_range(y))
    present = np.unique(y)
    out = np.zeros((len(rest), problem.classes))
    if len(present) == 1:
        out[:, present[0]] = 1.0
        return out
    compact = np.full(problem.classes, -1)
    compact[present] = np.arange(len(present))
    out[:, present] = learn(Problem(np.where(problem.y >= 0, compact[problem.y], -1), len(present)), train, rest, seed)
    return out


def _range(y: Array) -> tuple[float, float]:
    """The range of the training values, widened by half of it on both sides: a linear model may go astray."""
    margin = 0.5 * float(np.ptp(y))
    return float(y.min()) - margin, float(y.max()) + margin


def join_predictions(setup: Setup, parts: list[tuple[Problem, Array]]) -> Array:
    """Join the predictions of all problems as the columns of a prediction file."""
    columns = []
    for problem, values in parts:
        if problem.classes:
            if setup.metric == "balanced_logloss":  # every class counts as much: as if there were as many of each
                values = values / np.maximum(np.bincount(problem.y[problem.y >= 0], minlength=problem.classes), 1)
            columns.append(values if setup.task != "multilabel" else values[:, 1:])
        else:
            values = np.expm1(values) if problem.log else values
            columns.append(np.maximum(values, 0) if problem.log else values)
    out = np.hstack(columns)
    if setup.quantiles:  # a higher quantile is no lower
        out[:, np.argsort(setup.quantiles)] = np.sort(out, axis=1)
    if setup.task in ("binary", "multiclass"):
        out = np.clip(out, 0, None)
        total = out.sum(axis=1, keepdims=True)
        out = np.where(total > 0, out / np.where(total > 0, total, 1), 1 / out.shape[1])
    return np.clip(out, 0, 1) if setup.task != "regression" else out


def cross_fit(data: CompetitionData, learn: Learn, run: SolverRun) -> tuple[Array, Array]:
    """Train on all folds; returns `(oof, test)`.

    Test predictions are the mean over the folds' models (see `weigh_folds`), of logarithms where those are learned."""
    all_problems = make_problems(data.setup, data.y)
    folds = [list(iterate_folds(data, problem)) for problem in all_problems]

    def job(problem: Problem, number: int, train: Array, held: Array, rest: Array) -> Array:
        values = fit_predict(learn, problem, train, np.concatenate([held, rest]), run.seed + number)
        report_fold(number, len(folds[0]), run.budget)
        return values

    jobs = [partial(job, problem, *fold) for problem, own in zip(all_problems, folds, strict=True) for fold in own]
    found = iter(run_jobs(jobs, run.workers))
    oofs, tests = [], []
    for problem, own in zip(all_problems, folds, strict=True):
        oof = np.zeros((data.n_train, problem.width))
        test = np.zeros((len(data.test_ids), problem.width))
        for weight, (_, _, held, _) in zip(weigh_folds(data), own, strict=True):
            values = next(found)
            oof[held] = values[: len(held)]
            test += weight * values[len(held) :]
        oofs.append((problem, oof))
        tests.append((problem, test))
    return join_predictions(data.setup, oofs), join_predictions(data.setup, tests)


def note_cut(what: str) -> None:
    """Tell stderr that the clock has changed what is learned, so that the same spec may give something else.

    What has no such line in its log is trained again without a clock, and gives the same files."""
    print(f"{CUT}: {what}", file=sys.stderr, flush=True)


def report_fold(number: int, total: int, budget: TimeBudget) -> None:
    """Print a line of progress to stderr."""
    print(f"fold {number + 1} of {total} after {time.monotonic() - budget.start:.1f} s", file=sys.stderr, flush=True)
