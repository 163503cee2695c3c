"""Read the tables of a competition's data without losing anything (ids stay strings)."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from agentkd.agents.agent_k.understand.cells import is_gap
from agentkd.agents.agent_k.understand.data_files import zip_members
from agentkd.agents.agent_k.understand.images import list_training_images
from agentkd.errors import AgentkdError, UserError

if TYPE_CHECKING:
    import pandas as pd

SEEN = 100_000  # bytes that are read to detect separator and encoding
KEPT = 200_000_000  # bytes; tables of larger files are not kept in memory
MARKS = ",;\t|"  # separators of cells
RATIO, AMPLE = 200, 1 << 30  # times its size that a packed table may have, beyond so many bytes
AT_ONCE = 1 << 20  # bytes
MOST_COLUMNS = 50_000
WIDTHS, WIDEST = 50, 1 << 22  # lines, and bytes of each, whose cells are counted


def read_table(path: Path, *, rows: int | None = None, text: bool = False) -> pd.DataFrame:
    """Read a table of one of the formats TABLES, or list the images of a folder as one.

    With `text` all cells are strings as written, empty ones "". Raises UserError for a file that is empty or not a
    table."""
    if path.is_dir():
        return list_training_images(path)
    if text and rows is None and path.is_file() and (known := path.stat()).st_size < KEPT:
        return _read_cached(path, known.st_mtime_ns, known.st_size).copy(deep=False)  # safe: pandas copies on write
    return _read(path, rows, text)


@lru_cache(maxsize=4)
def _read_cached(path: Path, changed: int, size: int) -> pd.DataFrame:
    """Read a table as text; the last few are kept, since stages in a row read the same ones."""
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
            lines = name.endswith("l")
            frame = pd.read_json(path, lines=lines, nrows=rows if lines else None, dtype=False if text else None)
            frame = frame.head(rows) if rows else frame
            return _as_text(frame) if text else frame
        start = _read_start(path, SEEN)
        code = "utf-16" if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"
        _check_widths(path)
        head = start.decode(code, errors="replace")
        mark = detect_separator(f"{name} {_only_member(path)}" if name.endswith(".zip") else name, head)
        cells = (cell.strip('"') for line in head.splitlines()[1:100] for cell in line.split(mark))
        comma = mark == ";" and any(_DECIMAL_COMMA.fullmatch(cell) for cell in cells)
        options: dict[str, Any] = {"sep": mark, "nrows": rows, "low_memory": False, "decimal": "," if comma else "."}
        try:
            with _open_unpacked(path) as file:
                frame = pd.read_csv(file, encoding=code, **options | strings)
        except UnicodeDecodeError:
            code = "cp1252" if _is_cp1252(_read_start(path, KEPT)) else code
            with _open_unpacked(path) as file:
                frame = pd.read_csv(file, encoding=code, encoding_errors="replace", **options | strings)
        return frame.apply(_use_decimal_point) if comma and text else frame
    except AgentkdError:
        raise
    except pd.errors.EmptyDataError:
        raise UserError(f"{path} is empty: download it again") from None
    except Exception as error:  # each format has errors of its own
        raise UserError(f"{path} cannot be read as a table ({first_error_line(error)}): download it again") from None


def _as_text(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.astype(str).where(frame.notna(), "")


def read_training_table(data: Path, train: str, labels: str, key: str, called: str = "") -> pd.DataFrame:
    """The training table as text, joined with the table `labels` of its targets where there is one.

    `key` is the column of ids; the tables may have `called` it something else."""
    frame = rename_id_column(read_table(data / train, text=True), key, called)
    if not labels:
        return frame
    other = rename_id_column(read_table(data / labels, text=True), key, called).drop_duplicates(key)
    new = [name for name in other.columns if name == key or name not in frame.columns]
    return frame.merge(other[new], on=key, how="left").fillna("")


def rename_id_column(frame: pd.DataFrame, key: str, called: str) -> pd.DataFrame:
    """The table with its column `called` renamed to `key`, where it has no `key`."""
    if not called or key in frame.columns:
        return frame
    return frame.rename(columns={name: key for name in frame.columns if name == called})


# Quoted cells: separators and line ends in them are text. A quote within a cell (`5" pipe`) is a letter.
_QUOTED = re.compile(r"""(?<![^,;\t|\r\n\ufeff])"[^"]*(?:""[^"]*)*(?:"(?![^,;\t|\r\n])|\Z)""")


def detect_separator(name: str, head: str) -> str:
    """The separator of a table that begins with the text `head`: a mark that all lines have equally often.

    Of several marks it is the comma, else the most frequent. Where no mark is as frequent in all lines: the tab in .tsv
    files, else the comma, or another mark where the first line has no comma."""
    lines = [line for line in re.split(r"[\r\n]+", _QUOTED.sub("", head)) if line.strip()]
    header = lines[0] if lines else ""
    if ".tsv" in name.lower() and "\t" in header:
        return "\t"
    lines = lines[:-1][:100] or lines  # the last line may be cut off
    often = {mark: header.count(mark) for mark in MARKS if len({line.count(mark) for line in lines}) == 1}
    if any(often.values()) and len(lines) > 1:
        if often.get(","):
            return ","
        return max(often, key=lambda mark: often[mark])
    if ".tsv" in name.lower():
        return "\t"
    return next((mark for mark in ";\t|" if mark in header and "," not in header), ",")


@contextmanager
def _open_unpacked(path: Path) -> Iterator[Any]:
    """Open a table's bytes, unpacked. UserError from RATIO times the packed bytes on, where these are many."""
    most = max(AMPLE, RATIO * path.stat().st_size)
    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path) as held, held.open(_only_member(path)) as file:
            yield io.BufferedReader(_Bounded(file, most, path), AT_ONCE)
    elif path.suffix.lower() == ".gz":
        with gzip.open(path) as unpacked:
            yield io.BufferedReader(_Bounded(unpacked, most, path), AT_ONCE)
    else:
        with path.open("rb") as plain:
            yield plain


class _Bounded(io.RawIOBase):
    """A file of bytes that ends in an error after `most` of them."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile, most: int, path: Path) -> None:
        self._file, self._left, self._most, self._path = file, most, most, path

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise UserError(
                f"{self._path} unpacks to more than {self._most:,} bytes: unpack it yourself if you trust it"
            )
        buffer[: len(data)] = data
        return len(data)


def _check_widths(path: Path) -> None:
    """Raise UserError where the first lines have more cells than a table has: pandas would take hours for them."""
    with _open_unpacked(path) as file:
        lines = (file.readline(WIDEST) for _ in range(WIDTHS))
        widest = max(line.count(mark.encode()) for line in lines for mark in MARKS)
    if widest > MOST_COLUMNS:
        raise UserError(f"{path} has a line of {widest:,} cells: at most {MOST_COLUMNS:,} columns are read")


def _read_start(path: Path, size: int) -> bytes:
    """Read the first bytes of a table, unpacked."""
    with _open_unpacked(path) as file:
        return bytes(file.read(size))


def _only_member(path: Path) -> str:
    """The one table in a zip. Raises UserError for more or fewer files."""
    names = zip_members(path)
    if len(names) != 1:
        some = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
        raise UserError(f"{path} holds {some or 'no file'}, not one table: unpack it into its folder")
    return names[0]


def _is_cp1252(raw: bytes) -> bool:
    """Whether bytes that are not valid UTF-8 are Windows-1252, rather than UTF-8 with a few faults."""
    text = raw.decode("utf-8", errors="replace")
    return 2 * text.count("\ufffd") > len(text) - len(text.encode("ascii", errors="ignore"))


_WHOLE = r"\s*-?(?:\d*|\d{1,3}(?:\.\d{3})+)"  # 1234 or 1.234, before a decimal comma
_DECIMAL_COMMA = re.compile(rf"{_WHOLE},\d+\s*")


def _use_decimal_point(column: pd.Series[str]) -> pd.Series[str]:
    """Rewrite numbers with a decimal comma as text with a point; without any comma in the column 1.234 stays."""
    cells = column[~is_gap(column)]
    if not cells.str.contains(",", regex=False).any():
        return column
    if not cells.str.fullmatch(rf"{_WHOLE}(?:,\d+)?(?:[eE][+-]?\d+)?\s*").all():
        return column
    return column.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)


def first_error_line(error: BaseException) -> str:
    """The first line of an error's message, or its type, in at most 200 characters."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def read_columns(path: Path) -> list[str]:
    """The names of a table's columns."""
    return [str(name) for name in read_table(path, rows=5, text=True).columns]
