"""Choose the best blend of candidates by nested cross-validation.

A fold's blend is fitted on the other folds' out-of-fold rows, so that its score is as honest as a single candidate's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.contract import Setup
from agentkd.agents.agent_k.scoring.blenders import (
    Blender,
    from_log_scale,
    list_blenders,
    to_log_scale,
    uses_log_scale,
    weighted_sum,
)
from agentkd.agents.agent_k.scoring.judged import judged_rows
from agentkd.agents.agent_k.scoring.metrics import METRICS
from agentkd.agents.agent_k.scoring.predictions import align_predictions, decide_codes
from agentkd.agents.agent_k.scoring.scorer import Scorer
from agentkd.agents.agent_k.scoring.thresholds import tune_thresholds
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]
BOOTSTRAP_ROWS = 50_000  # at most, per sample
PARTS = 5  # of the last block of time, on which a blend is fitted and scored in turn
SURE = 0.75  # share of bootstrap samples that must agree before a difference counts


@dataclass(frozen=True)
class Blend:
    """A blend as prediction files, with its cross-validated score under the metric.

    The score uses thresholds tuned on the other folds, where there are any."""

    kind: str
    weights: dict[str, float]  # by candidate; empty for a stack
    oof: pd.DataFrame
    test: pd.DataFrame
    score: float  # of the rows of `oof` that are judged
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
    names = list(candidates)
    test_ids = next(iter(candidates.values()))[1]["id"]
    log = uses_log_scale(name)
    whole = np.stack([to_log_scale(align_predictions(setup, candidates[n][0], truth["id"]), log) for n in names])
    test = np.stack([to_log_scale(align_predictions(setup, candidates[n][1], test_ids), log) for n in names])
    fold = folds.set_index(folds["id"].astype(str))["fold"].reindex(truth["id"].astype(str)).to_numpy()
    judged = judged_rows(setup, fold)
    if len(judged) < len(fold):  # one block: parts of it stand in for folds
        fold = np.arange(len(judged)) * PARTS // len(judged)
    known, oof = truth.iloc[judged], whole[:, judged]
    scorer, smooth = Scorer(setup, known, name), Scorer(setup, known, proper_metric(setup, name))

    def fit_nested(way: Blender) -> Array:
        out = np.zeros(oof.shape[1:])
        for number in np.unique(fold):
            held, rest = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
            apply, _ = way(oof, rest, seed)
            out[held] = apply(oof[:, held])
        return out

    singles = [scorer(from_log_scale(oof[i], log)) for i in range(len(names))]
    order = sorted(range(len(names)), key=lambda i: singles[i] if scorer.metric.lower_is_better else -singles[i])
    best = order[0]
    tried: dict[str, Array] = {"single": oof[best]}
    ways = list_blenders(setup, scorer, smooth, log) if len(names) > 1 else {}
    for kind, way in ways.items():
        with contextlib.suppress(UserError, ValueError):  # not possible on some fold's rows
            tried[kind] = fit_nested(way)
    scores = {kind: scorer(from_log_scale(values, log)) for kind, values in tried.items()}
    kind = _choose(scorer, smooth, {k: from_log_scale(v, log) for k, v in tried.items()}, scores)
    alone = np.eye(len(names))[best]
    try:
        apply, weights = (
            ways[kind](oof, np.arange(len(judged)), seed) if kind != "single" else (weighted_sum(alone), alone)
        )
    except (UserError, ValueError):
        kind, apply, weights = "single", weighted_sum(alone), alone
    final = from_log_scale(tried[kind], log)
    thresholds, value = _tune_if_better(setup, scorer, final, fold, scores[kind])
    everywhere = from_log_scale(apply(whole), log)
    everywhere[judged] = final
    return Blend(
        kind=kind,
        weights={n: float(w) for n, w in zip(names, weights, strict=True) if w > 0} if weights is not None else {},
        oof=_frame(setup, truth["id"], everywhere),
        test=_frame(setup, test_ids, from_log_scale(apply(test), log)),
        score=value,
        thresholds=thresholds,
        scores=dict(zip(names, singles, strict=True)) | scores,
    )


def proper_metric(setup: Setup, metric: str = "") -> str:
    """A smooth metric of the task: the given one if it is smooth, else log loss or RMSE."""
    if setup.task == "regression":
        return metric if metric in METRICS and METRICS[metric].needs == "value" else "rmse"
    return metric if metric == "balanced_logloss" else "logloss"


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
    decided = decide_codes(setup, values, thresholds)
    return decided.astype(np.float64) if decided.ndim == 2 else np.eye(values.shape[1])[decided]


def _frame(setup: Setup, ids: pd.Series[Any], values: Array) -> pd.DataFrame:
    import pandas as pd

    columns = {name: values[:, i] for i, name in enumerate(setup.predicted)}
    return pd.DataFrame({"id": ids.astype(str).to_numpy()} | columns)
