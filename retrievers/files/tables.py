"""Tables of facts: tab-separated, CSV, MetaQA's bars, and JSON lines, a line per fact.

The first line may be a header (`columns.py`). Cells may be quoted as CSV does it, or be RDF terms, as SPARQL endpoints
write TSV. ConceptNet's assertions are known by their first line.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentkd.errors import UserError
from agentkd.retrievers.files import naming, terms
from agentkd.retrievers.files.columns import POSITIONS, Columns, find_columns
from agentkd.retrievers.files.rows import FORMS, SHOWN, Reading, Row, refuse

Line = tuple[int, list[str]]
"""A line's number and its cells."""

CONCEPTNET = Columns(2, 1, 3, header=False)
_SEEN = 50  # lines that are looked at before the columns are chosen
_WHOLLY_QUOTED = re.compile(r'"(?:[^"]|"")*"')


@dataclass(frozen=True)
class Table:
    """Lines of cells, not read yet; `strict` where each line must have as many cells as the first."""

    file: Path
    lines: Iterator[Line]
    strict: bool


# ---- lines of cells ------------------------------------------------------------------------------------------------


def open_table(file: Path, text: str, kind: str) -> Table:
    """Split a text into lines of cells; `kind` is tsv, bars, csv or json. Raises UserError with file and line."""
    if kind == "json":
        return Table(file, json_lines(file, text), strict=True)
    if kind == "csv":
        return Table(file, csv_lines(file, text), strict=True)
    separator = "\t" if kind == "tsv" else "|"
    lines = ((n, line.split(separator)) for n, line in enumerate(text.split("\n"), start=1) if line.strip())
    return Table(file, _unquote(lines) if kind == "tsv" else _bars(file, lines), strict=False)


def _bars(file: Path, lines: Iterable[Line]) -> Iterator[Line]:
    for number, cells in lines:
        if len(cells) != 3:
            refuse(file, number, "|".join(cells))
        yield number, cells


def _unquote(lines: Iterable[Line]) -> Iterator[Line]:
    """Take off the quotes that a CSV writer has put around cells: around all of them, or around those with quotes."""
    every: bool | None = None
    for number, cells in lines:
        if every is None:
            every = all(_WHOLLY_QUOTED.fullmatch(cell.strip()) for cell in cells)
        for i, cell in enumerate(cells):
            if '"' in cell and _WHOLLY_QUOTED.fullmatch(cell.strip()) and (every or '""' in cell):
                cells[i] = cell.strip()[1:-1].replace('""', '"')
        yield number, cells


def csv_lines(file: Path, text: str) -> Iterator[Line]:
    """Read CSV; its first line tells whether cells are parted by tabs, commas, semicolons or bars."""
    first = re.sub(r'"(?:[^"]|"")*"', "", text.lstrip("\n").split("\n", 1)[0])
    separator = "\t" if "\t" in first else max(",;|", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise UserError(f"{file}:{reader.line_num}: not CSV ({error}); write quotes within a cell twice") from error


def json_lines(file: Path, text: str) -> Iterator[Line]:
    """Read JSON lines, or one JSON array: the keys of the first object are the header, an array is a line of cells."""
    header: list[str] | None = None
    for number, row in _json_rows(file, text):
        if isinstance(row, dict):
            if header is None:
                header = list(row)
                yield number, header
            if missing := [key for key in header if key not in row]:
                raise UserError(f"{file}:{number}: no {missing[0]!r}; every object needs the keys of the first")
            row = [row[key] for key in header]
        elif not isinstance(row, list) or header is not None:
            refuse(file, number, str(row), 'write {"head": …, "relation": …, "tail": …}')
        yield number, [_text(file, number, value) for value in row]


def _json_rows(file: Path, text: str) -> Iterator[tuple[int, Any]]:
    try:
        whole = json.loads(text) if text.lstrip()[:1] == "[" else None
    except ValueError:
        whole = None
    if isinstance(whole, list) and any(isinstance(row, dict | list) for row in whole):
        yield from ((1, row) for row in whole)
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except ValueError as error:
                raise UserError(f"{file}:{number}: not JSON ({error}): {line[:SHOWN]!r}; write {FORMS}") from error


def _text(file: Path, number: int, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    refuse(file, number, json.dumps(value, ensure_ascii=False), "give a name or a number")


# ---- facts ---------------------------------------------------------------------------------------------------------


def read_facts(table: Table, reading: Reading, wish: str | None) -> Iterator[Row]:
    """Yield the facts of a table whose lines are facts; what is notable goes into `reading`."""
    seen = list(itertools.islice(table.lines, _SEEN))
    if not seen:
        return
    columns = _choose(table.file, seen, reading, wish)
    width = len(seen[0][1])
    lines = itertools.chain(seen[1:] if columns.header else seen, table.lines)
    if not columns.header and not columns.terms and _looks_like_terms(seen[0][1][: columns.needed]):
        columns = Columns(columns.head, columns.relation, columns.tail, terms=True, header=False)
    make = _by_label if columns.labels or columns.terms else _as_it_stands
    yield from make(table, columns, _check(table, lines, columns, width, reading), reading)


def _choose(file: Path, seen: Sequence[Line], reading: Reading, wish: str | None) -> Columns:
    first, rows = seen[0][1], [cells for _, cells in seen[1:]]
    if not wish and len(first) > 3 and first[0].startswith("/a/[") and first[1].startswith("/r/"):
        reading.notes.append("ConceptNet's assertions: start, relation, end")
        return CONCEPTNET
    columns = find_columns(file, first, rows, wish)
    if columns.header and (columns.unread or (columns.head, columns.relation, columns.tail) != (0, 1, 2)):
        names = [first[i].strip() if isinstance(i, int) else i for i in (columns.head, columns.relation, columns.tail)]
        reading.notes.append(f"columns: head {names[0]!r}, relation {names[1]!r}, tail {names[2]!r}")
    if columns.unread:
        reading.notes.append(f"columns that are not read: {', '.join(columns.unread)[:200]}")
    return columns


def _check(table: Table, lines: Iterable[Line], columns: Columns, width: int, reading: Reading) -> Iterator[Line]:
    """Pass the lines on that have the cells they need; say what a further column is taken for."""
    said = columns is not POSITIONS
    for number, cells in lines:
        if len(cells) < columns.needed:
            refuse(table.file, number, "\t".join(cells))
        if table.strict and len(cells) != width:
            wanted = f"it has {len(cells)} cells, the first line has {width}; quote names that hold the separator"
            refuse(table.file, number, str(cells), wanted)
        if not said and len(cells) > 3:
            what = "columns after the third are not read, but for ';undirected'"
            reading.notes.append(f"{what} (first: {cells[3][:SHOWN]!r})")
            said = True
        yield number, cells


def _as_it_stands(table: Table, columns: Columns, lines: Iterable[Line], reading: Reading) -> Iterator[Row]:
    head, relation, tail, mark = columns.head, columns.relation, columns.tail, columns.mark
    for number, cells in lines:
        told = cells[mark].strip().lower() if mark is not None and len(cells) > mark else ""
        fact = cells[head], cells[relation] if isinstance(relation, int) else relation, cells[tail]
        yield reading.row(table.file, number, fact, undirected=columns.is_undirected(told))


def _by_label(table: Table, columns: Columns, lines: Iterable[Line], reading: Reading) -> Iterator[Row]:
    """Facts between ids with labels, or between RDF terms: nodes are told apart by their ids."""
    nodes, relations, label_of = naming.Names(), naming.Names(), dict(columns.labels)

    def read(number: int, cells: Sequence[str], column: int) -> terms.Term:
        cell = cells[column].strip()
        term = terms.parse_term(cell) if columns.terms else terms.plain(cell)
        if column in label_of:
            told = cells[label_of[column]].strip()
            label = (terms.parse_term(told) if columns.terms else terms.plain(told)).name
            if label and label != term.key:  # else it is a value, which is its own label
                end = term.end or (naming.end_of_iri(cell) if "://" in cell else term.name)
                term = terms.Term(term.key, label, end)
        if not term.name:
            refuse(table.file, number, "\t".join(cells))
        return term

    def name(term: terms.Term) -> str:
        called = nodes.name(term.key, term.name, term.end) if term.end else term.name
        if term.end not in ("", called):
            reading.aliases.append((term.end, called))
        return called

    for number, cells in lines:
        head, tail = read(number, cells, columns.head), read(number, cells, columns.tail)
        if isinstance(columns.relation, int):
            term = read(number, cells, columns.relation)
            told = columns.relation in label_of or not term.end
            relation = relations.name(term.key, term.name if told else naming.relation_of_iri(term.key), term.end)
            raw = cells[columns.relation]
        else:
            relation = raw = columns.relation
        spelt = f"{cells[columns.head].strip()} | {raw.strip()} | {cells[columns.tail].strip()}"
        yield reading.row(table.file, number, (name(head), relation, name(tail)), raw=spelt)
    reading.notes += nodes.note()


def _looks_like_terms(cells: Sequence[str]) -> bool:
    """Whether cells are RDF terms throughout: IRIs in brackets, or literals with a language or a type."""
    marked = [bool(re.fullmatch(r'<[^<>\s]+>|".*"(?:@[\w-]+|\^\^<\S+>)|_:\S+', cell.strip())) for cell in cells]
    quoted = [bool(_WHOLLY_QUOTED.fullmatch(cell.strip())) for cell in cells]
    return any(marked) and all(one or other for one, other in zip(marked, quoted, strict=True))
