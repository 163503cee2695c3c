"""A sample submission that asks for several quantiles of one number: each becomes a target."""

from __future__ import annotations

import re

from agentkd.agents.agent_k.reshape.tables import Tables
from agentkd.agents.agent_k.understand.cells import as_numbers, distinct_values, is_gap
from agentkd.agents.agent_k.understand.classes import each_names_one
from agentkd.agents.agent_k.understand.demands import SPEAKS_OF_QUANTILES, read_levels
from agentkd.errors import UserError, did_you_mean


def spread_quantiles(tables: Tables) -> None:
    """Make a target of each quantile (q0.1, q0.5, q0.9), all with the values of the one that the training table has.

    Raises UserError where that is not clear."""
    outputs, train = tables.outputs, tables.train
    if train is None or len(outputs) < 2 or any(name in train.columns for name in outputs):
        return
    if not read_levels(outputs) or not re.search(SPEAKS_OF_QUANTILES, tables.text, re.I):
        return
    own = str(tables.fixed.get("target") or "")
    if not own and any(each_names_one(tuple(outputs), distinct_values(train[name])) for name in tables.only_train):
        return  # a column for each class
    numbers = [name for name in tables.only_train if as_numbers(train[name].mask(is_gap(train[name]))) is not None]
    if own:
        if own not in train.columns:
            raise UserError(f"target={own} is no column of the training table{did_you_mean(own, train.columns)}")
        numbers = [own]
    if len(numbers) != 1:
        shown = ", ".join(numbers) or "none"
        raise UserError(
            f"the sample submission asks for quantiles ({', '.join(outputs[:5])}), of which number is not clear "
            f"(only in the training table: {shown}): set target=COLUMN"
        )
    values = train[numbers[0]]
    tables.train = train.drop(columns=numbers).assign(**dict.fromkeys(outputs, values))
    levels = ", ".join(f"{level:g}" for level in read_levels(outputs))
    tables.notes.append(f"{', '.join(outputs)} are the quantiles {levels} of '{numbers[0]}'")
    tables.facts |= {"target": None, "task": "regression"}
    tables.changed = True
