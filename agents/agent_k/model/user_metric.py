"""A metric of the user's own: a file with `score(truth, prediction)` and `lower_is_better`."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

from agentkd.agents.agent_k.contract import Setup
from agentkd.agents.agent_k.model.user_file import keep_code, read_user_file
from agentkd.agents.agent_k.scoring.predictions import decide_labels
from agentkd.agents.agent_k.workspace.maps import read_inputs
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

PREFIX = "user-metric-"  # of the folder of its code
_CALL = "\n\n\ndef metric(truth, predictions):\n    return score(truth, predictions)\n"


def read_user_metric(file: str) -> str:
    """The text of a metric's file. Raises UserError where it cannot be read, or lacks one of its two names."""
    text, names = read_user_file("metric", file, "score(truth, prediction)")
    if lacking := [name for name in ("score", "lower_is_better") if name not in names]:
        raise UserError(
            f"metric={file} has no {lacking[0]}: it needs `def score(truth, prediction)` and `lower_is_better = True` "
            f"(or False)"
        )
    return text


def prefers_lower(text: str) -> bool:
    """What a file that `read_user_metric` has read says of the direction."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(name, ast.Name) and name.id == "lower_is_better" for name in targets):
                return bool(node.value.value)
    return False


def keep_user_metric(text: str, workspace: Path) -> Path:
    """Write the code that scores by the file's text; returns its folder, which is named by its content."""
    return keep_code(workspace, PREFIX, text + _CALL)


def show_user(
    setup: Setup, workspace: Path, truth: pd.DataFrame, frames: list[pd.DataFrame]
) -> tuple[pd.DataFrame, list[pd.DataFrame]]:
    """Truth and predictions as the user's function gets them, row by row the same ids.

    `truth` has the inputs of its rows beside the targets. A prediction has the target as it is submitted: the
    probability of the positive class, the label, or the value; and one column of probabilities a class."""
    inputs = read_inputs(workspace, "train").set_index("id")
    inputs = inputs.drop(columns=[name for name in setup.targets if name in inputs])
    whole = truth.join(inputs, on="id")
    if setup.task not in ("binary", "multiclass"):
        return whole, frames
    target, shown = setup.targets[0], []
    for frame in frames:
        if setup.task == "binary" and setup.output == "probability":
            sent = frame[setup.predicted[-1]]
        else:
            sent = decide_labels(setup, frame)[target]
        shown.append(frame.assign(**{target: sent.to_numpy()}))
    return whole, shown
