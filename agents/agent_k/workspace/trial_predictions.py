"""Predictions to try a metric or a submission with: perfect ones, and random ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agentkd.agents.agent_k.contract import Setup
from agentkd.agents.agent_k.scoring.truth import encode_targets, is_known
from agentkd.agents.agent_k.understand.tables import read_table

if TYPE_CHECKING:
    import pandas as pd


def perfect_predictions(setup: Setup, truth: pd.DataFrame) -> pd.DataFrame:
    """The truth in the form of predictions: certainty of the right class, or the value itself."""
    import numpy as np
    import pandas as pd

    if setup.task in ("binary", "multiclass"):
        found = [(truth[setup.targets[0]] == name).astype(float) for name in setup.classes]
    else:  # an unknown target is not scored
        found = [np.where(is_known(column), column, 0) for column in encode_targets(setup, truth).T]
    return pd.DataFrame({"id": truth["id"]} | dict(zip(setup.predicted, found, strict=True)))


def random_predictions(setup: Setup, data: Path, seed: int = 0) -> pd.DataFrame:
    """Random predictions of the test rows, to try a form with."""
    import numpy as np
    import pandas as pd

    ids = read_table(data / setup.sample, text=True)[setup.id]
    generator = np.random.default_rng(seed)
    if len(setup.predicted) > 1:
        values = generator.dirichlet(np.ones(len(setup.predicted)), len(ids))
    else:
        values = generator.random((len(ids), 1))
    frame = pd.DataFrame(values, columns=list(setup.predicted))
    frame.insert(0, "id", list(ids))
    return frame
