"""Models of scikit-learn as one function each: training rows in, predictions of other rows out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.solvers.cross_fit import Problem

Array = npt.NDArray[Any]
FitPredict = Callable[[Problem, Array, Array, Array, dict[str, Any], int], Array]
"""(problem, x of the training rows, their y, x of the others, params, seed) -> (rows, classes), or values (rows, 1)"""


def _linear(problem: Problem, x: Array, y: Array, rest: Array, params: dict[str, Any], seed: int) -> Array:
    """Linear model: ridge or lasso with cross-validated penalty, or logistic regression.

    The penalty of the latter is the best one on a quarter of the training rows."""
    from sklearn.linear_model import LassoCV, LogisticRegression, RidgeCV

    if problem.level is not None:
        return _quantile(problem.level, x, y, rest)
    if not problem.classes:
        if params.get("penalty") == "l1":
            short = {"max_iter": 3000, "tol": 1e-3}  # a smaller tolerance is no better, and much slower
            model = LassoCV(alphas=40, cv=4, random_state=seed, **short)
        else:
            model = RidgeCV(alphas=np.logspace(-1, 4, 26))
        return np.asarray(model.fit(x, y).predict(rest)).reshape(-1, 1)
    c = _best_of((0.03, 0.1, 0.3, 1.0, 3.0), lambda value: LogisticRegression(C=value, max_iter=300), x, y, seed)
    return np.asarray(LogisticRegression(C=c, max_iter=500).fit(x, y).predict_proba(rest))


def _quantile(level: float, x: Array, y: Array, rest: Array) -> Array:
    """Linear quantile regression with the better of two penalties on a quarter of the rows."""
    from sklearn.linear_model import QuantileRegressor

    middle, scale = float(y.mean()), float(y.std()) or 1.0
    z = (y - middle) / scale

    def fit(alpha: float, rows: slice) -> Any:
        return QuantileRegressor(quantile=level, alpha=alpha, solver="highs").fit(x[rows], z[rows])

    def loss(model: Any, rows: slice) -> float:
        less = z[rows] - model.predict(x[rows])
        return float(np.mean(np.maximum(level * less, (level - 1) * less)))

    held, kept = slice(0, len(y) // 4), slice(len(y) // 4, None)
    best = min((0.003, 0.03), key=lambda alpha: loss(fit(alpha, kept), held)) if len(y) >= 40 else 0.03
    return np.asarray(fit(best, slice(None)).predict(rest) * scale + middle).reshape(-1, 1)


def _best_of(values: Sequence[float], make: Callable[[float], Any], x: Array, y: Array, seed: int) -> float:
    """The value whose model has the least log loss on a quarter of the rows (at most 6,000)."""
    rows = np.random.default_rng(seed).permutation(len(y))[:6000]
    held, kept = np.split(rows, [len(rows) // 4])
    if len(np.unique(y[kept])) < len(np.unique(y)) or len(held) < 10:
        return 1.0
    losses = [_loss(make(value).fit(x[kept], y[kept]).predict_proba(x[held]), y[held]) for value in values]
    return values[int(np.argmin(losses))]


def _loss(p: Array, y: Array) -> float:
    return float(-np.log(np.maximum(p[np.arange(len(y)), y], 1e-9)).mean())


def _svm(problem: Problem, x: Array, y: Array, rest: Array, params: dict[str, Any], seed: int) -> Array:
    """Support vector machines with RBF kernel; class probabilities by a sigmoid (Platt 1999)."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.model_selection import StratifiedKFold
    from sklearn.svm import SVC, SVR

    c, gamma = float(params.get("C", 3.0)), float(params.get("gamma", 0.3)) / x.shape[1]
    if not problem.classes:
        middle, scale = y.mean(), y.std()
        values = SVR(C=c, gamma=gamma, epsilon=float(params.get("epsilon", 0.1))).fit(x, (y - middle) / scale)
        return np.asarray(values.predict(rest) * scale + middle).reshape(-1, 1)
    count = np.bincount(y, minlength=problem.classes)
    out = np.tile(count / len(y), (len(rest), 1))
    common = np.flatnonzero(count >= 3)  # each inner fold needs a row of the class
    if len(common) > 1:
        kept = np.isin(y, common)
        folds = StratifiedKFold(3, shuffle=True, random_state=seed)
        model = CalibratedClassifierCV(SVC(C=c, gamma=gamma), ensemble=False, cv=folds).fit(x[kept], y[kept])
        out[:, common] = model.predict_proba(rest) * kept.mean()
    return out


def _trees(problem: Problem, x: Array, y: Array, rest: Array, params: dict[str, Any], seed: int) -> Array:
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    count = int(params.get("trees", 300))
    share = {"min_samples_leaf": int(params.get("leaf", 2)), "max_features": params.get("max_features", 0.4)}
    kind = ExtraTreesClassifier if problem.classes else ExtraTreesRegressor
    model = kind(count, random_state=seed, **share).fit(x, y)
    return np.asarray(model.predict_proba(rest) if problem.classes else model.predict(rest).reshape(-1, 1))


def _neighbours(problem: Problem, x: Array, y: Array, rest: Array, params: dict[str, Any], seed: int) -> Array:
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

    count = min(int(params.get("k", 15)), len(y))
    if problem.classes:
        model = KNeighborsClassifier(count, weights="distance").fit(x, y)
        return np.asarray(model.predict_proba(rest)) * 0.98 + 0.02 / problem.classes  # no neighbour does not mean never
    return np.asarray(KNeighborsRegressor(count, weights="distance").fit(x, y).predict(rest)).reshape(-1, 1)


def _histogram(problem: Problem, x: Array, y: Array, rest: Array, params: dict[str, Any], seed: int) -> Array:
    """Histogram gradient boosting, stopped early by a tenth of the rows.

    With too few rows of a class for that, it runs for as many rounds as it usually takes."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    options: dict[str, Any] = {
        "max_iter": 400,
        "learning_rate": 0.05,
        "max_leaf_nodes": 15,
        "early_stopping": True,
        "random_state": seed,
    }
    if problem.classes and (np.bincount(y).min() < 2 or len(y) < 10 * problem.classes):
        options |= {"early_stopping": False, "max_iter": 100}
    if problem.level is not None:
        options |= {"loss": "quantile", "quantile": problem.level}
    options |= params
    model = (HistGradientBoostingClassifier if problem.classes else HistGradientBoostingRegressor)(**options).fit(x, y)
    return np.asarray(model.predict_proba(rest) if problem.classes else model.predict(rest).reshape(-1, 1))


ESTIMATORS: dict[str, FitPredict] = {
    "linear": _linear,
    "svm": _svm,
    "extra-trees": _trees,
    "knn": _neighbours,
    "hist-gbm": _histogram,
}
