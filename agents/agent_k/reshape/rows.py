"""Tables with several rows for one id of the submission, one table of all rows, and times until an event."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agentkd.agents.agent_k.reshape.aggregates import aggregate
from agentkd.agents.agent_k.reshape.tables import Tables
from agentkd.agents.agent_k.understand.tables import read_table
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

_SURVIVAL = r"surviv|censor|concordance|c-index|time.to.event|hazard"


def split_one_table(tables: Tables) -> None:
    """Split the only table into training rows and those that the sample submission asks for."""
    if tables.train is not None and tables.test is not None:
        return
    named = [path for path in tables.files.tables if path != tables.sample_path]
    key = str(tables.sample.columns[0])
    if len(named) != 1:
        return
    frame = read_table(tables.files.data / named[0], text=True)
    if key not in frame.columns or not frame[key].is_unique:
        return
    asked = frame[key].isin(set(tables.sample[key]))
    outputs = [name for name in tables.sample.columns if name != key]
    if asked.sum() != len(tables.sample) or asked.all() or not set(outputs) <= set(frame.columns):
        return
    rest = [name for name in frame.columns if name not in outputs and not _tells(frame[name], asked)]
    tables.train = frame.loc[~asked, [*rest, *outputs]].reset_index(drop=True)
    tables.test = frame.loc[asked, rest].reset_index(drop=True)
    tables.used |= {named[0]}
    tables.notes.append(f"{named[0]} holds all rows: those of the sample submission are the test rows")
    tables.changed = True


def _tells(column: pd.Series[str], asked: pd.Series[bool]) -> bool:
    """Whether a column of few values says which rows are asked for."""
    return bool(column.nunique() <= 5 and not set(column[asked]) & set(column[~asked]))


def collapse_rows(tables: Tables) -> None:
    """Make one row of several rows of a test id (statements of a customer), with the targets of a table of labels.

    Raises UserError where the target differs between the rows of an id."""
    train, test, key = tables.train, tables.test, tables.key
    if train is None or test is None or key not in test.columns or key not in train.columns:
        return
    if test[key].is_unique or not tables.sample[key].is_unique or not set(tables.sample[key]) <= set(test[key]):
        return
    if train[key].is_unique:
        raise UserError(
            f"the test table has several rows for each '{key}', the training table one: set id=COLUMN where another "
            f"column names the rows, or keep one test row for each '{key}'"
        )
    targets = tables.only_train
    labels = None if targets else _find_labels(tables)
    if labels is not None:
        targets = [str(name) for name in labels.columns if name != key]
    else:
        found = train.groupby(key, sort=False)[targets]
        if targets and (found.nunique() > 1).any(axis=None):
            raise UserError(
                f"the test table has several rows for each '{key}' of the sample submission, and '{targets[0]}' "
                "differs "
                f"between the training rows of one: give one row for each '{key}'"
            )
        labels = found.first().reset_index()
    inputs = [name for name in train.columns if name in test.columns]
    tables.train = aggregate(train[inputs], [key]).merge(labels, on=key, how="inner")
    tables.test = aggregate(test[inputs], [key])
    tables.notes.append(
        f"the rows of one '{key}' become one: count, mean, min, max, sum, last and spread of numbers, counts of words"
    )
    tables.changed = True


def _find_labels(tables: Tables) -> pd.DataFrame | None:
    """The table of the training ids' targets: one row an id, with columns that the test table lacks."""
    train, test, key = tables.train, tables.test, tables.key
    assert train is not None and test is not None
    for path in tables.others:
        frame = read_table(tables.files.data / path, text=True)
        if key not in frame.columns or not frame[key].is_unique or frame[key].isin(test[key]).any():
            continue
        new = [name for name in frame.columns if name not in train.columns and name not in test.columns]
        if new and train[key].isin(frame[key]).mean() > 0.5:
            tables.used |= {path}
            return frame[[key, *new]]
    return None


def learn_survival(tables: Tables) -> None:
    """Learn a risk from a time and whether the event was seen: the martingale residual of a model without inputs.

    The residual is the event (0, 1) less the cumulative hazard at the time (Nelson-Aalen); it is the gradient of Cox's
    partial likelihood at equal risks (Therneau, Grambsch and Fleming 1990), and larger for earlier events."""
    import numpy as np
    import pandas as pd

    train, outputs = tables.train, tables.outputs
    if train is None or len(outputs) != 1 or not re.search(_SURVIVAL, tables.text, re.I):
        return
    only = tables.only_train
    numbers = {name: pd.to_numeric(train[name], errors="coerce") for name in only}
    flags = [name for name in only if set(numbers[name].dropna().unique()) == {0.0, 1.0}]
    times = [name for name in only if name not in flags and numbers[name].min() >= 0 and numbers[name].nunique() > 10]
    if len(flags) != 1 or len(times) != 1:
        return
    event, time = numbers[flags[0]], numbers[times[0]]
    known = event.notna() & time.notna()
    event, time = event[known].to_numpy(), time[known].to_numpy()
    moments = np.unique(time)
    at_risk = len(time) - np.searchsorted(np.sort(time), moments, side="left")
    events = np.bincount(np.searchsorted(moments, time), weights=event)
    hazard = np.cumsum(events / at_risk)
    risk = event - hazard[np.searchsorted(moments, time)]
    upside_down = re.search(r"(?:higher|larger|greater)[^.]{0,60}(?:longer|later|more time)", tables.text, re.I)
    inputs = [name for name in train.columns if name not in only]
    tables.train = train.loc[known, inputs].assign(**{outputs[0]: [f"{-r if upside_down else r:.6g}" for r in risk]})
    way = "later" if upside_down else "earlier"
    tables.notes.append(
        f"'{times[0]}' and '{flags[0]}' are a time and whether the event was seen: '{outputs[0]}' is a risk, the "
        f"higher, the {way} the event, learned by martingale residuals; scores are RMSE of these, not concordance"
    )
    tables.facts |= {"target": None, "task": "regression", "metric": "rmse"}
    tables.changed = True
