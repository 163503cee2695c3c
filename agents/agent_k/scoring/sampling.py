"""Draw a sample of rows that keeps some of every class."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
FEWEST_PER_CLASS = 50  # rows; fewer where a class has no more


def sample_rows(rows: Array, most: int, seed: int, y: Array | None = None) -> Array:
    """Draw at most `most` of the rows, in their order.

    With class codes `y` `(N,)`, up to FEWEST_PER_CLASS rows of each class are added: 5,000 of 40,000 rows may hold none
    of eight positive ones."""
    if len(rows) <= most:
        return rows
    random = np.random.default_rng(seed)
    drawn = random.choice(rows, most, replace=False)
    if y is not None and y.ndim == 1:
        rest = np.setdiff1d(rows, drawn)
        kinds, count = np.unique(y[rows], return_counts=True)
        least = np.minimum(count, max(1, min(FEWEST_PER_CLASS, most // (2 * len(kinds)))))
        for kind, lacking in zip(kinds, least - [(y[drawn] == kind).sum() for kind in kinds], strict=True):
            if lacking > 0:
                drawn = np.append(drawn, random.choice(rest[y[rest] == kind], lacking, replace=False))
    return np.sort(drawn)
