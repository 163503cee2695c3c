"""The kinds of candidates by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy.typing as npt

from agentkd.agents.agent_k.solvers import cnn, image, sparse_linear, text
from agentkd.agents.agent_k.solvers.boosting import lightgbm_cv
from agentkd.agents.agent_k.solvers.boosting_search import tuned_cv
from agentkd.agents.agent_k.solvers.cross_fit import Clock, Run
from agentkd.agents.agent_k.solvers.sklearn_models import ESTIMATES
from agentkd.agents.agent_k.solvers.tabular import sklearn_cv
from agentkd.agents.agent_k.workspace.files import Data
from agentkd.errors import UserError

Array = npt.NDArray[Any]
KINDS: dict[str, Callable[[Data, Run], tuple[Array, Array]]] = {
    "lightgbm": lightgbm_cv,
    "lightgbm-tuned": tuned_cv,
    "bayes": text.bayes_cv,
    "tfidf": text.linear_cv,
    "sparse": sparse_linear.sparse_cv,
    "embeddings": text.embeddings_cv,
    "pixels": image.pixels_cv,
    "cnn": cnn.cnn_cv,
    **{name: partial(sklearn_cv, name) for name in ESTIMATES},
}


def solve(data: Data, spec: dict[str, Any], folder: Path, clock: Clock) -> tuple[Array, Array]:
    """`(oof, test)` of a spec, in the columns of a prediction file. UserError for an unknown kind."""
    if spec["kind"] not in KINDS:
        raise UserError(f"unknown kind '{spec['kind']}': the kinds are {', '.join(KINDS)}")
    run = Run(spec["params"], int(spec["seed"]), int(spec["threads"]), clock, folder)
    return KINDS[spec["kind"]](data, run)
