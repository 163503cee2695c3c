"""Which factor of a full grid of experiments explains the variance: the functional ANOVA of its scores.

Hutter, Hoos and Leyton-Brown, An Efficient Approach for Assessing Hyperparameter Importance, ICML 2014, section 3, with
every cell of the grid measured and weighed alike, so that no surrogate model stands between. Distiller (arXiv
2109.11105) asks it of its components.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from agentkd.errors import UserError

REST = "interactions"


def variance_shares(scores: npt.ArrayLike, factors: Sequence[str]) -> dict[str, float]:
    """The share of the variance that each factor's main effect explains, and under `REST` what is left to
    interactions and noise; together 1. `scores` has an axis for each factor.

    A factor's main effect is the mean score at each of its levels over all else. Raises UserError for a grid with a gap
    and for one without variance."""
    grid = np.asarray(scores, dtype=np.float64)
    if grid.ndim != len(factors):
        raise UserError(f"scores have {grid.ndim} axes for {len(factors)} factors: give an axis for each")
    if not np.isfinite(grid).all():
        raise UserError("some cells of the grid have no finite score: measure all of them")
    total = float(grid.var())
    if total == 0.0:
        raise UserError("all cells of the grid have the same score: there is no variance to explain")
    axes = range(grid.ndim)
    means = (grid.mean(tuple(other for other in axes if other != axis)) for axis in axes)
    shares = {factor: float(mean.var()) / total for factor, mean in zip(factors, means, strict=True)}
    return {**shares, REST: max(0.0, 1.0 - sum(shares.values()))}
