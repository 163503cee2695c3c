"""Several rows of one key as one row: count, mean, min, max, sum and last of numbers, counts of words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentkd.agents.agent_k.understand.cells import as_dates, as_numbers

if TYPE_CHECKING:
    import pandas as pd

FEW = 12  # values of a column of words that are counted one by one
DAY = 86400


def aggregate(frame: pd.DataFrame, keys: list[str], prefix: str = "") -> pd.DataFrame:
    """A row for each key of a table of text, in the order of the keys' first rows; rows count as ordered by time.

    Columns are called `PREFIX COLUMN mean`, and so on."""
    import pandas as pd

    names = [str(name) for name in frame.columns if name not in keys]
    label = f"{prefix} " if prefix else ""
    groups = frame.groupby(keys, sort=False)
    made: dict[str, Any] = {f"{label}rows": groups.size()}
    by = [frame[key] for key in keys]
    for name in names:
        column = frame[name].mask(frame[name] == "")
        called = f"{label}{name}"
        numbers = as_numbers(column) if column.notna().any() else None
        dates = as_dates(column) if numbers is None and column.notna().any() else None
        if numbers is None and dates is not None:
            numbers = (dates - dates.min()).dt.total_seconds() / DAY
        if numbers is not None:
            found = numbers.groupby(by, sort=False).agg(["mean", "min", "max", "sum", "last", "std"])
            made |= {f"{called} {kind}": found[kind] for kind in found.columns}
        else:
            found = column.groupby(by, sort=False)
            made |= {f"{called} kinds": found.nunique(), f"{called} last": found.last()}
            values = column.value_counts()
            for value in values.index[:FEW] if len(values) <= 2 * FEW else ():
                made[f"{called} {value}"] = (column == value).groupby(by, sort=False).sum()
    return pd.DataFrame(made).reset_index()
