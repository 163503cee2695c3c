"""Tables with scikit-learn: linear models, kernels, neighbours and randomised trees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.solve.cv import Clock, Learn, Problem, cross_fit
from agentkd.agents.agent_k.solve.data import Data
from agentkd.agents.agent_k.solve.features import Table, describe, one_hot, target_means

Array = npt.NDArray[Any]
Estimate = Callable[[Problem, Array, Array, Array, dict[str, Any], int, int], Array]
"""(problem, x of the training rows, their y, x of the others, params, seed, threads) -> probabilities or values."""


def dense(table: Table, problem: Problem, train: Array, seed: int) -> Array:
    """For models that need scales: medians for what is missing, skewed columns by logarithm, unit variance, one-hot
    categories, target means. Statistics are those of the training rows."""
    x = table.numbers.copy()
    gone = np.isnan(x)
    middle = np.zeros(x.shape[1])
    for i in range(x.shape[1]):
        there = x[train, i][~gone[train, i]]
        middle[i] = np.median(there) if len(there) else 0.0
    x = np.where(gone, middle, x)
    low = x[train].min(axis=0, initial=0.0)
    spread = x[train].std(axis=0)
    skew = ((x[train] - x[train].mean(axis=0)) ** 3).mean(axis=0) / np.maximum(spread, 1e-12) ** 3
    bent = np.sign(x) * np.log1p(np.abs(x))
    x = np.where((skew > 1) & (low >= 0), bent, x)
    means = target_means(table.groups, problem.y, problem.classes, train, seed)
    marks = gone[:, gone[train].any(axis=0) & ~gone[train].all(axis=0)].astype(np.float64)
    x = np.hstack([x, means, marks])
    spread = x[train].std(axis=0)
    x = (x - x[train].mean(axis=0)) / np.where(spread > 1e-12, spread, 1.0)
    x = x[:, spread > 1e-12].clip(-8, 8)
    return np.hstack([x, one_hot(table.categories, train)])


def _linear(
    problem: Problem, x: Array, y: Array, rest: Array, params: dict[str, Any], seed: int, threads: int
) -> Array:
    from sklearn.linear_model import LassoCV, LogisticRegression, RidgeCV

    if not problem.classes:
        if params.get("penalty") == "l1":
            model = LassoCV(alphas=40, cv=4, random_state=seed, max_iter=3000)
        else:
            model = RidgeCV(alphas=np.logspace(-1, 4, 26))
        return np.asarray(model.fit(x, y).predict(rest)).reshape(-1, 1)
    best, c = np.inf, 1.0
    inner = np.random.default_rng(seed).permutation(len(y))[:6000]
    cut = len(inner) // 4
    for value in (0.03, 0.1, 0.3, 1.0, 3.0):
        if len(np.unique(y[inner[cut:]])) < problem.classes:
            break
        model = LogisticRegression(C=value, max_iter=300).fit(x[inner[cut:]], y[inner[cut:]])
        p = model.predict_proba(x[inner[:cut]])[np.arange(cut), y[inner[:cut]]]
        if (loss := float(-np.log(np.maximum(p, 1e-9)).mean())) < best:
            best, c = loss, value
    return np.asarray(LogisticRegression(C=c, max_iter=500).fit(x, y).predict_proba(rest))


_ESTIMATES: dict[str, Estimate] = {"linear": _linear}


def sklearn_cv(
    kind: str, data: Data, params: dict[str, Any], seed: int, threads: int, clock: Clock
) -> tuple[Array, Array]:
    table = describe(data.inputs("tab"))

    def learn(problem: Problem, train: Array, rest: Array, seed: int) -> Array:
        x = dense(table, problem, train, seed)
        return _ESTIMATES[kind](problem, x[train], problem.y[train], x[rest], params, seed, threads)

    return cross_fit(data, learn, seed, clock)
