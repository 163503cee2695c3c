"""A metric of the user's own: a file with `score(truth, prediction)` and `lower_is_better`."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from agentkd.agents.agent_k.contract import Setup
from agentkd.agents.agent_k.scoring.predictions import decide_labels
from agentkd.agents.agent_k.workspace.maps import read_inputs
from agentkd.errors import UserError
from agentkd.runs.disk import write_atomically

if TYPE_CHECKING:
    import pandas as pd

PREFIX = "user-metric-"  # of the folder of its code
_CALL = "\n\n\ndef metric(truth, predictions):\n    return score(truth, predictions)\n"


def read_user_metric(file: str) -> str:
    """The text of a metric's file. Raises UserError where it cannot be read, or lacks one of its two names."""
    try:
        text = Path(file).expanduser().read_text()
        names = list_names(ast.parse(text))
    except (OSError, UnicodeDecodeError, SyntaxError, ValueError) as error:
        raise UserError(
            f"metric={file} cannot be read as Python ({error}): give a file with score(truth, prediction)"
        ) from None
    if lacking := [name for name in ("score", "lower_is_better") if name not in names]:
        raise UserError(
            f"metric={file} has no {lacking[0]}: it needs `def score(truth, prediction)` and `lower_is_better = True` "
            f"(or False)"
        )
    return text


def list_names(tree: ast.Module) -> set[str]:
    """The names that a file defines; `lower_is_better` only as True or False."""
    found = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            flag = isinstance(node.value, ast.Constant) and isinstance(node.value.value, bool)
            names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
            found |= names if flag else names - {"lower_is_better"}
    return found


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
    code = text + _CALL
    folder = workspace / "code" / f"{PREFIX}{hashlib.sha256(code.encode()).hexdigest()[:10]}"
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "code.py", code)
    return folder


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
