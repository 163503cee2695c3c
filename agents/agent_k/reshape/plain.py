"""Make plain tables (one row a test row, one column a target) of a competition's files, and turn submissions back.

Each step sees the tables as the ones before have left them, and leaves alone what it does not know. Where no step
changes anything, nothing is written. Else the workspace has

    plain/       train.csv, test.csv, sample_submission.csv and all files that are not in these
    form.csv     for each row of the sample submission the plain row and, where it differs, the plain column
    form.json    the plain column of each column of the sample, and the facts that the new tables settle
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkd.agents.agent_k.contract import FORM, PLAIN
from agentkd.agents.agent_k.reshape.files_by_id import list_by_id, read_files
from agentkd.agents.agent_k.reshape.horizons import lengthen_horizons
from agentkd.agents.agent_k.reshape.joins import join_tables
from agentkd.agents.agent_k.reshape.keys import (
    fill_extra_columns,
    join_keys,
    note_unasked_rows,
    split_joined_ids,
    widen_long,
)
from agentkd.agents.agent_k.reshape.quantiles import spread_quantiles
from agentkd.agents.agent_k.reshape.rows import collapse_rows, learn_survival, split_one_table
from agentkd.agents.agent_k.reshape.tables import MARK, Tables
from agentkd.agents.agent_k.reshape.unsupported import name_unread, refuse_tables
from agentkd.agents.agent_k.understand.data_files import DataFiles
from agentkd.agents.agent_k.understand.file_roles import FileRoles, find_file_roles, find_sample
from agentkd.agents.agent_k.understand.tables import read_table
from agentkd.errors import UserError
from agentkd.runs.disk import write_atomically
from agentkd.runs.untrusted import METRICS_BYTES, parse_json, read_small

if TYPE_CHECKING:
    import pandas as pd

MANY_FILES = 20  # tables in a folder from which on they are one an id
STEPS = (
    refuse_tables,
    join_keys,
    split_joined_ids,
    widen_long,
    lengthen_horizons,
    spread_quantiles,
    read_files,
    collapse_rows,
    learn_survival,
    fill_extra_columns,
    note_unasked_rows,
    join_tables,
)


@dataclass(frozen=True)
class Reshaped:
    """What was done to the tables, and what of them is not used: lines for the user."""

    notes: tuple[str, ...] = ()
    unused: Mapping[str, str] = field(default_factory=dict)  # file → why


def reshape(data: Path, text: str, fixed: Mapping[str, Any], workspace: Path) -> Reshaped:
    """Make plain tables where the files in `data` need it, in place of earlier ones.

    Raises UserError, in one line, for a competition of a shape that is not there."""
    for old in (workspace / FORM, workspace / "form.csv"):
        old.unlink(missing_ok=True)
    if (workspace / PLAIN).exists():
        shutil.rmtree(workspace / PLAIN)
    tables = _read(data, text, fixed)
    if tables is None:
        return Reshaped()
    for step in STEPS:
        step(tables)
    if tables.test is None and not tables.files.images and (unread := name_unread(tables)):
        raise UserError(f"the inputs are {unread} files, which are not read (docs/kaggle.md, What is not there)")
    if tables.changed:
        _write(tables, workspace)
    return Reshaped(tuple(tables.notes), tables.unused)


def _read(data: Path, text: str, fixed: Mapping[str, Any]) -> Tables | None:
    """The three main tables; None for training images in folders, which need no table."""
    files = DataFiles(data)
    sample_path = find_sample(DataFiles(data, _folders_of_tables(files)))
    sample = read_table(data / sample_path, text=True)
    by_id = list_by_id(files.all, sample.iloc[:, 0])
    folders = _folders_of_tables(files)
    if len(by_id) >= 0.5 * len(sample):
        folders |= {path.parent for paths in by_id.values() for path in paths}
    files = DataFiles(data, folders)
    roles: FileRoles | None = None
    train = test = None
    try:
        roles = find_file_roles(files)
    except UserError as error:
        lacking = error
    else:
        if (data / roles.train).is_dir():
            return None
        train = read_table(data / roles.train, text=True)
        test = read_table(data / roles.test, text=True) if roles.test else None
    used = {sample_path} | ({path for path in (roles.train, roles.test) if path} if roles else set())
    tables = Tables(files, text, fixed, sample_path, sample, train, test, used, list(map(str, sample.iloc[:, 0])))
    tables.cells = {str(name): str(name) for name in sample.columns[1:]}
    if roles is None or roles.test is None:
        split_one_table(tables)
        if tables.train is None:
            refuse_tables(tables)
            raise lacking
    return tables


def _folders_of_tables(files: DataFiles) -> frozenset[Path]:
    """Folders that have a table for each of many ids."""
    count: dict[Path, int] = {}
    for path in files.all:
        if len(path.parts) > 1 and path.suffix.lower() == ".csv":
            count[path.parent] = count.get(path.parent, 0) + 1
    return frozenset(folder for folder, many in count.items() if many >= MANY_FILES)


def _write(tables: Tables, workspace: Path) -> None:
    """Write plain tables, the other files beside them, and the way back."""
    import pandas as pd

    folder = workspace / PLAIN
    folder.mkdir(parents=True)
    for path in tables.files.all:
        if path not in tables.used and not any(path.is_relative_to(other) for other in tables.files.without):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(tables.files.data / path, folder / path)
            except OSError:  # another disk, or no right to link
                shutil.copyfile(tables.files.data / path, folder / path)
    frames = {"sample_submission": tables.sample, "train": tables.train, "test": tables.test}
    for name, frame in frames.items():
        if frame is not None:
            with suppress(FileNotFoundError):  # a link to the file in data/, which stays as it is
                (folder / f"{name}.csv").unlink()
            write_atomically(folder / f"{name}.csv", frame.to_csv(index=False))
    by_row = tables.columns or [""] * len(tables.rows)
    form = pd.DataFrame({"row": tables.rows, "column": by_row})
    write_atomically(workspace / "form.csv", form.to_csv(index=False))
    said = {"sample": str(tables.sample_path), "cells": tables.cells, "facts": tables.facts}
    write_atomically(workspace / FORM, json.dumps(said, indent=1) + "\n")


def read_form(workspace: Path) -> dict[str, Any] | None:
    """The content of form.json; None where the competition's own tables are used.

    Raises UserError where it is damaged."""
    path = workspace / FORM
    try:
        form = parse_json(read_small(path, METRICS_BYTES))
    except FileNotFoundError:
        return None
    if not isinstance(form, dict) or not {"sample", "cells", "facts"} <= set(form):
        raise UserError(f"{path} is damaged: remove the run's checkpoints.sqlite, then it begins anew")
    return form


def adjust_facts(settled: dict[str, str], workspace: Path) -> dict[str, str]:
    """The user's facts about the competition's own tables as facts about the plain ones."""
    facts = (read_form(workspace) or {}).get("facts", {})
    kept = {name: value for name, value in settled.items() if name not in facts}
    return kept | {name: value for name, value in facts.items() if value is not None}


def turn_back(plain: Path, data: Path, workspace: Path) -> pd.DataFrame | None:
    """The submission in the sample's form, from one in the plain form; None where these are the same."""
    import numpy as np

    form = read_form(workspace)
    if form is None:
        return None
    made = read_table(plain, text=True)
    out = read_table(data / form["sample"], text=True)
    rows = read_table(workspace / "form.csv", text=True)
    place = {name: number for number, name in enumerate(made.iloc[:, 0])}
    at = rows["row"].map(place).to_numpy()  # no row for those that stand in another form below
    for column, source in form["cells"].items():
        if column not in out.columns:
            continue
        if source.startswith(MARK):  # a row for each cell
            out[column] = made.iloc[:, -1].to_numpy()[(rows["row"] + source).map(place).to_numpy()]
            continue
        if source:
            if source in made.columns:
                out[column] = made[source].to_numpy()[at]
            continue
        cells = np.empty(len(rows), dtype=object)
        for name in rows["column"].unique():
            chosen = (rows["column"] == name).to_numpy()
            cells[chosen] = made[name].to_numpy()[at[chosen]]
        out[column] = cells
    return out
