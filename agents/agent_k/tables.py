"""The tables of a competition's data: which file is which, read so that nothing is lost (ids stay strings)."""

from __future__ import annotations

import codecs
import gzip
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

TABLES = (".csv", ".tsv", ".csv.zip", ".tsv.zip", ".csv.gz", ".tsv.gz", ".parquet", ".json", ".jsonl")
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
SEEN = 100_000  # bytes that tell how a table is written
KEPT = 200_000_000  # bytes of a table's file that is kept in memory
MISSING = {"na", "n/a", "nan", "null", "none", "<na>", "inf", "-inf"}  # among numbers, in lower case
FLAGS = {"0", "1", "0.0", "1.0", "false", "true"}  # in lower case
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
    """A table from any of TABLES, or of the images in a folder. With `text` all cells are strings as written, empty
    ones are "".

    Raises UserError for a file that is empty or no table, with what was met."""
    if path.is_dir():
        return image_table(path)
    if text and rows is None and path.is_file() and (known := path.stat()).st_size < KEPT:
        return _kept(path, known.st_mtime_ns, known.st_size).copy(deep=False)  # pandas copies on write
    return _read(path, rows, text)


@lru_cache(maxsize=4)
def _kept(path: Path, changed: int, size: int) -> pd.DataFrame:
    """The last few tables as text: several stages in a row look at the same ones."""
    return _read(path, None, True)


def _read(path: Path, rows: int | None, text: bool) -> pd.DataFrame:
    import pandas as pd

    name = path.name.lower()
    strings = {"dtype": str, "keep_default_na": False} if text else {}
    try:
        if name.endswith(".parquet"):
            frame = pd.read_parquet(path)
            frame = frame.head(rows) if rows else frame
            return _as_text(frame) if text else frame
        if name.endswith((".json", ".jsonl")):
            frame = pd.read_json(path, lines=name.endswith("l"), nrows=rows if name.endswith("l") else None,
                                 dtype=False if text else None)  # fmt: skip
            frame = frame.head(rows) if rows else frame
            return _as_text(frame) if text else frame
        start = _start(path, SEEN)
        code = "utf-16" if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"
        head = start.decode(code, errors="replace").splitlines()[:100]
        mark = separator(path, head[0] if head else "")
        comma = mark == ";" and any(_DECIMAL_COMMA.fullmatch(cell) for line in head[1:] for cell in line.split(mark))
        options: dict[str, Any] = {"sep": mark, "nrows": rows, "low_memory": False, "decimal": "," if comma else "."}
        try:
            frame = pd.read_csv(path, encoding=code, **options | strings)
        except UnicodeDecodeError:
            code = "cp1252" if _is_latin(_start(path, KEPT)) else code
            frame = pd.read_csv(path, encoding=code, encoding_errors="replace", **options | strings)
        return frame.apply(_with_point) if comma and text else frame
    except pd.errors.EmptyDataError:
        raise UserError(f"{path} is empty: download it again") from None
    except (ValueError, zipfile.BadZipFile, gzip.BadGzipFile, EOFError, ImportError) as error:
        raise UserError(f"{path} cannot be read as a table ({first_line(error)}): download it again") from None


def _as_text(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.astype(str).where(frame.notna(), "")


FILE, LABEL = "file", "label"  # the columns of an image table
_CLASS = re.compile(r"([A-Za-z]+(?:[ _-][A-Za-z]+)*)[ ._-]*\d")


def image_table(folder: Path) -> pd.DataFrame:
    """The images below a folder of training images, with the class that the folder inside it (`train/cat/1.png`) or
    the beginning of the name (`train/cat.1.png`) says, "" where neither does."""
    import pandas as pd

    rows = []
    for path in Files(folder).images:
        named = _CLASS.match(path.name)
        label = path.parts[0] if len(path.parts) > 1 else named[1] if named else ""
        rows.append((f"{folder.name}/{path.as_posix()}", label))
    return pd.DataFrame(rows, columns=[FILE, LABEL], dtype=str)


def training_table(data: Path, train: str, labels: str, key: str, called: str = "") -> pd.DataFrame:
    """The training table as text, joined by `key` (which it may have `called` otherwise) with the table of its targets,
    where those have their own."""
    frame = with_id(read_table(data / train, text=True), key, called)
    if not labels:
        return frame
    other = with_id(read_table(data / labels, text=True), key, called).drop_duplicates(key)
    new = [name for name in other.columns if name == key or name not in frame.columns]
    return frame.merge(other[new], on=key, how="left").fillna("")


def with_id(frame: pd.DataFrame, key: str, called: str) -> pd.DataFrame:
    """A table whose column `called`, where it has one in place of `key`, is called that."""
    if not called or key in frame.columns:
        return frame
    return frame.rename(columns={name: key for name in frame.columns if name == called})


def with_gaps(train: pd.DataFrame, targets: Sequence[str]) -> pd.DataFrame:
    """A training table as text whose unknown targets are "": among numbers a word such as NA is no class."""
    import pandas as pd

    for name in targets:
        word = train[name].str.strip().str.lower()
        gone = word.isin(MISSING)
        rest = word[~gone & (word != "")]
        if gone.any() and (rest.isin(FLAGS) | pd.to_numeric(rest, errors="coerce").notna()).all():
            train = train.assign(**{name: train[name].mask(gone, "")})
    return train


def separator(path: Path, header: str) -> str:
    """What stands between the cells: a tab in .tsv files, else a comma, or what the first line has instead of it."""
    if ".tsv" in path.name.lower():
        return "\t"
    return next((mark for mark in ";\t|" if mark in header and "," not in header), ",")


def _start(path: Path, size: int) -> bytes:
    """The first bytes of a table, unpacked."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as held, held.open(held.namelist()[0]) as file:
            return file.read(size)
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        return file.read(size)


def _is_latin(raw: bytes) -> bool:
    """Whether bytes that are no UTF-8 are Windows' Latin letters, not UTF-8 with a fault here and there."""
    text = raw.decode("utf-8", errors="replace")
    return 2 * text.count("\ufffd") > len(text) - len(text.encode("ascii", errors="ignore"))


_DECIMAL_COMMA = re.compile(r"\s*-?\d*,\d+\s*")


def _with_point(column: pd.Series[str]) -> pd.Series[str]:
    """Numbers written with a decimal comma, as text with a point."""
    cells = column[column != ""]
    if not cells.str.fullmatch(r"\s*-?\d*(?:,\d+)?(?:[eE][+-]?\d+)?\s*").all():
        return column
    return column.str.replace(",", ".", regex=False)


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
    train = _best(rest, r"train", r"test|valid|extra|label") or _sorted_images(files)
    if train is None:
        raise UserError(
            f"no training table in {files.data} (found {', '.join(map(str, tables[:6]))}): name it train.csv"
        )
    test = _best([path for path in rest if path != train], r"test|eval|predict", r"train|label")
    return Named(train, test, sample)


def _sorted_images(files: Files) -> Path | None:
    """A folder of training images whose names, or whose folders' names, are at least two classes."""
    folders = {Path(*path.parts[: place + 1]) for path in files.images for place, part in enumerate(path.parts[:-1])
               if "train" in part.lower()}  # fmt: skip
    for folder in sorted(folders, key=lambda path: (-len(path.parts), str(path))):
        labels = image_table(files.data / folder)[LABEL]
        if labels[labels != ""].nunique() > 1:
            return folder
    return None


def find_labels(files: Files, named: Named, train: pd.DataFrame, key: str, wanted: Sequence[str]) -> str:
    """The table that holds the targets `wanted` of the training rows, where the training table itself does not."""
    if key not in train.columns or all(name in train.columns for name in wanted):
        return ""
    for path in files.tables:
        if path in (named.train, named.test, named.sample) or not {key, *wanted} <= set(columns(files.data / path)):
            continue
        if train[key].isin(read_table(files.data / path, text=True)[key]).mean() > 0.5:
            return str(path)
    return ""


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
