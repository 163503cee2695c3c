"""The table of finished distillations: one SQLite file of the user, which every `agentkd distill` adds to.

It holds sizes, options, scores and seconds. No text, no image and no path of the user goes into it. Several runs may
write at once: SQLite locks the file, and a row is there whole or not at all.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from agentkd.config import user_data
from agentkd.errors import WorldError
from agentkd.runs.progress import say
from agentkd.runs.untrusted import parse_json
from agentkd.trace import Frozen, content_hash

FILE = "distillations.sqlite"
WAIT_SECONDS = 30.0  # for another run that is writing
Value = float | str
Values = Mapping[str, Value]


class Candidate(NamedTuple):
    """A method and its options."""

    method: str
    options: Values


def place_row(task: str, facts: Values, fold: int | None) -> dict[str, Any]:
    """The fields of a row that say with what its score compares.

    A trial is scored on a fold of the training data, None for what was held out: another group for each."""
    group = content_hash([task, fold, sorted(facts.items())])
    part = "held-out" if fold is None else "trial"
    return {"task": task, "group": group, "part": part, "facts": dict(facts), "date": today()}


class Row(Frozen):
    """A student that was trained, and what it scored.

    `task` is a hash of the data, `group` one of data and models: scores of a group are comparable. `facts` are known
    before training: sizes of the task and of the models. `score` is in percent, on what `part` says: data that the user
    held out, or a part of the training data (a trial of `--method auto`). None: not evaluated yet."""

    kind: Literal["images", "questions"]
    task: str
    group: str
    part: Literal["held-out", "trial"]
    facts: dict[str, Value]
    method: str
    options: dict[str, Value]
    seed: int
    score: float | None
    seconds: float
    date: str

    @property
    def key(self) -> str:
        """What was trained and where it was scored: the same again replaces the row."""
        return content_hash([self.kind, self.group, self.part, self.method, self.options, self.seed])


def table_path() -> Path:
    """The file of the table."""
    return user_data(FILE)


def today() -> str:
    """The date of a row."""
    return time.strftime("%Y-%m-%d")


def add_rows(rows: Iterable[Row], path: Path | None = None) -> None:
    """Add rows, all or none. Those of the same key are replaced. Raises WorldError where the file cannot be written."""
    path = path or table_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=WAIT_SECONDS)) as database, database:
            database.execute("CREATE TABLE IF NOT EXISTS distillations (key TEXT PRIMARY KEY, row TEXT NOT NULL)")
            database.executemany(
                "INSERT OR REPLACE INTO distillations VALUES (?, ?)", [(row.key, row.model_dump_json()) for row in rows]
            )
    except (OSError, sqlite3.Error) as error:
        raise WorldError(
            f"cannot write {path}: {error}; make room, remove the file, or set AGENTKD_DATA_HOME to another folder"
        ) from None


def remember(rows: Iterable[Row]) -> None:
    """Add rows at the end of a run. A table that cannot be written costs no student: a line says so."""
    try:
        add_rows(rows)
    except WorldError as error:
        say(f"warning: this run is not in the table of distillations: {error}")


def read_rows(path: Path | None = None, kind: str | None = None) -> list[Row]:
    """Read all rows, or those of a kind, in the order of their keys. Empty without a file.

    Rows that this version cannot read are counted and left out. Raises WorldError for a file that is no table."""
    path = path or table_path()
    if not path.exists():
        return []
    try:
        with closing(sqlite3.connect(path, timeout=WAIT_SECONDS)) as database:
            found = [text for (text,) in database.execute("SELECT row FROM distillations ORDER BY key")]
    except sqlite3.Error as error:
        raise WorldError(
            f"cannot read {path}: {error}; remove it, or set AGENTKD_DATA_HOME to another folder"
        ) from None
    rows = [row for text in found if (row := _parse(text)) is not None]
    if len(rows) < len(found):
        say(f"{path}: {len(found) - len(rows)} of {len(found)} rows cannot be read, and are left out")
    return [row for row in rows if kind in (None, row.kind)]


def _parse(text: Any) -> Row | None:
    try:
        return Row.model_validate(parse_json(text))
    except (TypeError, ValueError, ValidationError):
        return None


def as_values(options: Mapping[str, Any]) -> dict[str, Value]:
    """Options as a row holds them: numbers and words; those that are not set are left out."""
    return {
        name: float(value) if isinstance(value, int | float) else value if isinstance(value, str) else json.dumps(value)
        for name, value in sorted(options.items())
        if value is not None
    }


def name_candidate(candidate: Candidate) -> str:
    """`kd alpha=0.5 temperature=2`, with options in the order of their names."""
    options = (f"{name}={_shorten(value)}" for name, value in sorted(candidate.options.items()))
    return " ".join([candidate.method, *options])


def _shorten(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
