"""The metrics of Kaggle's competitions by name, and the score of a prediction file under one of them.

A metric is a function of two arrays: `(N,)` class codes or `(N, L)` zeros and ones against the same (label) or against
probabilities `(N, K)` (probability), or `(N,)` values against `(N,)` values (value). Several targets are scored column
by column and averaged. scikit-learn does what is intricate; what a search evaluates thousands of times is numpy.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.metric_words import find_metric
from agentkd.agents.agent_k.setup import Output, Setup, TaskKind
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["METRICS", "Metric", "Scorer", "find_metric", "labels", "score"]

Array = npt.NDArray[Any]
_EPS = 1e-15  # Kaggle's clip of probabilities
_CLASSES: tuple[TaskKind, ...] = ("binary", "multiclass")
_ANY: tuple[TaskKind, ...] = ("binary", "multiclass", "multilabel")


@dataclass(frozen=True)
class Metric:
    """`needs` is what the function compares with the truth; `tasks` are those it is defined for."""

    name: str
    needs: Output
    lower_is_better: bool
    tasks: tuple[TaskKind, ...]
    function: Callable[[Array, Array], float]


def _two_classes(truth: Array, what: str) -> None:
    if truth.size == 0 or truth.min() == truth.max():
        raise UserError(f"{what} is undefined on {truth.size} rows of one class: score on rows of both classes")


# --- labels -----------------------------------------------------------------------------------------------------------


def accuracy(truth: Array, guess: Array) -> float:
    hits = truth == guess
    return float(np.mean(hits if hits.ndim == 1 else hits.all(axis=1)))


def _sklearn(name: str, **options: Any) -> Callable[[Array, Array], float]:
    def function(truth: Array, guess: Array) -> float:
        from sklearn import metrics

        return float(getattr(metrics, name)(truth, guess, **options))

    return function


def confusion(truth: Array, guess: Array) -> npt.NDArray[np.float64]:
    """Counts `(K, K)`: rows are true classes, columns those given."""
    kinds = int(max(truth.max(), guess.max())) + 1
    return np.bincount(truth * kinds + guess, minlength=kinds * kinds).reshape(kinds, kinds).astype(np.float64)


def balanced_accuracy(truth: Array, guess: Array) -> float:
    """Mean recall of the classes that occur."""
    table = confusion(truth, guess)
    total = table.sum(axis=1)
    return float(np.mean(np.diag(table)[total > 0] / total[total > 0]))


def _f1(average: str) -> Callable[[Array, Array], float]:
    """F1 of the positive class ("binary"), or averaged over the classes that occur on either side; 0 where nothing is
    right."""

    def function(truth: Array, guess: Array) -> float:
        if truth.ndim == 2:
            return _sklearn("f1_score", average=average, zero_division=0.0)(truth, guess)
        table = confusion(truth, guess)
        hit, true, given = np.diag(table), table.sum(axis=1), table.sum(axis=0)
        each = 2 * hit / np.maximum(true + given, 1)
        if average == "binary":
            return float(each[1]) if len(each) > 1 else 0.0
        if average == "micro":
            return float(hit.sum() / len(truth))
        return float(each @ true / len(truth)) if average == "weighted" else float(each[true + given > 0].mean())

    return function


def _fbeta(beta: float) -> Callable[[Array, Array], float]:
    def function(truth: Array, guess: Array) -> float:
        p, r = precision(truth, guess), recall(truth, guess)
        return float((1 + beta**2) * p * r / (beta**2 * p + r)) if p + r > 0 else 0.0

    return function


def jaccard(truth: Array, guess: Array) -> float:
    """Of the positive class; of several labels the mean over the rows, 1 where there are none and none is given."""
    both, either = (truth == 1) & (guess == 1), (truth == 1) | (guess == 1)
    if truth.ndim == 1:
        return float(both.sum() / max(either.sum(), 1))
    total = either.sum(axis=1)
    return float(np.mean(np.where(total > 0, both.sum(axis=1) / np.maximum(total, 1), 1.0)))


def precision(truth: Array, guess: Array) -> float:
    return float(np.sum((truth == 1) & (guess == 1)) / max(np.sum(guess == 1), 1))


def recall(truth: Array, guess: Array) -> float:
    return precision(guess, truth)


def mcc(truth: Array, guess: Array) -> float:
    """Matthews' correlation of any number of classes (Gorodkin 2004); 0 where one side is constant."""
    table = confusion(truth, guess)
    n, true, given = table.sum(), table.sum(axis=1), table.sum(axis=0)
    scale = np.sqrt((n**2 - true @ true) * (n**2 - given @ given))
    return float((n * np.trace(table) - true @ given) / scale) if scale > 0 else 0.0


def kappa(truth: Array, guess: Array) -> float:
    """Cohen's; 0 where agreement by chance is certain."""
    table = confusion(truth, guess) / len(truth)
    chance = float(table.sum(axis=1) @ table.sum(axis=0))
    return float((np.trace(table) - chance) / (1 - chance)) if chance < 1 else 0.0


def qwk(truth: Array, guess: Array) -> float:
    """Quadratic weighted kappa of numbers: 1 − mean squared difference over that of independent pairs."""
    chance = truth.var() + guess.var() + (truth.mean() - guess.mean()) ** 2
    return 1.0 if chance == 0 else float(1 - np.mean((truth - guess) ** 2) / chance)


# --- probabilities ----------------------------------------------------------------------------------------------------


def logloss(truth: Array, probability: Array) -> float:
    """Rows are rescaled to sum to one and clipped at 1e-15, as Kaggle does; multilabel: mean over all cells."""
    if truth.ndim == 2:
        p = np.clip(probability, _EPS, 1 - _EPS)
        return float(-np.mean(np.where(truth == 1, np.log(p), np.log(1 - p))))
    return float(-np.mean(_log_likelihood(truth, probability)))


def _log_likelihood(truth: Array, probability: Array) -> Array:
    total = np.maximum(probability.sum(axis=1), _EPS)
    p = probability[np.arange(truth.size), truth] / total
    return np.asarray(np.log(np.clip(p, _EPS, 1 - _EPS)))


def balanced_logloss(truth: Array, probability: Array) -> float:
    """The mean of the log losses of the classes that occur."""
    each = np.bincount(truth, _log_likelihood(truth, probability))
    rows = np.bincount(truth)
    return float(-np.mean(each[rows > 0] / rows[rows > 0]))


def map_at(truth: Array, probability: Array, k: int) -> float:
    """Mean average precision of the k likeliest classes of a row, one of which is right: 1 over its place, or 0."""
    order = np.argsort(-probability, axis=1, kind="stable")[:, :k]
    return float(np.mean(np.max((order == truth[:, None]) / np.arange(1, order.shape[1] + 1), axis=1)))


def _ranked(truth: Array, value: Array) -> float:
    """Area under the ROC curve by ranks (Mann and Whitney 1947); ties count half."""
    from scipy.stats import rankdata

    _two_classes(truth, "auc")
    positive = truth == 1
    n, m = int(positive.sum()), int((~positive).sum())
    return float((rankdata(value)[positive].sum() - n * (n + 1) / 2) / (n * m))


def _columns(function: Callable[[Array, Array], float], truth: Array, value: Array) -> float:
    """Mean over the columns that have both classes."""
    scores = [function(truth[:, i], value[:, i]) for i in range(truth.shape[1]) if np.ptp(truth[:, i]) > 0]
    if not scores:
        raise UserError(f"no column of {truth.shape[1]} has both classes in {len(truth)} rows: score on more rows")
    return float(np.mean(scores))


def auc(truth: Array, probability: Array) -> float:
    """Binary: of the positive class; multilabel: mean column-wise; multiclass: one class against the rest, mean."""
    if truth.ndim == 2:
        return _columns(_ranked, truth, probability)
    if probability.shape[1] == 2:
        return _ranked(truth, probability[:, 1])
    _two_classes(truth, "auc")
    return _columns(_ranked, np.eye(probability.shape[1], dtype=int)[truth], probability)


def average_precision(truth: Array, probability: Array) -> float:
    one = _sklearn("average_precision_score")
    if truth.ndim == 2:
        return _columns(one, truth, probability)
    if probability.shape[1] > 2:
        return _columns(one, np.eye(probability.shape[1], dtype=int)[truth], probability)
    _two_classes(truth, "average_precision")
    return one(truth, probability[:, 1])


def brier(truth: Array, probability: Array) -> float:
    """Binary: mean squared error of the positive class; multiclass: summed over the classes (Brier 1950)."""
    if truth.ndim == 2 or probability.shape[1] == 2:
        return float(np.mean((truth - _positive(probability, truth.ndim)) ** 2))
    return float(np.mean(np.sum((np.eye(probability.shape[1])[truth] - probability) ** 2, axis=1)))


def _positive(probability: Array, ndim: int) -> Array:
    return probability if ndim == 2 else probability[:, 1]


# --- values -----------------------------------------------------------------------------------------------------------


def mse(truth: Array, value: Array) -> float:
    return float(np.mean((truth - value) ** 2))


def msle(truth: Array, value: Array) -> float:
    """Predictions below zero count as zero: Kaggle refuses them, so a submission clips them too."""
    if truth.min() < 0:
        raise UserError(f"rmsle is undefined for the true value {truth.min():g}: it needs values of 0 or more")
    return mse(np.log1p(truth), np.log1p(np.maximum(value, 0)))


def mape(truth: Array, value: Array) -> float:
    """A fraction, as scikit-learn's: a true value of zero is divided by machine epsilon."""
    return float(np.mean(np.abs(truth - value) / np.maximum(np.abs(truth), np.finfo(np.float64).eps)))


def smape(truth: Array, value: Array) -> float:
    """In percent, 0 to 200; both zero counts as zero."""
    half = (np.abs(truth) + np.abs(value)) / 2
    return float(100 * np.mean(np.where(half == 0, 0.0, np.abs(truth - value) / np.where(half == 0, 1.0, half))))


def r2(truth: Array, value: Array) -> float:
    """A constant truth: 1 where it is met, else 0, as scikit-learn's `force_finite`."""
    rest, total = np.sum((truth - value) ** 2), np.sum((truth - truth.mean()) ** 2)
    return float(1 - rest / total) if total > 0 else float(rest == 0)


def pearson(truth: Array, value: Array) -> float:
    """A constant has no correlation: 0."""
    a, b = truth - truth.mean(), value - value.mean()
    scale = np.sqrt(np.sum(a**2) * np.sum(b**2))
    return float(np.sum(a * b) / scale) if scale > 0 else 0.0


def spearman(truth: Array, value: Array) -> float:
    from scipy.stats import rankdata

    return pearson(rankdata(truth), rankdata(value))


def gini(truth: Array, value: Array) -> float:
    """Normalised Gini of values: the area of truth gained in the order of the predictions, over that of its own order.
    Ties stay in the order of the rows. On zeros and ones without ties it is 2 AUC − 1."""

    def area(order: Array) -> float:
        gained = np.cumsum(truth[order])
        return float(np.sum(gained / gained[-1] - np.arange(1, truth.size + 1) / truth.size))

    if truth.sum() == 0 or np.ptp(truth) == 0:
        raise UserError(f"gini is undefined for {truth.size} equal true values: score on more rows")
    return area(np.argsort(-value, kind="stable")) / area(np.argsort(-truth, kind="stable"))


def class_gini(truth: Array, probability: Array) -> float:
    return 2 * auc(truth, probability) - 1


def _root(function: Callable[[Array, Array], float]) -> Callable[[Array, Array], float]:
    return lambda truth, value: float(np.sqrt(function(truth, value)))


def _metrics() -> list[Metric]:
    regression: tuple[TaskKind, ...] = ("regression",)
    return [
        Metric("accuracy", "label", False, _ANY, accuracy),
        Metric("balanced_accuracy", "label", False, _CLASSES, balanced_accuracy),
        Metric("f1", "label", False, ("binary",), _f1("binary")),
        Metric("f2", "label", False, ("binary",), _fbeta(2)),
        Metric("f0.5", "label", False, ("binary",), _fbeta(0.5)),
        Metric("jaccard", "label", False, ("binary", "multilabel"), jaccard),
        Metric("f1_macro", "label", False, _ANY, _f1("macro")),
        Metric("f1_micro", "label", False, _ANY, _f1("micro")),
        Metric("f1_weighted", "label", False, _ANY, _f1("weighted")),
        Metric("f1_samples", "label", False, ("multilabel",), _f1("samples")),
        Metric("precision", "label", False, ("binary",), precision),
        Metric("recall", "label", False, ("binary",), recall),
        Metric("mcc", "label", False, _CLASSES, mcc),
        Metric("qwk", "label", False, (*_CLASSES, "regression"), qwk),
        Metric("kappa", "label", False, _CLASSES, kappa),
        Metric("hamming", "label", True, ("multilabel",), lambda truth, guess: float(np.mean(truth != guess))),
        Metric("logloss", "probability", True, _ANY, logloss),
        Metric("multiclass_logloss", "probability", True, _CLASSES, logloss),
        Metric("balanced_logloss", "probability", True, _CLASSES, balanced_logloss),
        Metric("map@k", "probability", False, ("multiclass",), lambda t, p: map_at(t, p, p.shape[1])),
        Metric("auc", "probability", False, ("binary", "multilabel"), auc),
        Metric("multiclass_auc", "probability", False, ("multiclass",), auc),
        Metric("mean_columnwise_auc", "probability", False, ("multilabel",), auc),
        Metric("average_precision", "probability", False, _ANY, average_precision),
        Metric("brier", "probability", True, _ANY, brier),
        Metric("gini", "probability", False, ("binary",), class_gini),
        Metric("normalized_gini", "value", False, regression, gini),
        Metric("rmse", "value", True, regression, _root(mse)),
        Metric("mean_columnwise_rmse", "value", True, regression, _root(mse)),
        Metric("rmsle", "value", True, regression, _root(msle)),
        Metric("msle", "value", True, regression, msle),
        Metric("mse", "value", True, regression, mse),
        Metric("mae", "value", True, regression, lambda t, v: float(np.mean(np.abs(t - v)))),
        Metric("medae", "value", True, regression, lambda t, v: float(np.median(np.abs(t - v)))),
        Metric("mape", "value", True, regression, mape),
        Metric("smape", "value", True, regression, smape),
        Metric("r2", "value", False, regression, r2),
        Metric("pearson", "value", False, regression, pearson),
        Metric("spearman", "value", False, regression, spearman),
    ]


METRICS: dict[str, Metric] = {metric.name: metric for metric in _metrics()}


# --- the score of a prediction file -----------------------------------------------------------------------------------


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
        if not known_.any():
            raise UserError(f"{metric.name} is undefined on {len(truth)} rows without a true value")
        if setup.task == "multilabel" and not known_.all():
            return self._with_gaps(predictions, thresholds)
        if not known_.all():
            truth, predictions = truth[known_], predictions[known_]
        if metric.needs == "label":
            guess = decide(setup, predictions, thresholds)
            if metric.name == "qwk":  # of the classes' numbers, not of their places in the alphabet
                numbers = class_numbers(setup)
                return metric.function(numbers[truth], numbers[guess])
            return metric.function(truth, guess)
        if metric.name == "map@k":
            return map_at(truth, predictions, setup.top)
        return metric.function(truth, predictions)

    def _with_gaps(self, predictions: Array, thresholds: Sequence[float] | None) -> float:
        """Of labels some of which are not known: those are right as none; other metrics are the labels' mean."""
        metric, truth, known_ = self.metric, self.truth, self.known
        if metric.needs == "label":
            predictions = decide(self.setup, predictions, thresholds)
            if metric.name != "hamming":
                return metric.function(np.where(known_, truth, 0), np.where(known_, predictions, 0))
        found = []
        for c in range(truth.shape[1]):
            here = known_[:, c]
            if here.any() and (metric.lower_is_better or np.ptp(truth[here, c]) > 0):  # areas need both classes
                found.append(metric.function(truth[here, c : c + 1], predictions[here, c : c + 1]))
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
    rank = predictions[:, order] @ np.arange(len(order)) / np.maximum(predictions.sum(axis=1), _EPS)
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
