"""Turn a table's columns into numbers and codes, by general rules that know no column names.

Only the inputs of the training and test rows are used here. Features that depend on the target (see encodings.py) are
fitted on a fold's training rows.

| a column of | becomes |
|---|---|
| one value, or nothing | nothing, or whether it is missing |
| numbers, "1,234", "12 %", "$5" | a number; also a category where there are few whole ones |
| dates | year, month, day, weekday, hour, days since the first |
| few texts | a category |
| codes of parts ("B/0/P", "gggg_01") | a feature for each part, and the features of the row below |
| many texts ("A/5 21171", "Braund, Mr. Owen") | its number, length, words; leading letters, first word and the whole as groups: their sizes, and their target means; its common words |
"""  # noqa: E501

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.understand.cells import as_dates, as_numbers

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]
FEW = 40  # most levels of a category; they are one-hot encoded
WORDS = 30  # most common words of a column of many texts


@dataclass(frozen=True)
class FeatureTable:
    """The features of a table's rows, with their names."""

    numbers: Array  # (N, P) floats with NaN
    categories: Array  # (N, Q) codes of at most FEW levels, -1 where missing
    groups: Array  # (N, G) codes of many levels, -1 where missing
    names: tuple[str, ...]
    category_names: tuple[str, ...]
    group_names: tuple[str, ...]
    views: tuple[tuple[Any, float], ...] = ()  # n-grams of the texts, see `text.count_ngram_views`


class _Columns:
    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.numbers: dict[str, Array] = {}
        self.categories: dict[str, Array] = {}
        self.groups: dict[str, Array] = {}

    def group(self, name: str, column: pd.Series[Any]) -> None:
        """Add a category, or a group if it has many levels; of a group also how often each value occurs."""
        codes, levels = _codes(column)
        if len(levels) < 2 and not (codes < 0).any():
            return
        size = np.bincount(codes + 1)[codes + 1].astype(np.float64)
        size[codes < 0] = 0
        if len(levels) <= FEW:
            self.categories[name] = codes
        else:
            self.numbers[f"{name} size"] = size
            if size.max() > 1:
                self.groups[name] = codes

    def table(self) -> FeatureTable:
        seen: dict[bytes, str] = {}
        for kind in (self.numbers, self.categories, self.groups):  # drop constants, and copies of other features
            for name, values in list(kind.items()):
                key = values.tobytes()
                if seen.setdefault(key, name) != name or np.all(values == values[0]) or np.isnan(values).all():
                    del kind[name]

        def stack(kind: dict[str, Array], dtype: str) -> Array:
            return np.column_stack(list(kind.values())).astype(dtype) if kind else np.zeros((self.rows, 0), dtype)

        return FeatureTable(
            stack(self.numbers, "float64"),
            stack(self.categories, "int64"),
            stack(self.groups, "int64"),
            tuple(self.numbers),
            tuple(self.categories),
            tuple(self.groups),
        )


def describe_columns(frame: pd.DataFrame) -> FeatureTable:
    """The features of a table of inputs (training and test rows)."""
    out = _Columns(len(frame))
    if len(missing := [n for n in frame.columns if frame[n].isna().any()]) > 1:
        out.numbers["missing"] = frame[missing].isna().sum(axis=1).to_numpy(dtype=np.float64)
    for name in frame.columns:
        column = frame[name]
        if column.notna().sum() == 0 or (column.nunique() < 2 and column.notna().all()):
            continue
        if (number := as_numbers(column)) is not None:
            _add_number(out, name, number)
        elif (date := as_dates(column)) is not None:
            _add_date(out, name, date)
        else:
            text = column.astype(str).str.strip().where(column.notna())
            if text.nunique() <= FEW:
                out.group(name, text)
            else:
                _add_texts(out, name, text)
    return out.table()


def _add_number(out: _Columns, name: str, column: pd.Series[Any]) -> None:
    values = column.to_numpy(dtype=np.float64)
    out.numbers[name] = values
    there = values[np.isfinite(values)]
    levels = np.unique(there)
    if 2 < len(levels) <= FEW // 2 and np.all(levels == np.rint(levels)):
        out.categories[name] = np.where(np.isfinite(values), np.searchsorted(levels, values), -1)


def _add_date(out: _Columns, name: str, date: pd.Series[Any]) -> None:
    parts = {part: getattr(date.dt, part) for part in ("year", "month", "day", "day_of_week", "hour")}
    for part, column in parts.items():
        if column.nunique() > 1:
            out.numbers[f"{name} {part}"] = column.to_numpy(dtype=np.float64)
    days = (date - date.min()).dt.total_seconds() / 86400
    out.numbers[f"{name} days"] = days.to_numpy(dtype=np.float64)


PARTS = "/_-:|.+#"  # separators of the parts of a code
MOST = 6  # parts


def split_codes(text: pd.Series[Any]) -> pd.DataFrame | None:
    """Split codes such as `B/0/P` into parts, a column each; None unless nearly all have equally many."""
    there = text.dropna()
    first = there.head(1000)
    if not len(there) or first.str.contains(r"\s").any():
        return None
    for mark in PARTS:
        if not first.str.contains(mark, regex=False).any():
            continue
        count = text.str.count(re.escape(mark))
        usual = int(count.mode().iloc[0])
        if 1 <= usual < MOST and (count == usual).sum() >= 0.95 * len(there):
            found = text.where(count == usual).str.split(mark, expand=True, regex=False)
            return found if found.nunique().max() > 1 else None
    return None


def describe_ids(ids: list[str]) -> dict[str, Array]:
    """Features of the ids: parts of dates; size of the group and place in it, of ids such as `0013_01`."""
    import pandas as pd

    column = pd.Series(ids, dtype=object)
    if (date := as_dates(column)) is not None:
        out = _Columns(len(ids))
        _add_date(out, "id", date)
        return out.numbers
    found = split_codes(column)
    if found is None or found.isna().any(axis=None):
        return {}
    group = found.iloc[:, :-1].agg("_".join, axis=1)
    size = group.map(group.value_counts()).to_numpy(dtype=np.float64)
    if size.max() < 2 or size.min() == len(ids):
        return {}
    last = pd.to_numeric(found.iloc[:, -1], errors="coerce").to_numpy(dtype=np.float64)
    return {"id group": size} | ({"id place": last} if np.isfinite(last).all() else {})


def _add_texts(out: _Columns, name: str, text: pd.Series[Any]) -> None:
    import pandas as pd

    out.group(name, text)
    pieces = split_codes(text)
    for place, piece in pieces.items() if pieces is not None else ():
        if (number := as_numbers(piece)) is not None:
            _add_number(out, f"{name} part {int(place) + 1}", number)
        else:
            out.group(f"{name} part {int(place) + 1}", piece)
    filled = text.fillna("")
    out.numbers[f"{name} length"] = filled.str.len().to_numpy(dtype=np.float64)
    out.numbers[f"{name} words"] = filled.str.split().str.len().to_numpy(dtype=np.float64)
    number = pd.to_numeric(filled.str.extract(r"(\d+)\D*$")[0], errors="coerce")
    if number.notna().mean() > 0.05:
        out.numbers[f"{name} number"] = number.to_numpy(dtype=np.float64)
    has_digit = filled.str.contains(r"\d", regex=True).mean() > 0.05
    if has_digit:
        letters = filled.str.extract(r"^([^\d]*[A-Za-z][^\s]*)\s")[0]
        out.group(f"{name} prefix", letters.where(letters.notna(), filled.str.extract(r"^([A-Za-z]+)")[0]))
        out.group(f"{name} first letter", filled.str.slice(0, 1).where(text.notna()))
    else:
        out.group(f"{name} first word", filled.str.extract(r"^(\w+)")[0])
        out.group(f"{name} last word", filled.str.extract(r"(\w+)\W*$")[0])
    words = [set(re.findall(r"[A-Za-z]{2,}", value.lower())) for value in filled]
    count = Counter(word for row in words for word in row)
    low, high = max(5, 0.005 * len(words)), 0.95 * len(words)
    common = [word for word, n in sorted(count.items(), key=lambda item: (-item[1], item[0])) if low <= n <= high]
    for word in common[:WORDS]:
        out.numbers[f"{name}: {word}"] = np.array([word in row for row in words], dtype=np.float64)


def _codes(column: pd.Series[Any]) -> tuple[Array, Array]:
    import pandas as pd

    codes, levels = pd.factorize(column, sort=True)
    return np.asarray(codes, dtype=np.int64), np.asarray(levels)
