"""Blend candidates by hill climbing or stacking, and choose between them by nested cross-validation.

Hill climbing is ensemble selection with replacement (Caruana et al. 2004, "Ensemble selection from libraries of
models"), bagged over random halves of the candidates as in its section 2.3. A blend of a fold is fitted on the other
folds' out-of-fold rows, so that its score is as honest as a single candidate's.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.contract import Setup
from agentkd.agents.agent_k.scoring.metrics import METRICS
from agentkd.agents.agent_k.scoring.predictions import align_predictions, decide
from agentkd.agents.agent_k.scoring.sampling import sample_rows
from agentkd.agents.agent_k.scoring.scorer import Scorer
from agentkd.agents.agent_k.scoring.thresholds import tune_thresholds
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]
Apply = Callable[[Array], Array]
"""predictions of all candidates (C, N, K) -> (N, K)"""
STEPS = 30
BAGS = 10
ROWS = 5000  # to fit a climb or a stack on: more would change the third digit of a weight
BOOTSTRAP_ROWS = 50_000  # at most, per sample
SURE = 0.75  # share of bootstrap samples that must agree before a difference counts


@dataclass(frozen=True)
class Blend:
    """A blend as prediction files, with its cross-validated score under the metric.

    The score uses thresholds tuned on the other folds, where there are any."""

    kind: str
    weights: dict[str, float]  # by candidate; empty for a stack
    oof: pd.DataFrame
    test: pd.DataFrame
    score: float  # of `oof`
    thresholds: tuple[float, ...] | None = None
    scores: dict[str, float] | None = None  # of each candidate and each blend that was tried


def best_blend(
    setup: Setup,
    truth: pd.DataFrame,
    folds: pd.DataFrame,
    candidates: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]],
    seed: int = 0,
) -> Blend:
    """The best blend of the candidates' `(oof, test)`, never worse than the best single candidate.

    With `setup.metric` "code", log loss or RMSE stands in for the metric. Where a bootstrap over the rows cannot tell
    two blends apart under the metric, log loss decides, which has less noise than a count of right answers. Raises
    UserError without candidates, and for files that do not fit."""
    if not candidates:
        raise UserError("there is no candidate to blend: run one first")
    name = setup.metric if setup.metric in METRICS else proper_metric(setup)
    scorer, smooth = Scorer(setup, truth, name), Scorer(setup, truth, proper_metric(setup, name))
    names = list(candidates)
    ids, test_ids = truth["id"], next(iter(candidates.values()))[1]["id"]
    log = _logarithmic(name)
    oof = np.stack([_bend(align_predictions(setup, candidates[n][0], ids), log) for n in names])
    test = np.stack([_bend(align_predictions(setup, candidates[n][1], test_ids), log) for n in names])
    fold = folds.set_index(folds["id"].astype(str))["fold"].reindex(ids.astype(str)).to_numpy()

    def fit_nested(way: _Blender) -> Array:
        out = np.zeros(oof.shape[1:])
        for number in np.unique(fold):
            held, rest = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
            apply, _ = way(oof, rest, seed)
            out[held] = apply(oof[:, held])
        return out

    singles = [scorer(_unbend(oof[i], log)) for i in range(len(names))]
    order = sorted(range(len(names)), key=lambda i: singles[i] if scorer.metric.lower_is_better else -singles[i])
    best = order[0]
    tried: dict[str, Array] = {"single": oof[best]}
    ways = _list_blenders(setup, scorer, smooth, log) if len(names) > 1 else {}
    for kind, way in ways.items():
        with contextlib.suppress(UserError, ValueError):  # not possible on some fold's rows
            tried[kind] = fit_nested(way)
    scores = {kind: scorer(_unbend(values, log)) for kind, values in tried.items()}
    kind = _choose(scorer, smooth, {k: _unbend(v, log) for k, v in tried.items()}, scores)
    alone = np.eye(len(names))[best]
    try:
        apply, weights = ways[kind](oof, np.arange(len(ids)), seed) if kind != "single" else (_weighted(alone), alone)
    except (UserError, ValueError):
        kind, apply, weights = "single", _weighted(alone), alone
    final = _unbend(tried[kind], log)
    thresholds, value = _tune_if_better(setup, scorer, final, fold, scores[kind])
    return Blend(
        kind=kind,
        weights={n: float(w) for n, w in zip(names, weights, strict=True) if w > 0} if weights is not None else {},
        oof=_frame(setup, ids, final),
        test=_frame(setup, test_ids, _unbend(apply(test), log)),
        score=value,
        thresholds=thresholds,
        scores=dict(zip(names, singles, strict=True)) | scores,
    )


def proper_metric(setup: Setup, metric: str = "") -> str:
    """A smooth metric of the task: the given one if it is smooth, else log loss or RMSE."""
    if setup.task == "regression":
        return metric if metric in METRICS and METRICS[metric].needs == "value" else "rmse"
    return metric if metric == "balanced_logloss" else "logloss"


# --- blenders ---------------------------------------------------------------------------------------------------------

_Blender = Callable[[Array, Array, int], tuple[Apply, Array | None]]
"""(oof (C, N, K), rows to fit on, seed) -> how to apply it, and its weights"""


def _list_blenders(setup: Setup, scorer: Scorer, smooth: Scorer, log: bool) -> dict[str, _Blender]:
    ways: dict[str, _Blender] = {"climb": lambda oof, rows, seed: _climb(scorer, oof, rows, seed, log)}
    if smooth.metric.name != scorer.metric.name:
        ways["climb on log loss"] = lambda oof, rows, seed: _climb(smooth, oof, rows, seed, log)
    ways["average"] = lambda oof, rows, seed: (_weighted(w := np.full(len(oof), 1 / len(oof))), w)
    if setup.task in ("binary", "multiclass") or smooth.metric.name in ("rmse", "mse", "rmsle", "msle", "r2"):
        ways["stack"] = lambda oof, rows, seed: (_stack(setup, scorer.truth, oof, _sample(scorer, rows, seed)), None)
    return ways


def _sample(scorer: Scorer, rows: Array, seed: int) -> Array:
    return sample_rows(rows, ROWS, seed, scorer.truth if scorer.setup.task != "regression" else None)


def _weighted(weights: Array) -> Apply:
    return lambda predictions: np.tensordot(weights, predictions, axes=1)


def _climb(scorer: Scorer, oof: Array, rows: Array, seed: int, log: bool) -> tuple[Apply, Array]:
    """Fit weights by bagged ensemble selection."""
    random = np.random.default_rng(seed)
    rows = _sample(scorer, rows, seed)
    values, here, lower = oof[:, rows], scorer.on_rows(rows), scorer.metric.lower_is_better
    count = len(oof)
    weights = np.zeros(count)
    for _ in range(BAGS if count > 3 else 1):
        pool = np.sort(random.choice(count, max(2, (count + 1) // 2), replace=False)) if count > 3 else np.arange(count)
        weights[pool] += hill_climb(values[pool], lambda p: here(_unbend(p, log)), lower)
    weights /= weights.sum()
    return _weighted(weights), weights


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


def _stack(setup: Setup, truth: Array, oof: Array, rows: Array) -> Apply:
    """Fit a logistic regression on all candidates' log probabilities, or a ridge regression on their values."""
    from sklearn.linear_model import LogisticRegression, RidgeCV

    if setup.task == "regression":
        log = _logarithmic(setup.metric)
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


# --- the choice -------------------------------------------------------------------------------------------------------


def _choose(scorer: Scorer, smooth: Scorer, tried: dict[str, Array], scores: dict[str, float]) -> str:
    """The blend of least smooth loss among those as good as the best; none is worse than the best candidate."""
    good = [kind for kind in tried if not scorer.is_better(scores["single"], scores[kind])]
    top = min(good, key=lambda kind: scores[kind] if scorer.metric.lower_is_better else -scores[kind])
    if smooth.metric.name == scorer.metric.name:
        return top
    level = [kind for kind in good if kind == top or share_better(scorer, tried[top], tried[kind]) < SURE]
    sign = 1.0 if smooth.metric.lower_is_better else -1.0
    return min(level, key=lambda kind: sign * smooth(tried[kind]))


def share_better(scorer: Scorer, one: Array, other: Array, samples: int = 100) -> float:
    """Share of bootstrap samples in which `one` scores better than `other`; ties count half."""
    random = np.random.default_rng(0)
    count = 0.0
    for _ in range(samples):
        rows = random.integers(0, len(one), min(len(one), BOOTSTRAP_ROWS))
        try:
            here = scorer.on_rows(rows)
            a, b = here(one[rows]), here(other[rows])
        except UserError:  # a sample of one class
            a = b = 0.0
        count += 0.5 if a == b else float(scorer.is_better(a, b))
    return count / samples


def _tune_if_better(
    setup: Setup, scorer: Scorer, values: Array, fold: Array, plain: float
) -> tuple[tuple[float, ...] | None, float]:
    """Thresholds tuned on all rows and the score, if tuning on the other folds clearly helps a label metric."""
    if scorer.metric.needs != "label" or setup.task == "regression":
        return None, plain
    scaled = np.zeros_like(values)
    for number in np.unique(fold):
        held, rest = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        thresholds = tune_thresholds(scorer, values, rest)
        scaled[held] = _as_decided(setup, values[held], thresholds)
    tuned = scorer(scaled)
    if not scorer.is_better(tuned, plain) or share_better(scorer, scaled, values) < SURE:
        return None, plain
    return tune_thresholds(scorer, values, np.arange(len(values))), tuned


def _as_decided(setup: Setup, values: Array, thresholds: tuple[float, ...]) -> Array:
    """Decisions as probabilities 0 and 1, so that rows decided by different thresholds can be scored together."""
    decided = decide(setup, values, thresholds)
    return decided.astype(np.float64) if decided.ndim == 2 else np.eye(values.shape[1])[decided]


def _logarithmic(metric: str) -> bool:
    return metric in ("rmsle", "msle")


def _bend(values: Array, log: bool) -> Array:
    return np.log1p(np.maximum(values, 0)) if log else values


def _unbend(values: Array, log: bool) -> Array:
    return np.expm1(values) if log else values


def _frame(setup: Setup, ids: pd.Series[Any], values: Array) -> pd.DataFrame:
    import pandas as pd

    columns = {name: values[:, i] for i, name in enumerate(setup.predicted)}
    return pd.DataFrame({"id": ids.astype(str).to_numpy()} | columns)
