"""Other tables joined to the training and test rows by a key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agentkd.agents.agent_k.reshape.aggregates import aggregate
from agentkd.agents.agent_k.reshape.tables import Tables
from agentkd.agents.agent_k.understand.tables import read_table
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

COVERED = 0.2  # share of the keys of training and test rows each that a table must have
ALIKE = 4  # times that one of these shares may be the other
MOST_ROWS = 5_000_000


def join_tables(tables: Tables) -> None:
    """Join every other table that shares a key with training and test rows; a line says which and how, or why not."""
    for path in tables.others:
        try:
            frame = read_table(tables.files.data / path, text=True)
        except UserError as error:
            tables.unused[str(path)] = str(error)
            continue
        why = _join(tables, path, frame)
        if why:
            tables.unused[str(path)] = why


def _join(tables: Tables, path: Path, frame: pd.DataFrame) -> str:
    """Join one table; returns why it is not joined, or ""."""
    train, test = tables.train, tables.test
    if train is None or test is None:
        return "there are no training and test rows to join it to"
    if _holds(frame, train):
        return f"it has the columns of the training table: join them into one {tables.sample_path.suffix} to use both"
    targets = [name for name in tables.only_train if name in frame.columns]
    if targets:
        return f"it has the target '{targets[0]}'"
    keys = [str(name) for name in frame.columns if _is_key(frame[name], train.get(name), test.get(name))]
    if not keys:
        return "it shares no key with both training and test rows"
    if len(frame) > MOST_ROWS:
        return f"it has {len(frame):,} rows, at most {MOST_ROWS:,} are read"
    by = _choose_key(frame, keys, tables.key)
    single = not frame.duplicated(by).any()
    stem = path.name.split(".")[0]
    if single:
        rest = [name for name in frame.columns if name not in by]
        taken = {*train.columns, *test.columns}
        made = frame.rename(columns={name: f"{stem} {name}" for name in rest if name in taken})
    else:
        made = aggregate(frame, by, stem)
    new = [name for name in made.columns if name not in by]
    if not new:
        return f"it has no column but its key '{', '.join(by)}'"
    tables.train, tables.test = (
        rows.merge(made, on=by, how="left").astype(object).fillna("").set_axis(rows.index)  # in the rows' order
        for rows in (train, test)
    )
    how = "one row a key" if single else "count, mean, min, max, sum, last of numbers, counts of words"
    tables.notes.append(f"{path} is joined by {' and '.join(by)} ({how}): {len(new)} columns")
    tables.used |= {path}
    tables.changed = True
    return ""


def _holds(frame: pd.DataFrame, train: pd.DataFrame) -> bool:
    """Whether a table has all columns of the training table: more of its rows."""
    return set(train.columns) <= set(frame.columns)


def _is_key(column: pd.Series[str], train: pd.Series[str] | None, test: pd.Series[str] | None) -> bool:
    """Whether a column names rows of the training and the test table alike: words or whole numbers that they have."""
    if train is None or test is None:
        return False
    head = column.head(1000)
    if head.str.fullmatch(r"-?\d*[.,]\d+").mean() > 0.5 or column.nunique() < 2:
        return False
    known = set(column) - {""}
    shares = [len(known & (own := set(rows) - {""})) / max(1, len(own)) for rows in (train, test)]
    return min(shares) >= COVERED and max(shares) <= ALIKE * min(shares)


def _choose_key(frame: pd.DataFrame, keys: list[str], own: str) -> list[str]:
    """The columns to join by: the id; else one that names a row; else all, where they do; else that of most values."""
    if own in keys:
        return [own]
    single = [name for name in keys if frame[name].is_unique]
    if single:
        return single[:1]
    if not frame.duplicated(keys).any():
        return keys
    return [max(keys, key=lambda name: frame[name].nunique())]
