"""Lay out new rows as a competition: its files, with those of the new rows in place of the test rows'.

Whatever a run makes of its files (plain tables, joins, images of a row) it then makes of the new ones in the same way.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING

from agentkd.agents.agent_k.finished import FinishedRun
from agentkd.agents.agent_k.reshape.files_by_id import ENDINGS
from agentkd.agents.agent_k.reshape.keys import SEPARATORS
from agentkd.agents.agent_k.reshape.plain import read_form
from agentkd.agents.agent_k.reshape.tables import MARK
from agentkd.agents.agent_k.understand.data_files import IMAGES, DataFiles
from agentkd.agents.agent_k.understand.file_roles import find_file_roles
from agentkd.agents.agent_k.understand.tables import read_table
from agentkd.agents.agent_k.workspace.files import save_table
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

ROW = "row"  # of new rows without ids: row-0, row-1, …
BY_ROW = (*IMAGES, *ENDINGS)  # files of a row


@dataclass(frozen=True)
class Form:
    """How a competition names the rows to predict: its sample, its test table, and the row and column of each cell."""

    sample: pd.DataFrame
    sample_path: Path
    test: pd.DataFrame | None
    test_path: Path | None
    rows: list[str]
    columns: list[str]  # of the plain submission, "" where a column of the sample is always the same one
    values: frozenset[str] = frozenset()  # the sample's columns that are predicted


@dataclass(frozen=True)
class Layout:
    """A competition with new rows: its folder, the paths of both tables in it, and how many rows of the sample are new.

    The new ones are the last."""

    data: Path
    sample: str
    test: str
    rows: int


def lay_out(run: FinishedRun, given: Path, home: Path, say: Callable[[str], None]) -> Layout:
    """Make the folder `home` with the competition's files and the new ones; `given` is a table, or a folder of files.

    Raises UserError for what is missing, or there twice."""
    own = run.source.data
    form = read_own_form(run)
    table, sample, new = read_given(given, form)
    if table is not None:
        table = complete_rows(table, form, given, say)
    if sample is None:
        sample = make_sample(form, table, name_by_files(new, form), given)
    if sample.empty:
        raise UserError(f"{given} has no rows: give at least one")
    rows = len(sample)
    if run.is_reshaped and table is not None:
        table, sample = keep_test_rows(form, table, sample)
    replaced = {form.sample_path, form.test_path}
    files = DataFiles(own).all
    for path in files:
        if path not in replaced:
            put(own / path, home / path)
    asked = {Path(row).stem for row in form.rows}
    folders = [path.parent for path in files if path.suffix.lower() in BY_ROW and path.stem in asked]
    for path in new:
        place = (folders[0] if folders else Path()) / path.name
        if place in files and path.stem not in asked:
            raise UserError(f"{path} is called like {place} of the competition: give it another name")
        put(path, home / place)
    save_table(sample, home / as_csv(form.sample_path))
    if table is not None and form.test_path is not None:
        save_table(table, home / as_csv(form.test_path))
    called = str(as_csv(form.sample_path))
    return Layout(home, called, called if form.test_path is None else str(as_csv(form.test_path)), rows)


def keep_test_rows(form: Form, table: pd.DataFrame, sample: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The new rows after the competition's own, but for those of the same ids: tables join by what all rows share."""
    import pandas as pd

    ids = [name for name in sample.columns if name not in form.values]
    keys = [name for name in ids if name in table.columns]
    if form.test is None or not keys:
        return table, sample

    def without(old: pd.DataFrame, new: pd.DataFrame, names: list[str]) -> pd.DataFrame:
        known = set(new[names].itertuples(index=False, name=None))
        kept = [row not in known for row in old[names].itertuples(index=False, name=None)]
        return pd.concat([old[kept], new], ignore_index=True)

    return without(form.test, table, keys), without(form.sample, sample, ids)


def as_csv(path: Path) -> Path:
    """The path of a table as CSV, whatever it was."""
    return path.with_name(path.name.split(".")[0] + ".csv")


def read_own_form(run: FinishedRun) -> Form:
    """The competition's own test table and sample submission. Raises UserError where no new rows are possible."""
    own, made = run.source.data, read_form(run.workspace)
    if made is None:
        sample_path, test_path = Path(run.setup.sample), Path(run.setup.test)
        sample = read_table(own / sample_path, text=True)
        if test_path == sample_path or (own / test_path).is_dir():
            return Form(sample, sample_path, None, None, list(sample[run.setup.id]), [""] * len(sample))
        test = read_table(own / test_path, text=True)
        return Form(sample, sample_path, test, test_path, list(sample[run.setup.id]), [""] * len(sample))
    if any(source.startswith(MARK) for source in made["cells"].values()):
        raise UserError(
            f"the rows of {run.folder} are later steps of its training series, so there are no others: give longer "
            f"series to a new run"
        )
    try:
        found = find_file_roles(DataFiles(own)).test
    except UserError:
        raise UserError(
            f"the test rows of {run.folder} stand in one table with those of training: add the new ones there, and to "
            f"the sample submission, for a new run"
        ) from None
    rows = read_table(run.workspace / "form.csv", text=True)
    columns = list(rows["column"]) if rows["column"].nunique() > 1 else [""] * len(rows)
    sample = read_table(own / made["sample"], text=True)
    test = read_table(own / found, text=True) if found else None
    return Form(sample, Path(made["sample"]), test, found, list(rows["row"]), columns, frozenset(made["cells"]))


def read_given(given: Path, form: Form) -> tuple[pd.DataFrame | None, pd.DataFrame | None, list[Path]]:
    """The new test table and sample submission, where they are given, and the new rows' other files.

    In a folder they are called as the competition's are; a table alone, of another name, is the test table."""
    if not given.is_dir():
        table = read_table(given, text=True)
        return (table, None, []) if form.test is not None else (None, table, [])
    files = DataFiles(given)
    tables = {as_csv(path).name: path for path in files.tables}
    found = []
    for place in (form.test_path, form.sample_path):
        same = tables.pop(as_csv(place).name, None) if place else None
        found.append((same, read_table(given / same, text=True)) if same else (None, None))
    if found[0][0] is None and form.test is not None and len(tables) == 1:
        only = tables.popitem()[1]
        found[0] = only, read_table(given / only, text=True)
    new = [given / path for path in files.all if path not in {path for path, _ in found}]
    if not new and found[0][1] is None and found[1][1] is None:
        raise UserError(
            f"{given} has no files of new rows: give {form.test_path or form.sample_path}, or the rows' files"
        )
    return found[0][1], found[1][1], new


def complete_rows(table: pd.DataFrame, form: Form, given: Path, say: Callable[[str], None]) -> pd.DataFrame:
    """The rows with ids, where they have none. Raises UserError for a missing column, no rows, or an id twice."""
    assert form.test is not None
    if table.empty:
        raise UserError(f"{given} has no rows: give at least one")
    for key in (name for name in form.test.columns if name in form.sample.columns and form.test[name].is_unique):
        if key not in table.columns:
            say(f"{given} has no column '{key}': its rows are called {ROW}-0, {ROW}-1, …")
            table = table.assign(**{key: [f"{ROW}-{number}" for number in range(len(table))]})
        elif table[key].duplicated().any():
            raise UserError(f"{given} has an id twice (column '{key}'): give each row once")
    if missing := [str(name) for name in form.test.columns if name not in table.columns]:
        raise UserError(
            f"{given} lacks the input column '{missing[0]}' ({len(missing)} in all): add it, empty if unknown"
        )
    return table[list(form.test.columns)]


def name_by_files(new: list[Path], form: Form) -> list[str]:
    """The ids of new rows that are images or other files, as the sample names them: with or without an ending."""
    whole = Path(form.rows[0]).suffix.lower() in BY_ROW
    return sorted({path.name if whole else path.stem for path in new if path.suffix.lower() in BY_ROW})


def make_sample(form: Form, table: pd.DataFrame | None, names: list[str], given: Path) -> pd.DataFrame:
    """A sample submission of new rows, in the form of the competition's. Raises UserError where that cannot be told."""
    import pandas as pd

    old = form.sample
    measures = list(dict.fromkeys(form.columns))
    keys = [] if form.test is None else [name for name in old.columns if name in form.test.columns]
    if table is None:
        made = pd.DataFrame({old.columns[0]: names})
    elif keys:
        made = table[keys].drop_duplicates().reset_index(drop=True)
        named = [name for name in old.columns if list(old[name]) == form.columns]
        if len(measures) > 1 and named:
            made = made.merge(pd.DataFrame({named[0]: measures}), how="cross")
    else:
        made = pd.DataFrame({old.columns[0]: join_ids(form, table, given)})
    return made.assign(**{name: old[name].iloc[0] for name in old.columns if name not in made})[list(old.columns)]


def join_ids(form: Form, table: pd.DataFrame, given: Path) -> list[str]:
    """The ids of new rows whose parts stand in the test table: two columns of it, or one and the name of a target."""
    assert form.test is not None
    ids, rows, columns = list(form.sample.iloc[:, 0]), form.rows, form.columns
    measures = list(dict.fromkeys(columns))
    if len(measures) > 1:
        own = next((name for name in form.test.columns if set(rows) <= set(form.test[name])), None)
        for mark in SEPARATORS if own else ():
            if ids == [f"{row}{mark}{column}" for row, column in zip(rows, columns, strict=True)]:
                return [f"{row}{mark}{name}" for row in table[own].unique() for name in measures]
            if ids == [f"{column}{mark}{row}" for row, column in zip(rows, columns, strict=True)]:
                return [f"{name}{mark}{row}" for row in table[own].unique() for name in measures]
    else:
        wanted = set(ids)
        for mark in SEPARATORS:
            for one, other in permutations(form.test.columns, 2) if mark in ids[0] else ():
                if wanted <= set(form.test[one] + mark + form.test[other]):
                    return list((table[one] + mark + table[other]).unique())
    raise UserError(
        f"how {form.sample_path} names the rows of {given} cannot be told: give a folder with {form.test_path} and "
        f"{form.sample_path} of the new rows"
    )


def put(source: Path, target: Path) -> None:
    """Link a file, or copy it where that is not possible; an older one is replaced."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:  # another disk, or no right to link
        shutil.copyfile(source, target)
