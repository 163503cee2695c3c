"""Read the cells of a column: numbers, dates, gaps and text."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from agentkd.agents.agent_k.understand.data_files import IMAGES

if TYPE_CHECKING:
    import pandas as pd

MOST_VALUE = 1e30  # larger numbers overflow in the single precision of trees, or when cubed
MISSING = {"na", "n/a", "nan", "null", "none", "<na>", "inf", "-inf", "?", "-", "--", "."}  # in lower case
FLAGS = {"0", "1", "0.0", "1.0", "false", "true"}  # in lower case
MOST_CLASS_VALUES = 10  # so few values such as 5%, which repeat, are classes
TEXT_WORDS = 6  # mean words per cell from which on a column is text
SPREAD = 20  # cells, from all over a column, that tell numbers from texts
LONG_CELL, LONG_WORD = 20, 12  # mean characters per cell, and per word, of texts with fewer words


def as_numbers(column: pd.Series[Any]) -> pd.Series[Any] | None:
    """A column of numbers as finite floats, else None; `1,234`, `12 %` and `$5` are numbers."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column):
        return _finite(column)
    if pd.api.types.is_datetime64_any_dtype(column):
        return None
    text = column.dropna().astype(str).str.strip()
    if text.str.match(r"-?0,\d").any():  # a decimal comma, not thousands; unless 0,1 and 0,10 are both there
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
    """The dates of a column of dates, else None.

    03/04/2021 is the fourth of March, unless somewhere in the column the first part is above 12 and nowhere the
    second."""
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
    with warnings.catch_warnings():  # pandas warns about formats that it guesses
        warnings.simplefilter("ignore")
        date = pd.to_datetime(column, errors="coerce", format="mixed", utc=True, dayfirst=day_first)
    return date if date.notna().sum() >= 0.95 * column.notna().sum() else None


def clean_targets(train: pd.DataFrame, targets: Sequence[str]) -> pd.DataFrame:
    """Clean the targets of a training table of text: unknown ones are "", `$1,234.50` is `1234.5`.

    Among numbers, a word such as NA is a gap, not a class."""
    return train.assign(**{name: _clean_column(train[name]) for name in targets})


def is_gap(cells: pd.Series[str]) -> pd.Series[bool]:
    """Where a cell of a column of numbers is a gap."""
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
    return bare if bare.nunique() < column.nunique() else column  # blanks alone may tell `yes ` from `yes`


def non_empty(column: pd.Series[str]) -> pd.Series[str]:
    """The cells that are not ""."""
    return column[column != ""]


def distinct_values(column: pd.Series[str]) -> list[str]:
    """The different non-empty cells, in the order of their first row."""
    return list(non_empty(column).unique())


def is_float(cell: str) -> bool:
    """Whether Python reads the cell as a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def is_text(column: pd.Series[str]) -> bool:
    """Whether a column holds texts: most cells differ, and they have many words.

    Long cells of few words are texts too (titles, Chinese, formulas), unless they are numbers, dates, paths of images,
    or ids, which all have one length."""
    spread = [cell for cell in column.iloc[:: max(1, len(column) // SPREAD)] if cell]
    if len(spread) >= SPREAD // 2 and all(map(is_float, spread)):  # what most columns of a wide table are
        return False
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
