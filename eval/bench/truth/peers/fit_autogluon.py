"""AutoGluon tabular with one of its best presets on one table, within a time limit, for one target after the other.

Reads {train, test, targets, task, metric, seconds, threads, seed, preset, folder, out} from standard input; `out` gets
the test rows' predictions, the last line is {"version", "extras", "cv", "model"}: the mean validation score of the
models that it chose itself, and the packages that it may use.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
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
EXTRAS = ("torch", "fastai", "lightgbm", "catboost", "xgboost", "interpret", "imodels", "skl2onnx", "tabpfn", "tabicl",
          "pytabkit", "tabm", "einx", "omegaconf", "transformers", "huggingface_hub")  # fmt: skip


def fit(job: dict[str, Any]) -> dict[str, Any]:
    start, columns, scores, models = time.monotonic(), {}, [], []
    targets = job["targets"]
    words = dict.fromkeys(targets, str) if job["task"] != "regression" else {}
    train, test = pd.read_csv(job["train"], dtype=words), pd.read_csv(job["test"])
    other = "root_mean_squared_error" if job["task"] == "regression" else "log_loss"
    for place, target in enumerate(targets):
        rows = train.dropna(subset=[target]).drop(columns=[name for name in targets if name != target])
        predictor = TabularPredictor(
            target,
            problem_type=job["task"],
            eval_metric=METRICS.get(job["metric"], other),
            path=f"{job['folder']}/{place}",
            verbosity=1,
        )
        predictor.fit(
            rows,
            presets=job["preset"],
            time_limit=(job["seconds"] - (time.monotonic() - start)) / (len(targets) - place),
            num_cpus=job["threads"],
            num_gpus=0,
            ag_args_ensemble={"fold_fitting_strategy": "sequential_local"},
            ag_args_fit={"random_seed": job["seed"]},
        )
        if job["task"] == "regression":
            columns[f"{target} value"] = predictor.predict(test)
        else:
            found = predictor.predict_proba(test)
            columns |= {f"{target} {name}": found[name] for name in found.columns}
        board = predictor.leaderboard(silent=True).set_index("model")
        scores.append(abs(float(board.loc[predictor.model_best, "score_val"])))
        models.append(predictor.model_best)
    pd.DataFrame(columns).to_csv(job["out"], index=False)
    extras = [name for name in EXTRAS if importlib.util.find_spec(name)]
    cv = sum(scores) / len(scores)
    return {"version": __version__, "extras": extras, "cv": cv, "model": ", ".join(dict.fromkeys(models))}


if __name__ == "__main__":
    print(json.dumps(fit(json.load(sys.stdin))))
