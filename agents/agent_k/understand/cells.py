"""Read the cells of a column: numbers, dates, gaps and text."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from agentkd.agents.agent_k.understand.data_files import IMAGES

if TYPE_CHECKING:
    import pandas as pd

MOST_VALUE = 1e30  # beyond it trees' single precision, and cubes in double, are infinite
MISSING = {"na", "n/a", "nan", "null", "none", "<na>", "inf", "-inf", "?", "-", "--", "."}  # among numbers, lower case
FLAGS = {"0", "1", "0.0", "1.0", "false", "true"}  # in lower case
MOST_CLASS_VALUES = 10  # values such as 5% that are classes where they repeat
TEXT_WORDS = 6  # mean words of a cell from which on a column is text
LONG_CELL, LONG_WORD = 20, 12  # mean characters of a cell, and of one of its words, that are text with fewer words


def as_numbers(column: pd.Series[Any]) -> pd.Series[Any] | None:
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column):
        return _finite(column)
    if pd.api.types.is_datetime64_any_dtype(column):
        return None
    text = column.dropna().astype(str).str.strip()
    if text.str.match(r"-?0,\d").any():  # no thousands begin so: a decimal comma, if 0,1 and 0,10 are not both there
        points = text.str.replace(",", ".", regex=False)
        text = points if pd.to_numeric(points, errors="coerce").nunique() == text.nunique() else text
    plain = text.str.replace(r"^[$€£]\s*|\s*%$|(?<=\d),(?=\d{3}\b)", "", regex=True)
    number = pd.to_numeric(plain, errors="coerce")
    if number.notna().mean() < 0.95:
        return None
    return _finite(number.reindex(column.index))


def _finite(number: pd.Series[Any]) -> pd.Series[Any]:
    return number.astype(np.float64).replace([np.inf, -np.inf], np.nan).clip(-MOST_VALUE, MOST_VALUE)


def as_dates(column: pd.Series[Any]) -> pd.Series[Any] | None:
    """The dates of a column of dates, else None. 03/04/2021 is the fourth of March unless the column as a whole says
    otherwise: a first part above 12 somewhere, and no second one."""
    import pandas as pd

    text = column.dropna().astype(str)
    if (
        text.str.match(
            r"\s*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\s*[A-Za-z]{3,9} \d{1,2},? \d{4}|\s*\d{1,2} [A-Za-z]{3}"
        ).mean()
        < 0.95
    ):
        return None
    pieces = text.str.extract(r"^\s*(\d{1,2})[-/.](\d{1,2})[-/.]").apply(pd.to_numeric)
    day_first = bool((pieces[0] > 12).any() and not (pieces[1] > 12).any())
    with warnings.catch_warnings():  # about formats that it has to guess
        warnings.simplefilter("ignore")
        date = pd.to_datetime(column, errors="coerce", format="mixed", utc=True, dayfirst=day_first)
    return date if date.notna().sum() >= 0.95 * column.notna().sum() else None


def clean_targets(train: pd.DataFrame, targets: Sequence[str]) -> pd.DataFrame:
    """A training table as text whose unknown targets are "" (among numbers a word such as NA is no class), and whose
    targets such as $1,234.50 are plain numbers."""
    return train.assign(**{name: _clean_column(train[name]) for name in targets})


def is_gap(cells: pd.Series[str]) -> pd.Series[bool]:
    """Where a cell of numbers says nothing."""
    return cells.str.strip().str.lower().isin({"", *MISSING})


def _clean_column(column: pd.Series[str]) -> pd.Series[str]:
    import pandas as pd

    bare = column.str.strip()
    gone = is_gap(column)
    rest = bare[~gone]
    plain = pd.to_numeric(rest, errors="coerce").notna()
    if (plain | rest.str.lower().isin(FLAGS)).all():
        return bare.mask(gone, "")
    if rest.nunique() > min(MOST_CLASS_VALUES, len(rest) // 2):
        numbers = as_numbers(rest)
        if numbers is not None and numbers.notna().sum() > plain.sum():
            known = numbers.dropna().map(lambda number: str(number).removesuffix(".0"))
            return known.reindex(column.index, fill_value="").astype(column.dtype)
    return bare if bare.nunique() < column.nunique() else column  # blanks that part `yes ` from `yes`


def non_empty(column: pd.Series[str]) -> pd.Series[str]:
    return column[column != ""]


def distinct_values(column: pd.Series[str]) -> list[str]:
    return list(non_empty(column).unique())


def is_text(column: pd.Series[str]) -> bool:
    """Sentences: cells of many words, most of them different; or long cells of a few more than a name has, or of few
    blanks, as titles, Chinese and formulas are. No numbers, dates, paths of images, or ids, which are as long as each
    other."""
    cells = column[column != ""].head(2000)
    if len(cells) < 2 or cells.nunique() / len(cells) <= 0.5:
        return False
    length, words = cells.str.len().mean(), cells.str.count(r"\s+").mean() + 1
    if words >= TEXT_WORDS:
        return True
    if length < LONG_CELL or TEXT_WORDS - 1 > words > length / LONG_WORD:
        return False
    digits = cells.str.count(r"\d")
    code = words == 1 and cells.str.len().nunique() == 1 and (digits > 0).mean() > 0.5
    letters = cells.str.count(r"[^\W\d_]")
    return bool(letters.mean() > digits.mean() and not code and not cells.str.lower().str.endswith(IMAGES).mean() > 0.5)
