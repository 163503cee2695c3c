"""Read the true values of a target map as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.contract import Setup
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]


def encode_targets(setup: Setup, truth: pd.DataFrame) -> Array:
    """The true values of a target map as an array.

    Classification: codes `(N,)` in the order of `setup.classes`, -1 where missing. Multilabel: `(N, L)` of 0, 1, -1.
    Regression: `(N, T)` floats with NaN. Raises UserError for a value that is no class."""
    import pandas as pd

    if lacking := [name for name in setup.targets if name not in truth.columns]:
        raise UserError(f"the target map lacks the column '{lacking[0]}'")
    if setup.task == "regression":
        frame = truth[list(setup.targets)].apply(pd.to_numeric, errors="coerce")
        return frame.to_numpy(dtype=np.float64)
    if setup.task == "multilabel":
        frame = truth[list(setup.targets)].apply(
            lambda column: column.map({cell: _number(cell) for cell in column.unique()}).astype(np.float64)
        )
        if bad := sorted(set(np.unique(frame.to_numpy(dtype=np.float64)[frame.notna().to_numpy()])) - {0.0, 1.0}):
            raise UserError(f"a multilabel target has the value {bad[0]:g}: its values must be 0 and 1")
        return frame.fillna(-1).to_numpy(dtype=np.int64)
    return encode_classes(setup, truth[setup.targets[0]])


def encode_classes(setup: Setup, column: pd.Series[Any]) -> npt.NDArray[np.int64]:
    """Each cell's place in `setup.classes`, -1 where missing; `1.0` and `1` are the same class."""
    place = {name: i for i, name in enumerate(setup.classes)}
    by_number = {number: i for i, name in enumerate(setup.classes) if (number := _number(name)) is not None}
    found: dict[str, int] = {}
    text = column.astype(object)
    empty = text.isna() | (text.astype(str) == "")
    for value in text[~empty].astype(str).unique():
        number = _number(value)
        code = place.get(value, -1 if number is None else by_number.get(number, -1))
        if code < 0:
            raise UserError(f"'{value}' is none of the classes {', '.join(setup.classes[:10])}")
        found[value] = code
    return text.astype(str).map(found).where(~empty, -1).to_numpy(dtype=np.int64)


def _number(cell: Any) -> float | None:
    truth = {"true": 1.0, "false": 0.0}  # True and 1 are the same class
    text = str(cell).lower()
    try:
        return truth[text] if text in truth else float(text)
    except ValueError:
        return None


def is_known(truth: Array) -> npt.NDArray[np.bool_]:
    """Where a true value is known."""
    return np.isfinite(truth) if truth.dtype.kind == "f" else truth >= 0


def predict_constant(setup: Setup, truth: Array) -> Array:
    """The best constant prediction `(len(setup.predicted),)`: class shares, or the median or quantile of each target.

    `truth` is that of `encode_targets`."""
    known = is_known(truth)
    if setup.task in ("binary", "multiclass"):
        return np.bincount(truth[known], minlength=len(setup.classes)) / known.sum()
    if setup.task == "multilabel":
        return np.asarray(np.where(known, truth, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1))
    filled = np.where(known.any(axis=0), np.where(known, truth, np.nan), 0.0)
    if setup.quantiles:
        return np.array([np.nanquantile(column, q) for column, q in zip(filled.T, setup.quantiles, strict=True)])
    return np.nan_to_num(np.nanmedian(filled, axis=0))


def class_numbers(setup: Setup) -> npt.NDArray[np.float64]:
    """The classes as numbers; their places where one of them is not a number."""
    numbers = [_number(name) for name in setup.classes]
    return np.array([i if None in numbers else n for i, n in enumerate(numbers)], dtype=np.float64)
