"""The tables of a competition's data: which file is which, read so that nothing is lost (ids stay strings)."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

TABLES = (".csv", ".tsv", ".csv.zip", ".tsv.zip", ".csv.gz", ".tsv.gz", ".parquet", ".json", ".jsonl")
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
DEEP = 3  # folders below data/ that are searched
SAMPLE_WORDS = re.compile(r"sample|submission|submit|example|benchmark|entry", re.IGNORECASE)


@dataclass(frozen=True)
class Files:
    """What lies in data/: tables and images, as paths relative to it."""

    data: Path

    @cached_property
    def all(self) -> list[Path]:
        found = []
        stack = [(self.data, 0)]
        while stack:
            folder, depth = stack.pop()
            for path in sorted(folder.iterdir()):
                if path.name.startswith((".", "__MACOSX")):
                    continue
                if path.is_dir():
                    if depth < DEEP:
                        stack.append((path, depth + 1))
                elif path.is_file():
                    found.append(path.relative_to(self.data))
        return sorted(found)

    @property
    def tables(self) -> list[Path]:
        return [path for path in self.all if path.name.lower().endswith(TABLES)]

    @property
    def images(self) -> list[Path]:
        return [path for path in self.all if path.suffix.lower() in IMAGES]


def read_table(path: Path, *, rows: int | None = None, text: bool = False) -> pd.DataFrame:
    """A table from any of TABLES. With `text` all cells are strings as written, empty ones are "".

    Raises UserError for a file that is empty or no table, with what was met."""
    import pandas as pd

    name = path.name.lower()
    strings = {"dtype": str, "keep_default_na": False} if text else {}
    try:
        if name.endswith(".parquet"):
            frame = pd.read_parquet(path)
            frame = frame.head(rows) if rows else frame
            return frame.astype(str) if text else frame
        if name.endswith((".json", ".jsonl")):
            frame = pd.read_json(path, lines=name.endswith("l"), nrows=rows if name.endswith("l") else None,
                                 dtype=False if text else None)  # fmt: skip
            frame = frame.head(rows) if rows else frame
            return frame.astype(str) if text else frame
        separator = "\t" if ".tsv" in name else ","
        return pd.read_csv(path, sep=separator, nrows=rows, low_memory=False, encoding_errors="replace", **strings)
    except pd.errors.EmptyDataError:
        raise UserError(f"{path} is empty: download it again") from None
    except (ValueError, zipfile.BadZipFile, EOFError, ImportError) as error:
        raise UserError(f"{path} cannot be read as a table ({first_line(error)}): download it again") from None


def first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def columns(path: Path) -> list[str]:
    return [str(name) for name in read_table(path, rows=5, text=True).columns]


@dataclass(frozen=True)
class Named:
    """The three files that every competition has, relative to data/."""

    train: Path
    test: Path | None
    sample: Path


def name_tables(files: Files) -> Named:
    """Which table is train, test and sample submission, by names first, by shared columns and ids where names do not
    tell. Raises UserError for what is missing, with the remedy."""
    tables = files.tables
    if not tables:
        raise UserError(f"no table in {files.data}: it must hold train, test and sample submission as CSV or parquet")
    sample = _sample(files)
    rest = [path for path in tables if path != sample]
    train = _best(rest, r"train", r"test|valid|extra|label")
    if train is None:
        raise UserError(
            f"no training table in {files.data} (found {', '.join(map(str, tables[:6]))}): name it train.csv"
        )
    test = _best([path for path in rest if path != train], r"test|eval|predict", r"train|label")
    return Named(train, test, sample)


def _best(paths: list[Path], word: str, against: str) -> Path | None:
    """The path whose name says the word most plainly: as the whole stem, then the shortest, then the largest."""
    named = [path for path in paths if re.search(word, path.name, re.IGNORECASE)]
    plain = [path for path in named if not re.search(against, re.sub(word, "", path.name, flags=re.IGNORECASE))]
    return min(plain or named, key=lambda path: (len(path.parts), len(path.name), str(path)), default=None)


def _sample(files: Files) -> Path:
    """The sample submission: a name with one of SAMPLE_WORDS, `sample` before the others."""
    named = [path for path in files.tables if SAMPLE_WORDS.search(path.name)]
    named = [path for path in named if len(columns(files.data / path)) >= 2] or named
    if not named:
        raise UserError(
            f"no sample submission in {files.data}: add sample_submission.csv with the id and target columns "
            f"of a submission, one row for each test row"
        )
    return min(named, key=lambda path: ("sample" not in path.name.lower(), "submi" not in path.name.lower(),
                                        len(path.parts), len(path.name), str(path)))  # fmt: skip
