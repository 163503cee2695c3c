"""Tune thresholds of probabilities for the best score under a label metric."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.scoring.sampling import sample_rows
from agentkd.agents.agent_k.scoring.scorer import Scorer
from agentkd.agents.agent_k.scoring.truth import class_numbers

Array = npt.NDArray[Any]
Cut = Callable[[float], Array]
"""threshold -> decisions: codes (N,), or zeros and ones (N, L)"""
_GRID = 50
_CELLS = 400_000  # probabilities in the sample
_TRIALS = 2000  # decisions that are scored; where they are too few for all classes, the rarest stay as they are
_WORK = 400_000_000  # numbers handled by all the scoring: rows, and pairs of classes
_COMMON = (0.5, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.6)  # cuts tried for all labels at once
_LEAST = 5  # thresholds tried per class


def tune_thresholds(scorer: Scorer, predictions: Array, rows: Array) -> tuple[float, ...]:
    """The best thresholds on (a sample of) `rows`, as `predictions.decide_codes` takes them.

    Binary: the middle of the best cuts among quantiles of the positive class's probability. Multilabel and multiclass:
    coordinate descent in two rounds. QWK: the same over cuts of the expected rank."""
    setup, width = scorer.setup, predictions.shape[1]
    rows = sample_rows(rows, max(2000, _CELLS // width), 0, scorer.truth)
    scorer, predictions = scorer.on_rows(rows), predictions[rows]

    def value(decided: Array) -> float:
        found = scorer.score_decisions(decided)
        return -found if scorer.metric.lower_is_better else found

    work = predictions.size if setup.task == "multilabel" else len(rows) + width**2
    trials = min(_TRIALS, _WORK // work)
    if setup.task == "binary" and scorer.metric.name != "qwk":
        n, p = predictions.T
        grid = np.unique(np.append(np.quantile(p, np.linspace(0.01, 0.99, 2 * _GRID)), 0.5)).clip(1e-6, 1 - 1e-6)
        scores = np.array([value((p / t > n / (1 - t)).astype(np.int64)) for t in grid])
        t = _middle(grid, scores)
        return (1 - t, t)
    if scorer.metric.name == "qwk":
        order = np.argsort(class_numbers(setup))
        rank = predictions[:, order] @ np.arange(width)
        grid = np.unique(np.quantile(rank, np.linspace(0.005, 0.995, _GRID)))
        start, grids = np.arange(width - 1) + 0.5, [grid] * (width - 1)
        return _descend(
            start, grids, lambda t, i: _cut_rank(rank, order, t, i), value, trials, -np.abs(start - width / 2)
        )
    start = np.full(width, 0.5)
    if setup.task == "multilabel":
        tried = _COMMON[: max(1, trials // _LEAST)]
        common = [value((predictions >= t).astype(np.int64)) for t in tried]
        start = np.full(width, tried[int(np.argmax(common))])  # F2 wants low cuts in all columns
        grids = [np.unique(np.quantile(p, np.linspace(0.01, 0.99, _GRID))).clip(1e-6, 1) for p in predictions.T]
        return _descend(
            start,
            grids,
            lambda t, i: _cut_label(predictions, t, i),
            value,
            max(trials - len(tried), 1),
            scorer.truth.sum(axis=0),
        )
    grids = [0.5 * np.exp(np.linspace(-2, 2, 25))] * width
    count = np.bincount(scorer.truth[scorer.known], minlength=width)
    return _descend(start, grids, lambda t, i: _cut_class(predictions, t, i), value, trials, count)


def _cut_class(predictions: Array, thresholds: Array, i: int) -> Cut:
    """Cut by the largest p / threshold as a function of class `i`'s threshold; the others are compared once."""
    scaled = predictions / thresholds
    scaled[:, i] = -1
    other = scaled.argmax(axis=1)
    best, mine = scaled.max(axis=1), predictions[:, i]

    def cut(t: float) -> Array:
        own = mine / t
        return np.where((own > best) | ((own == best) & (i < other)), i, other)

    return cut


def _cut_label(predictions: Array, thresholds: Array, i: int) -> Cut:
    decided = (predictions >= thresholds).astype(np.int64)

    def cut(t: float) -> Array:
        decided[:, i] = predictions[:, i] >= t
        return decided

    return cut


def _cut_rank(rank: Array, order: Array, cuts: Array, i: int) -> Cut:
    rest = np.delete(cuts, i)
    return lambda t: np.asarray(order[np.searchsorted(np.sort(np.append(rest, t)), rank, side="right")])


def _descend(
    start: Array,
    grids: list[Array],
    along: Callable[[Array, int], Cut],
    value: Callable[[Array], float],
    trials: int,
    weight: Array,
) -> tuple[float, ...]:
    """Coordinate search in two rounds; the coordinates of most `weight` where trials do not suffice for all."""
    places = np.sort(np.argsort(-weight, kind="stable")[: max(1, trials // (2 * _LEAST))])
    points = max(_LEAST, trials // (2 * len(places)))
    best, top = start.copy(), value(along(start, 0)(start[0]))
    for _ in range(2):
        for i in places:
            grid = grids[i]
            grid = grid[np.linspace(0, len(grid) - 1, min(points, len(grid))).round().astype(int)]
            cut = along(best, int(i))
            scores = [value(cut(t)) for t in grid]
            place = int(np.argmax(scores))
            if scores[place] > top + 1e-12:
                best[i], top = grid[place], scores[place]
    return tuple(float(t) for t in best)


def _middle(grid: Array, scores: Array) -> float:
    """The middle of the longest run of best scores: its edges are least reliable."""
    best = scores >= scores.max() - 1e-12
    edges = np.flatnonzero(np.diff(np.concatenate([[0], best.astype(int), [0]])))
    start, end = max(zip(edges[::2], edges[1::2], strict=True), key=lambda run: grid[run[1] - 1] - grid[run[0]])
    return float((grid[start] + grid[end - 1]) / 2)
