"""Solvers by the name of their kind."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy.typing as npt

from agentkd.agents.agent_k.solvers import cnn, image, sparse_linear, text
from agentkd.agents.agent_k.solvers.boosting import solve_lightgbm
from agentkd.agents.agent_k.solvers.boosting_search import solve_tuned_lightgbm
from agentkd.agents.agent_k.solvers.cross_fit import SolverRun, TimeBudget
from agentkd.agents.agent_k.solvers.sklearn_models import ESTIMATORS
from agentkd.agents.agent_k.solvers.tabular import solve_sklearn
from agentkd.agents.agent_k.solvers.trend import solve_trend, solve_trend_trees
from agentkd.agents.agent_k.workspace.arrays import CompetitionData
from agentkd.errors import UserError

Array = npt.NDArray[Any]
SOLVERS: dict[str, Callable[[CompetitionData, SolverRun], tuple[Array, Array]]] = {
    "lightgbm": solve_lightgbm,
    "lightgbm-tuned": solve_tuned_lightgbm,
    "bayes": text.solve_naive_bayes,
    "tfidf": text.solve_tfidf,
    "sparse": sparse_linear.solve_sparse_linear,
    "embeddings": text.solve_embeddings,
    "pixels": image.solve_pixels,
    "trend": solve_trend,
    "trend-trees": solve_trend_trees,
    "cnn": cnn.solve_cnn,
    **{name: partial(solve_sklearn, name) for name in ESTIMATORS},
}


def solve_spec(data: CompetitionData, spec: dict[str, Any], folder: Path, budget: TimeBudget) -> tuple[Array, Array]:
    """Run a spec's solver; returns `(oof, test)` with the columns of a prediction file.

    Raises UserError for an unknown kind."""
    if spec["kind"] not in SOLVERS:
        raise UserError(f"unknown kind '{spec['kind']}': the kinds are {', '.join(SOLVERS)}")
    run = SolverRun(spec["params"], int(spec["seed"]), int(spec["threads"]), budget, folder)
    return SOLVERS[spec["kind"]](data, run)
