"""Series in columns (d_1 … d_122) and a submission with a column for each later step (F1 … F28)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from agentkd.agents.agent_k.reshape.tables import MARK, Tables

if TYPE_CHECKING:
    import pandas as pd

FEWEST_STEPS, FEWEST_HORIZONS = 6, 2
MOST_ROWS = 300_000  # of the training table: of long series the last steps are learned
WEEK, STEP, DAY, VALUE = 7, "time step", "step of the week", "value"


def lengthen_horizons(tables: Tables) -> None:
    """Make a row for each series and step: the number of the step, its place in a week, the columns of the series."""
    train, key, outputs = tables.train, tables.key, tables.outputs
    if train is None or key not in train.columns or not train[key].is_unique or len(outputs) < FEWEST_HORIZONS:
        return
    series = find_numbered(list(map(str, train.columns)))
    if any(name in train.columns for name in outputs) or not is_row(outputs) or len(series) < FEWEST_STEPS:
        return
    if not is_row(series) or not set(tables.sample[key]) <= set(train[key]):
        return
    series = sorted(series, key=_number)
    last, first = _number(series[-1]), min(map(_number, outputs))
    shift = 0 if first == last + 1 else last + 1 - first  # d_123 goes on; F1 begins anew
    kept = series[-max(len(outputs) + FEWEST_STEPS, MOST_ROWS // len(train)) :]
    asked = train.set_index(key).loc[list(tables.sample[key])].reset_index()
    held = [str(name) for name in train.columns if name not in series and name != key]
    tables.train = _lengthen(train, key, held, [_number(name) for name in kept]).assign(
        **{VALUE: np.concatenate([train[name].to_numpy() for name in kept])}
    )
    tables.test = _lengthen(asked, key, held, [_number(name) + shift for name in outputs])
    tables.rows = list(tables.sample[key])
    tables.cells = {name: f"{MARK}{_number(name) + shift}" for name in outputs}
    tables.sample = tables.test[[key]].assign(**{VALUE: tables.sample[outputs[0]].iloc[0]})
    tables.facts |= {"id": None, "target": None, "task": "regression"}
    tables.changed = True
    less = f", of which the last {len(kept)} are learned" if len(kept) < len(series) else ""
    tables.notes.append(
        f"{series[0]} … {series[-1]} are {len(series)} steps of each '{key}'{less}, and {outputs[0]} … {outputs[-1]} "
        "the "
        f"steps after them"
    )


def _lengthen(frame: pd.DataFrame, key: str, held: list[str], steps: list[int]) -> pd.DataFrame:
    """A row for each step and row of the table, with the columns `held`, steps outermost."""
    place = np.tile(np.arange(len(frame)), len(steps))
    step = np.repeat(steps, len(frame))
    out = frame[held].iloc[place].reset_index(drop=True)
    names = frame[key].to_numpy()[place]
    out.insert(0, key, [f"{name}{MARK}{number}" for name, number in zip(names, step, strict=True)])
    return out.assign(**{"series": names, STEP: step.astype(str), DAY: (step % WEEK).astype(str)})


def _number(name: str) -> int:
    return int(re.findall(r"\d+", name)[-1])


def is_row(names: list[str]) -> bool:
    """Whether names are one word with consecutive numbers: F1, F2, F3."""
    words = {re.sub(r"\d+$", "", name) for name in names}
    if len(words) != 1 or not all(name[-1:].isdigit() for name in names):
        return False
    numbers = sorted(map(_number, names))
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def find_numbered(names: list[str]) -> list[str]:
    """The largest set of names that are one word with different numbers."""
    found: dict[str, list[str]] = {}
    for name in names:
        if name[-1:].isdigit():
            found.setdefault(re.sub(r"\d+$", "", name), []).append(name)
    return max(found.values(), key=len, default=[])
