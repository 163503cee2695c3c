"""LightGBM (Ke et al. 2017), with the number of rounds chosen without the rows to be predicted.

Each fold's model grows until its held-out loss has not fallen for a while. Held-out rows must not choose the size of
their own model, so a fold's number of rounds is where the mean loss of the OTHER folds is least; for the test rows it
is where the mean loss of all folds is least. No further rows are held back from training."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.scoring.sampling import sample_rows
from agentkd.agents.agent_k.scoring.truth import is_known
from agentkd.agents.agent_k.solvers.all_features import build_features, encode_with_target
from agentkd.agents.agent_k.solvers.cross_fit import (
    Problem,
    SolverRun,
    TimeBudget,
    iterate_folds,
    join_predictions,
    make_problems,
    note_cut,
    weigh_folds,
)
from agentkd.agents.agent_k.solvers.encodings import encode_target_means
from agentkd.agents.agent_k.solvers.table_features import FeatureTable
from agentkd.agents.agent_k.solvers.workers import run_jobs
from agentkd.agents.agent_k.workspace.arrays import CompetitionData

Array = npt.NDArray[Any]
_OBJECTIVES = {"mae": "l1", "medae": "l1"}
OWN = ("rounds", "patience", "seeds", "encode")  # parameters that are not LightGBM's
PILOT = 5  # rounds that are timed before a training with a time budget
ENOUGH = 400  # rounds that a model with the default learning rate needs, about
KEPT = 2e8  # numbers of four bytes that all folds' features may have to be kept in memory
CELLS = 80_000  # of a table, per second of one core, for five folds of a hundred rounds
FEWEST = 20_000  # rows that are left at least
RESERVE = 0.85  # share of the time for training; the rest is for predicting


def default_params(rows: int) -> dict[str, Any]:
    """Parameters for a table of so many rows: few leaves and much shrinkage.

    Where there are enough rows, bins are fine, because generated tables (Kaggle's playground series) repeat exact
    values."""
    shared = {"bagging_fraction": 0.8, "bagging_freq": 1, "min_child_samples": 10}
    if rows < 3000:
        small = {"learning_rate": 0.03, "num_leaves": 12, "feature_fraction": 0.5, "lambda_l2": 1.0, "max_bin": 127}
        return shared | small
    leaves = 14 if rows < 30_000 else 63
    large = {"learning_rate": 0.05, "num_leaves": leaves, "feature_fraction": 0.7, "lambda_l2": 10.0}
    return shared | large | {"max_bin": 1023, "min_data_in_bin": 1}


def build_matrix(
    table: FeatureTable, problem: Problem, train: Array, seed: int, encode: str
) -> tuple[Array, list[int]]:
    """Features `(N, F)` and the columns that are categories; `encode` "means" turns these into target means."""
    if encode == "means":
        means = encode_target_means(table.categories, problem.y, problem.classes, train, seed)
        return np.hstack([table.numbers, means, encode_with_target(table, problem, train, seed)]), []
    means = encode_with_target(table, problem, train, seed)
    only = [i for i, name in enumerate(table.category_names) if name not in table.names]  # the others are numbers too
    categories = table.categories[:, only].astype(np.float64)
    categories[categories < 0] = np.nan
    x = np.hstack([table.numbers, means, categories])
    return x, list(range(x.shape[1] - len(only), x.shape[1]))


@dataclass(frozen=True)
class TrainedFolds:
    """The trained models of one problem's folds, with their held-out losses."""

    models: list[str]  # as text
    rows: list[Array]  # features of the held-out and the test rows, by fold; empty for models of a trial
    losses: Array  # `(folds, rounds)`

    @property
    def rounds(self) -> int:
        """The number of rounds of least mean loss."""
        return int(np.argmin(self.losses.mean(axis=0))) + 1

    @property
    def loss(self) -> float:
        """The least mean loss over the folds."""
        return float(self.losses.mean(axis=0).min())


FoldInputs = Callable[[], tuple[Array, list[int]]]
"""() -> a fold's features, and the columns that are categories (see `build_matrix`)"""


@dataclass(frozen=True)
class FoldTask:
    """One problem of a competition, with the features of each fold."""

    data: CompetitionData
    problem: Problem
    run: SolverRun
    inputs: list[FoldInputs]


def make_task(table: FeatureTable, data: CompetitionData, problem: Problem, encode: str, run: SolverRun) -> FoldTask:
    """Build each fold's features, once for all models; anew for each model where they are too large to keep."""
    folds = list(iterate_folds(data, problem))

    def make(place: int) -> tuple[Array, list[int]]:
        number, train, _, _ = folds[place]
        x, categories = build_matrix(table, problem, train, run.seed + number, encode)
        return x.astype(np.float32), categories

    jobs = [partial(make, place) for place in range(len(folds))]
    width = table.numbers.shape[1] + (1 + problem.width) * (table.categories.shape[1] + table.groups.shape[1])
    if len(folds) * len(table.numbers) * width > KEPT:
        return FoldTask(data, problem, run, list(jobs))
    return FoldTask(data, problem, run, [partial(lambda kept: kept, kept) for kept in run_jobs(jobs, run.workers)])


def train_folds(
    task: FoldTask, params: dict[str, Any], seed: int, budget: TimeBudget, some: slice | None = None
) -> TrainedFolds:
    """Train a model per fold within the budget; only `some` folds for a trial of the parameters."""
    import lightgbm  # not at the top: it loads slowly, and not every worker needs it

    data, problem, workers = task.data, task.problem, task.run.workers
    folds = list(zip(iterate_folds(data, problem), task.inputs, strict=True))[some or slice(None)]
    settings = _settings(data, problem, params, seed)
    limit, patience = int(params.get("rounds", 3000)), int(params.get("patience", 60))

    def make_datasets(place: int) -> tuple[Array, Any, Any]:
        (number, train, held, _), make = folds[place]
        x, categories = make()
        seen = held[is_known(problem.y[held])]
        if budget.seconds is not None and some is None:  # leave rows out where there is no time for all
            outputs = problem.classes if problem.classes > 2 else 1
            rows = max(FEWEST, int(CELLS * budget.seconds / x.shape[1] / outputs))
            if rows < len(train):
                note_cut(f"{rows} of {len(train)} rows are learned")
            y = problem.y if problem.classes else None
            train = sample_rows(train, rows, seed + number, y)
            seen = sample_rows(seen, rows // 2, seed + number, y)
        sets = {"categorical_feature": categories, "free_raw_data": False}
        fitting = lightgbm.Dataset(x[train], problem.y[train], params=settings, **sets)
        return x, fitting, fitting.create_valid(x[seen], problem.y[seen])

    def time_rounds(place: int) -> tuple[float, float]:
        start = time.monotonic()
        _, fitting, valid = make_datasets(place)
        lightgbm.train(settings, fitting, 1, valid_sets=[valid])
        begun = time.monotonic()
        lightgbm.train(settings, fitting, PILOT, valid_sets=[valid])
        return begun - start, (time.monotonic() - begun) / PILOT

    if budget.seconds is not None and some is None:
        timed = run_jobs([partial(time_rounds, place) for place in range(min(workers, len(folds)))], workers)
        first, each = np.max(timed, axis=0)
        possible = max(20, int((0.9 * budget.share(0, len(folds), workers) - first) / each))
        wanted = ENOUGH * default_params(data.n_train)["learning_rate"] / settings["learning_rate"]
        if possible < wanted:  # fewer and larger steps: a model that is cut off is worth less
            settings["learning_rate"] = min(0.3, settings["learning_rate"] * wanted / possible)
            patience = max(10, int(patience * possible / wanted))
            limit = min(limit, possible)
            note_cut(f"{limit} rounds at most")

    def train_fold(place: int) -> tuple[str, Array, Array]:
        until = _stop_after(max(1.0, budget.share(place, len(folds), workers)))
        x, fitting, valid = make_datasets(place)
        record: dict[str, Any] = {}
        calls = [lightgbm.record_evaluation(record), lightgbm.early_stopping(patience, verbose=False), until]
        model = lightgbm.train(settings, fitting, limit, valid_sets=[valid], callbacks=calls)
        _, _, held, rest = folds[place][0]
        seen = x[np.concatenate([held, rest])] if some is None else x[:0]
        return model.model_to_string(num_iteration=-1), seen, np.array(next(iter(record["valid_0"].values())))

    trained = run_jobs([partial(train_fold, place) for place in range(len(folds))], workers)
    models, rows, curves = zip(*trained, strict=True)
    return TrainedFolds(list(models), list(rows), pad_losses(curves))


def pad_losses(curves: Sequence[Array]) -> Array:
    """Loss curves `(folds, rounds)` of equal length: a model that ended early keeps its last loss."""
    length = max(len(curve) for curve in curves)
    return np.array([np.append(curve, np.full(length - len(curve), curve[-1])) for curve in curves])


def predict_folds(task: FoldTask, trained: TrainedFolds) -> tuple[Array, Array]:
    """`(oof, test)` predictions of all folds' models."""
    data, problem = task.data, task.problem
    folds = list(iterate_folds(data, problem))

    def predict_fold(place: int) -> tuple[Array, Array]:
        import lightgbm

        others = int(np.argmin(np.delete(trained.losses, place, axis=0).mean(axis=0))) + 1
        model = lightgbm.Booster(model_str=trained.models[place])
        x, cut = trained.rows[place], len(folds[place][2])
        return _predict(model, x[:cut], others, problem), _predict(model, x[cut:], trained.rounds, problem)

    oof = np.zeros((data.n_train, problem.width))
    test = np.zeros((len(data.test_ids), problem.width))
    found = run_jobs([partial(predict_fold, place) for place in range(len(folds))], task.run.workers)
    for (_, _, held, _), (ours, theirs), weight in zip(folds, found, weigh_folds(data), strict=True):
        oof[held] = ours
        test += weight * theirs
    return oof, test


def _settings(data: CompetitionData, problem: Problem, params: dict[str, Any], seed: int) -> dict[str, Any]:
    settings = {"objective": _objective(data.setup.metric, problem), "num_threads": 1, "verbosity": -1}
    if problem.level is not None:
        settings |= {"objective": "quantile", "alpha": problem.level}
    settings |= {"seed": seed, "deterministic": True, "force_row_wise": True}
    if problem.classes > 2:
        settings["num_class"] = problem.classes
    return settings | default_params(data.n_train) | {k: v for k, v in params.items() if k not in OWN}


def _objective(metric: str, problem: Problem) -> str:
    if problem.classes > 2:
        return "multiclass"
    return "binary" if problem.classes else _OBJECTIVES.get(metric, "l2")


def _stop_after(seconds: float) -> Any:
    """A LightGBM callback that ends the training after so many seconds."""
    import lightgbm

    end = time.monotonic() + seconds

    def stop(env: Any) -> None:
        if time.monotonic() > end:
            note_cut(f"stopped after {env.iteration} rounds")
            raise lightgbm.callback.EarlyStopException(env.iteration, env.evaluation_result_list)

    stop.order = 40  # type: ignore[attr-defined]  # after the loss is recorded
    return stop


def _predict(model: Any, x: Array, rounds: int, problem: Problem) -> Array:
    values = np.asarray(model.predict(x, num_iteration=rounds, num_threads=1))
    if problem.classes == 2:
        return np.column_stack([1 - values, values])
    return values.reshape(len(x), -1)


def solve_lightgbm(data: CompetitionData, run: SolverRun) -> tuple[Array, Array]:
    """Solver: LightGBM on all features.

    `params`: LightGBM's own, and rounds, patience, encode ("means": target means in place of categories), seeds (models
    to average)."""
    table = build_features(data, run)
    everything = make_problems(data.setup, data.y)
    seeds = [run.seed + 100 * i for i in range(int(run.params.get("seeds", 1)))]
    oof, test = [], []
    for place, problem in enumerate(everything):
        parts = []
        task = make_task(table, data, problem, str(run.params.get("encode", "")), run)
        for i, seed in enumerate(seeds):
            left = None
            if run.budget.seconds is not None:
                left = RESERVE * run.budget.left / (len(seeds) * (len(everything) - place) - i)
            trained = train_folds(task, run.params, seed, TimeBudget(left))
            parts.append(predict_folds(task, trained))
            print(f"loss {trained.loss:.5f} after {trained.rounds} rounds", file=sys.stderr, flush=True)
        oof.append((problem, np.mean([o for o, _ in parts], axis=0)))
        test.append((problem, np.mean([t for _, t in parts], axis=0)))
    return join_predictions(data.setup, oof), join_predictions(data.setup, test)
