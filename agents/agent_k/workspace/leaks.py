"""Find input columns that give the target away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentkd.agents.agent_k.contract import Setup

if TYPE_CHECKING:
    import pandas as pd
LEAK = 0.999  # share of rows whose target a column gives away
SAMPLE_ROWS = 20_000  # enough to find a leak
HEAD, ALIKE = 100, 0.5  # share of so many first rows that equals the target in a leak, at least


def find_leaks(inputs: pd.DataFrame, targets: pd.DataFrame, setup: Setup) -> list[str]:
    """List the columns that equal a target, or whose few values each occur with one target value only.

    Columns of distinct values are skipped. A gap counts as a value."""
    import numpy as np

    found = []
    if len(inputs) > SAMPLE_ROWS:  # a leak in nearly all rows is one in nearly all sampled rows, too
        inputs = inputs.sample(SAMPLE_ROWS, random_state=0).sort_index()
        targets = targets.loc[inputs.index]
    target = targets[setup.targets[0]].reset_index(drop=True)
    code, kinds = target.factorize()
    sure = len(kinds) > 1 and np.bincount(code).max() / len(code) < LEAK - 0.02
    names = inputs.columns[1:]
    if setup.task == "regression":  # then a column has to equal the target
        names = _list_alike(inputs.iloc[:HEAD, 1:], target.head(HEAD))
    for name in names:
        column = inputs[name].reset_index(drop=True)
        value, values = column.factorize(use_na_sentinel=False)  # faster than comparing texts in wide tables
        if (
            len(kinds) > 1
            and len(values) <= len(kinds) + (1 - LEAK) * len(code)
            and _share_equal(column, target) >= LEAK
        ):
            found.append(str(name))
        elif setup.task != "regression" and sure and len(values) <= len(code) / 5:
            table = np.zeros((len(values), len(kinds)), dtype=np.int64)
            np.add.at(table, (value, code), 1)
            if table.max(axis=1).sum() / len(code) >= LEAK:
                found.append(str(name))
    return found


def _list_alike(inputs: pd.DataFrame, target: pd.Series[str]) -> list[str]:
    """The columns that may equal the target in most rows, by their first ones: all of text, and numbers that do."""
    import pandas as pd

    numbers = inputs.select_dtypes("number")
    equal = numbers.to_numpy(dtype=float) == pd.to_numeric(target, errors="coerce").to_numpy(dtype=float)[:, None]
    unlike = set(numbers.columns[equal.mean(axis=0) < ALIKE])
    return [str(name) for name in inputs.columns if name not in unlike]


def _share_equal(column: pd.Series[Any], target: pd.Series[str]) -> float:
    """Share of rows whose cell is written as the target is; 0 where it is small among the first rows."""
    if (column.head(HEAD).astype(str) == target.head(HEAD)).mean() < ALIKE:
        return 0.0
    return float((column.astype(str) == target).mean())
