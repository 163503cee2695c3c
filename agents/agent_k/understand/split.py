"""How the test rows were parted from the training rows: by groups, by time, or by chance. Folds that are parted
otherwise give scores that the test rows do not keep."""

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
FEWEST = 5  # groups, or times, of the training rows, values of the test rows, and test rows
CHANCE = 1e-3  # of new values alone, where test rows were drawn like training rows
LOOKED = 1000  # rows that rule most columns out
_TIME = re.compile(r"(?:date|time|year|month|week|day|quarter|season|period|hour)\w*|yr|ts|dt")


@dataclass(frozen=True)
class DetectedSplit:
    """`groups` and `order` of the training rows, each None where the tables do not show it; `said` to the user."""

    groups: pd.Series[Any] | None = None
    order: Array | None = None
    said: tuple[str, ...] = ()


def detect_split(train: pd.DataFrame, test: pd.DataFrame) -> DetectedSplit:
    """What the inputs (`id` and columns, typed as pandas reads them) of both tables show.

    Time: a column of dates, or of numbers that are named so, in which all test rows are later. Groups: the coarsest of
    the columns of labels that repeat in the training rows, and of which no test row has a value that they have."""
    order, clock = None, ""
    times = {name: found for name in train.columns if (found := _later(train[name], test[name], str(name))) is not None}
    if times:
        clock = max(times, key=lambda name: len(np.unique(times[name])))
        order = times[clock]
    others = [name for name in train.columns if name != "id" and name not in times]
    labels = {name: found for name in others if (found := _apart(train[name], test[name])) is not None}
    by = min(labels, key=lambda name: labels[name].nunique(), default="")
    said = []
    if by:
        said.append(f"no test row has a value of '{by}' that a training row has: training rows of one value stay in "
                    f"one fold, so scores are those of new values")  # fmt: skip
    if clock:
        said.append(f"by '{clock}' all test rows are later than the training rows: the folds are blocks of time, so "
                    f"scores are those of another time")  # fmt: skip
    return DetectedSplit(labels[by] if by else None, order, tuple(said))


def _later(train: pd.Series[Any], test: pd.Series[Any], name: str) -> Array | None:
    """When each training row was, if all test rows are later."""
    import pandas as pd

    if len(test) < FEWEST:
        return None
    if pd.api.types.is_numeric_dtype(train) and pd.api.types.is_numeric_dtype(test):
        words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
        if pd.api.types.is_bool_dtype(train) or not any(_TIME.fullmatch(word) for word in words):
            return None
        first, then = train.astype(np.float64), test.astype(np.float64)
    elif as_dates(train.head(LOOKED)) is None or as_dates(test.head(LOOKED)) is None:
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


def _apart(train: pd.Series[Any], test: pd.Series[Any]) -> pd.Series[Any] | None:
    """The training rows' values, where they are labels that repeat and the test rows have others; a row without one is
    a group of its own.

    A drawn row's value is new about as often as a training row's is the only one of its kind (Good 1953), so values
    that are mostly single, or few test values, may all be new by chance."""
    if _values(train.head(LOOKED)) & _values(test.head(LOOKED)) or not (_is_label(train) and _is_label(test)):
        return None
    new = _values(test)
    first = _texts(train)
    count = first.value_counts()
    if len(count) < FEWEST or len(new) < FEWEST or first.notna().mean() < 0.5 or new & set(count.index):
        return None
    single = ((count == 1).sum() + 1) / (count.sum() + 1)
    if single > 0.5 or single ** len(new) > CHANCE:
        return None
    return first.where(first.notna(), [f"row {place}" for place in range(len(first))])


def _values(column: pd.Series[Any]) -> set[str]:
    return set(_texts(column.drop_duplicates()).dropna())


def _texts(column: pd.Series[Any]) -> pd.Series[Any]:
    """Cells as text: a number of a column that has gaps, or that has texts in the other table, is written as a whole
    one."""
    import pandas as pd

    if pd.api.types.is_float_dtype(column) and (column.dropna() % 1 == 0).all() and column.abs().max() < 2**53:
        column = column.astype("Int64")
    return column.astype(object).map(lambda cell: str(cell).strip(), na_action="ignore")


def _is_label(column: pd.Series[Any]) -> bool:
    """Texts, codes and whole numbers; no measures."""
    import pandas as pd

    if pd.api.types.is_bool_dtype(column):
        return False
    if pd.api.types.is_numeric_dtype(column):
        return bool((column.dropna() % 1 == 0).all())
    numbers = as_numbers(column.head(LOOKED))
    return numbers is None or bool((pd.to_numeric(column.dropna(), errors="coerce") % 1 == 0).all())
