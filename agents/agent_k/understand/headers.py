"""Match the headers of the training table with those of the test table, and name the columns that only one has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agentkd.agents.agent_k.contract import list_names
from agentkd.agents.agent_k.understand.split import names_time

if TYPE_CHECKING:
    import pandas as pd

LEAST_ROWS = 10  # fewer consecutive numbers may be chance


def plain_name(name: object) -> str:
    """A column's name without blanks and case."""
    return "".join(str(name).split()).casefold()


def match_headers(names: Iterable[str], wanted: Sequence[str]) -> dict[str, str]:
    """The names that differ from one of `wanted` by blanks or case alone, each with that one.

    A name that is like two others is left as it is."""
    given, known = [str(name) for name in names], set(map(str, wanted))
    own = Counter(map(plain_name, given))
    theirs = Counter(map(plain_name, known))
    place = {plain_name(name): name for name in known}
    return {
        name: place[key]
        for name in given
        if name not in known and (key := plain_name(name)) in place and own[key] == theirs[key] == 1
    }


def describe_headers(renamed: Mapping[str, str]) -> list[str]:
    """A line for headers that were matched."""
    pairs = [f"{name!r} = {other!r}" for name, other in renamed.items()]
    return [f"headers that differ by blanks or case are one column: {list_names(pairs)}"] if pairs else []


def describe_only(split: str, names: Sequence[str]) -> list[str]:
    """A line for the columns that one table alone has."""
    if not names:
        return []
    what = f"column {list_names(names)} stands" if len(names) == 1 else f"columns {list_names(names)} stand"
    return [f"{what} in the {split} table only, so {'it is no input' if len(names) == 1 else 'they are no inputs'}"]


def find_counters(train: pd.DataFrame, test: pd.DataFrame, inputs: Sequence[str]) -> list[str]:
    """Columns that number the rows of both tables in their order, each from the same start: no fact about a row.

    So are columns without a name, as a saved index has none, of whole numbers that all differ. A column whose name
    speaks of time is a time."""
    found = []
    for name in inputs:
        if names_time(name) or len(train) < LEAST_ROWS:
            continue
        first, then = _start_of_count(train[name]), _start_of_count(test[name])
        bare = str(name).startswith("Unnamed: ") or not str(name).strip()
        if first is not None and then is not None and (first == then or bare or then == first + len(train)):
            if first == then or bare or plain_name(name) in _COUNTERS:
                found.append(name)
        elif bare and train[name].is_unique and test[name].is_unique and _is_whole(train[name]):
            found.append(name)
    return found


_COUNTERS = {"index", "idx", "row", "rowid", "row_id", "rownumber", "row_number", "rownum", "no", "nr", "counter"}


def describe_counters(names: Sequence[str]) -> list[str]:
    """A line for each counter that is left out."""
    return [
        f"column '{name}' numbers the rows, so it is no input: give it a name of time (such as day) if it is one"
        for name in names
    ]


def _is_whole(column: pd.Series[Any]) -> bool:
    return bool(column.str.fullmatch(r"\s*\d+(?:\.0)?\s*").all())


def _start_of_count(column: pd.Series[str]) -> int | None:
    """The first of the consecutive whole numbers that a column of texts holds, else None."""
    import numpy as np
    import pandas as pd

    if len(column) > 1 and column.iloc[0] == column.iloc[1]:  # so do the columns of a wide table that are mostly 0
        return None
    head = pd.to_numeric(column.head(LEAST_ROWS), errors="coerce")
    if head.isna().any() or (np.diff(head) != 1).any() or head.iloc[0] % 1 != 0:
        return None
    number = pd.to_numeric(column, errors="coerce")
    if number.isna().any() or (np.diff(number) != 1).any():
        return None
    return int(head.iloc[0])
