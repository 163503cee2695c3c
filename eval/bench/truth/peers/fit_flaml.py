"""FLAML on one table, within a time limit: its default learners by cross-validation, then its stacked ensemble.

Reads and prints what `fit_autogluon` does; "cv" is that of its best single learner (it has none of the ensemble's).
"""

from __future__ import annotations

import json
import sys
from typing import Any

import pandas as pd
from flaml import AutoML, __version__

METRICS = {"accuracy": "accuracy", "multiclass_logloss": "log_loss", "logloss": "log_loss", "rmse": "rmse",
           "mae": "mae", "auc": "roc_auc", "f1": "f1", "f1_macro": "macro_f1", "r2": "r2"}  # fmt: skip


def fit(job: dict[str, Any]) -> dict[str, Any]:
    words = {job["target"]: str} if job["task"] != "regression" else {}
    train, test = pd.read_csv(job["train"], dtype=words), pd.read_csv(job["test"])
    y = train.pop(job["target"])
    names = [column for column in train.columns if not pd.api.types.is_numeric_dtype(train[column])]
    train, test = (frame.astype(dict.fromkeys(names, object)) for frame in (train, test))
    automl = AutoML()
    automl.fit(
        train,
        y,
        task="regression" if job["task"] == "regression" else "classification",
        metric=METRICS[job["metric"]],
        time_budget=job["seconds"],
        n_jobs=job["threads"],
        seed=job["seed"],
        eval_method="cv",
        n_splits=5,
        ensemble=True,
        verbose=0,
    )
    if job["task"] == "regression":
        pd.DataFrame({"value": automl.predict(test)}).to_csv(job["out"], index=False)
    else:
        classes = [str(name) for name in automl.classes_]
        pd.DataFrame(automl.predict_proba(test), columns=classes).to_csv(job["out"], index=False)
    loss = float(automl.best_loss)
    cv = loss if METRICS[job["metric"]] in ("log_loss", "rmse", "mae") else 1 - loss
    return {"version": __version__, "cv": cv, "model": f"ensemble, best {automl.best_estimator}"}


if __name__ == "__main__":
    print(json.dumps(fit(json.load(sys.stdin))))
