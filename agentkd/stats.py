"""Intervals: of means, of paired differences, and of the ratio of two scores.

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


def ratio_interval(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    *,
    level: float = 0.95,
    samples: int = 10_000,
    seed: int = 0,
    repeats: float = 1.0,
) -> tuple[float, float]:
    """Return an interval (low, high) of mean(a) / mean(b), from scores in 0..1 of the same questions.

    It holds for few questions, too, and for questions that all score alike, where a bootstrap sees no spread. `a` is at
    least r times `b` if the mean of d = a - r b, which lies in [-r, 1], is at least 0; `low` is the largest r for which
    Gaffke's lower bound of that mean is. The bound draws weights for the questions and for one more that went as badly
    as any can (a 0, b 1), as a Bayesian bootstrap does without the last. Of scores 0 and 1 it is Clopper and Pearson's.
    Sources: Gaffke 2005 (Mathematical Methods of Statistics 14, 451), Learned-Miller and Thomas 2019 (arXiv
    1905.06208). That it holds for every distribution is a conjecture, proven in special cases.

    `high` is infinite where all of `b` is 0. With `repeats` it is the interval of so many times as many questions like
    these.
    """
    a_Q, b_Q = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a_Q.shape != b_Q.shape or a_Q.ndim != 1 or not a_Q.size:
        raise UserError(f"cannot pair {a_Q.size} with {b_Q.size} values: compare scores of the same questions")
    both_QP = np.stack([a_Q, b_Q], axis=1)
    if not ((both_QP >= 0) & (both_QP <= 1)).all():  # not a number is neither
        raise UserError("cannot bound a ratio of scores outside 0..1: give fractions, of a matcher that stays below 1")
    if not 0 < level < 1 or samples < 1 or repeats <= 0:
        raise UserError(f"bad level={level}, samples={samples}, repeats={repeats}: take a level in (0, 1), others > 0")
    kinds_KP, counts_K = np.unique(both_QP, axis=0, return_counts=True)
    rng = np.random.default_rng(seed)
    a_S, b_S = np.zeros(samples), np.zeros(samples)
    for (value_a, value_b), count in zip(kinds_KP, counts_K, strict=True):  # a sum of equal weights is gamma, too
        weight_S = rng.standard_gamma(count * repeats, samples)
        a_S += weight_S * value_a
        b_S += weight_S * value_b
    worst_S = rng.standard_exponential(samples)
    low = float(np.quantile(a_S / (b_S + worst_S), (1 - level) / 2))
    if not b_Q.any():
        return low, float("inf")
    return low, float(np.quantile((a_S + worst_S) / b_S, (1 + level) / 2))
