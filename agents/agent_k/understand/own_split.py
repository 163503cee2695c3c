"""How the user wants the training rows split into folds: by group, by time, into so many, or as a file says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.contract import list_names
from agentkd.agents.agent_k.understand.cells import as_dates, as_numbers
from agentkd.errors import UserError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

FEWEST = 2  # folds, groups and times
_DURATION = re.compile(r"\d+(?:\.\d+)?(?:s|m|h|min|sec)")


def read_own_split(train: pd.DataFrame, targets: Sequence[str], fixed: Mapping[str, Any]) -> dict[str, Any]:
    """The fields `group`, `time` and `folds` of a set-up, as the user has settled them.

    Raises UserError for a column that is not there, or cannot be used so, and for a wrong number."""
    found: dict[str, Any] = {}
    for option in ("group", "time"):
        if name := str(fixed.get(option) or ""):
            found[option] = _check_column(train, targets, option, name)
    if "time" in found:
        read_order(train[found["time"]])
    if "group" in found and not FEWEST <= train[found["group"]].nunique() < len(train):
        count = train[found["group"]].nunique()
        what = "one value" if count < FEWEST else "another value in each row"
        raise UserError(f"group={found['group']} has {what}, so it groups nothing: name a column whose values repeat")
    if (folds := fixed.get("folds")) is not None:
        found["folds"] = _check_number(str(folds), len(train)) if is_number(folds) else 0
        if not found["folds"] and (own := found.keys() & {"group", "time"}):
            raise UserError(f"folds={folds} says where each row belongs, so leave out {' and '.join(sorted(own))}=")
    return found


def is_number(folds: object) -> bool:
    """Whether the user's `folds=` is a number, not a file."""
    return re.fullmatch(r"-?\d+", str(folds).strip()) is not None


def _check_number(folds: str, rows: int) -> int:
    number, most = int(folds), rows // 2
    if not FEWEST <= number <= most:
        raise UserError(f"folds={folds}: give a number from {FEWEST} to {most} (half of the training rows), or a file")
    return number


def _check_column(train: pd.DataFrame, targets: Sequence[str], option: str, name: str) -> str:
    names = [str(column) for column in train.columns if column not in targets]
    if name in targets:
        raise UserError(f"{option}={name} is the target: choose another column")
    if name not in names:
        near = did_you_mean(name, names) or f": choose of {list_names(names)}"
        if option == "time" and _DURATION.fullmatch(name):
            near = f": for a limit write --time {name}, with a blank"
        raise UserError(f"{option}={name} is no column of the training table{near}")
    return name


def read_order(column: pd.Series[Any]) -> npt.NDArray[np.float64]:
    """The rows' times as numbers; gaps count as the middle.

    Raises UserError for a column of neither dates nor numbers, or of one time."""
    import pandas as pd

    cells = column.mask(column.astype(str).str.strip() == "")
    numbers = as_numbers(cells) if cells.notna().any() else None
    if numbers is None and (dates := as_dates(cells)) is not None:
        numbers = (dates - dates.min()).dt.total_seconds() / 86400
    if numbers is None:
        shown = next((str(cell) for cell in cells.dropna()), "")
        raise UserError(f"time={column.name} holds neither dates nor numbers ({shown!r}): choose another column")
    if numbers.nunique() < FEWEST:
        raise UserError(f"time={column.name} has one time in all rows: choose another column")
    return np.asarray(pd.to_numeric(numbers).fillna(numbers.median()), dtype=np.float64)
