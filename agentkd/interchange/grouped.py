"""Rows gathered by their trace, in bounded memory: those of one trace may be anywhere in the files."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from agentkd.errors import WorldError
from agentkd.interchange.chat import to_text
from agentkd.interchange.rows import Malformed, Reject, Row
from agentkd.interchange.session import Session

FILE = "spans.sqlite"  # gone once all is read; what a killed import leaves is made anew


class Part(NamedTuple):
    """A piece of a trace; those of a trace are put in the order of `order`, and of the files where that is equal."""

    trace: str
    order: str
    value: Any


def read_gathered(
    rows: Iterable[Row],
    split: Callable[[Any], Iterable[Part]],
    make: Callable[[str, list[Row]], Session],
    reject: Reject,
    folder: Path,
) -> Iterator[Session]:
    """A session per trace; a trace that `make` finds malformed is rejected, named by its first row."""
    for name, parts in gather_traces(rows, split, reject, folder):
        try:
            yield make(name, parts)
        except Malformed as error:
            first = parts[0]
            reject(first.file, first.line, f"trace {name}: {error}", to_text(first.value))


def gather_traces(
    rows: Iterable[Row], split: Callable[[Any], Iterable[Part]], reject: Reject, folder: Path
) -> Iterator[tuple[str, list[Row]]]:
    """Yield each trace's name with its parts, by the first appearance of the trace.

    `split` cuts a row into parts and raises Malformed for one that is none."""
    place = folder / FILE
    place.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(place)) as base:
            base.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA temp_store=FILE")
            base.execute("CREATE TABLE parts (trace TEXT, place TEXT, file TEXT, line INTEGER, value TEXT)")
            for row in rows:
                try:
                    for part in split(row.value):
                        values = (part.trace, part.order, str(row.file), row.line, json.dumps(part.value))
                        base.execute("INSERT INTO parts VALUES (?, ?, ?, ?, ?)", values)
                except (Malformed, UnicodeEncodeError) as error:
                    told = str(error) if isinstance(error, Malformed) else "half a character in a name"
                    reject(row.file, row.line, told, to_text(row.value))
            base.execute("CREATE INDEX by_trace ON parts (trace, place)")
            names = base.execute("SELECT trace FROM parts GROUP BY trace ORDER BY MIN(rowid)")
            for (name,) in names:
                found = base.execute(
                    "SELECT file, line, value FROM parts WHERE trace = ? ORDER BY place, rowid", (name,)
                )
                yield name, [Row(json.loads(value), Path(file), line) for file, line, value in found]
    except sqlite3.Error as error:
        raise WorldError(f"cannot write {place} ({error}): make room, and run the same command again") from None
    finally:
        place.unlink(missing_ok=True)
