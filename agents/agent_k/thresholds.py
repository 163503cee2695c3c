"""Where to cut probabilities so that a metric of labels is best."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.scoring import Scorer, class_numbers
from agentkd.errors import UserError

Array = npt.NDArray[Any]
_GRID = 50


def tune_thresholds(scorer: Scorer, predictions: Array, rows: Array) -> tuple[float, ...]:
    """Thresholds as `scoring.labels` takes them, the best on `rows`.

    Binary: the middle of the best cuts among quantiles of the positive class's probability. Multilabel and multiclass:
    one threshold after the other, twice round. QWK: cuts of the expected rank, likewise."""
    setup, here, predictions = scorer.setup, scorer.on(rows), predictions[rows]

    def value(thresholds: Array) -> float:
        try:
            found = here(predictions, tuple(thresholds))
        except UserError:
            return -np.inf
        return -found if scorer.metric.lower_is_better else found

    if setup.task == "binary" and scorer.metric.name != "qwk":
        p = predictions[:, 1]
        grid = np.unique(np.append(np.quantile(p, np.linspace(0.01, 0.99, 2 * _GRID)), 0.5)).clip(1e-6, 1 - 1e-6)
        scores = np.array([value(np.array([1 - t, t])) for t in grid])
        t = _middle(grid, scores)
        return (1 - t, t)
    if scorer.metric.name == "qwk":
        width = len(setup.classes)
        order = np.argsort(class_numbers(setup))
        rank = predictions[:, order] @ np.arange(width)
        start = np.arange(width - 1) + 0.5
        grids = [np.unique(np.quantile(rank, np.linspace(0.005, 0.995, _GRID)))] * (width - 1)
    elif setup.task == "multilabel":
        start = np.full(predictions.shape[1], 0.5)
        grids = [np.unique(np.quantile(p, np.linspace(0.01, 0.99, _GRID))).clip(1e-6, 1) for p in predictions.T]
    else:
        start = np.full(predictions.shape[1], 0.5)
        grids = [0.5 * np.exp(np.linspace(-2, 2, 25))] * predictions.shape[1]
    return tuple(float(t) for t in _coordinates(start, grids, value))


def _coordinates(start: Array, grids: list[Array], value: Any) -> Array:
    best, top = start.copy(), value(start)
    for _ in range(2):
        for i, grid in enumerate(grids):
            for t in grid:
                trial = best.copy()
                trial[i] = t
                if (found := value(trial)) > top + 1e-12:
                    best, top = trial, found
    return best


def _middle(grid: Array, scores: Array) -> float:
    """The middle of the longest run of best scores: its edges are where luck ends."""
    best = scores >= scores.max() - 1e-12
    edges = np.flatnonzero(np.diff(np.concatenate([[0], best.astype(int), [0]])))
    start, end = max(zip(edges[::2], edges[1::2], strict=True), key=lambda run: grid[run[1] - 1] - grid[run[0]])
    return float((grid[start] + grid[end - 1]) / 2)
