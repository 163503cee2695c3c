"""The tables of a competition's data, read so that nothing is lost (ids stay strings)."""

from __future__ import annotations

import codecs
import gzip
import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from agentkd.agents.agent_k.solvers.table_features import as_numbers
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

TABLES = (".csv", ".tsv", ".csv.zip", ".tsv.zip", ".csv.gz", ".tsv.gz", ".parquet", ".json", ".jsonl")
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
SEEN = 100_000  # bytes that tell how a table is written
KEPT = 200_000_000  # bytes of a table's file that is kept in memory
MARKS = ",;\t|"  # what may stand between cells
MISSING = {"na", "n/a", "nan", "null", "none", "<na>", "inf", "-inf", "?", "-", "--", "."}  # among numbers, lower case
FLAGS = {"0", "1", "0.0", "1.0", "false", "true"}  # in lower case
FEW = 10  # values such as 5% that are classes where they repeat
DEEP = 3  # folders below data/ that are searched


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

    @cached_property
    def tables(self) -> list[Path]:
        return [path for path in self.all if path.name.lower().endswith(TABLES) or _packed(self.data / path)]

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
            frame.columns = frame.columns.map(str)
            return _as_text(frame) if text else frame
        if name.endswith((".json", ".jsonl")):
            frame = pd.read_json(path, lines=name.endswith("l"), nrows=rows if name.endswith("l") else None,
                                 dtype=False if text else None)  # fmt: skip
            frame = frame.head(rows) if rows else frame
            return _as_text(frame) if text else frame
        start = _start(path, SEEN)
        code = "utf-16" if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"
        head = start.decode(code, errors="replace")
        mark = separator(f"{name} {_member(path)}" if name.endswith(".zip") else name, head)
        cells = (cell.strip('"') for line in head.splitlines()[1:100] for cell in line.split(mark))
        comma = mark == ";" and any(_DECIMAL_COMMA.fullmatch(cell) for cell in cells)
        options: dict[str, Any] = {"sep": mark, "nrows": rows, "low_memory": False, "decimal": "," if comma else "."}
        try:
            with _opened(path) as file:
                frame = pd.read_csv(file, encoding=code, **options | strings)
        except UnicodeDecodeError:
            code = "cp1252" if _is_latin(_start(path, KEPT)) else code
            with _opened(path) as file:
                frame = pd.read_csv(file, encoding=code, encoding_errors="replace", **options | strings)
        return frame.apply(_with_point) if comma and text else frame
    except pd.errors.EmptyDataError:
        raise UserError(f"{path} is empty: download it again") from None
    except (ValueError, zipfile.BadZipFile, gzip.BadGzipFile, EOFError, ImportError) as error:
        raise UserError(f"{path} cannot be read as a table ({first_line(error)}): download it again") from None


def _as_text(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.astype(str).where(frame.notna(), "")


FILE, LABEL = "file", "label"  # the columns of an image table
_CLASS = re.compile(r"([A-Za-z]+(?:[ _-][A-Za-z]+)*)[ ._-]*\d+")


def image_table(folder: Path) -> pd.DataFrame:
    """The images below a folder of training images, with the class that the folder inside it (`train/cat/1.png`) or
    a name of letters and a number (`train/cat.1.png`) says, "" where neither does: letters that begin a hash do not."""
    import pandas as pd

    rows = []
    for path in Files(folder).images:
        named = _CLASS.fullmatch(path.stem)
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
    """A training table as text whose unknown targets are "" (among numbers a word such as NA is no class), and whose
    targets such as $1,234.50 are plain numbers."""
    return train.assign(**{name: _cleaned(train[name]) for name in targets})


def is_gap(cells: pd.Series[str]) -> pd.Series[bool]:
    """Where a cell of numbers says nothing."""
    return cells.str.strip().str.lower().isin({"", *MISSING})


def _cleaned(column: pd.Series[str]) -> pd.Series[str]:
    import pandas as pd

    bare = column.str.strip()
    gone = is_gap(column)
    rest = bare[~gone]
    plain = pd.to_numeric(rest, errors="coerce").notna()
    if (plain | rest.str.lower().isin(FLAGS)).all():
        return bare.mask(gone, "")
    if rest.nunique() > min(FEW, len(rest) // 2):
        numbers = as_numbers(rest)
        if numbers is not None and numbers.notna().sum() > plain.sum():
            known = numbers.dropna().map(lambda number: str(number).removesuffix(".0"))
            return known.reindex(column.index, fill_value="").astype(column.dtype)
    return bare if bare.nunique() < column.nunique() else column  # blanks that part `yes ` from `yes`


# What stands in quotes: marks and ends of lines there are text. A quote within a cell (`5" pipe`) is a letter.
_QUOTED = re.compile(r"""(?<![^,;\t|\r\n\ufeff])"[^"]*(?:""[^"]*)*(?:"(?![^,;\t|\r\n])|\Z)""")


def separator(name: str, head: str) -> str:
    """What stands between the cells of a table whose text begins so: of MARKS one that all its lines have as often: a
    comma, else the most frequent. Where lines differ: a tab in .tsv files, else a comma, or what the first line has
    instead."""
    lines = [line for line in re.split(r"[\r\n]+", _QUOTED.sub("", head)) if line.strip()]
    header = lines[0] if lines else ""
    if ".tsv" in name.lower() and "\t" in header:
        return "\t"
    lines = lines[:-1][:100] or lines  # the last may be cut
    often = {mark: header.count(mark) for mark in MARKS if len({line.count(mark) for line in lines}) == 1}
    if any(often.values()) and len(lines) > 1:
        if often.get(","):
            return ","
        return max(often, key=lambda mark: often[mark])
    if ".tsv" in name.lower():
        return "\t"
    return next((mark for mark in ";\t|" if mark in header and "," not in header), ",")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A table's bytes, unpacked."""
    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path) as held, held.open(_member(path)) as file:
            yield file
    else:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            yield file


def _start(path: Path, size: int) -> bytes:
    """The first bytes of a table, unpacked."""
    with _opened(path) as file:
        return bytes(file.read(size))


def _members(path: Path) -> list[str]:
    """The files in a zip, without those that a Mac adds."""
    with zipfile.ZipFile(path) as held:
        names = [name for name in held.namelist() if not name.endswith("/")]
    return [name for name in names if not any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)]


def _member(path: Path) -> str:
    """The one table in a zip."""
    names = _members(path)
    if len(names) != 1:
        some = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
        raise UserError(f"{path} holds {some or 'no file'}, not one table: unpack it into its folder")
    return names[0]


def _packed(path: Path) -> bool:
    """Whether a zip that is not named as a table is one: `train.zip` may hold train.csv, or images."""
    try:
        names = _members(path) if path.suffix.lower() == ".zip" else []
    except (OSError, zipfile.BadZipFile):
        return False
    return len(names) == 1 and names[0].lower().endswith((".csv", ".tsv"))


def _is_latin(raw: bytes) -> bool:
    """Whether bytes that are no UTF-8 are Windows' Latin letters, not UTF-8 with a fault here and there."""
    text = raw.decode("utf-8", errors="replace")
    return 2 * text.count("\ufffd") > len(text) - len(text.encode("ascii", errors="ignore"))


_WHOLE = r"\s*-?(?:\d*|\d{1,3}(?:\.\d{3})+)"  # 1234 or 1.234, where a comma comes before decimals
_DECIMAL_COMMA = re.compile(rf"{_WHOLE},\d+\s*")


def _with_point(column: pd.Series[str]) -> pd.Series[str]:
    """Numbers written with a decimal comma, as text with a point. Without a comma in the column 1.234 stays 1.234."""
    cells = column[~is_gap(column)]
    if not cells.str.contains(",", regex=False).any():
        return column
    if not cells.str.fullmatch(rf"{_WHOLE}(?:,\d+)?(?:[eE][+-]?\d+)?\s*").all():
        return column
    return column.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)


def first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def columns(path: Path) -> list[str]:
    return [str(name) for name in read_table(path, rows=5, text=True).columns]
