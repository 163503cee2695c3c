"""Folds that the user gives in a file: an id and a fold in each row."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agentkd.agents.agent_k.contract import Setup, list_names
from agentkd.agents.agent_k.understand.tables import read_table
from agentkd.agents.agent_k.workspace.files import read_csv, save_table
from agentkd.errors import UserError, did_you_mean, near_file
from agentkd.runs.disk import hash_file

if TYPE_CHECKING:
    import pandas as pd

FILE = "folds.csv"  # in the workspace


def hash_own_folds(file: str) -> str:
    """The hash of the user's file. Raises UserError where there is none."""
    path = Path(file).expanduser()
    if not path.is_file():
        raise UserError(
            f"folds={file} is neither a number nor a file{near_file(path)}: give a table with the columns id and fold"
        )
    return hash_file(path)


def keep_own_folds(file: str, setup: Setup, workspace: Path) -> None:
    """Write the user's folds to the workspace, as `id` and `fold`.

    Raises UserError for a table without these columns, with an id twice, or with one fold."""
    hash_own_folds(file)
    frame = read_table(Path(file).expanduser(), text=True)
    names = [str(name) for name in frame.columns]
    key = next((name for name in (setup.called, setup.id, "id") if name and name in names), "")
    if not key:
        near = did_you_mean(setup.called or setup.id, names)
        raise UserError(f"folds={file} has no column '{setup.called or setup.id}' ({list_names(names)}){near}")
    rest = [name for name in names if name != key]
    by = "fold" if "fold" in rest else rest[0] if len(rest) == 1 else ""
    if not by:
        raise UserError(f"folds={file} has no column 'fold' ({list_names(names)}): call the column of the folds so")
    if (twice := frame[key].duplicated()).any():
        raise UserError(f"folds={file} has the id {frame[key][twice].iloc[0]} twice: give each id once")
    if (gaps := frame[by].str.strip() == "").any():
        raise UserError(f"folds={file} has no fold for the id {frame[key][gaps].iloc[0]}: give each a fold")
    save_table(frame[[key, by]].set_axis(["id", "fold"], axis=1), workspace / FILE)


def read_own_folds(targets: pd.DataFrame, groups: pd.Series[str] | None, workspace: Path) -> pd.DataFrame:
    """The fold (0 … k-1) of each id of the target map, by the user's file.

    `groups` are the ids of the training table where rows share one. Raises UserError where an id has no fold, and where
    all have the same."""
    import pandas as pd

    path = workspace / FILE
    if not path.is_file():
        raise UserError("the folds are those of a file (folds=FILE), which is not here: run the competition again")
    given = read_csv(path, text=True).set_index("id")["fold"]
    own = targets["id"] if groups is None else groups
    found = own.map(given)
    if (lacking := found.isna()).any():
        raise UserError(
            f"folds= has no fold for {int(lacking.sum()):,} of {len(own):,} training rows, such as the id "
            f"{own[lacking].iloc[0]}: give each id of the training table a fold"
        )
    place, folds = pd.factorize(found, sort=True)
    if len(folds) < 2:
        raise UserError(f"folds= puts all training rows into fold {folds[0]}: give at least two folds")
    return pd.DataFrame({"id": targets["id"].astype(str), "fold": place})
