"""Question a cross-validation score that is too good: a column may tell the target, which the test rows do not hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from agentkd.agents.agent_k.contract import Setup
from agentkd.agents.agent_k.scoring.metrics import METRICS
from agentkd.agents.agent_k.scoring.truth import is_known
from agentkd.agents.agent_k.workspace.arrays import Array, CompetitionData

if TYPE_CHECKING:
    import pandas as pd

PERFECT = 0.01  # share of the constant's loss that is left
ROWS, COLUMNS = 2000, 300  # that are looked at for the column that tells most
TELLS = 0.9  # of the target


def is_too_good(setup: Setup, score: float, constant: float) -> bool:
    """Whether a score leaves at most PERFECT of the loss that a constant has."""
    if setup.metric not in METRICS:
        return False
    best = 0.0 if setup.lower_is_better else 1.0
    return abs(best - constant) > 1e-6 and abs(best - score) <= PERFECT * abs(best - constant)


def question_score(data: CompetitionData, score: float, constant: float) -> str:
    """A line about a score that is too good, with the column that tells most; "" for a usual one."""
    setup = data.setup
    if not is_too_good(setup, score, constant):
        return ""
    said = f"{setup.metric} {score:.5f} by cross-validation is nearly perfect"
    name, share = find_telling_column(data) if setup.tab else ("", 0.0)
    if share >= TELLS:
        return (
            f"{said}: column '{name}' alone tells {share:.0%} of it; if the test rows do not hold it in the same way, "
            f"set drop={name}"
        )
    return f"{said}: see whether columns are made from the target, or rows repeat; drop=COLUMN leaves a column out"


def find_telling_column(data: CompetitionData) -> tuple[str, float]:
    """The tabular column from which a small tree predicts the first target best, and how well.

    The share of right rows above the commonest class, or of the variance."""
    inputs = data.inputs("tab").head(data.n_train)
    known = is_known(data.y)
    y = data.y if data.y.ndim == 1 else data.y[:, 0]
    rows = np.flatnonzero(known if known.ndim == 1 else known[:, 0])
    rows = np.random.default_rng(0).permutation(rows)[:ROWS]
    found = {str(name): _tell(inputs[name].iloc[rows], y[rows]) for name in inputs.columns[:COLUMNS]}
    best = max(found, key=lambda name: found[name])
    return best, found[best]


def _tell(column: pd.Series[Any], y: Array) -> float:
    """How much of `y` one column tells, each half predicted from the other."""
    import pandas as pd
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    numeric = pd.api.types.is_numeric_dtype(column)
    x = column.astype(float).fillna(-1e9).to_numpy() if numeric else column.factorize()[0].astype(float)
    classes = y.dtype.kind != "f"
    guess = np.zeros(len(y), dtype=y.dtype)
    half = np.arange(len(y)) % 2 == 0
    for held in (half, ~half):
        model = (DecisionTreeClassifier if classes else DecisionTreeRegressor)(max_leaf_nodes=16, random_state=0)
        guess[held] = model.fit(x[~held, None], y[~held]).predict(x[held, None])
    if classes:
        chance = np.bincount(y).max() / len(y)
        return float((np.mean(guess == y) - chance) / max(1 - chance, 1e-9))
    return float(1 - np.mean((guess - y) ** 2) / max(y.var(), 1e-300))
