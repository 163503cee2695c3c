"""LightGBM (Ke et al. 2017), with the number of rounds chosen without the rows that are predicted.

Each fold's model grows until its held-out loss has not fallen for a while. Held-out rows must not choose their own
model's size, so a fold's number of rounds is where the mean loss of the OTHER folds is least, and the test rows' that of
all folds. Nothing is held back from training for it.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.solve.cv import Clock, Problem, finish, problems, say_fold, splits
from agentkd.agents.agent_k.solve.data import Data
from agentkd.agents.agent_k.solve.features import Table, target_means
from agentkd.agents.agent_k.solve.fused import supervised, table_of
from agentkd.agents.agent_k.solve.parallel import run_all

Array = npt.NDArray[Any]
_OBJECTIVES = {"mae": "l1", "medae": "l1"}


OWN = ("rounds", "patience", "seeds", "encode")  # parameters that are not LightGBM's


def defaults(rows: int) -> dict[str, Any]:
    small = rows < 3000
    return {
        "learning_rate": 0.03 if small else 0.06,
        "num_leaves": 12 if small else 31,
        "min_child_samples": 10 if small else 20,
        "feature_fraction": 0.5,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 1.0,
        "max_bin": 127,
    }


def matrix(table: Table, problem: Problem, train: Array, seed: int, encode: str = "") -> tuple[Array, list[int]]:
    """Features `(N, F)` and which of them are categories; `encode` "means": none, their target means instead."""
    if encode == "means":
        means = target_means(table.categories, problem.y, problem.classes, train, seed)
        return np.hstack([table.numbers, means, supervised(table, problem, train, seed)]), []
    means = supervised(table, problem, train, seed)
    only = [i for i, name in enumerate(table.category_names) if name not in table.names]  # the others are numbers too
    categories = table.categories[:, only].astype(np.float64)
    categories[categories < 0] = np.nan
    x = np.hstack([table.numbers, means, categories])
    return x, list(range(x.shape[1] - len(only), x.shape[1]))


def grow(
    table: Table, data: Data, problem: Problem, params: dict[str, Any], seed: int, workers: int, clock: Clock
) -> tuple[Array, Array, float]:
    """`(oof, test, mean loss)` of one problem."""
    settings = _settings(data, problem, params, seed)
    limit, patience = int(params.get("rounds", 3000)), int(params.get("patience", 60))
    encode = str(params.get("encode", ""))
    folds = list(splits(data))

    def train_fold(place: int) -> tuple[str, Array]:
        import lightgbm

        number, train, held, _ = folds[place]
        until = _until(clock.share(place, len(folds), workers))
        x, categories = matrix(table, problem, train, seed + number, encode)
        known = held[data.learnable[held]]
        sets = {"categorical_feature": categories, "free_raw_data": False}
        fitting = lightgbm.Dataset(x[train], problem.y[train], params=settings, **sets)
        trying = fitting.create_valid(x[known], problem.y[known])
        record: dict[str, Any] = {}
        calls = [lightgbm.record_evaluation(record), lightgbm.early_stopping(patience, verbose=False), until]
        model = lightgbm.train(settings, fitting, limit, valid_sets=[trying], callbacks=calls)
        say_fold(number, len(folds), clock)
        return model.model_to_string(num_iteration=-1), np.array(next(iter(record["valid_0"].values())))

    grown = run_all([partial(train_fold, place) for place in range(len(folds))], workers)
    length = min(len(curve) for _, curve in grown)
    losses = np.array([curve[:length] for _, curve in grown])
    chosen = int(np.argmin(losses.mean(axis=0))) + 1

    def predict_fold(place: int) -> tuple[Array, Array]:
        import lightgbm

        number, train, held, rest = folds[place]
        others = int(np.argmin(np.delete(losses, place, axis=0).mean(axis=0))) + 1
        x, _ = matrix(table, problem, train, seed + number, encode)
        model = lightgbm.Booster(model_str=grown[place][0])
        return _predict(model, x[held], others, problem), _predict(model, x[rest], chosen, problem)

    oof = np.zeros((data.n_train, problem.width))
    test = np.zeros((len(data.test_ids), problem.width))
    for (_, _, held, _), (ours, theirs) in zip(
        folds, run_all([partial(predict_fold, place) for place in range(len(folds))], workers), strict=True
    ):
        oof[held] = ours
        test += theirs / len(folds)
    return oof, test, float(losses.mean(axis=0).min())


def _settings(data: Data, problem: Problem, params: dict[str, Any], seed: int) -> dict[str, Any]:
    settings = {"objective": _objective(data.setup.metric, problem), "num_threads": 1, "verbosity": -1}
    settings |= {"seed": seed, "deterministic": True, "force_row_wise": True}
    if problem.classes > 2:
        settings["num_class"] = problem.classes
    return settings | defaults(data.n_train) | {k: v for k, v in params.items() if k not in OWN}


def _objective(metric: str, problem: Problem) -> str:
    if problem.classes > 2:
        return "multiclass"
    return "binary" if problem.classes else _OBJECTIVES.get(metric, "l2")


def _until(seconds: float) -> Any:
    import lightgbm

    end = time.monotonic() + seconds

    def stop(env: Any) -> None:
        if time.monotonic() > end:
            raise lightgbm.callback.EarlyStopException(env.iteration, env.evaluation_result_list)

    stop.order = 40  # type: ignore[attr-defined]  # after the loss is recorded
    return stop


def _predict(model: Any, x: Array, rounds: int, problem: Problem) -> Array:
    values = np.asarray(model.predict(x, num_iteration=rounds, num_threads=1))
    if problem.classes == 2:
        return np.column_stack([1 - values, values])
    return values.reshape(len(x), -1)


def lightgbm_cv(data: Data, params: dict[str, Any], seed: int, workers: int, clock: Clock) -> tuple[Array, Array]:
    table = table_of(data)
    seeds = int(params.get("seeds", 1))
    oof, test = [], []
    for problem in problems(data.setup, data.y):
        grown = [grow(table, data, problem, params, seed + 100 * i, workers, clock) for i in range(seeds)]
        oof.append((problem, np.mean([o for o, _, _ in grown], axis=0)))
        test.append((problem, np.mean([t for _, t, _ in grown], axis=0)))
    return finish(data.setup, oof), finish(data.setup, test)
