"""The training rows by which candidates are judged."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.contract import Setup

Array = npt.NDArray[Any]


def judged_rows(setup: Setup, fold: Array) -> Array:
    """The positions of the rows that count in a score, `fold` being the fold of each row: all of them.

    Where the test rows are later, folds are blocks of time, and only the last one counts: its rows are predicted from
    earlier ones alone, as the test rows are (Bergmeir and Benitez 2012, "On the use of cross-validation for time series
    predictor evaluation")."""
    return np.flatnonzero(fold == fold.max()) if setup.later else np.arange(len(fold))
