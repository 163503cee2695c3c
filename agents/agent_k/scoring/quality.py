"""What a score is made of: the spread over folds, what a constant scores, and where the predictions go wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.contract import Setup
from agentkd.agents.agent_k.scoring.metrics import METRICS
from agentkd.agents.agent_k.scoring.predictions import align_predictions, decide_codes
from agentkd.agents.agent_k.scoring.scorer import Scorer
from agentkd.agents.agent_k.scoring.truth import is_known, predict_constant
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]
CLASSES = 12  # of a confusion matrix: the most frequent ones
QUANTILES = (5, 25, 50, 75, 95)  # percent, of the errors of a regression


def describe_quality(
    setup: Setup,
    truth: pd.DataFrame,
    oof: pd.DataFrame,
    folds: Sequence[Array],
    thresholds: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Describe out-of-fold predictions of the rows of `truth`; `folds` has the positions of each fold's rows.

    Returns `constant`, the score of the best constant; `folds`, a score each, None where it is undefined; `confusion`
    (classes, and counts by true and by predicted class), or `errors` (by target, quantiles of prediction - truth).
    Empty for a metric that the model wrote."""
    if setup.metric not in METRICS:
        return {}
    scorer = Scorer(setup, truth)
    values = align_predictions(setup, oof, truth["id"])
    constant = np.tile(predict_constant(setup, scorer.truth), (len(values), 1))
    rows = folds[-1] if setup.later else np.arange(len(values))  # see `judged_rows`
    found: dict[str, Any] = {
        "constant": _score(scorer.on_rows(rows), constant[rows], None),
        "folds": [_score(scorer.on_rows(rows), values[rows], thresholds) for rows in folds],
    }
    if setup.task in ("binary", "multiclass"):
        found["confusion"] = count_confusion(setup, scorer, values, thresholds)
    elif setup.task == "regression":
        found["errors"] = {
            name: [round(float(q), 6) for q in np.percentile((values[:, i] - scorer.truth[:, i])[known], QUANTILES)]
            for i, name in enumerate(setup.targets)
            if (known := scorer.known[:, i]).any()
        }
    return found


def _score(scorer: Scorer, values: Array, thresholds: Sequence[float] | None) -> float | None:
    try:
        return round(float(scorer(values, thresholds)), 6)
    except UserError:  # one class alone has no AUC
        return None


def count_confusion(
    setup: Setup, scorer: Scorer, values: Array, thresholds: Sequence[float] | None
) -> dict[str, list[Any]]:
    """Counts of rows by true class and by predicted class, for the most frequent classes."""
    known = is_known(scorer.truth)
    guess = decide_codes(setup, values[known], thresholds)
    counts = np.zeros((len(setup.classes), len(setup.classes)), dtype=np.int64)
    np.add.at(counts, (scorer.truth[known], guess), 1)
    shown = np.sort(np.argsort(-counts.sum(axis=1), kind="stable")[:CLASSES])
    return {"classes": [setup.classes[i] for i in shown], "rows": counts[np.ix_(shown, shown)].tolist()}
