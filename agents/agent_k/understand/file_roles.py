"""Find the training table, the test table, the sample submission, and the table of the targets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from agentkd.agents.agent_k.understand.data_files import IMAGES, DataFiles
from agentkd.agents.agent_k.understand.images import LABEL_COLUMN, list_training_images
from agentkd.agents.agent_k.understand.tables import read_columns, read_table
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

HEAD_ROWS = 1000  # read to learn what a table holds
SAMPLE_WORDS = r"sample|submission|submit|example|benchmark|entry"
_NO_SAMPLE = rf"^(?!.*({SAMPLE_WORDS}))"
_TEST = r"test|eval|predict"


def _read_head(path: Path) -> pd.DataFrame:
    """The first rows of a file; no rows where it is not a table."""
    import pandas as pd

    try:
        return read_table(path, rows=HEAD_ROWS, text=True)
    except UserError:
        return pd.DataFrame()


@dataclass(frozen=True)
class FileRoles:
    """The three files that every competition has, relative to data/."""

    train: Path
    test: Path | None
    sample: Path
    notes: tuple[str, ...] = ()  # lines for the user about other files


def find_file_roles(files: DataFiles) -> FileRoles:
    """Find the training table, the test table and the sample submission.

    Names count first; where they do not tell, shared columns and ids do. Raises UserError for a missing one, with the
    remedy."""
    tables = files.tables
    if not tables:
        raise UserError(f"no table in {files.data}: it must hold train, test and sample submission as CSV or parquet")
    sample = find_sample(files)
    rest = [path for path in tables if path != sample]
    unlike = [path for path in rest if not _matches(path, r"train|label")]
    test = _best(unlike, _TEST) or _find_by_ids(files, unlike, sample)
    others = [path for path in rest if path != test]
    train = _find_named_train(files, others, test)
    train = train or _find_labelled(files, others, sample) or _find_sorted_images(files)
    if train is None:
        raise UserError(
            f"no training table in {files.data} (found {', '.join(map(str, tables[:6]))}): name it train.csv"
        )
    test = test or _best([path for path in others if path != train], _TEST)
    return FileRoles(train, test, sample, _note_unused(files, [path for path in others if path != test], train))


def _matches(path: Path, words: str) -> bool:
    return re.search(words, path.name, re.IGNORECASE) is not None


def _ranked(paths: list[Path], word: str, against: str = "^$") -> list[Path]:
    """The paths whose name has the word: first those without a word against it, then the shortest."""
    named = [path for path in paths if _matches(path, word)]
    return sorted(named, key=lambda path: (_matches(path, against), len(path.parts), len(path.name), str(path)))


def _best(paths: list[Path], word: str) -> Path | None:
    return next(iter(_ranked(paths, word)), None)


def _find_named_train(files: DataFiles, paths: list[Path], test: Path | None) -> Path | None:
    """The table named train that shares most columns with the test table: another may hold the targets."""
    named = _ranked(paths, r"train", r"test|valid|extra|label")
    # A table that cannot be read is chosen here, and fails where it is read.
    if len(named) < 2 or test is None or _read_head(files.data / named[0]).empty:
        return next(iter(named), None)
    inputs = set(read_columns(files.data / test))
    return max(named, key=lambda path: len(inputs.intersection(_read_head(files.data / path).columns)))


def _note_unused(files: DataFiles, paths: list[Path], train: Path) -> tuple[str, ...]:
    """A line about further training tables of the same columns, other than copies in another file format."""
    if train not in paths:
        return ()
    own = set(read_columns(files.data / train))
    named = [path for path in paths if _matches(path, r"train") and _strip_suffixes(path) != _strip_suffixes(train)]
    same = [str(path) for path in named if set(_read_head(files.data / path).columns) == own]
    if not same:
        return ()
    some = ", ".join(same[:5]) + (" …" if len(same) > 5 else "")
    return (f"{train} is used and {some}, of the same columns, is not: join them into one train.csv to use all",)


def _strip_suffixes(path: Path) -> Path:
    """A table's path without the suffixes of its file format."""
    return path.with_name(re.sub(r"(\.(csv|tsv|zip|gz|parquet|jsonl?))+$", "", path.name, flags=re.IGNORECASE))


def _find_by_ids(files: DataFiles, paths: list[Path], sample: Path) -> Path | None:
    """A table of exactly the sample submission's ids with more columns, whatever its name."""
    asked = read_table(files.data / sample, text=True)
    keys = [set(asked[name]) for name in asked.columns if asked[name].is_unique]
    for path in _ranked(paths, _NO_SAMPLE):
        head = _read_head(files.data / path)
        if set(head.columns) <= set(asked.columns):
            continue
        for name, ids in product(head.columns, keys):
            if ids.issuperset(head[name]) and set(read_table(files.data / path, text=True)[name]) == ids:
                return path
    return None


def _find_labelled(files: DataFiles, paths: list[Path], sample: Path) -> Path | None:
    """A table, whatever its name, of other ids than the sample submission's, with the outputs that this asks for."""
    asked = read_table(files.data / sample, text=True)
    key = next((name for name in asked.columns if asked[name].is_unique), asked.columns[0])
    outputs, asked_ids = set(asked.columns) - {key}, set(asked[key])
    for path in _ranked(paths, _NO_SAMPLE):
        head = _read_head(files.data / path)
        ids = [name for name in head.columns if name not in outputs and _has_ids_like(head[name], asked[key])]
        ids = [key] if key in head.columns else ids
        known = any(asked_ids.issuperset(head[name]) for name in ids)
        if ids and not known and _holds_outputs(head.drop(columns=ids), outputs):
            return path
    return None


def _has_ids_like(column: pd.Series[str], ids: pd.Series[str]) -> bool:
    """Whether a column holds ids (or images named by ids) of another column's kind: the same signs, any letters."""

    def signs(cells: pd.Series[str]) -> set[str]:
        text = "".join(Path(cell).stem if cell.lower().endswith(IMAGES) else cell for cell in cells.head(HEAD_ROWS))
        return {"0" if sign.isdigit() else "a" if sign.isalpha() else sign for sign in text}

    return column.is_unique and signs(column) == signs(ids)


def _holds_outputs(head: pd.DataFrame, outputs: set[str]) -> bool:
    """Whether a table has the outputs as columns, or as the values of one column.

    Words that all differ do not count: they are a list of the classes."""
    import pandas as pd

    if outputs <= set(head.columns):
        found = [head[name] for name in outputs]
    else:
        found = [head[name] for name in head.columns if len(outputs) > 1 and set() < set(head[name]) - {""} <= outputs]
    return any(not cells.is_unique or pd.to_numeric(cells, errors="coerce").notna().all() for cells in found)


def _find_sorted_images(files: DataFiles) -> Path | None:
    """A folder of training images most of which are named, or sorted into folders, by at least two classes."""
    folders = {
        Path(*path.parts[: place + 1])
        for path in files.images
        for place, part in enumerate(path.parts[:-1])
        if "train" in part.lower()
    }
    for folder in sorted(folders, key=lambda path: (-len(path.parts), str(path))):
        labels = list_training_images(files.data / folder)[LABEL_COLUMN]
        if labels[labels != ""].nunique() > 1 and (labels != "").mean() > 0.5:
            return folder
    return None


def find_labels_table(files: DataFiles, roles: FileRoles, train: pd.DataFrame, key: str, wanted: Sequence[str]) -> str:
    """The table of the training rows' targets; "" where the training table has them, or none is found.

    It has the targets `wanted` as columns, or as the values of one column."""
    if key not in train.columns or all(name in train.columns for name in wanted):
        return ""
    for path in files.tables:
        if path in (roles.train, roles.test, roles.sample):
            continue
        head = _read_head(files.data / path)
        if key not in head.columns:
            continue
        if not set(wanted) <= set(head.columns) and (
            len(wanted) < 2 or not _holds_outputs(head.drop(columns=key), set(wanted))
        ):
            continue
        if train[key].isin(read_table(files.data / path, text=True)[key]).mean() > 0.5:
            return str(path)
    return ""


def find_sample(files: DataFiles) -> Path:
    """The sample submission, by SAMPLE_WORDS in its name. Raises UserError where there is none.

    `sample_train` is a piece of the training table; so is `submission_train` where there is another submission."""
    named = [path for path in files.tables if _matches(path, SAMPLE_WORDS)]
    named = [path for path in named if len(read_columns(files.data / path)) >= 2] or named
    if not named:
        raise UserError(
            f"no sample submission in {files.data}: add sample_submission.csv with the id and target columns "
            f"of a submission, one row for each test row"
        )

    def rank(path: Path) -> tuple[bool, bool, bool, int, int, str]:
        said = (not _matches(path, "submi"), _matches(path, r"(?<![a-z])(?:train|test)"), not _matches(path, "sample"))
        return *said, len(path.parts), len(path.name), str(path)

    return min(named, key=rank)
