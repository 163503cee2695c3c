"""AutoGluon tabular with its best preset on one table, within a time limit.

Reads {train, test, target, task, metric, seconds, threads, seed, folder, out} from standard input; `out` gets the test
rows' predictions, the last line is {"version", "cv", "model"}: the validation score of the model it chose itself.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import pandas as pd
from autogluon.tabular import TabularPredictor, __version__

METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced_accuracy",
    "multiclass_logloss": "log_loss",
    "logloss": "log_loss",
    "auc": "roc_auc",
    "f1": "f1",
    "f1_macro": "f1_macro",
    "mcc": "mcc",
    "qwk": "quadratic_kappa",
    "rmse": "root_mean_squared_error",
    "mae": "mean_absolute_error",
    "r2": "r2",
}


def fit(job: dict[str, Any]) -> dict[str, Any]:
    words = {job["target"]: str} if job["task"] != "regression" else {}
    train, test = pd.read_csv(job["train"], dtype=words), pd.read_csv(job["test"])
    predictor = TabularPredictor(
        job["target"], problem_type=job["task"], eval_metric=METRICS[job["metric"]], path=job["folder"], verbosity=1
    )
    predictor.fit(
        train,
        presets="best_quality",
        time_limit=job["seconds"],
        num_cpus=job["threads"],
        num_gpus=0,
        ag_args_ensemble={"fold_fitting_strategy": "sequential_local"},
        ag_args_fit={"random_seed": job["seed"]},
    )
    if job["task"] == "regression":
        pd.DataFrame({"value": predictor.predict(test)}).to_csv(job["out"], index=False)
    else:
        predictor.predict_proba(test).to_csv(job["out"], index=False)
    board = predictor.leaderboard(silent=True).set_index("model")
    cv = abs(float(board.loc[predictor.model_best, "score_val"]))
    return {"version": __version__, "cv": cv, "model": predictor.model_best}


if __name__ == "__main__":
    print(json.dumps(fit(json.load(sys.stdin))))
