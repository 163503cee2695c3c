"""Test rows that are later than all training rows: a straight line in time for each group, times a season; trees of
what that leaves.

Trees alone repeat the last values that they have seen; a line goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.solvers.all_features import build_features
from agentkd.agents.agent_k.solvers.cross_fit import Problem, SolverRun, cross_fit
from agentkd.agents.agent_k.solvers.sklearn_models import ESTIMATORS
from agentkd.agents.agent_k.solvers.tabular import fill_for_trees
from agentkd.agents.agent_k.understand.cells import as_dates
from agentkd.agents.agent_k.workspace.arrays import CompetitionData
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]
FEWEST = 12  # rows of a group on average
MOST_LEVELS = 2000  # of a column of groups
YEAR, WEEK = 365.25, 7


def solve_trend(data: CompetitionData, run: SolverRun) -> tuple[Array, Array]:
    """Solver: trend times season by group. Raises UserError where the set-up names no time."""
    frame = data.inputs("tab")
    if data.setup.later not in frame.columns:
        raise UserError("no column tells that the test rows are later")
    time, seasons = read_time(frame[data.setup.later])
    group = read_groups(frame.drop(columns=data.setup.later))

    def learn(problem: Problem, train: Array, rest: Array, seed: int) -> Array:
        y = np.expm1(problem.y) if problem.log else problem.y
        y = np.concatenate([y, np.zeros(len(time) - len(y))])  # test rows have none
        values = extrapolate(time, group, seasons, y, train, rest)
        return (np.log1p(np.maximum(values, 0)) if problem.log else values)[:, None]

    return cross_fit(data, learn, run)


def solve_trend_trees(data: CompetitionData, run: SolverRun) -> tuple[Array, Array]:
    """Solver: boosted trees of what trend times season leaves, so that all other inputs count, too.

    Raises UserError as `solve_trend` does."""
    frame = data.inputs("tab")
    if data.setup.later not in frame.columns:
        raise UserError("no column tells that the test rows are later")
    time, seasons = read_time(frame[data.setup.later])
    group = read_groups(frame.drop(columns=data.setup.later))
    table = build_features(data, run)

    def learn(problem: Problem, train: Array, rest: Array, seed: int) -> Array:
        y = np.expm1(problem.y) if problem.log else problem.y
        y = np.concatenate([y, np.zeros(len(time) - len(y))])
        base = extrapolate(time, group, seasons, y, train, np.arange(len(time)))
        positive, small = bool((y[train] >= 0).all()), 0.01 * float(np.abs(y[train]).mean()) + 1e-12
        base = np.maximum(base, 0) + small if positive else base
        left = np.log((np.maximum(y, 0) + small) / base) if positive else y - base
        own = Problem(left)
        x = fill_for_trees(table, own, train, seed)
        more = ESTIMATORS["hist-gbm"](own, x[train], left[train], x[rest], run.params, seed)[:, 0]
        values = base[rest] * np.exp(more) - small if positive else base[rest] + more
        return (np.log1p(np.maximum(values, 0)) if problem.log else values)[:, None]

    return cross_fit(data, learn, run)


def read_time(column: pd.Series[Any]) -> tuple[Array, list[Array]]:
    """The time of each row as a number, and codes of its seasons: day of the week, month of the year; or place in 7."""
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(column):
        dates = as_dates(column)
        if dates is not None:
            dates = dates.ffill().bfill()
            days = ((dates - dates.min()).dt.total_seconds() / 86400).to_numpy(dtype=np.float64)
            week = dates.dt.day_of_week.to_numpy(dtype=np.int64)
            month = dates.dt.month.to_numpy(dtype=np.int64)
            return days, [week, *([month] if np.ptp(days) > YEAR else [])]
    number = pd.to_numeric(column, errors="coerce").ffill().bfill().to_numpy(dtype=np.float64)
    return number, [np.floor(number).astype(np.int64) % WEEK]


def read_groups(frame: pd.DataFrame) -> Array:
    """The group of each row: its words and codes together, as long as groups have enough rows."""
    import pandas as pd

    found = np.zeros(len(frame), dtype=np.int64)
    words = [name for name in frame.columns if not pd.api.types.is_float_dtype(frame[name])]
    for name in sorted(words, key=lambda name: frame[name].nunique()):
        if not 1 < frame[name].nunique() <= MOST_LEVELS:
            continue
        joined, levels = pd.factorize(found * (MOST_LEVELS + 1) + pd.factorize(frame[name])[0] + 1)
        if len(frame) / len(levels) >= FEWEST:
            found = joined
    return found


def extrapolate(time: Array, group: Array, seasons: list[Array], y: Array, train: Array, rest: Array) -> Array:
    """Predict `rest`: the line of its group at its time, times (plus, where values are negative) its seasons.

    Lines and seasons are fitted in turn, twice; a season is common to all groups."""
    positive = bool((y[train] >= 0).all() and (y[train] > 0).mean() > 0.5)
    factor = np.ones(len(time)) if positive else np.zeros(len(time))
    line = np.zeros(len(time))
    for _ in range(2):
        bare = y / np.maximum(factor, 1e-6) if positive else y - factor
        line = _fit_lines(time, group, bare, train)
        if positive:
            line = np.maximum(line, 1e-6 + 0.01 * float(y[train].mean()))
        factor = np.ones(len(time)) if positive else np.zeros(len(time))
        for codes in seasons:
            left = y[train] / (line * factor)[train] if positive else (y - line - factor)[train]
            weight = line[train] if positive else np.ones(len(train))
            size = np.bincount(codes[train], weights=weight, minlength=codes.max() + 1)
            total = np.bincount(codes[train], weights=weight * left, minlength=codes.max() + 1)
            mean = np.where(size > 0, total / np.maximum(size, 1e-12), 1.0 if positive else 0.0)
            factor = factor * mean[codes] if positive else factor + mean[codes]
    return (line * factor if positive else line + factor)[rest]


def _fit_lines(time: Array, group: Array, y: Array, train: Array) -> Array:
    """The least-squares line of each group at every row's time; that of all rows for a group without two times."""
    count = int(group.max()) + 1
    t = time - time[train].mean()

    def total(values: Array) -> Array:
        return np.bincount(group[train], weights=values[train], minlength=count)

    n = np.maximum(total(np.ones(len(t))), 1e-12)
    middle, level = total(t) / n, total(y) / n
    spread = total(t * t) / n - middle**2
    known = (n > 2) & (spread > 1e-9)
    slope = np.where(known, (total(t * y) / n - middle * level) / np.where(known, spread, 1.0), 0.0)
    level = np.where(n > 0.5, level, float(y[train].mean()))
    return np.asarray(level[group] + slope[group] * (t - middle[group]))
