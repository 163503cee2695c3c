"""Find the columns of the target: in the training table, and in the sample submission."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agentkd.agents.agent_k.understand.cells import distinct_values, is_gap
from agentkd.agents.agent_k.understand.classes import each_names_one
from agentkd.agents.agent_k.understand.target_hints import TargetColumns
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


def list_empty_columns(test: pd.DataFrame, key: str) -> list[str]:
    """Columns of the test table without a value: no input, but a target may be there without its values."""
    first = is_gap(test.iloc[0].astype(str)).to_numpy()  # of all columns at once: tables may be wide
    columns = (name for name in test.columns[first] if name != key and is_gap(test[name].head(100)).all())
    return [str(name) for name in columns if is_gap(test[name]).all()]


def find_outputs(sample: pd.DataFrame, test: pd.DataFrame, key: str, settled: Sequence[str]) -> tuple[str, ...]:
    """The sample's columns to be filled: neither the id, nor columns copied from the test table."""
    names = [str(name) for name in sample.columns if name != key]
    shown = test.drop_duplicates(key).set_index(key).loc[list(sample[key])] if key in test.columns else test
    rest = [
        name
        for name in names
        if name in settled or name not in shown.columns or list(shown[name]) != list(sample[name])
    ]
    return tuple(rest or names)


def read_settled_targets(fixed: Mapping[str, Any]) -> tuple[str, ...]:
    own = fixed.get("target")
    return tuple(part.strip() for part in str(own).split(",")) if own else ()


def find_targets(
    train: pd.DataFrame,
    test: pd.DataFrame,
    empty: list[str],
    outputs: tuple[str, ...],
    key: str,
    fixed: Mapping[str, Any],
) -> TargetColumns:
    """The training table's target columns; a column that is `empty` in the test table may be one.

    Raises UserError where the target is not clear."""
    if names := read_settled_targets(fixed):
        if absent := [name for name in names if name not in train.columns]:
            raise UserError(
                f"target={absent[0]} is no column of the training table: choose of {', '.join(map(str, train))}"
            )
        if len(names) > 1 and len(names) != len(outputs):
            raise UserError(
                f"target={','.join(names)} names {len(names)} columns, and the sample submission asks for "
                f"{len(outputs)} "
                f"({', '.join(outputs[:5])}): name them in its order"
            )
        return TargetColumns(names, outputs, len(names) == 1 and len(outputs) > 1)
    if all(name in train.columns for name in outputs):
        return TargetColumns(outputs, outputs, by_class=False)
    lower = {str(name).lower(): str(name) for name in train.columns}
    if all(name.lower() in lower for name in outputs):
        return TargetColumns(tuple(lower[name.lower()] for name in outputs), outputs, by_class=False)
    held = set(test.columns)
    absent = [str(name) for name in train.columns if name not in held and name != key]
    only_train = absent or [name for name in empty if name in train.columns]
    if len(outputs) > 1:
        for name in only_train:
            if set(outputs) >= set(found := distinct_values(train[name])) or each_names_one(outputs, found):
                return TargetColumns((name,), outputs, by_class=True)
    if len(outputs) == 1 and len(only_train) == 1:
        return TargetColumns((only_train[0],), outputs, by_class=False)
    if not only_train:
        raise UserError(
            "no column stands in the training table alone, so there is nothing to learn "
            f"{', '.join(outputs[:5])} from: add a table of the training rows' ids and targets (train_labels.csv), or "
            "set target=COLUMN where the test table has it, too"
        )
    if len(outputs) > 1:
        remedy = (
            "set target=A,B,…, a column for each, in that order"
            if len(only_train) >= len(outputs)
            else "several values a row of one target are not there (docs/kaggle.md, What is not there)"
        )
        raise UserError(
            f"the sample submission asks for {', '.join(outputs[:5])}, which are neither columns of the training table "
            f"nor the values of one (only there: {', '.join(only_train[:8])}): {remedy}"
        )
    raise UserError(
        f"which of the training table's columns are to be predicted as {', '.join(outputs[:5])} is not clear "
        f"(only there: {', '.join(only_train[:8])}): set target=COLUMN"
    )
