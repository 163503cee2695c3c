"""The metrics of Kaggle's competitions by name.

A metric is a function of two arrays. Label: `(N,)` class codes or `(N, L)` zeros and ones against the same.
Probability: those against probabilities `(N, K)`. Value: `(N,)` values against `(N,)` values. Several targets are
scored column by column and averaged. Metrics that a search evaluates thousands of times are written in numpy; the
intricate ones come from scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.contract import Output, TaskKind
from agentkd.errors import UserError

Array = npt.NDArray[Any]
EPS = 1e-15  # probabilities are clipped to [EPS, 1 − EPS], as Kaggle does
_CLASSES: tuple[TaskKind, ...] = ("binary", "multiclass")
_ANY: tuple[TaskKind, ...] = ("binary", "multiclass", "multilabel")


@dataclass(frozen=True)
class Metric:
    """A metric by name."""

    name: str
    needs: Output  # what the function compares with the truth
    lower_is_better: bool
    tasks: tuple[TaskKind, ...]  # that it is defined for
    function: Callable[[Array, Array], float]


def _two_classes(truth: Array, what: str) -> None:
    if truth.size == 0 or truth.min() == truth.max():
        raise UserError(f"{what} is undefined on {truth.size} rows of one class: score on rows of both classes")


# --- labels -----------------------------------------------------------------------------------------------------------


def accuracy(truth: Array, guess: Array) -> float:
    """Share of right rows; multilabel: all labels of a row must be right."""
    hits = truth == guess
    return float(np.mean(hits if hits.ndim == 1 else hits.all(axis=1)))


def _sklearn(name: str, **options: Any) -> Callable[[Array, Array], float]:
    def function(truth: Array, guess: Array) -> float:
        from sklearn import metrics

        return float(getattr(metrics, name)(truth, guess, **options))

    return function


def cost(truth: Array, guess: Array, miss: float = 1.0, alarm: float = 1.0) -> float:
    """Mean cost of a row: `miss` for a positive one that is labelled negative, `alarm` for the opposite."""
    return float(np.mean(miss * ((truth == 1) & (guess == 0)) + alarm * ((truth == 0) & (guess == 1))))


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
    """F1 of the positive class ("binary"), or averaged over the classes that occur in truth or guess.

    0 where nothing is right."""

    def function(truth: Array, guess: Array) -> float:
        if truth.ndim == 2:
            return _f1_of_sets(truth, guess, average)
        table = confusion(truth, guess)
        hit, true, given = np.diag(table), table.sum(axis=1), table.sum(axis=0)
        each = 2 * hit / np.maximum(true + given, 1)
        if average == "binary":
            return float(each[1]) if len(each) > 1 else 0.0
        if average == "micro":
            return float(hit.sum() / len(truth))
        return float(each @ true / len(truth)) if average == "weighted" else float(each[true + given > 0].mean())

    return function


def _f1_of_sets(truth: Array, guess: Array, average: str, beta: float = 1.0) -> float:
    """F-beta of zeros and ones `(N, L)`, by label or by row ("samples"); 0 where both sides are empty."""
    axis = 1 if average == "samples" else 0
    hit, true, given = (truth & guess).sum(axis=axis), truth.sum(axis=axis), guess.sum(axis=axis)
    if average == "micro":
        return float(2 * hit.sum() / max(true.sum() + given.sum(), 1))
    whole = beta**2 * true + given
    each = (1 + beta**2) * hit / np.where(whole > 0, whole, 1.0)
    return float(each @ true / max(true.sum(), 1)) if average == "weighted" else float(each.mean())


def _fbeta(beta: float) -> Callable[[Array, Array], float]:
    def function(truth: Array, guess: Array) -> float:
        p, r = precision(truth, guess), recall(truth, guess)
        return float((1 + beta**2) * p * r / (beta**2 * p + r)) if p + r > 0 else 0.0

    return function


def jaccard(truth: Array, guess: Array) -> float:
    """Jaccard index of the positive class; multilabel: mean over rows, 1 where both sides are empty."""
    both, either = (truth == 1) & (guess == 1), (truth == 1) | (guess == 1)
    if truth.ndim == 1:
        return float(both.sum() / max(either.sum(), 1))
    total = either.sum(axis=1)
    return float(np.mean(np.where(total > 0, both.sum(axis=1) / np.maximum(total, 1), 1.0)))


def precision(truth: Array, guess: Array) -> float:
    """Precision of the positive class; 0 where it is never given."""
    return float(np.sum((truth == 1) & (guess == 1)) / max(np.sum(guess == 1), 1))


def recall(truth: Array, guess: Array) -> float:
    """Recall of the positive class; 0 where it does not occur."""
    return precision(guess, truth)


def mcc(truth: Array, guess: Array) -> float:
    """Matthews correlation of any number of classes (Gorodkin 2004); 0 where one side is constant."""
    table = confusion(truth, guess)
    n, true, given = table.sum(), table.sum(axis=1), table.sum(axis=0)
    scale = np.sqrt((n**2 - true @ true) * (n**2 - given @ given))
    return float((n * np.trace(table) - true @ given) / scale) if scale > 0 else 0.0


def kappa(truth: Array, guess: Array) -> float:
    """Cohen's kappa; 0 where chance agreement is certain."""
    table = confusion(truth, guess) / len(truth)
    chance = float(table.sum(axis=1) @ table.sum(axis=0))
    return float((np.trace(table) - chance) / (1 - chance)) if chance < 1 else 0.0


def qwk(truth: Array, guess: Array) -> float:
    """Quadratic weighted kappa: 1 − mean squared difference / that of independent pairs."""
    chance = truth.var() + guess.var() + (truth.mean() - guess.mean()) ** 2
    return 1.0 if chance == 0 else float(1 - np.mean((truth - guess) ** 2) / chance)


# --- probabilities ----------------------------------------------------------------------------------------------------


def logloss(truth: Array, probability: Array) -> float:
    """Log loss; multilabel: mean over all cells. Rows are rescaled to sum to one and clipped, as by Kaggle."""
    if truth.ndim == 2:
        p = np.clip(probability, EPS, 1 - EPS)
        return float(-np.mean(np.where(truth == 1, np.log(p), np.log(1 - p))))
    return float(-np.mean(_log_likelihood(truth, probability)))


def multiclass_logloss(truth: Array, probability: Array) -> float:
    """Log loss of class codes `(N,)`, or of one-hot columns `(N, K)`."""
    if truth.ndim == 1:
        return logloss(truth, probability)
    if (truth.sum(axis=1) != 1).any():
        raise UserError("multiclass_logloss is undefined where a row has several classes, or none: set metric=logloss")
    return logloss(truth.argmax(axis=1), probability)


def _log_likelihood(truth: Array, probability: Array) -> Array:
    total = np.maximum(probability.sum(axis=1), EPS)
    p = probability[np.arange(truth.size), truth] / total
    return np.asarray(np.log(np.clip(p, EPS, 1 - EPS)))


def balanced_logloss(truth: Array, probability: Array) -> float:
    """Mean of the log losses of the classes that occur."""
    each = np.bincount(truth, _log_likelihood(truth, probability))
    rows = np.bincount(truth)
    return float(-np.mean(each[rows > 0] / rows[rows > 0]))


def map_at(truth: Array, probability: Array, k: int) -> float:
    """MAP@k with one right class per row: the mean of 1 / its rank, 0 below rank k."""
    order = np.argsort(-probability, axis=1, kind="stable")[:, :k]
    return float(np.mean(np.max((order == truth[:, None]) / np.arange(1, order.shape[1] + 1), axis=1)))


def _rank_auc(truth: Array, value: Array) -> float:
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
    """Area under the ROC curve.

    Binary: of the positive class. Multilabel: mean over columns. Multiclass: mean of each class against the rest."""
    if truth.ndim == 2:
        return _columns(_rank_auc, truth, probability)
    if probability.shape[1] == 2:
        return _rank_auc(truth, probability[:, 1])
    _two_classes(truth, "auc")
    return _columns(_rank_auc, np.eye(probability.shape[1], dtype=int)[truth], probability)


def average_precision(truth: Array, probability: Array) -> float:
    """Average precision, averaged over labels or classes as in `auc`."""
    one = _sklearn("average_precision_score")
    if truth.ndim == 2:
        return _columns(one, truth, probability)
    if probability.shape[1] > 2:
        return _columns(one, np.eye(probability.shape[1], dtype=int)[truth], probability)
    _two_classes(truth, "average_precision")
    return one(truth, probability[:, 1])


def brier(truth: Array, probability: Array) -> float:
    """Brier score (Brier 1950): squared error of the positive class; multiclass: summed over classes."""
    if truth.ndim == 2 or probability.shape[1] == 2:
        return float(np.mean((truth - _positive(probability, truth.ndim)) ** 2))
    return float(np.mean(np.sum((np.eye(probability.shape[1])[truth] - probability) ** 2, axis=1)))


def _positive(probability: Array, ndim: int) -> Array:
    return probability if ndim == 2 else probability[:, 1]


# --- values -----------------------------------------------------------------------------------------------------------


def mse(truth: Array, value: Array) -> float:
    """Mean squared error."""
    return float(np.mean((truth - value) ** 2))


def msle(truth: Array, value: Array) -> float:
    """Mean squared logarithmic error.

    Predictions below zero count as zero: Kaggle refuses them, so submissions are clipped too."""
    if truth.min() < 0:
        raise UserError(f"rmsle is undefined for the true value {truth.min():g}: it needs values of 0 or more")
    return mse(np.log1p(truth), np.log1p(np.maximum(value, 0)))


def mape(truth: Array, value: Array) -> float:
    """Mean absolute percentage error as a fraction; a true zero counts as epsilon, as in scikit-learn."""
    return float(np.mean(np.abs(truth - value) / np.maximum(np.abs(truth), np.finfo(np.float64).eps)))


def rmspe(truth: Array, value: Array) -> float:
    """Root mean squared percentage error as a fraction.

    Rows whose true value is zero are left out, as in Rossmann Store Sales."""
    there = truth != 0
    if not there.any():
        raise UserError(f"rmspe is undefined for {truth.size} true values of zero: score on others")
    return float(np.sqrt(np.mean((1 - value[there] / truth[there]) ** 2)))


def smape(truth: Array, value: Array) -> float:
    """Symmetric mean absolute percentage error in percent, 0 to 200; 0 where both values are zero."""
    half = (np.abs(truth) + np.abs(value)) / 2
    return float(100 * np.mean(np.where(half == 0, 0.0, np.abs(truth - value) / np.where(half == 0, 1.0, half))))


def pinball(truth: Array, value: Array, level: float = 0.5) -> float:
    """Mean pinball loss of a quantile of this level (Koenker and Bassett 1978)."""
    less = truth - value
    return float(np.mean(np.maximum(level * less, (level - 1) * less)))


def r2(truth: Array, value: Array) -> float:
    """Coefficient of determination; of a constant truth 1 if met, else 0 (scikit-learn's `force_finite`)."""
    rest, total = np.sum((truth - value) ** 2), np.sum((truth - truth.mean()) ** 2)
    return float(1 - rest / total) if total > 0 else float(rest == 0)


def pearson(truth: Array, value: Array) -> float:
    """Pearson correlation; 0 where one side is constant."""
    a, b = truth - truth.mean(), value - value.mean()
    scale = np.sqrt(np.sum(a**2) * np.sum(b**2))
    return float(np.sum(a * b) / scale) if scale > 0 else 0.0


def spearman(truth: Array, value: Array) -> float:
    """Spearman's rank correlation; 0 where one side is constant."""
    from scipy.stats import rankdata

    return pearson(rankdata(truth), rankdata(value))


def gini(truth: Array, value: Array) -> float:
    """Normalised Gini: area of truth gained in the order of the predictions, over that in its own order.

    Ties stay in the order of the rows. On zeros and ones without ties it is 2 AUC − 1."""

    def area(order: Array) -> float:
        gained = np.cumsum(truth[order])
        return float(np.sum(gained / gained[-1] - np.arange(1, truth.size + 1) / truth.size))

    if truth.sum() == 0 or np.ptp(truth) == 0:
        raise UserError(f"gini is undefined for {truth.size} equal true values: score on more rows")
    return area(np.argsort(-value, kind="stable")) / area(np.argsort(-truth, kind="stable"))


def class_gini(truth: Array, probability: Array) -> float:
    """Gini coefficient of a classification: 2 AUC − 1."""
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
        Metric("f2_samples", "label", False, ("multilabel",), lambda t, g: _f1_of_sets(t, g, "samples", 2.0)),
        Metric("precision", "label", False, ("binary",), precision),
        Metric("recall", "label", False, ("binary",), recall),
        Metric("mcc", "label", False, _CLASSES, mcc),
        Metric("cost", "label", True, ("binary",), cost),
        Metric("qwk", "label", False, (*_CLASSES, "regression"), qwk),
        Metric("kappa", "label", False, _CLASSES, kappa),
        Metric("hamming", "label", True, ("multilabel",), lambda truth, guess: float(np.mean(truth != guess))),
        Metric("logloss", "probability", True, _ANY, logloss),
        Metric("multiclass_logloss", "probability", True, _ANY, multiclass_logloss),
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
        Metric("rmspe", "value", True, regression, rmspe),
        Metric("smape", "value", True, regression, smape),
        Metric("pinball", "value", True, regression, pinball),
        Metric("r2", "value", False, regression, r2),
        Metric("pearson", "value", False, regression, pearson),
        Metric("spearman", "value", False, regression, spearman),
    ]


METRICS: dict[str, Metric] = {metric.name: metric for metric in _metrics()}
