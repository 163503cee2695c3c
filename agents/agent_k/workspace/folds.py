"""Assign the training rows to folds: once, before any model, for all candidates of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.contract import Setup
from agentkd.agents.agent_k.scoring.truth import encode_targets
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


def make_folds(
    setup: Setup,
    targets: pd.DataFrame,
    k: int = 5,
    seed: int = 0,
    groups: pd.Series[Any] | None = None,
    order: npt.NDArray[Any] | None = None,
) -> pd.DataFrame:
    """Assign a fold (0 … k-1) to each id of the target map, the same for the same seed.

    Classes, or sets of labels, are dealt to the folds in turn, so that folds differ by at most one row in size and in
    each class; a class of one row is unknown to the model that predicts it. For a regression, rows are sorted by value,
    and every k rows in a row are spread over the k folds. There are fewer folds for fewer than 2 k rows.

    Rows of one group stay together; a group is dealt by its first row. With an `order` the folds are blocks of it. Most
    blocks are predicted from rows before and after them, so scores are still a little better than those of a future.
    Raises UserError for fewer than two rows."""
    import pandas as pd

    ids = targets["id"].astype(str).to_numpy()
    if order is not None and (block := _blocks(order, groups, k)) is not None:
        return pd.DataFrame({"id": ids, "fold": block})
    if groups is not None and groups.nunique() > 1:
        first = ~groups.duplicated()
        dealt = _deal(setup, targets[first.to_numpy()], min(k, int(first.sum())), seed)
        place = dict(zip(groups[first], dealt, strict=True))
        return pd.DataFrame({"id": ids, "fold": groups.map(place).to_numpy()})
    if len(ids) < 2:
        raise UserError(f"{len(ids)} training rows cannot be split into folds: at least 2 are needed")
    return pd.DataFrame({"id": ids, "fold": _deal(setup, targets, max(2, min(k, len(ids) // 2)), seed)})


def _blocks(order: npt.NDArray[Any], groups: pd.Series[Any] | None, k: int) -> npt.NDArray[np.int64] | None:
    """Folds of consecutive rows, about equal in size; None where only one fold results.

    Rows of one time, or of one group (placed at the mean of its rows), are kept together."""
    import pandas as pd

    unit, _ = pd.factorize(order if groups is None else groups)
    size = np.bincount(unit)
    rank = np.argsort(np.bincount(unit, weights=order) / size, kind="stable")
    middle = np.cumsum(size[rank]) - size[rank] / 2
    place = np.empty(len(size), dtype=np.int64)
    place[rank] = np.minimum(middle * k / len(order), k - 1).astype(np.int64)
    found, fold = np.unique(place[unit], return_inverse=True)
    return np.asarray(fold) if len(found) > 1 else None


def _deal(setup: Setup, targets: pd.DataFrame, k: int, seed: int) -> npt.NDArray[np.int64]:
    """A fold for each row, balanced by class or value."""
    n = len(targets)
    random = np.random.default_rng(seed)
    order = random.permutation(n)  # ties below keep this order
    keys = _sort_keys(encode_targets(setup, targets))[order]
    order = order[np.lexsort(keys.T[::-1])]
    fold = np.empty(n, dtype=np.int64)
    if setup.task == "regression":
        for start in range(0, n, k):
            block = order[start : start + k]
            fold[block] = random.permutation(k)[: len(block)]
    else:
        fold[order] = np.arange(n) % k
    return fold


def _sort_keys(truth: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Sort keys of the rows, `(N, keys)`: class, labels, or the mean of the standardised targets."""
    if truth.dtype.kind != "f":
        return truth.reshape(len(truth), -1)
    scale = np.nanstd(truth, axis=0)
    standard = (truth - np.nanmean(truth, axis=0)) / np.where(scale > 0, scale, 1.0)
    return np.nan_to_num(standard, nan=0.0).mean(axis=1, keepdims=True)
