"""Which of a competition's files is train, test and sample submission, and which holds the targets."""

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

HEAD_ROWS = 1000  # rows that tell what a table holds
SAMPLE_WORDS = r"sample|submission|submit|example|benchmark|entry"
_NO_SAMPLE = rf"^(?!.*({SAMPLE_WORDS}))"
_TEST = r"test|eval|predict"


def _head(path: Path) -> pd.DataFrame:
    """The first rows of a file that may be no table at all: none then."""
    import pandas as pd

    try:
        return read_table(path, rows=HEAD_ROWS, text=True)
    except UserError:
        return pd.DataFrame()


@dataclass(frozen=True)
class FileRoles:
    """The three files that every competition has, relative to data/; `said` are lines for the user about others."""

    train: Path
    test: Path | None
    sample: Path
    said: tuple[str, ...] = ()


def find_file_roles(files: DataFiles) -> FileRoles:
    """Which table is train, test and sample submission, by names first, by shared columns and ids where names do not
    tell. Raises UserError for what is missing, with the remedy."""
    tables = files.tables
    if not tables:
        raise UserError(f"no table in {files.data}: it must hold train, test and sample submission as CSV or parquet")
    sample = _sample(files)
    rest = [path for path in tables if path != sample]
    unlike = [path for path in rest if not _says(path, r"train|label")]
    test = _best(unlike, _TEST) or _of_ids(files, unlike, sample)
    others = [path for path in rest if path != test]
    train = _training(files, others, test) or _labelled(files, others, sample) or _sorted_images(files)
    if train is None:
        raise UserError(
            f"no training table in {files.data} (found {', '.join(map(str, tables[:6]))}): name it train.csv"
        )
    test = test or _best([path for path in others if path != train], _TEST)
    return FileRoles(train, test, sample, _unused(files, [path for path in others if path != test], train))


def _says(path: Path, words: str) -> bool:
    return re.search(words, path.name, re.IGNORECASE) is not None


def _ranked(paths: list[Path], word: str, against: str = "^$") -> list[Path]:
    """The paths whose name says the word, the plainest first: those without a word against it, then the shortest."""
    named = [path for path in paths if _says(path, word)]
    return sorted(named, key=lambda path: (_says(path, against), len(path.parts), len(path.name), str(path)))


def _best(paths: list[Path], word: str) -> Path | None:
    return next(iter(_ranked(paths, word)), None)


def _training(files: DataFiles, paths: list[Path], test: Path | None) -> Path | None:
    """Of the tables that say train the one that shares most columns with the test table: another holds the targets."""
    named = _ranked(paths, r"train", r"test|valid|extra|label")
    if len(named) < 2 or test is None or _head(files.data / named[0]).empty:  # what that lacks is said where it is read
        return next(iter(named), None)
    inputs = set(read_columns(files.data / test))
    return max(named, key=lambda path: len(inputs.intersection(_head(files.data / path).columns)))


def _unused(files: DataFiles, paths: list[Path], train: Path) -> tuple[str, ...]:
    """A line about training tables beside the one that is used, which are no copies of it written in another way."""
    if train not in paths:
        return ()
    own = set(read_columns(files.data / train))
    named = [path for path in paths if _says(path, r"train") and _bare(path) != _bare(train)]
    same = [str(path) for path in named if set(_head(files.data / path).columns) == own]
    if not same:
        return ()
    some = ", ".join(same[:5]) + (" …" if len(same) > 5 else "")
    return (f"{train} is used and {some}, of the same columns, is not: join them into one train.csv to use all",)


def _bare(path: Path) -> Path:
    """A table's path without what says how it is written."""
    return path.with_name(re.sub(r"(\.(csv|tsv|zip|gz|parquet|jsonl?))+$", "", path.name, flags=re.IGNORECASE))


def _of_ids(files: DataFiles, paths: list[Path], sample: Path) -> Path | None:
    """A table that says more about the sample submission's ids, whatever its name."""
    asked = read_table(files.data / sample, text=True)
    keys = [set(asked[name]) for name in asked.columns if asked[name].is_unique]
    for path in _ranked(paths, _NO_SAMPLE):
        head = _head(files.data / path)
        if set(head.columns) <= set(asked.columns):
            continue
        for name, ids in product(head.columns, keys):
            if ids.issuperset(head[name]) and set(read_table(files.data / path, text=True)[name]) == ids:
                return path
    return None


def _labelled(files: DataFiles, paths: list[Path], sample: Path) -> Path | None:
    """A table without a telling name, of other ids than the sample submission's, that holds what that asks for."""
    asked = read_table(files.data / sample, text=True)
    key = next((name for name in asked.columns if asked[name].is_unique), asked.columns[0])
    outputs, asked_ids = set(asked.columns) - {key}, set(asked[key])
    for path in _ranked(paths, _NO_SAMPLE):
        head = _head(files.data / path)
        ids = [name for name in head.columns if name not in outputs and _alike(head[name], asked[key])]
        ids = [key] if key in head.columns else ids
        known = any(asked_ids.issuperset(head[name]) for name in ids)
        if ids and not known and _holds(head.drop(columns=ids), outputs):
            return path
    return None


def _alike(column: pd.Series[str], ids: pd.Series[str]) -> bool:
    """Whether a column holds ids, or images named by ids, of another one's kind: the same signs, if not letters."""

    def signs(cells: pd.Series[str]) -> set[str]:
        text = "".join(Path(cell).stem if cell.lower().endswith(IMAGES) else cell for cell in cells.head(HEAD_ROWS))
        return {"0" if sign.isdigit() else "a" if sign.isalpha() else sign for sign in text}

    return column.is_unique and signs(column) == signs(ids)


def _holds(head: pd.DataFrame, outputs: set[str]) -> bool:
    """Whether a table has the outputs as columns, or as values of one. Words that all differ are a list of classes."""
    import pandas as pd

    if outputs <= set(head.columns):
        found = [head[name] for name in outputs]
    else:
        found = [head[name] for name in head.columns if len(outputs) > 1 and set() < set(head[name]) - {""} <= outputs]
    return any(not cells.is_unique or pd.to_numeric(cells, errors="coerce").notna().all() for cells in found)


def _sorted_images(files: DataFiles) -> Path | None:
    """A folder of training images whose names, or whose folders' names, are at least two classes, for most of them."""
    folders = {Path(*path.parts[: place + 1]) for path in files.images for place, part in enumerate(path.parts[:-1])
               if "train" in part.lower()}  # fmt: skip
    for folder in sorted(folders, key=lambda path: (-len(path.parts), str(path))):
        labels = list_training_images(files.data / folder)[LABEL_COLUMN]
        if labels[labels != ""].nunique() > 1 and (labels != "").mean() > 0.5:
            return folder
    return None


def find_labels_table(files: DataFiles, named: FileRoles, train: pd.DataFrame, key: str, wanted: Sequence[str]) -> str:
    """The table that holds the targets `wanted` of the training rows, or whose one column has them as values, where the
    training table itself does not."""
    if key not in train.columns or all(name in train.columns for name in wanted):
        return ""
    for path in files.tables:
        if path in (named.train, named.test, named.sample):
            continue
        head = _head(files.data / path)
        if key not in head.columns:
            continue
        if not set(wanted) <= set(head.columns) and (
            len(wanted) < 2 or not _holds(head.drop(columns=key), set(wanted))
        ):
            continue
        if train[key].isin(read_table(files.data / path, text=True)[key]).mean() > 0.5:
            return str(path)
    return ""


def _sample(files: DataFiles) -> Path:
    """The sample submission: a name with one of SAMPLE_WORDS. `sample_train` is a piece of the training table, and so
    is `submission_train` where there is another submission."""
    named = [path for path in files.tables if _says(path, SAMPLE_WORDS)]
    named = [path for path in named if len(read_columns(files.data / path)) >= 2] or named
    if not named:
        raise UserError(
            f"no sample submission in {files.data}: add sample_submission.csv with the id and target columns "
            f"of a submission, one row for each test row"
        )

    def rank(path: Path) -> tuple[bool, bool, bool, int, int, str]:
        said = (not _says(path, "submi"), _says(path, r"(?<![a-z])(?:train|test)"), not _says(path, "sample"))
        return *said, len(path.parts), len(path.name), str(path)

    return min(named, key=rank)
