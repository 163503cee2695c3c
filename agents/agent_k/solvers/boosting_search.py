"""LightGBM with hyperparameters searched by Optuna's multivariate TPE (Akiba et al. 2019) over the folds.

The study is a SQLite file in the candidate's folder: a run that was killed goes on where it was. A trial trains two
folds first, and the others only where those two are no worse than the best trial's by MARGIN."""

from __future__ import annotations

import logging
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.solvers.all_features import build_features
from agentkd.agents.agent_k.solvers.boosting import (
    FoldInputs,
    TrainedFolds,
    default_params,
    make_inputs,
    pad_losses,
    predict_folds,
    train_folds,
)
from agentkd.agents.agent_k.solvers.cross_fit import Problem, SolverRun, TimeBudget, join_predictions, make_problems
from agentkd.agents.agent_k.workspace.arrays import CompetitionData

Array = npt.NDArray[Any]
SEARCH = 0.6  # of the time; the rest trains the best again with further seeds
TRIALS = 150
ENCODE = ("", "means")
MARGIN = 1.01
SEEDS = 3


def solve_tuned_lightgbm(data: CompetitionData, run: SolverRun) -> tuple[Array, Array]:
    """`params`: trials (150; fewer where the time is up)."""
    table = build_features(data, run)
    everything = make_problems(data.setup, data.y)
    oof, test = [], []
    for place, problem in enumerate(everything):
        total = None if run.clock.seconds is None else run.clock.left / (len(everything) - place)
        clock = TimeBudget(total)
        inputs = {encode: make_inputs(table, data, problem, encode, run) for encode in ENCODE}
        best = search_params(inputs, data, problem, run, TimeBudget(None if total is None else SEARCH * total), place)
        parts: list[tuple[Array, Array]] = []
        spent = 0.0
        for i in range(SEEDS):
            left = clock.left / (SEEDS - i) if total is not None else None
            if parts and left is not None and left < 0.5 * spent:  # cut short a model is worth less
                break
            before = clock.left
            seed = run.seed + 100 * i
            grown = train_folds(
                inputs[best["encode"]], data, problem, best, seed, run, TimeBudget(left and max(0.85 * left, 1.0))
            )
            parts.append(predict_folds(data, problem, run, grown))
            spent = before - clock.left
        oof.append((problem, np.mean([o for o, _ in parts], axis=0)))
        test.append((problem, np.mean([t for _, t in parts], axis=0)))
    return join_predictions(data.setup, oof), join_predictions(data.setup, test)


def search_params(
    inputs: dict[str, list[FoldInputs]],
    data: CompetitionData,
    problem: Problem,
    run: SolverRun,
    clock: TimeBudget,
    place: int,
) -> dict[str, Any]:
    """The best hyperparameters found."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=run.seed, multivariate=True, n_startup_trials=8)
    study = optuna.create_study(
        storage=f"sqlite:///{run.folder / 'study.sqlite'}",
        study_name=f"target {place}",
        sampler=sampler,
        load_if_exists=True,
    )
    if not study.trials:
        first = default_params(data.n_train)
        tuned = (
            "learning_rate",
            "num_leaves",
            "min_child_samples",
            "feature_fraction",
            "bagging_fraction",
            "lambda_l2",
        )
        study.enqueue_trial({name: first[name] for name in tuned} | {"encode": ""})
    trials = int(run.params.get("trials", TRIALS))
    finished = [t for t in study.trials if t.state == optuna.trial.TrialState.COMPLETE]
    while len(finished) < trials and (not finished or clock.left > 0):
        trial = study.ask()
        params = suggest_params(trial, data.n_train)
        one = run_trial(inputs[params["encode"]], data, problem, params, run, clock, finished)
        trial.set_user_attr("pair", one[1])
        study.tell(trial, one[0])
        finished = [t for t in study.trials if t.state == optuna.trial.TrialState.COMPLETE]
        print(f"trial {len(finished)}: {one[0]:.5f}, best {study.best_value:.5f}", file=sys.stderr, flush=True)
    return suggest_params(optuna.trial.FixedTrial(study.best_params), data.n_train)


def run_trial(
    inputs: list[FoldInputs],
    data: CompetitionData,
    problem: Problem,
    params: dict[str, Any],
    run: SolverRun,
    clock: TimeBudget,
    finished: list[Any],
) -> tuple[float, float]:
    """(mean loss over the folds, that over the first two). A hopeless trial's first is extrapolated from its second."""
    seconds = None if clock.seconds is None else max(clock.left, 1.0)
    pair = train_folds(inputs, data, problem, params, run.seed, run, TimeBudget(seconds), slice(0, 2))
    if finished:
        best = min(finished, key=lambda trial: trial.value)
        known = float(best.user_attrs["pair"])
        if pair.loss > known * MARGIN:
            return best.value * pair.loss / known, pair.loss
    if len(np.unique(data.fold)) == 2:
        return pair.loss, pair.loss
    others = train_folds(inputs, data, problem, params, run.seed, run, TimeBudget(seconds), slice(2, None))
    return join_folds(pair, others).loss, pair.loss


def join_folds(one: TrainedFolds, other: TrainedFolds) -> TrainedFolds:
    return TrainedFolds(one.models + other.models, one.rows + other.rows, pad_losses([*one.losses, *other.losses]))


def suggest_params(trial: Any, rows: int) -> dict[str, Any]:
    small = rows < 3000
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.015, 0.15, log=True),
        "num_leaves": trial.suggest_int("num_leaves", 4, 48 if small else 192, log=True),
        "min_child_samples": trial.suggest_int("min_child_samples", 2, 80, log=True),
        "feature_fraction": trial.suggest_float("feature_fraction", 0.15, 1.0),
        "bagging_fraction": trial.suggest_float("bagging_fraction", 0.4, 1.0),
        "lambda_l2": trial.suggest_float("lambda_l2", 1e-2, 30.0, log=True),
        "encode": trial.suggest_categorical("encode", list(ENCODE)),
    }
