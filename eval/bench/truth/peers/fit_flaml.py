"""FLAML on one table, within a time limit: its default learners by cross-validation, then its stacked ensemble.

Reads and prints what `fit_autogluon` does; "cv" is that of its best single learner (it has none of the ensemble's).
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import pandas as pd
from flaml import AutoML, __version__

METRICS = {"accuracy": "accuracy", "multiclass_logloss": "log_loss", "logloss": "log_loss", "rmse": "rmse",
           "mae": "mae", "auc": "roc_auc", "f1": "f1", "f1_macro": "macro_f1", "r2": "r2"}  # fmt: skip


def fit(job: dict[str, Any]) -> dict[str, Any]:
    start, columns, scores, models = time.monotonic(), {}, [], []
    targets = job["targets"]
    words = dict.fromkeys(targets, str) if job["task"] != "regression" else {}
    train, test = pd.read_csv(job["train"], dtype=words), pd.read_csv(job["test"])
    metric = METRICS.get(job["metric"], "rmse" if job["task"] == "regression" else "log_loss")
    names = [column for column in test.columns if not pd.api.types.is_numeric_dtype(test[column])]
    for place, target in enumerate(targets):
        rows = train.dropna(subset=[target])
        y = rows[target]
        rows, asked = (frame[test.columns].astype(dict.fromkeys(names, object)) for frame in (rows, test))
        automl = AutoML()
        automl.fit(
            rows,
            y,
            task="regression" if job["task"] == "regression" else "classification",
            metric=metric,
            time_budget=(job["seconds"] - (time.monotonic() - start)) / (len(targets) - place),
            n_jobs=job["threads"],
            seed=job["seed"],
            eval_method="cv",
            n_splits=5,
            ensemble=True,
            verbose=0,
        )
        if job["task"] == "regression":
            columns[f"{target} value"] = automl.predict(asked)
        else:
            found = automl.predict_proba(asked)
            columns |= {f"{target} {name}": found[:, place] for place, name in enumerate(automl.classes_)}
        loss = float(automl.best_loss)
        scores.append(loss if metric in ("log_loss", "rmse", "mae") else 1 - loss)
        models.append(automl.best_estimator)
    pd.DataFrame(columns).to_csv(job["out"], index=False)
    cv = sum(scores) / len(scores)
    return {"version": __version__, "cv": cv, "model": f"ensemble, best {', '.join(dict.fromkeys(models))}"}


if __name__ == "__main__":
    print(json.dumps(fit(json.load(sys.stdin))))
