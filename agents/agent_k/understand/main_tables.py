"""Read the training table, the test table and the sample submission, and find their column of ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentkd.agents.agent_k.understand.data_files import DataFiles
from agentkd.agents.agent_k.understand.file_roles import FileRoles, find_file_roles
from agentkd.agents.agent_k.understand.tables import read_table, rename_id_column
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class MainTables:
    """The three tables as text; the column of ids has one name in all of them."""

    roles: FileRoles
    key: str  # the column of ids
    called: str  # what test and training table call it, where that differs
    sample: pd.DataFrame
    train: pd.DataFrame
    test: pd.DataFrame


def read_main_tables(files: DataFiles, fixed: Mapping[str, Any]) -> MainTables:
    """Read the three tables. Raises UserError for an empty one, and for ids that do not match."""
    data = files.data
    roles = find_file_roles(files)
    sample = read_table(data / roles.sample, text=True)
    train = read_table(data / roles.train, text=True)
    test = read_table(data / roles.test, text=True) if roles.test else sample.iloc[:, :1]
    for name, frame in (("train", train), ("sample", sample), ("test", test)):
        if frame.empty:
            raise UserError(f"{data / (getattr(roles, name) or '')} has no rows: download it again")
    key = _find_id(sample, test, fixed)
    called = _find_called(key, sample, test)
    train, test = rename_id_column(train, key, called), rename_id_column(test, key, called)
    _check_id(key, sample, test)
    return MainTables(roles, key, called, sample, train, test)


def _find_id(sample: pd.DataFrame, test: pd.DataFrame, fixed: Mapping[str, Any]) -> str:
    """The sample submission's column that names a row."""
    if (own := fixed.get("id")) is not None:
        if own not in sample.columns:
            raise UserError(f"id={own} is no column of the sample submission: choose of {', '.join(sample.columns)}")
        return str(own)
    unique = [str(name) for name in sample.columns if sample[name].is_unique]
    shared = [name for name in unique if name in test.columns]
    alike = [name for name in unique if _find_called(name, sample, test)]
    return str([*shared, *alike, sample.columns[0]][0])


def _find_called(key: str, sample: pd.DataFrame, test: pd.DataFrame) -> str:
    """The test table's name for the sample's column of ids, "" where it is the same or there is none.

    It is a column of the same values, or of the same name but for case."""
    if key in test.columns:
        return ""
    ids = set(sample[key])
    spelt = [str(name) for name in test.columns if str(name).lower() == key.lower()]
    same = [
        str(name)
        for name in test.columns
        if len(test) == len(ids) and test[name].iloc[0] in ids and set(test[name]) == ids
    ]
    return next((name for name in [*same, *spelt]), "")


def _check_id(key: str, sample: pd.DataFrame, test: pd.DataFrame) -> None:
    """Raise UserError unless the sample submission has each test row once."""
    if len(sample.columns) < 2:
        raise UserError(f"the sample submission has one column, '{key}': add the ids of the test rows as its first")
    if not sample[key].is_unique:
        raise UserError(
            f"the ids in column '{key}' of the sample submission repeat, and no columns that it shares "
            f"with the test table name a row together: add a column of ids to both"
        )
    if key in test.columns:
        missing = set(sample[key]) - set(test[key])
        if missing:
            raise UserError(
                f"{len(missing)} ids of column '{key}' of the sample submission (such as {sorted(missing)[0]!r}) are "
                "not "
                f"in the test table: mend the files, or set id=COLUMN where another column names the rows"
            )
    elif len(test) != len(sample):
        raise UserError(
            f"the sample submission has {len(sample)} rows and the test table {len(test)}, without a common id "
            f"column: set id=COLUMN, or mend the files"
        )
