"""Submissions whose rows are named by several columns, or that have a row for each id and target."""

from __future__ import annotations

import re
from itertools import combinations, permutations
from typing import TYPE_CHECKING

from agentkd.agents.agent_k.reshape.tables import MARK, Tables
from agentkd.agents.agent_k.understand.tables import read_table
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = ("_", "-", ":", "|", " ", ".", "/", ",")
MOST_PARTS = 4  # columns that name a row together
FEW_COLUMNS = 60  # of a test table, whose pairs are tried


def join_keys(tables: Tables) -> None:
    """Name the rows by one column where the sample names them by several (store and date).

    The new column is called by their names with commas, so that id=store,date means it. Raises UserError for an id=a,b
    that does not name the rows."""
    own = str(tables.fixed.get("id") or "")
    sample, test = tables.sample, tables.test
    if "," in own and own not in sample.columns:
        names = [part.strip() for part in own.split(",")]
        absent = [name for name in names if name not in sample.columns]
        if absent:
            raise UserError(f"id={own}: the sample submission has no column '{absent[0]}', only {', '.join(sample)}")
        if sample.duplicated(names).any():
            raise UserError(f"id={own}: the sample submission has several rows of the same {' and '.join(names)}")
    elif own:
        return
    else:
        found = _find_key(tables)
        if not found:
            return
        names = found
    joined = ",".join(names)
    keys = sample[names].agg(MARK.join, axis=1)
    shown = sample[names] if test is None else test
    if absent := [name for name in names if name not in shown.columns]:
        raise UserError(f"id={joined}: the test table has no column '{absent[0]}', only {', '.join(map(str, shown))}")
    frames = {"sample": sample, "test": shown, "train": tables.train}
    made = {
        split: frame.assign(**{joined: frame[names].agg(MARK.join, axis=1)})
        for split, frame in frames.items()
        if frame is not None and set(names) <= set(frame.columns)
    }
    tables.sample = made["sample"].drop(columns=names)[[joined, *[n for n in sample.columns if n not in names]]]
    tables.test = made["test"]
    tables.train = made.get("train", tables.train)
    tables.rows = list(keys)
    tables.facts["id"] = None
    tables.notes.append(f"{' and '.join(names)} together name a row of the submission")
    tables.changed = True


def _find_key(tables: Tables) -> list[str]:
    """The fewest columns of the sample that name its rows only together, and are in the test table; [] for none."""
    sample = tables.sample
    other = tables.test if tables.test is not None else tables.train
    if other is None or len(sample.columns) < 3:
        return []
    names = [str(name) for name in sample.columns if name in other.columns]
    if any(sample[name].is_unique for name in names) or (sample.iloc[:, 0].is_unique and tables.test is None):
        return []
    if tables.test is None:  # the last column is what is asked for
        names = [name for name in names if name != sample.columns[-1]]
    for count in range(2, min(MOST_PARTS, len(names)) + 1):
        for group in combinations(names, count):
            if not sample.duplicated(list(group)).any():
                return list(group)
    return []


def split_joined_ids(tables: Tables) -> None:
    """Give the test table the sample's ids where they are two of its columns, joined: `7_2024-05-01`."""
    test, key = tables.test, tables.key
    if test is None or key in test.columns or len(test.columns) > FEW_COLUMNS:
        return
    ids = tables.sample[key]
    if any(set(ids) <= set(test[name]) for name in test.columns):
        return
    first = str(ids.iloc[0])
    for mark in SEPARATORS:
        cuts = [(first[: match.start()], first[match.end() :]) for match in re.finditer(re.escape(mark), first)]
        for one, other in permutations(test.columns, 2) if cuts else ():
            if not any((test[one] == left).any() and (test[other] == right).any() for left, right in cuts):
                continue
            if set(test[one] + mark + test[other]) >= set(ids):
                tables.test = test.assign(**{key: test[one] + mark + test[other]})
                train = tables.train
                if train is not None and {one, other} <= set(train.columns) and key not in train.columns:
                    tables.train = train.assign(**{key: train[one] + mark + train[other]})
                tables.notes.append(f"the ids of the submission are '{one}' and '{other}' of the test table")
                tables.changed = True
                return


def widen_long(tables: Tables) -> None:
    """Turn a submission with a row for each id and target into one with a column for each target.

    The target's name is part of the id (`rna7_decay`), or stands in a column of its own."""
    sample, test = tables.sample, tables.test
    names = [name for name in tables.only_train if name]
    if test is None or not names or len(sample) <= len(test) or tables.fixed.get("id") in sample.columns:
        return
    value = str(sample.columns[-1])
    found = None
    if len(sample.columns) == 3:
        one, other = map(str, sample.columns[:2])
        for key, measure in ((one, other), (other, one)):
            if key in test.columns and set(sample[measure]) <= set(names):
                found = key, sample[key], sample[measure]
    elif len(sample.columns) == 2:
        found = _split_measure(tables, names)
    if found is None:
        return
    key, ids, measures = found
    targets = list(dict.fromkeys(measures))
    tables.rows, tables.columns, tables.cells = list(ids), list(measures), {value: ""}
    wide = dict.fromkeys(targets, sample[value].iloc[0])
    tables.sample = ids.drop_duplicates().reset_index(drop=True).to_frame(key).assign(**wide)
    tables.notes.append(f"the submission has a row for each '{key}' and each of {', '.join(targets[:5])}")
    tables.facts |= {"id": None, "target": None}
    tables.changed = True


def _split_measure(tables: Tables, names: list[str]) -> tuple[str, pd.Series[str], pd.Series[str]] | None:
    """The test table's id and the target of each row of a sample, whose ids join them; None where they do not."""
    assert tables.test is not None
    ids = tables.sample.iloc[:, 0]
    words = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    marks = "".join(map(re.escape, SEPARATORS))
    for pattern in (rf"(?P<id>.+)[{marks}](?P<name>{words})", rf"(?P<name>{words})[{marks}](?P<id>.+)"):
        found = ids.str.extract(f"^{pattern}$")
        if found.isna().any(axis=None):
            continue
        for key in tables.test.columns:
            if tables.test[key].is_unique and set(found["id"]) <= set(tables.test[key]):
                return str(key), found["id"], found["name"]
    return None


def fill_extra_columns(tables: Tables) -> None:
    """Leave out the sample's columns that are no targets, where others are: they keep the sample's values.

    With target=a, only the columns that this names are predicted."""
    train, outputs = tables.train, tables.outputs
    if train is None or len(outputs) < 2:
        return
    own = [part.strip() for part in str(tables.fixed.get("target") or "").split(",") if part.strip()]
    lower = {str(name).lower() for name in (own or tables.only_train)}
    known = [name for name in outputs if name.lower() in lower]
    extra = [name for name in outputs if name not in known]
    if not known or not extra:
        return
    tables.sample = tables.sample.drop(columns=extra)
    tables.cells = {name: name for name in known}
    tables.notes += [
        f"the sample submission's column '{name}' is no column of the training table: it keeps the sample's values "
        f"(such as {_show(tables, name)})"
        for name in extra
    ]
    tables.changed = True


def _show(tables: Tables, name: str) -> str:
    """The first value of a column of the competition's own sample."""
    return str(read_table(tables.files.data / tables.sample_path, text=True)[name].iloc[0])


def note_unasked_rows(tables: Tables) -> None:
    """Say how many test rows the sample submission does not ask for."""
    test, key = tables.test, tables.key
    if test is None or key not in test.columns:
        return
    asked = test[key].isin(set(tables.sample[key]))
    if asked.any() and not asked.all():
        tables.notes.append(
            f"{int((~asked).sum()):,} of {len(test):,} rows of the test table are not in the sample submission: they "
            "are "
            f"not predicted"
        )
