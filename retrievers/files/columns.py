"""Which column of a table is the head, which the relation, and which the tail.

`--kb-columns` says it; else the header, in its usual spellings; else the order head, relation, tail. A header that is
half known, or known only to be one, is refused.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from agentkd.errors import UserError
from agentkd.retrievers.files.rows import SHOWN

# Best known first. A cell is compared in lower case and without blanks, dashes, underscores and a leading "?".
HEADS = """head h subject subj s startid start source src from node1 entity1 e1 item arg1 headentity sourceid fromid
    fromnode""".split()  # noqa: SIM905 (lists of quoted words would fill a page)
RELATIONS = """relation rel r predicate pred p property prop relationship relationtype edgelabel edgetype edge type
    label link linktype typer""".split()  # noqa: SIM905
TAILS = """tail t object obj o endid end target tgt dst dest destination to node2 entity2 e2 value arg2 tailentity
    targetid toid tonode""".split()  # noqa: SIM905
MARKS = "provenance source origin reference direction".split()  # noqa: SIM905
_NEO4J = re.compile(r"(?P<name>[^:]*):(?P<kind>ID|START_ID|END_ID|TYPE|LABEL)(?:\((?P<space>[^()]*)\))?")
_PROPERTY = re.compile(r"(?P<name>[^:]+):(?:int|long|float|double|boolean|byte|short|char|string|date\w*|\w+)(?:\[\])?")


@dataclass(frozen=True)
class Columns:
    """Numbers of the columns from 0; `relation` is a number, or the text of all relations.

    `labels` leads from a column of ids to the column of their labels. `mark` may say that a direction is
    unknown: ';undirected' in a provenance, or, with `direction`, 'undirected' alone.
    `terms`: cells are written as RDF terms. `header`: the first line is one."""

    head: int
    relation: int | str
    tail: int
    labels: tuple[tuple[int, int], ...] = ()
    mark: int | None = None
    direction: bool = False
    unread: tuple[str, ...] = ()
    terms: bool = False
    header: bool = True

    def is_undirected(self, mark: str) -> bool:
        """Whether a cell of the column `mark` says that a fact's direction is unknown."""
        return mark == "undirected" if self.direction else ";undirected" in mark

    @property
    def needed(self) -> int:
        """The number of cells that a row must have."""
        numbers = [self.head, self.tail, *([self.relation] if isinstance(self.relation, int) else [])]
        return max(numbers) + 1


POSITIONS = Columns(0, 1, 2, mark=3, header=False)


def spelling(cell: str) -> str:
    """Return a header's cell as it is compared: ":START_ID(Film)" is "startid", "?film" is "film"."""
    cell = cell.strip()
    if match := _NEO4J.fullmatch(cell):
        kind = match["kind"].lower().replace("_", "")
        return "nodelabels" if kind == "label" else kind
    if match := _PROPERTY.fullmatch(cell):
        cell = match["name"]
    return re.sub(r"[\s_()-]", "", cell.lower()).removeprefix("?")


def find_columns(file: Path, first: Sequence[str], rows: Sequence[Sequence[str]], wish: str | None) -> Columns:
    """Choose the columns from a table's first line, and the lines after it.

    `wish` is the user's `--kb-columns`. Raises UserError where the columns cannot be told."""
    if wish:
        return _wished(file, first, wish)
    cells = [spelling(cell) for cell in first]
    variables = _are_variables(first)
    labels = _labels_of(cells)
    free = {i: cell for i, cell in enumerate(cells) if i not in labels.values()}
    roles = [_find(free, names) for names in (HEADS, RELATIONS, TAILS)]
    if roles[1] is not None and _tells_direction(rows, roles[1]):  # Gephi: the type is Directed or Undirected
        rest = {i: cell for i, cell in free.items() if i != roles[1]}
        return _columns(first, (roles[0], _find(rest, RELATIONS), roles[2]), labels, roles[1], file, variables)
    known = [role for role in roles if role is not None]
    if len(known) == 3:
        return _columns(first, roles, labels, None, file, variables)
    call = roles[1] is not None and re.fullmatch(r"type\(\w+\)", first[roles[1]])  # as Neo4j's browser exports it
    if variables or labels or call:
        order = list(free)
        if len(order) == 3 and (roles[1] == order[1] or _are_properties(rows, order[1])):
            return _columns(first, order, labels, None, file, variables)
        _refuse(file, first)
    long = [role for role in known if len(cells[role]) > 2]
    if len(long) > 1:
        _refuse(file, first)
    return POSITIONS


def _are_variables(first: Sequence[str]) -> bool:
    """Whether a line is a header of SPARQL variables."""
    return all(re.fullmatch(r"\s*\?\w+\s*", cell) for cell in first)


def _labels_of(cells: Sequence[str]) -> dict[int, int]:
    """The columns of ids that have one of labels: Wikidata writes `film` and `filmLabel`."""
    return {i: cells.index(f"{cell}label") for i, cell in enumerate(cells) if cell and f"{cell}label" in cells}


def _find(cells: dict[int, str], names: Sequence[str]) -> int | None:
    """The column whose spelling stands first among the names."""
    ranked = [(names.index(cell), i) for i, cell in cells.items() if cell in names]
    return min(ranked)[1] if ranked else None


def _tells_direction(rows: Sequence[Sequence[str]], column: int) -> bool:
    values = {row[column].strip().lower() for row in rows if len(row) > column}
    return bool(values) and values <= {"directed", "undirected"}


def _are_properties(rows: Sequence[Sequence[str]], column: int) -> bool:
    values = [row[column] for row in rows if len(row) > column]
    return bool(values) and all(re.fullmatch(r"<?https?://\S+/prop/\S+?/?P\d+>?|wdt:P\d+", value) for value in values)


def _columns(
    first: Sequence[str],
    roles: Sequence[int | None],
    labels: dict[int, int],
    mark: int | None,
    file: Path,
    variables: bool,
) -> Columns:
    head, relation, tail = roles
    if head is None or relation is None or tail is None:
        _refuse(file, first)
    read = {head, relation, tail, *labels.values()}
    if mark is None:
        marks = [i for i, cell in enumerate(first) if i not in read and spelling(cell) in MARKS]
        mark = marks[0] if marks else 3 if {head, relation, tail} == {0, 1, 2} and len(first) == 3 else None
    unread = tuple(cell.strip() for i, cell in enumerate(first) if i not in read and i != mark)
    chosen = tuple((i, labels[i]) for i in (head, relation, tail) if i in labels)
    told = mark is not None and mark < len(first) and spelling(first[mark]) in ("type", "direction")
    return Columns(head, relation, tail, chosen, mark, told, unread, terms=variables)


def _wished(file: Path, first: Sequence[str], wish: str) -> Columns:
    """The columns that the user names: by the header, or by numbers from 1; `=TEXT` is the relation of all rows."""
    try:
        words = [word.strip() for row in csv.reader([wish], skipinitialspace=True) for word in row]
    except csv.Error:  # a line break
        words = []
    if len(words) != 3 or not all(words):
        raise UserError(f"--kb-columns {wish}: give three columns, head, relation and tail: by name, number or =TEXT")
    names = [cell.strip() for cell in first]
    numbers: list[int | str] = []
    by_name = not all(word.isdigit() or word.startswith("=") for word in words)
    for place, word in enumerate(words):
        if word.startswith("=") and place == 1:
            numbers.append(word[1:].strip())
        elif by_name and (word in names or f"?{word}" in names):
            numbers.append(names.index(word if word in names else f"?{word}"))
        elif not by_name and 0 < int(word) <= len(first):
            numbers.append(int(word) - 1)
        else:
            raise UserError(f"--kb-columns {wish}: {file} has no column {word!r}; it has: {', '.join(names)[:200]}")
    head, relation, tail = numbers
    assert isinstance(head, int) and isinstance(tail, int)
    variables = _are_variables(first)
    cells = dict(enumerate(map(spelling, first)))
    header = by_name or variables or None not in [_find(cells, known) for known in (HEADS, RELATIONS, TAILS)]
    labels = {i: label for i, label in _labels_of(list(cells.values())).items() if header and i in numbers}
    unread = tuple(name for i, name in enumerate(names) if header and i not in (*numbers, *labels.values()))
    return Columns(head, relation, tail, tuple(labels.items()), unread=unread, terms=variables, header=header)


def _refuse(file: Path, first: Sequence[str]) -> NoReturn:
    names = ", ".join(cell.strip() for cell in first)
    raise UserError(
        f"{file}:1: the header does not say which column is head, relation or tail: {names[:SHOWN]!r}; call them so, "
        f"or name them with --kb-columns HEAD,RELATION,TAIL (=TEXT for RELATION: all facts have that relation)"
    )
