"""The tables of a competition while they are made plain, and the way back to the sample submission's form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkd.agents.agent_k.understand.data_files import DataFiles

if TYPE_CHECKING:
    import pandas as pd

MARK = "|"  # between the values of a key of several columns


@dataclass
class Tables:
    """Training table, test table and sample submission as text; each step replaces what it changes.

    `rows`, `columns` and `cells` say where a cell of the submission comes from: the row of the plain submission, its
    column where that differs from row to row (else ""), and the plain column of each column of the sample. Columns that
    are not in `cells` keep the sample's values."""

    files: DataFiles
    text: str  # the pages
    fixed: Mapping[str, Any]  # the facts that the user has settled
    sample_path: Path
    sample: pd.DataFrame
    train: pd.DataFrame | None
    test: pd.DataFrame | None
    used: set[Path]  # files that are in the tables, relative to data/
    rows: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    cells: dict[str, str] = field(default_factory=dict)
    facts: dict[str, str | None] = field(default_factory=dict)  # what a step has settled, None for an option used up
    notes: list[str] = field(default_factory=list)
    unused: dict[str, str] = field(default_factory=dict)  # file → why
    changed: bool = False

    @property
    def key(self) -> str:
        """The sample's column of ids: the one that the user names, one that the test table has, or the first."""
        names = [str(name) for name in self.sample.columns]
        if self.fixed.get("id") in names:
            return str(self.fixed["id"])
        unique = [name for name in names if self.sample[name].is_unique]
        shared = [name for name in unique if self.test is not None and name in self.test.columns]
        return [*shared, *[name for name in names if name in unique][:1], names[0]][0]

    @property
    def outputs(self) -> list[str]:
        """The sample's columns without the id and those that the test table has."""
        known = set() if self.test is None else set(self.test.columns)
        names = [str(name) for name in self.sample.columns if name != self.key]
        return [name for name in names if name not in known] or names

    @property
    def only_train(self) -> list[str]:
        """The training table's columns that the test table lacks."""
        if self.train is None:
            return []
        known = {self.key} if self.test is None else {self.key, *self.test.columns}
        return [str(name) for name in self.train.columns if name not in known]

    @property
    def others(self) -> list[Path]:
        """Tables that are not used yet."""
        return [path for path in self.files.tables if path not in self.used]
