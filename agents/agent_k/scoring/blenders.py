"""Blenders: hill climbing, averaging and stacking of candidates' predictions.

Hill climbing is ensemble selection with replacement (Caruana et al. 2004, "Ensemble selection from libraries of
models"), bagged over random halves of the candidates as in its section 2.3.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.contract import Setup
from agentkd.agents.agent_k.scoring.sampling import sample_rows
from agentkd.agents.agent_k.scoring.scorer import Scorer
from agentkd.errors import UserError

Array = npt.NDArray[Any]
Apply = Callable[[Array], Array]
"""predictions of all candidates (C, N, K) -> (N, K)"""
STEPS = 30
BAGS = 10
ROWS = 5000  # to fit a climb or a stack on: more would hardly change the weights
CELLS = 200_000  # rows times classes, that a climb is fitted on: many classes take fewer rows
FEWEST = 20  # rows a class, of a stack
WORK = 5_000_000  # rows times candidates times squared classes, that a stack is fitted on
Blender = Callable[[Array, Array, int], tuple[Apply, Array | None]]
"""(oof (C, N, K), rows to fit on, seed) -> how to apply it, and its weights"""


def list_blenders(setup: Setup, scorer: Scorer, smooth: Scorer, log: bool) -> dict[str, Blender]:
    """The blenders that suit the task and the metric, by name. `log`: predictions are on a log scale."""
    ways: dict[str, Blender] = {"climb": lambda oof, rows, seed: _climb(scorer, oof, rows, seed, log)}
    if smooth.metric.name != scorer.metric.name:
        ways["climb on log loss"] = lambda oof, rows, seed: _climb(smooth, oof, rows, seed, log)
    ways["average"] = lambda oof, rows, seed: (weighted_sum(w := np.full(len(oof), 1 / len(oof))), w)
    if setup.task in ("binary", "multiclass") or smooth.metric.name in ("rmse", "mse", "rmsle", "msle", "r2"):
        ways["stack"] = lambda oof, rows, seed: (fit_stack(setup, scorer.truth, oof, rows, seed), None)
    return ways


def _sample(setup: Setup, truth: Array, rows: Array, seed: int, most: int = ROWS) -> Array:
    return sample_rows(rows, min(most, ROWS), seed, truth if setup.task != "regression" else None)


def _sample_stack(setup: Setup, truth: Array, oof: Array, rows: Array, seed: int) -> Array:
    """Rows to fit a stack on. Raises UserError where many classes leave too few."""
    most = WORK // (len(oof) * oof.shape[2] ** 2)
    if most < min(len(rows), FEWEST * oof.shape[2]):
        raise UserError(f"{oof.shape[2]} classes are too many for a stack")
    return _sample(setup, truth, rows, seed, most)


def weighted_sum(weights: Array) -> Apply:
    """A blend by the weighted sum of all candidates."""
    return lambda predictions: np.tensordot(weights, predictions, axes=1)


def _climb(scorer: Scorer, oof: Array, rows: Array, seed: int, log: bool) -> tuple[Apply, Array]:
    """Fit weights by bagged ensemble selection."""
    random = np.random.default_rng(seed)
    rows = _sample(scorer.setup, scorer.truth, rows, seed, CELLS // oof.shape[2])
    values, here, lower = oof[:, rows], scorer.on_rows(rows), scorer.metric.lower_is_better
    count = len(oof)
    weights = np.zeros(count)
    for _ in range(BAGS if count > 3 else 1):
        pool = np.sort(random.choice(count, max(2, (count + 1) // 2), replace=False)) if count > 3 else np.arange(count)
        weights[pool] += hill_climb(values[pool], lambda p: here(from_log_scale(p, log)), lower)
    weights /= weights.sum()
    return weighted_sum(weights), weights


def hill_climb(
    predictions: Array, evaluate: Callable[[Array], float], lower_is_better: bool, steps: int = STEPS
) -> Array:
    """Weights `(C,)` that sum to one, by greedy selection from predictions `(C, N, K)`.

    Each step adds the candidate with which the mean scores best; the weights after the best step are returned."""
    sign = 1.0 if lower_is_better else -1.0
    picks = np.zeros(len(predictions))
    total = np.zeros(predictions.shape[1:])
    best, found = np.inf, picks
    since = 0
    for step in range(1, steps + 1):
        scores = [sign * evaluate((total + p) / step) for p in predictions]
        place = int(np.argmin(scores))
        picks[place] += 1
        total = total + predictions[place]
        since += 1
        if scores[place] < best - 1e-12:
            best, found, since = scores[place], picks.copy(), 0
        if since >= 8:
            break
    return found / found.sum()


def fit_stack(setup: Setup, truth: Array, oof: Array, rows: Array, seed: int) -> Apply:
    """Fit a logistic regression on all candidates' log probabilities, or a ridge regression on their values.

    `oof` is `(C, N, K)`, `truth` that of `encode_targets`; of many `rows` a sample is fitted on."""
    from sklearn.linear_model import LogisticRegression, RidgeCV

    rows = _sample_stack(setup, truth, oof, rows, seed)
    if setup.task == "regression":
        log = uses_log_scale(setup.metric)
        fits = []
        for column in range(truth.shape[1]):
            y = np.log1p(truth[:, column]) if log else truth[:, column]
            kept = rows[np.isfinite(y[rows])]
            x = oof[:, kept, column].T
            middle, scale = float(y[kept].mean()), float(y[kept].std()) or 1.0
            model = RidgeCV(alphas=np.logspace(-2, 3, 11)).fit((x - middle) / scale, (y[kept] - middle) / scale)
            fits.append((model, middle, scale))
        return lambda p: np.column_stack(
            [m.predict((p[:, :, c].T - middle) / scale) * scale + middle for c, (m, middle, scale) in enumerate(fits)]
        )

    def features(p: Array) -> Array:
        logs = np.log(np.clip(p, 1e-4, 1))
        if logs.shape[2] == 2:
            logs = logs[:, :, 1:] - logs[:, :, :1]
        return np.hstack(list(logs))

    kept = rows[truth[rows] >= 0]
    x, y = features(oof[:, kept]), truth[kept]
    scale = x.std(axis=0).mean() or 1.0
    with warnings.catch_warnings():  # about convergence: the nested score tells its worth
        warnings.simplefilter("ignore")
        weight = "balanced" if setup.metric == "balanced_logloss" else None
        model = LogisticRegression(C=0.05, max_iter=200, class_weight=weight).fit(x / scale, y)

    def apply(p: Array) -> Array:
        out = np.zeros((p.shape[1], p.shape[2]))
        out[:, model.classes_] = model.predict_proba(features(p) / scale)
        return out

    return apply


def uses_log_scale(metric: str) -> bool:
    """Whether values are blended on a log scale."""
    return metric in ("rmsle", "msle")


def to_log_scale(values: Array, log: bool) -> Array:
    """log(1 + value) if `log`, else the values."""
    return np.log1p(np.maximum(values, 0)) if log else values


def from_log_scale(values: Array, log: bool) -> Array:
    """The inverse of `to_log_scale`."""
    return np.expm1(values) if log else values
