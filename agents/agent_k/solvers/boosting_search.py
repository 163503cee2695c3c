"""LightGBM with hyperparameters searched over the folds by Optuna's multivariate TPE (Akiba et al. 2019).

The study is an SQLite file in the candidate's folder, so a killed run continues its search. A trial first trains two
folds, and the others only if those two are worse than the best trial's by no more than MARGIN."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.solvers.all_features import build_features
from agentkd.agents.agent_k.solvers.boosting import (
    FoldTask,
    TrainedFolds,
    default_params,
    make_task,
    pad_losses,
    predict_folds,
    train_folds,
)
from agentkd.agents.agent_k.solvers.cross_fit import SolverRun, TimeBudget, join_predictions, make_problems
from agentkd.agents.agent_k.workspace.arrays import CompetitionData

Array = npt.NDArray[Any]
SEARCH = 0.6  # share of the time; the rest trains the best parameters again with several seeds
TRIALS = 150
ENCODE = ("", "means")
MARGIN = 1.01
SEEDS = 3
FOUND, AVERAGED = "best parameters: ", "models averaged: "  # begin lines of the log
SEARCHED = (
    "learning_rate",
    "num_leaves",
    "min_child_samples",
    "feature_fraction",
    "bagging_fraction",
    "lambda_l2",
)


def solve_tuned_lightgbm(data: CompetitionData, run: SolverRun) -> tuple[Array, Array]:
    """Solver: LightGBM with searched hyperparameters.

    `params`: trials (150; fewer where time runs out)."""
    table = build_features(data, run)
    everything = make_problems(data.setup, data.y)
    oof, test = [], []
    for place, problem in enumerate(everything):
        total = None if run.budget.seconds is None else run.budget.left / (len(everything) - place)
        budget = TimeBudget(total)
        tasks = {encode: make_task(table, data, problem, encode, run) for encode in ENCODE}
        best = search_params(tasks, TimeBudget(None if total is None else SEARCH * total), f"target {place}")
        print(f"{FOUND}{json.dumps(best)}", file=sys.stderr, flush=True)
        task = tasks[best["encode"]]
        parts: list[tuple[Array, Array]] = []
        spent = 0.0
        for i in range(SEEDS):
            left = budget.left / (SEEDS - i) if total is not None else None
            if parts and left is not None and left < 0.5 * spent:  # a model that is cut short is worth less
                break
            before = budget.left
            trained = train_folds(task, best, run.seed + 100 * i, TimeBudget(left and max(0.85 * left, 1.0)))
            parts.append(predict_folds(task, trained))
            spent = before - budget.left
        print(f"{AVERAGED}{len(parts)}", file=sys.stderr, flush=True)
        oof.append((problem, np.mean([o for o, _ in parts], axis=0)))
        test.append((problem, np.mean([t for _, t in parts], axis=0)))
    return join_predictions(data.setup, oof), join_predictions(data.setup, test)


def search_params(tasks: dict[str, FoldTask], budget: TimeBudget, name: str) -> dict[str, Any]:
    """The best hyperparameters found; `tasks` by the parameter "encode", `name` of the study."""
    import optuna

    data, run = tasks[""].data, tasks[""].run
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=run.seed, multivariate=True, n_startup_trials=8)
    study = optuna.create_study(
        storage=f"sqlite:///{run.folder / 'study.sqlite'}",
        study_name=name,
        sampler=sampler,
        load_if_exists=True,
    )
    if not study.trials:
        first = default_params(data.n_train)
        study.enqueue_trial({name: first[name] for name in SEARCHED} | {"encode": ""})
    trials = int(run.params.get("trials", TRIALS))
    finished = [t for t in study.trials if t.state == optuna.trial.TrialState.COMPLETE]
    while len(finished) < trials and (not finished or budget.left > 0):
        trial = study.ask()
        params = suggest_params(trial, data.n_train)
        loss, pair_loss = run_trial(tasks[params["encode"]], params, budget, finished)
        trial.set_user_attr("pair", pair_loss)
        study.tell(trial, loss)
        finished = [t for t in study.trials if t.state == optuna.trial.TrialState.COMPLETE]
        print(f"trial {len(finished)}: {loss:.5f}, best {study.best_value:.5f}", file=sys.stderr, flush=True)
    return suggest_params(optuna.trial.FixedTrial(study.best_params), data.n_train)


def run_trial(task: FoldTask, params: dict[str, Any], budget: TimeBudget, finished: list[Any]) -> tuple[float, float]:
    """(mean loss over all folds, mean loss over the first two); the first is extrapolated in a hopeless trial."""
    seed = task.run.seed
    seconds = None if budget.seconds is None else max(budget.left, 1.0)
    pair = train_folds(task, params, seed, TimeBudget(seconds), slice(0, 2))
    if finished:
        best = min(finished, key=lambda trial: trial.value)
        known = float(best.user_attrs["pair"])
        if pair.loss > known * MARGIN:
            return best.value * pair.loss / known, pair.loss
    if len(np.unique(task.data.fold)) == 2:
        return pair.loss, pair.loss
    others = train_folds(task, params, seed, TimeBudget(seconds), slice(2, None))
    return join_folds(pair, others).loss, pair.loss


def join_folds(one: TrainedFolds, other: TrainedFolds) -> TrainedFolds:
    """The folds of both."""
    return TrainedFolds(one.models + other.models, one.rows + other.rows, pad_losses([*one.losses, *other.losses]))


def suggest_params(trial: Any, rows: int) -> dict[str, Any]:
    """The search space, for a table of so many rows."""
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
