"""Intervals: bootstrap intervals of means and of paired differences.

Pure functions of numbers, seeded; an interval has the unit of its values.
"""

import numpy as np
import numpy.typing as npt

from agentkd.errors import UserError


def bootstrap_interval(
    values: npt.ArrayLike, *, level: float = 0.95, samples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean of per-question values, as (low, high).

    Source: Efron & Tibshirani 1993, ch. 13.
    It shows the spread due to the choice of questions, not that due to training seeds or sampling.
    """
    values_Q = np.asarray(values, dtype=np.float64)
    if values_Q.ndim != 1 or not values_Q.size or not np.isfinite(values_Q).all():
        raise UserError(f"cannot bootstrap values of shape {values_Q.shape}: give one finite number a question")
    if not 0 < level < 1 or samples < 1:
        raise UserError(f"bad bootstrap level={level}, samples={samples}: take a level in (0, 1) and samples >= 1")
    rng = np.random.default_rng(seed)
    means = np.empty(samples)
    block = max(1, 2_000_000 // values_Q.size)  # 16 MB of indices at a time, however many the questions
    for start in range(0, samples, block):
        rows = min(block, samples - start)
        picks = rng.integers(values_Q.size, size=(rows, values_Q.size))
        means[start : start + rows] = values_Q[picks].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_difference(
    a: npt.ArrayLike, b: npt.ArrayLike, *, level: float = 0.95, samples: int = 10_000, seed: int = 0
) -> tuple[float, float, float]:
    """Return the mean of a - b over the questions that both systems answered, and its interval (low, high).

    `a[i]` and `b[i]` belong to the same question: pairing removes the spread that both share. Where 0 lies outside
    the interval, the choice of questions alone does not explain the difference.
    """
    a_Q, b_Q = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a_Q.shape != b_Q.shape:
        raise UserError(f"cannot pair {a_Q.size} with {b_Q.size} values: compare scores of the same questions")
    low, high = bootstrap_interval(a_Q - b_Q, level=level, samples=samples, seed=seed)
    return float((a_Q - b_Q).mean()), low, high
