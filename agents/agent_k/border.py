"""The border to what untrusted code leaves: everything that it wrote is read here, and nowhere else.

A file is refused for its size, and a table for its header and first row, before it is parsed: the rows and columns that
were asked for bound both. `judge` runs whatever looks at results. It does so beside the event loop and for a limited
time, and every error that comes up is a failure that the model is told.
"""

from __future__ import annotations

import asyncio
import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from agentkd.agents.agent_k.aside import call_aside
from agentkd.agents.agent_k.contract import SHOWN, SHOWN_NAME, Failure, clip, show_name
from agentkd.errors import UserError, WorldError
from agentkd.sandbox.safe_read import read_inside

if TYPE_CHECKING:
    import pandas as pd
    from pydantic import TypeAdapter

MOST_BYTES = 1 << 30  # of a file, however many rows are asked for: what `disk_mb` allows by default
ROOM = 1 << 20  # bytes that every table may have
CELL = 64  # bytes that a cell may have on average: twice a number with all its digits
TEXTS = 8  # times the bytes of the given texts that a table of texts may have
CELLS = 20_000_000  # that a table with free columns may have
NAME = 500  # characters of a column's name
COMMAS = 100_000  # in one line of the first row, besides those between the columns: it may hold texts
JSON_BYTES = 1 << 16
SECONDS = 300.0  # that a look at results may take

T = TypeVar("T")


class Refused(Exception):
    """Results that do not pass, with the failed tests."""

    def __init__(self, failures: Sequence[Failure]) -> None:
        super().__init__("; ".join(item.message for item in failures))
        self.failures = list(failures)


def refuse(failures: Sequence[Failure]) -> None:
    """Raise Refused if there are failures."""
    if failures:
        raise Refused(failures)


def try_look(stage: str, test: str, look: Callable[[], T]) -> T | Refused:
    """Return what `look` makes of untrusted results, or why they are refused.

    Whatever error it raises becomes a failure of `test`, with `stage` at fault. Only a WorldError goes on, since a full
    disk is not the code's fault."""
    try:
        return look()
    except Refused as refused:
        return refused
    except WorldError:
        raise
    except Exception as error:
        return Refused([Failure(test=test, stage=stage, message=describe_error(error))])


async def judge(stage: str, test: str, look: Callable[[], T]) -> T | Refused:
    """As `try_look`, in a thread beside the event loop and for at most SECONDS."""
    try:
        return await asyncio.wait_for(call_aside(lambda: try_look(stage, test, look)), SECONDS)
    except TimeoutError:
        message = f"it took more than {SECONDS:.0f} s to read what the code left: write less"
        return Refused([Failure(test=test, stage=stage, message=message)])


def describe_error(error: Exception) -> str:
    """An error in a few words: its text, or its type and the beginning of its text."""
    if isinstance(error, UserError):
        return str(error)
    return f"{type(error).__name__}: {clip(str(error), 300)}"


@dataclass(frozen=True)
class Bounds:
    """What a table may hold."""

    rows: int
    columns: int
    bytes: int
    names: tuple[str, ...] | None = None  # of the columns, where they are known

    @property
    def header(self) -> int:
        """Bytes that the first line may have; some more than it needs, so that other names can be told."""
        if self.names is not None:  # each may be quoted
            return (1 << 12) + sum(2 * len(name.encode(errors="replace")) + 3 for name in self.names)
        return self.columns * (4 * NAME + 3)  # a character takes four bytes at most


def bound_columns(names: Sequence[str], ids: Sequence[str], cell: int = CELL) -> Bounds:
    """The bounds of a table with exactly these columns, of which the first holds ids, and with one row for each id.

    `cell` is the mean size of the other cells, in bytes."""
    longest = max((len(item.encode(errors="replace")) for item in ids), default=0)
    row = 2 * longest + cell * len(names)
    bounds = Bounds(len(ids), len(names), 0, tuple(names))
    return replace(bounds, bytes=min(MOST_BYTES, ROOM + bounds.header + row * len(ids)))


def bound_table(rows: int, columns: int, most_columns: int, texts: int = 0) -> Bounds:
    """The bounds of a table with `rows` rows and whatever columns.

    At most `most_columns`, and no more than make CELLS cells, unless the `columns` that were given are more; then four
    times these. `texts` is the size of given texts, in bytes."""
    columns = max(4 * columns + 16, min(most_columns, CELLS // max(rows, 1)))
    return Bounds(rows, columns, min(MOST_BYTES, ROOM + rows * columns * CELL + TEXTS * texts))


def read_left(folder: Path, name: str, most: int) -> bytes:
    """Read a file that code left in `folder`, of at most `most` bytes, without following links.

    Raises UserError for one that is missing, larger, or no plain file."""
    try:
        return read_inside(folder, name, most)
    except FileNotFoundError:
        raise UserError(f"{name} was not written") from None


def read_left_table(folder: Path, name: str, bounds: Bounds, *, text: bool = False) -> pd.DataFrame:
    """Read a CSV table that code left in `folder`, as `parse_table` does."""
    return parse_table(read_left(folder, name, bounds.bytes), name, bounds, text=text)


def parse_table(content: bytes, name: str, bounds: Bounds, *, text: bool = False) -> pd.DataFrame:
    """Parse a CSV table within its bounds, `id` as text; with `text` all cells are text, and empty ones "".

    Raises UserError for more rows or columns than were asked for, other columns, a name that is empty, doubled or long,
    and a first row of another width. Raises whatever pandas raises."""
    import pandas as pd

    if len(content) > bounds.bytes:
        raise UserError(f"{name} has {len(content):,} bytes: at most {bounds.bytes:,} are read")
    header = _read_header(content, name, bounds)
    strings: dict[str, Any] = {"dtype": str, "keep_default_na": False} if text else {"dtype": {"id": str}}
    # With names and no index pandas makes no other columns. A line that is wider than the first row is an error to it.
    frame = pd.read_csv(
        io.BytesIO(content),
        header=0,
        names=header,
        index_col=False,
        nrows=bounds.rows + 1,
        low_memory=False,
        **strings,
    )
    if len(frame) > bounds.rows:
        raise UserError(f"{name} has more than the {bounds.rows:,} rows that were asked for")
    return frame


def _read_header(content: bytes, name: str, bounds: Bounds) -> list[str]:
    """The names of a table's columns, after a look at the first two records alone."""
    records = filter(None, csv.reader(_first_lines(content, name, bounds)))
    most = csv.field_size_limit(MOST_BYTES)  # texts may be long
    try:
        header, first = next(records, []), next(records, None)
    except csv.Error as error:
        raise UserError(f"{name} is no CSV table ({error})") from None
    finally:
        csv.field_size_limit(most)
    if not header:
        raise UserError(f"{name} is empty")
    if first is not None and len(first) != len(header):
        raise UserError(f"{name} has {_count(header)} and {len(first):,} cells in its first row")
    if bounds.names is not None:
        if tuple(header) != bounds.names:
            raise UserError(f"{name} has {_count(header)}, {_show_first(header)}, not {_show_first(bounds.names)}")
        return header
    if len(header) > bounds.columns:
        raise UserError(f"{name} has {len(header):,} columns: at most {bounds.columns:,} are read")
    if long := [column for column in header if not 0 < len(column) <= NAME]:
        what = f"{show_name(long[0])} has {len(long[0]):,} characters" if long[0] else "one is empty"
        raise UserError(f"the names of columns in {name} have 1 to {NAME} characters: {what}")
    if len(set(header)) < len(header):
        doubled, _ = Counter(header).most_common(1)[0]
        raise UserError(f"column {show_name(doubled)} stands twice in {name}")
    return header


def _count(header: Sequence[str]) -> str:
    return f"{len(header):,} column" + ("" if len(header) == 1 else "s")


def _show_first(header: Sequence[str]) -> list[str]:
    return [column[:SHOWN_NAME] for column in header[:SHOWN]]


def _first_lines(content: bytes, name: str, bounds: Bounds) -> Iterator[str]:
    """The lines of a table one after the other, so that no more is parsed than a table within its bounds can need.

    Raises UserError for one that is too long for a header, or has too many commas."""
    file = io.BytesIO(content)
    longest = bounds.header
    for number in range(len(content) + 1):
        line = file.readline(longest + 1) if number == 0 else file.readline()
        if number == 0 and len(line) > longest:
            end = content.find(b"\n") if b"\n" in content else len(content)
            raise UserError(
                f"the first line of {name} has {end:,} bytes and {content.count(b',', 0, end):,} commas: "
                f"{bounds.columns:,} columns are read, of {longest:,} bytes at most"
            )
        if not line:
            return
        if line.count(b",") > bounds.columns + COMMAS:
            raise UserError(f"line {number + 1} of {name} has {line.count(b','):,} commas")
        yield line.decode("utf-8-sig" if number == 0 else "utf-8", errors="replace")


def read_left_json(folder: Path, name: str, schema: TypeAdapter[T]) -> T:
    """Read a small JSON file that code left in `folder`, and hold it to its schema.

    Raises UserError for one that is larger, nested too deeply (the parser's own limit), or of another form."""
    from pydantic import ValidationError

    try:
        return schema.validate_json(read_left(folder, name, JSON_BYTES), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = "".join(f"[{part!r}]" for part in first["loc"])
        given = clip(repr(first["input"]), 80) if first["type"] != "json_invalid" else "no JSON"
        raise UserError(f"{name}{place}: {first['msg']}, not {given}") from None
