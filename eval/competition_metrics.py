"""The grader's own metrics of Kaggle competitions, by name.

They share no code with the solvers' metrics (`agents/agent_k/scoring`), so that a mistake there cannot grade itself.
A metric is a function of the truth and of what is compared with it, after `compares`:

- `label`: class codes `(N,)`, or zeros and ones `(N, L)`, on both sides
- `probability`: the same truth against probabilities `(N, K)` or `(N, L)`
- `value`: numbers `(N,)` on both sides

scikit-learn computes what it has; the rest are formulas in numpy. Undefined cases raise UserError.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from agentkd.errors import UserError

Array = npt.NDArray[Any]
Function = Callable[[Array, Array], float]
SMALLEST = 1e-15  # Kaggle clips probabilities to [1e-15, 1 - 1e-15]
BINARY = ("binary",)
CLASSES = ("binary", "multiclass")
LABELLED = ("binary", "multiclass", "multilabel")
REGRESSION = ("regression",)


@dataclass(frozen=True)
class Metric:
    """A metric, what it compares with the truth, and the tasks it is defined for."""

    name: str
    compares: Literal["label", "probability", "value"]
    lower_is_better: bool
    tasks: tuple[str, ...]
    function: Function


def sklearn_metric(name: str, **options: Any) -> Function:
    """Return scikit-learn's metric of that name; it is imported at the first call, and does not warn."""

    def function(truth: Array, predicted: Array) -> float:
        from sklearn import metrics

        with warnings.catch_warnings(action="ignore"):
            return float(getattr(metrics, name)(truth, predicted, **options))

    return function


def mean_over_columns(function: Function, truth: Array, predicted: Array) -> float:
    """Average a metric over the columns in which both classes occur."""
    both = [column for column in range(truth.shape[1]) if len(np.unique(truth[:, column])) > 1]
    if not both:
        raise UserError(f"no column of {truth.shape[1]} has both classes in {len(truth)} rows: score on more rows")
    return sum(function(truth[:, column], predicted[:, column]) for column in both) / len(both)


def one_hot(codes: Array, classes: int) -> Array:
    """Class codes `(N,)` as zeros and ones `(N, classes)`."""
    return np.asarray(codes[:, None] == np.arange(classes), dtype=np.int64)


def refuse_one_class(truth: Array, name: str) -> None:
    """Raise UserError where only one class occurs."""
    if len(np.unique(truth)) < 2:
        raise UserError(f"{name} is undefined on {truth.size} rows of one class: score on rows of both classes")


# --- labels -----------------------------------------------------------------------------------------------------------


def of_positive(name: str, **options: Any) -> Function:
    """Return scikit-learn's metric of the positive class (code 1) against all others; 0 where it is undefined."""
    metric = sklearn_metric(name, zero_division=0.0, **options)
    return lambda truth, guess: metric(truth == 1, guess == 1)


f1 = of_positive("f1_score")


def averaged_f1(average: Literal["macro", "micro", "weighted"]) -> Function:
    """Return F1 averaged over the classes that occur on either side, or over all labels of a multilabel task."""
    over_classes = sklearn_metric("f1_score", average=average, zero_division=0.0)

    def function(truth: Array, guess: Array) -> float:
        if truth.ndim == 1:
            return over_classes(truth, guess)
        if average == "micro":
            return f1(truth.ravel(), guess.ravel())
        by_label = np.array([f1(truth[:, label], guess[:, label]) for label in range(truth.shape[1])])
        if average == "macro":
            return float(by_label.mean())
        support = truth.sum(axis=0)
        return float(by_label @ support / support.sum()) if support.any() else 0.0

    return function


def divide(part: Array, whole: Array, empty: float) -> Array:
    """Divide cell by cell; `empty` where the whole is 0."""
    return np.asarray(np.divide(part, whole, out=np.full(len(whole), empty), where=whole > 0))


def f_samples(beta: float) -> Function:
    """Return F-beta of the label sets, averaged over the rows; 0 where both sets are empty."""

    def function(truth: Array, guess: Array) -> float:
        both = np.logical_and(truth, guess).sum(axis=1)
        whole = beta * beta * truth.sum(axis=1) + guess.sum(axis=1)
        return float(divide((1 + beta * beta) * both, whole, empty=0.0).mean())

    return function


def jaccard(truth: Array, guess: Array) -> float:
    """Jaccard index of the positive class.

    Multilabel: averaged over the rows, 1 where both label sets are empty.
    """
    if truth.ndim == 1:
        return of_positive("jaccard_score")(truth, guess)
    both, either = np.logical_and(truth, guess).sum(axis=1), np.logical_or(truth, guess).sum(axis=1)
    return float(divide(both, either, empty=1.0).mean())


def hamming(truth: Array, guess: Array) -> float:
    """Share of wrong cells."""
    return float(np.count_nonzero(truth != guess) / truth.size)


def kappa(truth: Array, guess: Array) -> float:
    """Cohen's kappa; 0 where both sides hold one and the same class."""
    if len(np.union1d(truth, guess)) == 1:
        return 0.0
    return sklearn_metric("cohen_kappa_score")(truth, guess)


def quadratic_kappa(truth: Array, guess: Array) -> float:
    """Quadratic weighted kappa of numbers, which need not be equally spaced.

    1 where both sides hold one and the same number.
    """
    a, rows = np.unique(truth, return_counts=True)
    b, columns = np.unique(guess, return_counts=True)
    by_chance = rows @ np.subtract.outer(a, b) ** 2 @ columns / len(truth)
    return 1.0 if by_chance == 0 else float(1 - np.sum((truth - guess) ** 2) / by_chance)


# --- probabilities ----------------------------------------------------------------------------------------------------


def row_losses(truth: Array, probability: Array) -> Array:
    """-log p of the true class of each row `(N,)`: rows rescaled to sum to 1, then clipped, as Kaggle does."""
    scaled = probability / np.maximum(probability.sum(axis=1, keepdims=True), SMALLEST)
    return np.asarray(
        -np.log(np.clip(np.take_along_axis(scaled, truth[:, None], axis=1)[:, 0], SMALLEST, 1 - SMALLEST))
    )


def logloss(truth: Array, probability: Array) -> float:
    """Log loss; multilabel: the mean over all cells, without rescaling."""
    if truth.ndim == 1:
        return float(row_losses(truth, probability).mean())
    p = np.clip(probability, SMALLEST, 1 - SMALLEST)
    return float(-(np.log(p[truth == 1]).sum() + np.log(1 - p[truth == 0]).sum()) / truth.size)


def multiclass_logloss(truth: Array, probability: Array) -> float:
    """Log loss; classes may also stand in columns of their own, `(N, K)` with one 1 per row."""
    if truth.ndim == 2:
        if (np.count_nonzero(truth, axis=1) != 1).any():
            raise UserError(
                "multiclass_logloss is undefined where a row has several classes, or none: set metric=logloss"
            )
        truth = np.nonzero(truth)[1]
    return logloss(truth, probability)


def balanced_logloss(truth: Array, probability: Array) -> float:
    """Mean over the classes that occur of the log loss on their rows."""
    losses = row_losses(truth, probability)
    return float(np.mean([losses[truth == code].mean() for code in np.unique(truth)]))


def auc(truth: Array, probability: Array) -> float:
    """Area under the ROC curve.

    Multilabel: mean over the labels; multiclass: mean over the classes, each against the rest.
    """
    one = sklearn_metric("roc_auc_score")
    if truth.ndim == 2:
        return mean_over_columns(one, truth, probability)
    refuse_one_class(truth, "auc")
    if probability.shape[1] == 2:
        return one(truth, probability[:, 1])
    return mean_over_columns(one, one_hot(truth, probability.shape[1]), probability)


def average_precision(truth: Array, probability: Array) -> float:
    """Average precision, averaged as in `auc`."""
    one = sklearn_metric("average_precision_score")
    if truth.ndim == 2:
        return mean_over_columns(one, truth, probability)
    if probability.shape[1] > 2:
        return mean_over_columns(one, one_hot(truth, probability.shape[1]), probability)
    refuse_one_class(truth, "average_precision")
    return one(truth, probability[:, 1])


def brier(truth: Array, probability: Array) -> float:
    """Brier score of the positive class.

    Multilabel: over all cells; multiclass: summed over the classes (Brier 1950).
    """
    if truth.ndim == 1 and probability.shape[1] != 2:
        squares = (probability - one_hot(truth, probability.shape[1])) ** 2
        return float(squares.sum() / len(truth))
    return float(np.square(probability - truth if truth.ndim == 2 else probability[:, 1] - truth).mean())


def class_gini(truth: Array, probability: Array) -> float:
    """Gini coefficient of a binary task: 2 AUC - 1."""
    return 2 * auc(truth, probability) - 1


def map_at_k(cells: list[list[str]], truth: list[str]) -> float:
    """Mean average precision of rows of class names, one of which is right: 1 over its place in its row, or 0."""
    return sum(1 / (row.index(true) + 1) for row, true in zip(cells, truth, strict=True) if true in row) / len(cells)


# --- values -----------------------------------------------------------------------------------------------------------


def msle(truth: Array, value: Array) -> float:
    """Mean squared logarithmic error; predictions below zero count as zero."""
    if truth.min() < 0:
        raise UserError(f"rmsle is undefined for the true value {truth.min():g}: it needs values of 0 or more")
    return sklearn_metric("mean_squared_log_error")(truth, np.clip(value, 0, None))


def rmspe(truth: Array, value: Array) -> float:
    """Root mean squared relative error, as a fraction, of the rows whose true value is not zero."""
    if not truth.any():
        raise UserError(f"rmspe is undefined for {truth.size} true values of zero: score on others")
    relative = (truth - value)[truth != 0] / truth[truth != 0]
    return float(np.sqrt(np.square(relative).mean()))


def smape(truth: Array, value: Array) -> float:
    """Symmetric mean absolute percentage error, 0 to 200; 0 where both values are zero."""
    size = np.abs(truth) + np.abs(value)
    return float(200 * divide(np.abs(truth - value), size, empty=0.0).mean())


def cost(truth: Array, label: Array, miss: float = 1.0, alarm: float = 1.0) -> float:
    """Mean cost of a row: `miss` for an overlooked positive one, `alarm` for a negative one that is called positive."""
    return float((miss * np.sum(truth > label) + alarm * np.sum(truth < label)) / len(truth))


def pinball(truth: Array, value: Array, level: float) -> float:
    """Mean pinball loss of a quantile of this level."""
    return sklearn_metric("mean_pinball_loss", alpha=level)(truth, value)


def r2(truth: Array, value: Array) -> float:
    """Coefficient of determination; a constant truth: 1 where it is met, else 0."""
    if len(truth) < 2:
        return float(truth[0] == value[0])
    return sklearn_metric("r2_score")(truth, value)


def correlation(truth: Array, value: Array) -> float:
    """Pearson's correlation; 0 where one side is constant."""
    if np.ptp(truth) == 0 or np.ptp(value) == 0:
        return 0.0
    return float(np.corrcoef(truth, value)[0, 1])


def rank_correlation(truth: Array, value: Array) -> float:
    """Spearman's correlation; 0 where one side is constant."""
    if np.ptp(truth) == 0 or np.ptp(value) == 0:
        return 0.0
    from scipy.stats import spearmanr

    return float(spearmanr(truth, value).statistic)


def normalised_gini(truth: Array, value: Array) -> float:
    """Normalised Gini coefficient: that of the truth in the order of the predictions, over that in its own order.

    Ties stay in the order of the rows. The k-th of N rows (from 0) adds its true value to N - k of the cumulated sums.
    """
    if truth.sum() == 0 or np.ptp(truth) == 0:
        raise UserError(f"gini is undefined for {truth.size} equal true values: score on more rows")
    weights = np.arange(truth.size, 0, -1)

    def area(by: Array) -> float:
        ordered = truth[np.argsort(-by, kind="stable")]
        return float(weights @ ordered / truth.sum() - (truth.size + 1) / 2)

    return area(value) / area(truth)


def take_root(function: Function) -> Function:
    """Return the square root of a metric."""
    return lambda truth, value: float(np.sqrt(function(truth, value)))


mse = sklearn_metric("mean_squared_error")


def list_metrics() -> list[Metric]:
    """All metrics, by what they compare."""

    def label(name: str, tasks: tuple[str, ...], function: Function, lower_is_better: bool = False) -> Metric:
        return Metric(name, "label", lower_is_better, tasks, function)

    def probability(name: str, tasks: tuple[str, ...], function: Function, lower_is_better: bool = False) -> Metric:
        return Metric(name, "probability", lower_is_better, tasks, function)

    def value(name: str, function: Function, lower_is_better: bool = True) -> Metric:
        return Metric(name, "value", lower_is_better, REGRESSION, function)

    return [
        label("accuracy", LABELLED, sklearn_metric("accuracy_score")),
        label("balanced_accuracy", CLASSES, sklearn_metric("balanced_accuracy_score")),
        label("f1", BINARY, f1),
        label("f2", BINARY, of_positive("fbeta_score", beta=2)),
        label("f0.5", BINARY, of_positive("fbeta_score", beta=0.5)),
        label("cost", BINARY, cost, lower_is_better=True),
        label("jaccard", ("binary", "multilabel"), jaccard),
        label("f1_macro", LABELLED, averaged_f1("macro")),
        label("f1_micro", LABELLED, averaged_f1("micro")),
        label("f1_weighted", LABELLED, averaged_f1("weighted")),
        label("f1_samples", ("multilabel",), f_samples(1)),
        label("f2_samples", ("multilabel",), f_samples(2)),
        label("precision", BINARY, of_positive("precision_score")),
        label("recall", BINARY, of_positive("recall_score")),
        label("mcc", CLASSES, sklearn_metric("matthews_corrcoef")),
        label("qwk", (*CLASSES, *REGRESSION), quadratic_kappa),
        label("kappa", CLASSES, kappa),
        label("hamming", ("multilabel",), hamming, lower_is_better=True),
        probability("logloss", LABELLED, logloss, lower_is_better=True),
        probability("multiclass_logloss", LABELLED, multiclass_logloss, lower_is_better=True),
        probability("balanced_logloss", CLASSES, balanced_logloss, lower_is_better=True),
        probability("auc", ("binary", "multilabel"), auc),
        probability("multiclass_auc", ("multiclass",), auc),
        probability("mean_columnwise_auc", ("multilabel",), auc),
        probability("average_precision", LABELLED, average_precision),
        probability("brier", LABELLED, brier, lower_is_better=True),
        probability("gini", BINARY, class_gini),
        value("normalized_gini", normalised_gini, lower_is_better=False),
        value("rmse", take_root(mse)),
        value("mean_columnwise_rmse", take_root(mse)),
        value("rmsle", take_root(msle)),
        value("msle", msle),
        value("mse", mse),
        value("mae", sklearn_metric("mean_absolute_error")),
        value("medae", sklearn_metric("median_absolute_error")),
        value("mape", sklearn_metric("mean_absolute_percentage_error")),
        value("rmspe", rmspe),
        value("smape", smape),
        value("pinball", lambda truth, guess: pinball(truth, guess, 0.5)),
        value("r2", r2, lower_is_better=False),
        value("pearson", correlation, lower_is_better=False),
        value("spearman", rank_correlation, lower_is_better=False),
    ]


METRICS: dict[str, Metric] = {metric.name: metric for metric in list_metrics()}
MAP_AT_K = "map@k"
"""Compares cells of several class names, not arrays: see `map_at_k`. Higher is better."""
