"""Nodes and edges in tables: a folder of nodes.csv and edges.csv, and Neo4j's exports.

A table with an id column holds nodes, one with a start and an end holds edges; Neo4j's `apoc.export.csv` writes both
into one. A node is called by its name, title or label. Its further cells are facts, but for other names, which are
aliases.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agentkd.errors import UserError
from agentkd.matching import clean_name
from agentkd.retrievers.files.columns import HEADS, RELATIONS, TAILS, spelling
from agentkd.retrievers.files.naming import Names
from agentkd.retrievers.files.rows import SHOWN, Reading, Row, refuse
from agentkd.retrievers.files.tables import Line, Table

IDS = "id nodeid node key qid uri iri".split()  # noqa: SIM905
LABELS = "name title label caption".split()  # noqa: SIM905
OTHER_NAMES = "alias aliases altlabel altlabels alternatename alternatenames synonym synonyms alsoknownas".split()  # noqa: SIM905
APOC = "_id _labels _start _end _type".split()  # noqa: SIM905
_SPACE = re.compile(r":(?:ID|START_ID|END_ID)\((?P<space>[^()]*)\)")


@dataclass
class Part:
    """A table of the folder: its header as it stands and as it is compared, and its lines."""

    file: Path
    header: list[str]
    cells: list[str]
    lines: list[Line]
    roles: dict[str, int] = field(default_factory=dict)

    @property
    def is_edges(self) -> bool:
        return {"start", "end"} <= self.roles.keys()


def is_neo4j(header: Sequence[str]) -> bool:
    """Whether a header is that of a table of nodes and edges as Neo4j's `apoc.export.csv` writes it."""
    return {"_id", "_start", "_end", "_type"} <= {cell.strip() for cell in header}


def read_graph(tables: Sequence[Table], reading: Reading) -> Iterator[Row]:
    """Yield the facts of tables of nodes and of edges, the nodes' own ones first."""
    parts = [part for table in tables if (part := _open(table)) is not None]
    if not any(part.is_edges for part in parts):
        raise UserError(
            f"{tables[0].file.parent}: no table has edges; give one with the columns source, relation, target"
        )
    names, known = Names(), dict[tuple[str, str], str]()
    unread: dict[str, None] = {}
    for part in parts:
        if "id" in part.roles:
            yield from _read_nodes(part, names, known, reading)
    strangers: dict[str, None] = {}

    def name(space: str, node: str) -> str:
        for key in ((space, node), ("", node)):
            if key in known:
                return known[key]
        if known:
            strangers[node] = None
        return names.name((space, node), node, node)

    for part in parts:
        if part.is_edges:
            unread |= dict.fromkeys(_unread(part))
            yield from _read_edges(part, name, reading)
    reading.notes += names.note()
    if strangers:
        reading.notes.append(
            f"{len(strangers):,} nodes of the edges are in no table and are called by their ids (first: "
            f"{next(iter(strangers))[:SHOWN]!r})"
        )
    if unread:
        reading.notes.append(f"columns of edges that are not read: {', '.join(unread)[:200]}")


def _open(table: Table) -> Part | None:
    """Read a table whole, since nodes may stand behind their edges. None for an empty one."""
    first = next(table.lines, None)
    if first is None:
        return None
    header = first[1]
    cells = [cell.strip() if cell.strip() in APOC else spelling(cell) for cell in header]
    part = Part(table.file, header, cells, list(table.lines))
    width = len(header)
    for number, row in part.lines:
        if len(row) != width:
            refuse(table.file, number, str(row), f"it has {len(row)} cells, the header has {width}")
    if "_start" in cells:
        part.roles = {"id": cells.index("_id"), "start": cells.index("_start"), "end": cells.index("_end")}
        part.roles["relation"] = cells.index("_type")
        return part
    start, end = (_first(cells, [name for name in names if name not in IDS]) for names in (HEADS, TAILS))
    if start is not None and end is not None:
        part.roles = {"start": start, "end": end}
        relation = _relation(part)
        if relation is None:
            raise UserError(
                f"{table.file}:1: no column says the relation: {', '.join(header)[:SHOWN]!r}; add one, 'type'"
            )
        part.roles["relation"] = relation
    elif (place := _first(cells, IDS)) is not None:
        part.roles = {"id": place}
    else:
        raise UserError(
            f"{table.file}:1: neither nodes nor edges: {', '.join(header)[:SHOWN]!r}; nodes have the columns id and "
            "name, edges source, relation and target"
        )
    return part


def _first(cells: Sequence[str], names: Sequence[str]) -> int | None:
    return next((cells.index(name) for name in names if name in cells), None)


def _relation(part: Part) -> int | None:
    """The column of the relation; Gephi's type is no relation but Directed or Undirected."""
    for name in RELATIONS:
        if name in part.cells:
            column = part.cells.index(name)
            if not {row[column].strip().lower() for _, row in part.lines} <= {"directed", "undirected"}:
                return column
            part.roles["mark"] = column
    return None


def _unread(part: Part) -> list[str]:
    if "_start" in part.cells:
        return []
    return [cell.strip() for i, cell in enumerate(part.header) if i not in part.roles.values()]


def _space(header: Sequence[str], column: int) -> str:
    match = _SPACE.search(header[column])
    return match["space"] if match else ""


def _read_nodes(part: Part, names: Names, known: dict[tuple[str, str], str], reading: Reading) -> Iterator[Row]:
    """Name the nodes, and yield the facts in their further cells."""
    at = part.roles["id"]
    space = _space(part.header, at)
    labels = [part.cells.index(name) for name in LABELS if name in part.cells]
    for number, row in part.lines:
        node = row[at].strip()
        if not node:
            if part.is_edges:
                continue
            refuse(part.file, number, str(row), "give every node an id")
        label = next((i for i in labels if row[i].strip()), at)
        called = clean_name(row[label])
        known[space, node] = name = names.name((space, node), called, clean_name(node))
        if name != node:
            reading.aliases.append((clean_name(node), name))
        for i, cell in enumerate(row):
            kind = part.cells[i]
            if i in (at, label) or not cell.strip() or (part.is_edges and i in part.roles.values()):
                continue
            values = _values(part.header[i], kind, cell)
            if kind in OTHER_NAMES:
                reading.aliases += [(clean_name(value), name) for value in values]
                continue
            relation = "type" if kind in ("nodelabels", "_labels") else part.header[i].split(":")[0].strip()
            for value in values:
                yield reading.row(part.file, number, (name, relation, value), raw=f"{node} | {relation} | {value}")


def _values(header: str, kind: str, cell: str) -> list[str]:
    """The values of a cell: lists are parted by semicolons or bars, Neo4j's labels by colons too."""
    if kind in ("nodelabels", "_labels"):
        parts = re.split("[:;]", cell)
    elif kind in OTHER_NAMES:
        parts = re.split("[;|]", cell)
    elif header.strip().endswith("[]"):
        parts = cell.split(";")
    else:
        parts = [cell]
    return [part.strip() for part in parts if part.strip()]


def _read_edges(part: Part, name: Callable[[str, str], str], reading: Reading) -> Iterator[Row]:
    start, relation, end = (part.roles[role] for role in ("start", "relation", "end"))
    spaces = _space(part.header, start), _space(part.header, end)
    mark = part.roles.get("mark")
    for number, row in part.lines:
        ids = row[start].strip(), row[end].strip()
        if not any(ids) and "id" in part.roles:
            continue
        if not all(ids):
            refuse(part.file, number, str(row), "give every edge a start and an end")
        fact = name(spaces[0], ids[0]), row[relation], name(spaces[1], ids[1])
        loose = mark is not None and row[mark].strip().lower() == "undirected"
        spelt = f"{ids[0]} | {row[relation].strip()} | {ids[1]}"
        yield reading.row(part.file, number, fact, undirected=loose, raw=spelt)
