"""Read a prediction file as a matrix, and decide labels from its probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.contract import Setup
from agentkd.agents.agent_k.scoring.metrics import EPS
from agentkd.agents.agent_k.scoring.truth import class_numbers
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]


def align_predictions(setup: Setup, predictions: pd.DataFrame, ids: pd.Series[Any]) -> npt.NDArray[np.float64]:
    """The prediction columns `(N, len(setup.predicted))` in the order of `ids`.

    Raises UserError for missing columns or ids, and for values that are not finite."""
    if lacking := [name for name in ("id", *setup.predicted) if name not in predictions.columns]:
        raise UserError(f"the predictions lack the column '{lacking[0]}': they need id, {', '.join(setup.predicted)}")
    wanted = ids.astype(str)
    if list(predictions["id"].astype(str)) != list(wanted):
        predictions = predictions.assign(id=predictions["id"].astype(str)).drop_duplicates("id").set_index("id")
        absent = [item for item in wanted if item not in predictions.index]
        if absent:
            raise UserError(f"the predictions lack {len(absent)} of {len(wanted)} ids, the first is '{absent[0]}'")
        predictions = predictions.loc[list(wanted)]
    values = predictions[list(setup.predicted)].to_numpy(dtype=np.float64)
    if not np.isfinite(values).all():
        raise UserError(f"{int((~np.isfinite(values)).sum())} predicted values are not finite: predict every row")
    return values


def decide_codes(setup: Setup, predictions: Array, thresholds: Sequence[float] | None = None) -> npt.NDArray[np.int64]:
    """Decide class codes `(N,)`, or zeros and ones `(N, L)`, from probabilities; see `decide_labels`."""
    t = None if thresholds is None else np.asarray(thresholds, dtype=np.float64)
    if setup.task == "multilabel":
        return (predictions >= (0.5 if t is None else t)).astype(np.int64)
    if t is None and setup.costs is not None:  # the least expected cost (Elkan 2001, "The foundations of cost-sensitive
        cut = setup.costs[1] / sum(setup.costs)  # learning", section 1.1)
        t = np.array([1 - cut, cut])
    if t is None:
        return np.argmax(predictions, axis=1).astype(np.int64)
    if len(t) == len(setup.classes):
        return np.argmax(predictions / t, axis=1).astype(np.int64)
    order = np.argsort(class_numbers(setup))  # cuts of the expected rank, for ordered classes
    rank = predictions[:, order] @ np.arange(len(order)) / np.maximum(predictions.sum(axis=1), EPS)
    return np.asarray(order[np.searchsorted(np.sort(t), rank, side="right")], dtype=np.int64)


def decide_labels(setup: Setup, predictions: pd.DataFrame, thresholds: Sequence[float] | None = None) -> pd.DataFrame:
    """Decide labels from a prediction file, in the words of the training table; returns `id` and targets.

    Without `thresholds`: the most probable class, or that of the least expected cost; p >= 0.5 for each target of a
    multilabel task; the nearest integer of a regression. With one threshold per predicted column: the class with the
    largest p / threshold, so that (1 − t, t) cuts two classes at t; multilabel: p >= threshold. With one fewer, for
    classes that are numbers: cuts of the expected rank."""
    import pandas as pd

    values = align_predictions(setup, predictions, predictions["id"])
    out = pd.DataFrame({"id": predictions["id"].astype(str).to_numpy()})
    if setup.task == "regression":
        for i, name in enumerate(setup.targets):
            out[name] = np.rint(values[:, i]).astype(np.int64)
        return out
    decided = decide_codes(setup, values, thresholds)
    if setup.task == "multilabel":
        for i, name in enumerate(setup.targets):
            out[name] = decided[:, i]
        return out
    out[setup.targets[0]] = np.array(setup.classes, dtype=object)[decided]
    return out
