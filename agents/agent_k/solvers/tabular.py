"""Solve table competitions with the models of sklearn_models.py, on the inputs that each needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.solvers.all_features import build_features, encode_with_target
from agentkd.agents.agent_k.solvers.cross_fit import Problem, SolverRun, cross_fit
from agentkd.agents.agent_k.solvers.encodings import encode_one_hot, encode_target_means
from agentkd.agents.agent_k.solvers.sklearn_models import ESTIMATORS
from agentkd.agents.agent_k.solvers.table_features import FeatureTable
from agentkd.agents.agent_k.workspace.arrays import CompetitionData

Array = npt.NDArray[Any]
TREES = ("extra-trees", "hist-gbm")
CLIP = 3.0  # standard deviations


def fill_for_trees(table: FeatureTable, problem: Problem, train: Array, seed: int) -> Array:
    """Inputs for trees: numbers with medians in gaps, and target means of categories and groups."""
    means = [
        encode_target_means(table.categories, problem.y, problem.classes, train, seed),
        encode_with_target(table, problem, train, seed),
    ]
    x = np.hstack([table.numbers, *means])
    gone = np.isnan(x)
    x[gone] = np.broadcast_to(np.nan_to_num(np.nanmedian(np.where(gone, np.nan, x)[train], axis=0)), x.shape)[gone]
    return x


def scale_for_linear(table: FeatureTable, problem: Problem, train: Array, seed: int) -> Array:
    """Inputs for models that depend on scale: unit variance, one-hot categories, target means.

    Gaps become medians, skewed columns logarithms. All statistics are of the training rows."""
    x = table.numbers.copy()
    gone = np.isnan(x)
    middle = np.zeros(x.shape[1])
    for i in range(x.shape[1]):
        there = x[train, i][~gone[train, i]]
        middle[i] = np.median(there) if len(there) else 0.0
    x = np.where(gone, middle, x)
    low = x[train].min(axis=0, initial=0.0)
    spread = x[train].std(axis=0)
    skew = ((x[train] - x[train].mean(axis=0)) ** 3).mean(axis=0) / np.maximum(spread, 1e-12) ** 3
    bent = np.sign(x) * np.log1p(np.abs(x))
    x = np.where((skew > 1) & (low >= 0), bent, x)
    means = encode_with_target(table, problem, train, seed)
    marks = gone[:, gone[train].any(axis=0) & ~gone[train].all(axis=0)].astype(np.float64)
    x = np.hstack([x, means, marks])
    spread = x[train].std(axis=0)
    x = (x - x[train].mean(axis=0)) / np.where(spread > 1e-12, spread, 1.0)
    x = x[:, spread > 1e-12].clip(-CLIP, CLIP)
    return np.hstack([x, encode_one_hot(table.categories, train)])


def solve_sklearn(kind: str, data: CompetitionData, run: SolverRun) -> tuple[Array, Array]:
    """Solver: the model `kind` of ESTIMATORS on all features."""
    table = build_features(data, run)

    def learn(problem: Problem, train: Array, rest: Array, seed: int) -> Array:
        x = (fill_for_trees if kind in TREES else scale_for_linear)(table, problem, train, seed)
        return ESTIMATORS[kind](problem, x[train], problem.y[train], x[rest], run.params, seed)

    return cross_fit(data, learn, run)
