"""A look at the data: what is missing, how targets are distributed, where training and test rows differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from agentkd.agents.agent_k.contract import map_file
from agentkd.agents.agent_k.scoring.truth import is_known
from agentkd.agents.agent_k.understand.cells import as_numbers
from agentkd.agents.agent_k.workspace.arrays import Array, CompetitionData

if TYPE_CHECKING:
    import pandas as pd

CELLS, FEWEST, MOST = 4_000_000, 10, 60  # of tables: cells that are read, and columns
CLASSES, TARGETS, BINS = 12, 6, 20  # that are shown
WORDS = 3  # most frequent values of a column


def describe_data(data: CompetitionData) -> dict[str, Any]:
    """Describe inputs and targets.

    Returns `rows` (training, test), `columns` (a record each, with the most drift first) `of` so many, `repeated`
    (training rows whose inputs another one has), and `targets`."""
    setup = data.setup
    rows = data.n_train + len(data.test_ids)
    wanted = list(setup.tab)[: min(MOST, max(FEWEST, CELLS // max(1, rows)))]
    found, repeated = [], 0
    if wanted:
        train, test = (read_columns(data, split, wanted) for split in ("train", "test"))
        found = [describe_column(name, train[name], test[name]) for name in wanted if name in train and name in test]
        found.sort(key=lambda item: -item["drift"])
        repeated = int(train.duplicated().sum()) if len(wanted) == len(setup.tab) and not setup.txt else 0
    return {
        "rows": [data.n_train, len(data.test_ids)],
        "columns": found,
        "of": len(setup.tab),
        "repeated": repeated,
        "targets": describe_targets(data),
    }


def read_columns(data: CompetitionData, split: str, names: list[str]) -> pd.DataFrame:
    """Some tabular columns of the training or the test rows."""
    import pandas as pd

    wanted = set(names)
    return pd.read_csv(map_file(data.workspace, split, "tab"), usecols=lambda name: name in wanted, low_memory=False)


def describe_column(name: str, train: pd.Series[Any], test: pd.Series[Any]) -> dict[str, Any]:
    """The kind of a column, its missing shares, what it holds, and its drift from training to test rows.

    The drift of numbers is the distance of Kolmogorov and Smirnov (the largest difference of the cumulative shares),
    that of words the total variation (half of the sum of all differences of their shares): 0 for none, 1 for nothing
    in common. `unseen`: the share of test rows whose word no training row has."""
    import pandas as pd

    numbers = as_numbers(train)
    kind = "number" if numbers is not None else "category"
    if numbers is not None:
        other = as_numbers(test)
        other = pd.to_numeric(test, errors="coerce") if other is None else other
        one, two = (np.sort(values.dropna().to_numpy(dtype=np.float64)) for values in (numbers, other))
        drift = compare_numbers(one, two)
        holds = " … ".join(f"{value:.4g}" for value in np.quantile(one, [0, 0.5, 1])) if len(one) else ""
        unseen = 0.0
    else:
        one_by, two_by = (column.astype(str).value_counts(normalize=True) for column in (train.dropna(), test.dropna()))
        drift = float(one_by.sub(two_by, fill_value=0).abs().sum() / 2) if len(one_by) and len(two_by) else 0.0
        holds = ", ".join(f"{value[:30]} {share:.0%}" for value, share in one_by.head(WORDS).items())
        if len(one_by) == train.count():
            holds = "no value twice"
        unseen = float(two_by[~two_by.index.isin(one_by.index)].sum())
    return {
        "name": name,
        "kind": kind,
        "missing": [round(float(column.isna().mean()), 4) for column in (train, test)],
        "distinct": int(train.nunique()),
        "holds": holds,
        "drift": round(drift, 4),
        "unseen": round(unseen, 4),
    }


def compare_numbers(one: Array, two: Array) -> float:
    """The distance of Kolmogorov and Smirnov of two sorted samples; 0 where one is empty."""
    if not len(one) or not len(two):
        return 0.0
    every = np.concatenate([one, two])
    shares = [np.searchsorted(values, every, side="right") / len(values) for values in (one, two)]
    return float(np.abs(shares[0] - shares[1]).max())


def describe_targets(data: CompetitionData) -> list[dict[str, Any]]:
    """Of each target the counts of its classes, or the quantiles and a histogram of its values."""
    setup, y = data.setup, data.y
    if setup.task in ("binary", "multiclass"):
        counts = np.bincount(y[is_known(y)], minlength=len(setup.classes))
        order = np.argsort(-counts, kind="stable")[:CLASSES]
        classes = [[setup.classes[place], int(counts[place])] for place in order]
        return [{"name": setup.targets[0], "classes": classes, "of": len(setup.classes)}]
    found: list[dict[str, Any]] = []
    for name, column in list(zip(setup.targets, y.T, strict=True))[:TARGETS]:
        values = column[is_known(column)]
        if setup.task == "multilabel":
            found.append(
                {"name": name, "classes": [["1", int(values.sum())], ["0", int((values == 0).sum())]], "of": 2}
            )
        elif len(values):
            counts, edges = np.histogram(values, BINS)
            quantiles = [round(float(each), 6) for each in np.quantile(values, [0, 0.25, 0.5, 0.75, 1])]
            found.append(
                {"name": name, "quantiles": quantiles, "counts": counts.tolist(), "known": len(values)}
                | {"edges": [float(edges[0]), float(edges[-1])]}
            )
    return found
