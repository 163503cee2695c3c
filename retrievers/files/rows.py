"""What all readers share: rows of cleaned names, the notes that a user sees, and refusals with file and line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, NoReturn

from agentkd.errors import UserError
from agentkd.matching import clean_name

LINE = "head<TAB>relation<TAB>tail[<TAB>provenance], or head|relation|tail"
FORMS = f"{LINE}; or CSV or JSON lines with the columns head, relation and tail; or RDF"
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
SHOWN = 60  # characters of a cell or line in a message


class Row(NamedTuple):
    """A fact of cleaned names; `raw` is the fact as the file spells it, where that is another spelling."""

    head: str
    relation: str
    tail: str
    undirected: bool = False
    raw: str = ""


def refuse(file: Path, line: int, text: str, wanted: str = f"write a line as {LINE}") -> NoReturn:
    """Raise UserError for a line that is no triple."""
    raise UserError(f"{file}:{line}: not a triple: {text[:SHOWN]!r}; {wanted}")


class CleanNames(dict[str, str]):
    """Cells as they stand, to clean names; a cell is cleaned once. Raises ValueError for a control character."""

    def __missing__(self, cell: str) -> str:
        if (found := _CONTROL.search(cell)) is not None:
            raise ValueError(f"{cell[:SHOWN]!r} holds the control character {found[0]!r}; delete it")
        self[cell] = name = clean_name(cell)
        return name


@dataclass
class Reading:
    """What a file holds. `aliases` and `notes` are complete once the rows have been gone through."""

    rows: Iterator[Row] = field(default_factory=lambda: iter(()))
    aliases: list[tuple[str, str]] = field(default_factory=list)
    """(another name, the name)"""
    notes: list[str] = field(default_factory=list)
    """what a user should know about how the file was read"""
    clean: CleanNames = field(default_factory=CleanNames)

    def row(
        self, file: Path, line: int, cells: tuple[str, str, str], *, undirected: bool = False, raw: str | None = None
    ) -> Row:
        """Make a row of three names as they stand in a file.

        Raises UserError where one is empty, or has a control character: no name has any."""
        one, two, three = cells
        clean = self.clean
        try:
            head, relation, tail = clean[one], clean[two], clean[three]
        except ValueError as error:
            raise UserError(f"{file}:{line}: {error}") from None
        if not (head and relation and tail):
            refuse(file, line, "\t".join(cells))
        if raw is None:
            raw = "" if head == one and relation == two and tail == three else " | ".join(cells)
        return Row(head, relation, tail, undirected, raw)
