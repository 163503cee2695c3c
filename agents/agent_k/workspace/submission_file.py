"""Turn predictions into a file in the sample submission's form, without a model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from agentkd.agents.agent_k.contract import Setup
from agentkd.agents.agent_k.scoring.predictions import decide_codes
from agentkd.agents.agent_k.understand.classes import names_class
from agentkd.agents.agent_k.understand.spelling import spell_like_sample
from agentkd.agents.agent_k.understand.tables import read_table
from agentkd.agents.agent_k.workspace.files import save_table

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]
LEAST_SHARE = 1e-3  # of values that sum to one: a share of 0 is infinitely wrong to an error of logarithms


def make_submission(
    predictions: pd.DataFrame, setup: Setup, data: Path, thresholds: Sequence[float] | None = None
) -> pd.DataFrame:
    """The table to be submitted, from a prediction file.

    Labels are the likeliest class, or decided by `thresholds` (see scoring.predictions.decide_labels). They are spelt
    as in the training table, or as in the sample where that writes 0.0 for 0, or True for 1."""
    import numpy as np

    sample = read_table(data / setup.sample, text=True)
    out = sample[[*sample.columns]].copy()
    values = predictions.set_index("id").loc[list(sample[setup.id])].rename(columns=dict(_names(setup)))
    if setup.output == "value":
        found = keep_demands(setup, values[list(setup.targets)].to_numpy())
        for place, column in enumerate(setup.outputs):
            out[column] = found[:, place]
    elif setup.tags:
        out[setup.outputs[0]] = join_tags(setup, values[list(setup.targets)].to_numpy(), thresholds)
    elif setup.task == "multilabel" and setup.output == "label":
        chosen = decide_codes(setup, values[list(setup.targets)].to_numpy(), thresholds)
        for place, column in enumerate(setup.outputs):
            no, yes = spell_like_sample(("0", "1"), list(sample[column]))
            out[column] = [yes if flag else no for flag in chosen[:, place]]
    elif setup.task == "multilabel":
        for target, column in zip(setup.targets, setup.outputs, strict=True):
            out[column] = values[target].to_numpy()
    elif setup.output == "label" and setup.top > 1:
        order = np.argsort(-values[list(setup.classes)].to_numpy(), axis=1, kind="stable")[:, : setup.top]
        shown = [word for cell in sample[setup.outputs[0]] for word in cell.split()]
        names = np.array(spell_classes(setup, shown), dtype=object)
        out[setup.outputs[0]] = [" ".join(row) for row in names[order]]
    elif setup.output == "label":
        chosen = decide_codes(setup, values[list(setup.classes)].to_numpy(), thresholds)
        labels = spell_classes(setup, list(sample[setup.outputs[0]]))
        out[setup.outputs[0]] = [labels[place] for place in chosen]
    elif len(setup.outputs) == 1:  # the probability of the positive class
        out[setup.outputs[0]] = values[setup.classes[-1]].to_numpy()
    else:
        for column in setup.outputs:
            out[column] = values[match_class(column, setup.classes)].to_numpy()
    return out


def keep_demands(setup: Setup, values: Array) -> Array:
    """Values `(N, T)` as the competition demands them: a logarithmic error takes none below 0."""
    import numpy as np

    low = max(setup.low or 0.0, 0.0) if setup.metric in ("rmsle", "msle") else setup.low
    if low is not None or setup.high is not None:
        values = np.clip(values, low, setup.high)
    if setup.sums:
        values = np.maximum(values, LEAST_SHARE)
        values = values / values.sum(axis=1, keepdims=True)
    return np.rint(values).astype(np.int64) if setup.whole else values


def join_tags(setup: Setup, values: Array, thresholds: Sequence[float] | None) -> list[str]:
    """The tags of each row in a cell; one without any gets its likeliest."""
    import numpy as np

    chosen = decide_codes(setup, values, thresholds).astype(bool)
    chosen[np.arange(len(values)), values.argmax(axis=1)] |= ~chosen.any(axis=1)
    names = np.array([name[len(setup.tags) + 2 :] for name in setup.targets], dtype=object)
    return [setup.mark.join(names[row]) for row in chosen]


def _names(setup: Setup) -> Iterable[tuple[str, str]]:
    return zip(setup.predicted, setup.classes or setup.targets, strict=True)


def match_class(column: str, classes: tuple[str, ...]) -> str:
    """The class that an output column such as `EAP`, `Class_1` or `winner_a` stands for."""
    if column in classes:
        return column
    return next((name for name in classes if names_class(column, name)), classes[-1])


def spell_classes(setup: Setup, shown: Sequence[str]) -> list[str]:
    """The classes as a submission whose sample shows these words spells them."""
    return list(setup.spelling) or spell_like_sample(setup.classes, shown)


def write_submission(
    predictions: pd.DataFrame, setup: Setup, data: Path, file: Path, thresholds: Sequence[float] | None = None
) -> None:
    """Write the submission as CSV, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    save_table(make_submission(predictions, setup, data, thresholds), file)
