"""Detect how the test set was split off: by group, by time, or at random.

Folds that are split in another way promise scores that the test set does not keep."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.understand.cells import as_dates, as_numbers

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]
FEWEST = 5  # groups or times among the training rows, values among the test rows, and test rows
CHANCE = 1e-3  # highest probability that all test values are new, were the test rows drawn like the training rows
SAMPLE_ROWS = 1000  # enough to rule most columns out
_TIME = re.compile(r"(?:date|time|year|month|week|day|quarter|season|period|hour)\w*|yr|ts|dt")


@dataclass(frozen=True)
class DetectedSplit:
    """How the test set was split off; both fields are None where the tables do not show it."""

    groups: pd.Series[Any] | None = None  # of the training rows
    order: Array | None = None  # of the training rows in time
    notes: tuple[str, ...] = ()  # lines for the user
    clock: str = ""  # the column of `order`


def detect_split(train: pd.DataFrame, test: pd.DataFrame) -> DetectedSplit:
    """Detect how the test set was split off, from the inputs of both tables (typed as pandas reads them).

    By time: all test rows are later by a column of dates, or of numbers with a name of time. By group: labels repeat in
    the training rows, and no test row has one of them; of several such columns the coarsest counts."""
    order, clock = None, ""
    measured = _list_measured(train, test)
    times = {
        name: found
        for name in train.columns
        if (name not in measured or names_time(name))
        and (found := _read_times(train[name], test[name], str(name))) is not None
    }
    if times:
        clock = max(times, key=lambda name: len(np.unique(times[name])))
        order = times[clock]
    others = [name for name in train.columns if name != "id" and name not in times and name not in measured]
    labels = {name: found for name in others if (found := _read_groups(train[name], test[name])) is not None}
    by = min(labels, key=lambda name: labels[name].nunique(), default="")
    notes = []
    if by:
        notes.append(
            f"no test row has a value of '{by}' that a training row has: training rows of one value stay in one fold, "
            f"so scores are those of new values"
        )
    if clock:
        notes.append(
            f"by '{clock}' all test rows are later than the training rows: the folds are blocks of time, and the score "
            f"is that of the last block, by models of the rows before it"
        )
    return DetectedSplit(labels[by] if by else None, order, tuple(notes), clock)


def _read_times(train: pd.Series[Any], test: pd.Series[Any], name: str) -> Array | None:
    """The training rows' times, as numbers, if all test rows are later; else None."""
    import pandas as pd

    if len(test) < FEWEST:
        return None
    if pd.api.types.is_numeric_dtype(train) and pd.api.types.is_numeric_dtype(test):
        if pd.api.types.is_bool_dtype(train) or not names_time(name):
            return None
        first, then = train.astype(np.float64), test.astype(np.float64)
    elif as_dates(train.head(SAMPLE_ROWS)) is None or as_dates(test.head(SAMPLE_ROWS)) is None:
        return None
    else:
        date = as_dates(pd.concat([train, test], ignore_index=True))
        if date is None:
            return None
        days = (date - date.min()).dt.total_seconds() / 86400
        first, then = days.iloc[: len(train)], days.iloc[len(train) :]
    if first.nunique() < FEWEST or then.notna().sum() < FEWEST or not then.min() > first.max():
        return None
    return np.asarray(first.fillna(first.median()), dtype=np.float64)


def names_time(name: object) -> bool:
    """Whether a column's name has a word of time."""
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", str(name)).lower())
    return any(_TIME.fullmatch(word) for word in words)


def _read_groups(train: pd.Series[Any], test: pd.Series[Any]) -> pd.Series[Any] | None:
    """The training rows' groups, if a column's labels repeat and the test rows have other ones; else None.

    A row without a label is a group of its own. The value of a randomly drawn row is new about as often as a training
    row's value is unique (Good 1953), so values that are mostly unique, or few test values, may all be new by chance.
    """
    if _list_texts(train.head(SAMPLE_ROWS)) & _list_texts(test.head(SAMPLE_ROWS)) or not (
        _is_label(train) and _is_label(test)
    ):
        return None
    new = _list_texts(test)
    first = _as_texts(train)
    count = first.value_counts()
    if len(count) < FEWEST or len(new) < FEWEST or first.notna().mean() < 0.5 or new & set(count.index):
        return None
    single = ((count == 1).sum() + 1) / (count.sum() + 1)
    if single > 0.5 or single ** len(new) > CHANCE:
        return None
    return first.where(first.notna(), [f"row {place}" for place in range(len(first))])


def _list_measured(train: pd.DataFrame, test: pd.DataFrame) -> set[str]:
    """The columns of numbers of both tables that have fractions or share a first value: no labels of groups.

    A look at all columns at once, before their cells become texts."""
    first = train.head(SAMPLE_ROWS).select_dtypes("number")
    then = test.head(SAMPLE_ROWS).select_dtypes("number")
    names = [name for name in first.columns if name in then.columns]
    one, other = (frame[names].to_numpy(dtype=np.float64) for frame in (first, then))
    with np.errstate(invalid="ignore"):
        found: Array = (one % 1 > 0).any(axis=0) | (other % 1 > 0).any(axis=0)
    return {
        str(name)
        for place, name in enumerate(names)
        if found[place] or np.isin(other[:, place], one[np.isfinite(one[:, place]), place]).any()
    }


def _list_texts(column: pd.Series[Any]) -> set[str]:
    return set(_as_texts(column.drop_duplicates()).dropna())


def _as_texts(column: pd.Series[Any]) -> pd.Series[Any]:
    """Cells as text. Whole numbers are written without a point, also where gaps have made the column floats."""
    import pandas as pd

    if pd.api.types.is_float_dtype(column) and (column.dropna() % 1 == 0).all() and column.abs().max() < 2**53:
        column = column.astype("Int64")
    return column.astype(object).map(lambda cell: str(cell).strip(), na_action="ignore")


def _is_label(column: pd.Series[Any]) -> bool:
    """Whether a column holds texts, codes or whole numbers, not measurements."""
    import pandas as pd

    if pd.api.types.is_bool_dtype(column):
        return False
    if pd.api.types.is_numeric_dtype(column):
        return bool((column.dropna() % 1 == 0).all())
    numbers = as_numbers(column.head(SAMPLE_ROWS))
    return numbers is None or bool((pd.to_numeric(column.dropna(), errors="coerce") % 1 == 0).all())
