"""The score of a prediction file under a metric, the true values that it is compared with, and decisions from
probabilities."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.contract import Setup
from agentkd.agents.agent_k.scoring.metrics import EPS, METRICS, map_at
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]


class Scorer:
    """The truth, made ready once: called with predictions `(N, len(setup.predicted))` it gives the score.

    What has no true value is left out. Raises UserError for an unknown metric, one that does not fit the task,
    and a true value that is none of the classes."""

    def __init__(self, setup: Setup, truth: pd.DataFrame, metric: str | None = None) -> None:
        name = metric or setup.metric
        if name not in METRICS:
            raise UserError(f"unknown metric '{name}': the metrics are {', '.join(METRICS)}")
        self.metric = METRICS[name]
        if setup.task not in self.metric.tasks:
            raise UserError(f"metric '{name}' is for {' and '.join(self.metric.tasks)}, not for a {setup.task} task")
        self.setup = setup
        self.truth = true_values(setup, truth)
        self.known = known(self.truth)
        if not self.known.any():
            raise UserError(f"no row of {len(truth)} has a true value of {', '.join(setup.targets)}")

    def on(self, rows: Array) -> Scorer:
        """The scorer of some rows."""
        other = copy.copy(self)
        other.truth, other.known = self.truth[rows], self.known[rows]
        return other

    def __call__(self, predictions: Array, thresholds: Sequence[float] | None = None) -> float:
        """`thresholds` as for `labels`. UserError where the metric is undefined on the rows."""
        metric, setup, truth, known_ = self.metric, self.setup, self.truth, self.known
        if setup.task == "regression":
            value = np.rint(predictions) if metric.needs == "label" else predictions
            columns = [c for c in range(truth.shape[1]) if known_[:, c].any()]
            if not columns:
                raise UserError(f"{metric.name} is undefined on {len(truth)} rows without a true value")
            return float(np.mean([metric.function(truth[k, c], value[k, c]) for c in columns for k in [known_[:, c]]]))
        if metric.needs == "label":
            return self.decided(decide(setup, predictions, thresholds))
        if self._gaps():
            return self._by_label(predictions)
        truth, predictions = self._there(predictions)
        return map_at(truth, predictions, setup.top) if metric.name == "map@k" else metric.function(truth, predictions)

    def decided(self, guess: Array) -> float:
        """The score of decisions, as `decide` gives them."""
        if self._gaps():  # of labels that are not known: right as none
            if self.metric.name == "hamming":
                return self._by_label(guess)
            return self.metric.function(np.where(self.known, self.truth, 0), np.where(self.known, guess, 0))
        truth, guess = self._there(guess)
        if self.metric.name == "qwk":  # of the classes' numbers, not of their places in the alphabet
            numbers = class_numbers(self.setup)
            return self.metric.function(numbers[truth], numbers[guess])
        return self.metric.function(truth, guess)

    def _gaps(self) -> bool:
        return self.setup.task == "multilabel" and bool(self.known.any()) and not self.known.all()

    def _there(self, given: Array) -> tuple[Array, Array]:
        """The truth, and what is given for it, of the rows that have one."""
        if not self.known.any():
            raise UserError(f"{self.metric.name} is undefined on {len(self.known)} rows without a true value")
        if self.known.all():
            return self.truth, given
        return self.truth[self.known], given[self.known]

    def _by_label(self, given: Array) -> float:
        """The mean over the labels, each on the rows that know it."""
        metric, truth = self.metric, self.truth
        found = []
        for c in range(truth.shape[1]):
            here = self.known[:, c]
            if here.any() and (metric.lower_is_better or np.ptp(truth[here, c]) > 0):  # areas need both classes
                found.append(metric.function(truth[here, c : c + 1], given[here, c : c + 1]))
        if not found:
            raise UserError(f"{metric.name} is undefined on {len(truth)} rows: no column has both classes")
        return float(np.mean(found))

    def better(self, one: float, other: float) -> bool:
        return one < other if self.metric.lower_is_better else one > other


def score(
    setup: Setup, truth: pd.DataFrame, predictions: pd.DataFrame, thresholds: Sequence[float] | None = None
) -> float:
    """The metric of `predictions` (a prediction file) on `truth` (a target map); rows are matched by `id`.

    Raises UserError for ids or columns that are missing, values that are not finite, and where the metric is undefined
    (AUC of one class, RMSLE of a negative truth)."""
    return Scorer(setup, truth)(matrix(setup, predictions, truth["id"]), thresholds)


def matrix(setup: Setup, predictions: pd.DataFrame, ids: pd.Series[Any]) -> npt.NDArray[np.float64]:
    """The prediction columns `(N, len(setup.predicted))` in the order of `ids`, checked."""
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


def true_values(setup: Setup, truth: pd.DataFrame) -> Array:
    """Codes `(N,)` in the order of `setup.classes` (-1: missing); multilabel `(N, L)` of 0, 1, -1; regression `(N, T)`
    of floats with NaN. Raises UserError for a value that is no class."""
    import pandas as pd

    if lacking := [name for name in setup.targets if name not in truth.columns]:
        raise UserError(f"the target map lacks the column '{lacking[0]}'")
    if setup.task == "regression":
        frame = truth[list(setup.targets)].apply(pd.to_numeric, errors="coerce")
        return frame.to_numpy(dtype=np.float64)
    if setup.task == "multilabel":
        frame = truth[list(setup.targets)].apply(
            lambda column: column.map({cell: _number(cell) for cell in column.unique()}).astype(np.float64)
        )
        if bad := sorted(set(np.unique(frame.to_numpy(dtype=np.float64)[frame.notna().to_numpy()])) - {0.0, 1.0}):
            raise UserError(f"a multilabel target has the value {bad[0]:g}: its values must be 0 and 1")
        return frame.fillna(-1).to_numpy(dtype=np.int64)
    return codes(setup, truth[setup.targets[0]])


def codes(setup: Setup, column: pd.Series[Any]) -> npt.NDArray[np.int64]:
    """Places in `setup.classes`; a number stands for the class of that number, however it is written. -1: missing."""
    place = {name: i for i, name in enumerate(setup.classes)}
    by_number = {number: i for i, name in enumerate(setup.classes) if (number := _number(name)) is not None}
    found: dict[str, int] = {}
    text = column.astype(object)
    empty = text.isna() | (text.astype(str) == "")
    for value in text[~empty].astype(str).unique():
        number = _number(value)
        code = place.get(value, -1 if number is None else by_number.get(number, -1))
        if code < 0:
            raise UserError(f"'{value}' is none of the classes {', '.join(setup.classes[:10])}")
        found[value] = code
    return text.astype(str).map(found).where(~empty, -1).to_numpy(dtype=np.int64)


def _number(cell: Any) -> float | None:
    truth = {"true": 1.0, "false": 0.0}  # True and 1 are the same class
    text = str(cell).lower()
    try:
        return truth[text] if text in truth else float(text)
    except ValueError:
        return None


def known(truth: Array) -> npt.NDArray[np.bool_]:
    """Where there is a true value."""
    return np.isfinite(truth) if truth.dtype.kind == "f" else truth >= 0


def class_numbers(setup: Setup) -> npt.NDArray[np.float64]:
    """The classes as numbers; their places where one of them is none."""
    numbers = [_number(name) for name in setup.classes]
    return np.array([i if None in numbers else n for i, n in enumerate(numbers)], dtype=np.float64)


def decide(setup: Setup, predictions: Array, thresholds: Sequence[float] | None = None) -> npt.NDArray[np.int64]:
    """Codes of classes `(N,)`, or zeros and ones `(N, L)`, from probabilities; see `labels`."""
    t = None if thresholds is None else np.asarray(thresholds, dtype=np.float64)
    if setup.task == "multilabel":
        return (predictions >= (0.5 if t is None else t)).astype(np.int64)
    if t is None:
        return np.argmax(predictions, axis=1).astype(np.int64)
    if len(t) == len(setup.classes):
        return np.argmax(predictions / t, axis=1).astype(np.int64)
    order = np.argsort(class_numbers(setup))  # cuts of the expected rank, for ordered classes
    rank = predictions[:, order] @ np.arange(len(order)) / np.maximum(predictions.sum(axis=1), EPS)
    return np.asarray(order[np.searchsorted(np.sort(t), rank, side="right")], dtype=np.int64)


def labels(setup: Setup, predictions: pd.DataFrame, thresholds: Sequence[float] | None = None) -> pd.DataFrame:
    """A prediction file's decisions: `id` and the target columns, in the words of the training table.

    Without `thresholds`: the most probable class, 0.5 for each target of a multilabel task, the nearest integer of a
    regression. `thresholds` are one number for each predicted column (the class with the largest p / threshold, so that
    two classes with (1 − t, t) are cut at t; multilabel: p >= threshold), or, for classes that are numbers, one less:
    cuts of the expected rank."""
    import pandas as pd

    values = matrix(setup, predictions, predictions["id"])
    out = pd.DataFrame({"id": predictions["id"].astype(str).to_numpy()})
    if setup.task == "regression":
        for i, name in enumerate(setup.targets):
            out[name] = np.rint(values[:, i]).astype(np.int64)
        return out
    decided = decide(setup, values, thresholds)
    if setup.task == "multilabel":
        for i, name in enumerate(setup.targets):
            out[name] = decided[:, i]
        return out
    out[setup.targets[0]] = np.array(setup.classes, dtype=object)[decided]
    return out
