"""The one rule for verdicts: the 95 % interval of the paired difference over seeds.

Student's t interval of the mean difference (n - 1 degrees of freedom). A bootstrap of five values would be too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from agentkd.errors import UserError

LEVEL = 0.95
SHOWN, NOT_SHOWN, AGAINST = "shown", "not shown", "against"


class Judged(NamedTuple):
    """A mean difference with its interval, and what follows from it."""

    mean: float
    low: float
    high: float
    verdict: str


def judge(differences: Sequence[float], within: float | None = None) -> Judged:
    """Judge differences, one a seed, that a claim says are positive; with `within`, that they are no larger than that.

    `shown`: the interval lies on the claimed side, above 0 or inside ± within; `against`: it lies on the other, below 0
    or wholly outside; `not shown`: it lies on both. Raises UserError for fewer than
    two seeds, whose spread is unknown, and for values that are not finite."""
    if len(differences) < 2:
        raise UserError(f"{len(differences)} seeds have no spread: give --seeds 2 or more")
    if not all(map(math.isfinite, differences)):
        raise UserError(f"differences {[round(value, 4) for value in differences]}: some are not finite")
    mean = fmean(differences)
    half = t_quantile(len(differences) - 1) * stdev(differences) / math.sqrt(len(differences))
    low, high = mean - half, mean + half
    shown, against = (low > 0, high < 0) if within is None else (max(-low, high) <= within, max(low, -high) > within)
    return Judged(mean, low, high, SHOWN if shown else AGAINST if against else NOT_SHOWN)


def t_quantile(freedom: int) -> float:
    """The quantile of Student's t that leaves out half of 1 - LEVEL on each side."""
    from scipy.stats import t

    return float(t.ppf((1 + LEVEL) / 2, freedom))
