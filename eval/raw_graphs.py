"""Names for ids, nodes and edges, and RDF, read again for the checker (`raw_kb.py`)."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote

from agentkd.errors import UserError
from agentkd.matching import clean_name

Cells = list[tuple[int, list[str]]]
"""Lines of a table with their numbers."""
Fact = tuple[str, str, str, bool]
"""Head, relation, tail, and whether the direction is unknown."""

HEAD = """head h subject subj s startid start source src from node1 entity1 e1 item arg1 headentity sourceid fromid
    fromnode""".split()  # noqa: SIM905 (lists of quoted words would fill a page)
RELATION = """relation rel r predicate pred p property prop relationship relationtype edgelabel edgetype edge type label
    link linktype typer""".split()  # noqa: SIM905
TAIL = """tail t object obj o endid end target tgt dst dest destination to node2 entity2 e2 value arg2 tailentity
    targetid toid tonode""".split()  # noqa: SIM905
LABEL = re.compile(
    r"http://www\.w3\.org/(2000/01/rdf-schema#label|2004/02/skos/core#prefLabel)|https?://schema\.org/name"
)
ALIAS = re.compile(r"http://www\.w3\.org/2004/02/skos/core#altLabel|https?://schema\.org/alternateName")
WIKIDATA = re.compile(
    r"https?://www\.wikidata\.org/(?:entity|wiki|prop|prop/direct|prop/direct-normalized)/(?:Property:)?([QPL]\d+)"
)
NO_FACTS = re.compile("id|nodeid|node|key|qid|uri|iri")
OTHER_NAME = re.compile("alias(es)?|altlabels?|alternatenames?|synonyms?|alsoknownas")
DIRECTIONS = {"directed", "undirected"}


def refuse(path: Path, line: int, cells: Sequence[str]) -> NoReturn:
    """Raise UserError for a line that is no triple."""
    text = "\t".join(cells)[:60]
    raise UserError(f"{path}:{line}: {text!r} is no triple: write head TAB relation TAB tail, or see docs/tasks.md")


def word_of(cell: str) -> str:
    """Return a header's cell for comparison."""
    if found := re.fullmatch(r"[^:]*:(ID|START_ID|END_ID|TYPE|LABEL)(\(.*\))?", cell.strip()):
        return {"LABEL": "nodelabels"}.get(found[1], found[1].lower().replace("_", ""))
    if found := re.fullmatch(r"([^:]+):\w+(\[\])?", cell.strip()):
        cell = found[1]
    return re.sub(r"[\s_()-]", "", cell.lower()).removeprefix("?")


def best_column(words: dict[int, str], names: list[str]) -> int | None:
    """Return the column whose word comes first among the names."""
    return next((i for name in names for i, word in words.items() if word == name), None)


# ---- names for ids -------------------------------------------------------------------------------------------------


class Distinct:
    """A name for each id: its label, with the end of the id behind it where another id has that name."""

    def __init__(self) -> None:
        self.of: dict[Any, str] = {}
        self.used: set[str] = set()

    def name(self, key: Any, label: str, end: str) -> str:
        """Return the id's name, the same for each time it is asked for."""
        if key not in self.of:
            tries = (label, f"{label} ({end})", f"{label} ({key})")
            self.of[key] = next(name for name in tries if name not in self.used)
            self.used.add(self.of[key])
        return self.of[key]

    def call(self, cell: str, label: str | None, terms: bool, *, relation: bool) -> str:
        """Return the name of a cell that holds an id or a value, which may have a label."""
        text, is_id = _term(cell) if terms else (cell, WIKIDATA.fullmatch(cell) is not None)
        key = text if is_id else clean_name(text)
        told = clean_name(_term(label)[0] if terms and label else label or "")
        told = end_of(told) if WIKIDATA.fullmatch(told) else told
        if told and told != key:
            return self.name(key, told, end_of(key) if is_id or "://" in key else key)
        if not is_id:
            return self.name(key, key, "") if relation else key
        return self.name(key, words_of(key) if relation and label is None else end_of(key), end_of(key))


def are_terms(cells: Sequence[str]) -> bool:
    """Whether cells are RDF terms: quoted at least, and one of them marked as an IRI, or by a language or a type."""
    marked = [re.fullmatch(r'<[^<>\s]+>|".*"(@[\w-]+|\^\^<\S+>)|_:\S+', cell.strip()) for cell in cells]
    return any(marked) and all(
        mark or re.fullmatch(r'"([^"]|"")*"', cell.strip()) for mark, cell in zip(marked, cells, strict=True)
    )


def _term(cell: str) -> tuple[str, bool]:
    """The text of an RDF term as SPARQL's TSV writes it, and whether it is an IRI."""
    if cell.startswith("<") and cell.endswith(">"):
        return cell[1:-1], True
    if found := re.fullmatch(r'"((?:[^"\\]|\\.)*)"(@[\w-]+|\^\^\S+)?', cell, re.DOTALL):
        text = re.sub(r"\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})", lambda m: chr(int(m[1] or m[2], 16)), found[1])
        return re.sub(r"\\(.)", lambda m: {"t": " ", "n": " ", "r": " "}.get(m[1], m[1]), text), False
    return cell, WIKIDATA.fullmatch(cell) is not None


def end_of(iri: str) -> str:
    """Return the last part of an IRI as words."""
    if found := WIKIDATA.fullmatch(iri):
        return found[1]
    last = re.split("[/#]", iri.rstrip("/#"))[-1].rpartition(":")[2]
    return clean_name(unquote(last).replace("_", " ")) or iri


def words_of(iri: str) -> str:
    """Return the last part of a relation's IRI as words."""
    if WIKIDATA.fullmatch(iri):
        return end_of(iri)
    return re.sub(r"([a-z0-9])([A-Z][a-z])", r"\1 \2", end_of(iri)).replace("-", " ").lower()


# ---- nodes and edges -----------------------------------------------------------------------------------------------


def read_graph(tables: Sequence[tuple[Path, Cells]]) -> Iterator[Fact]:
    """Yield the facts of nodes, in the order of the tables, then those of edges."""
    names, known, edges = Distinct(), dict[tuple[str, str], str](), []
    for path, lines in tables:
        if not lines:
            continue
        header = lines[0][1]
        words = [cell.strip() if cell.strip().startswith("_") else word_of(cell) for cell in header]
        both = "_start" in words
        found = dict(enumerate(words))
        ends = (
            best_column({i: w for i, w in found.items() if not NO_FACTS.fullmatch(w)}, HEAD),
            best_column(found, TAIL),
        )
        at = words.index("_id") if both else next((i for i, w in enumerate(words) if NO_FACTS.fullmatch(w)), None)
        if both or None not in ends:
            edges.append((path, lines, words, ends))
        if at is None or (None not in ends and not both):
            continue
        space = re.search(r":ID\((.*)\)", header[at])
        titles = [words.index(word) for word in ("name", "title", "label", "caption") if word in words]
        for _, row in lines[1:]:
            if not (node := row[at].strip()):
                continue
            told = next((i for i in titles if row[i].strip()), at)
            name = names.name((space[1] if space else "", node), clean_name(row[told]), clean_name(node))
            known[space[1] if space else "", node] = name
            for i, cell in enumerate(row):
                if i in (at, told) or OTHER_NAME.fullmatch(words[i]) or words[i] in ("_start", "_end", "_type"):
                    continue
                labels = words[i] in ("nodelabels", "_labels")
                split = "[:;]" if labels else ";" if header[i].strip().endswith("[]") else "$^"
                for value in re.split(split, cell):
                    if value.strip():
                        yield name, "type" if labels else header[i].split(":")[0], value, False
    for path, lines, words, ends in edges:
        yield from _read_edges(path, lines, words, ends, names, known)


def _read_edges(
    path: Path,
    lines: Cells,
    words: list[str],
    ends: tuple[int | None, int | None],
    names: Distinct,
    known: dict[tuple[str, str], str],
) -> Iterator[Fact]:
    start, end = (words.index("_start"), words.index("_end")) if "_start" in words else ends
    assert start is not None and end is not None
    directions = [i for i, word in enumerate(words) if {r[i].strip().lower() for _, r in lines[1:]} <= DIRECTIONS]
    relation = words.index("_type") if "_type" in words else None
    if relation is None:
        relation = best_column({i: word for i, word in enumerate(words) if i not in directions}, RELATION)
    if relation is None:
        raise UserError(f"{path}:1: no column says the relation")
    for number, row in lines[1:]:
        fact = []
        for place in (start, end):
            space = re.search(r":(?:START|END)_ID\((.*)\)", lines[0][1][place])
            node = row[place].strip()
            key = space[1] if space else "", node
            fact.append(known.get(key) or known.get(("", node)) or names.name(key, node, node))
        if all(row[place].strip() for place in (start, end)):
            loose = any(row[i].strip().lower() == "undirected" for i in directions)
            yield fact[0], row[relation], fact[1], loose
        elif "_start" not in words:
            refuse(path, number, row)


# ---- RDF -----------------------------------------------------------------------------------------------------------


def read_rdf(path: Path, text: str, syntax: str) -> Iterator[Fact]:
    """Yield the facts of an RDF file by name."""
    import pyoxigraph

    try:
        form = getattr(pyoxigraph.RdfFormat, syntax)
        quads = list(pyoxigraph.parse(text, form, base_iri=f"file:///{path.name.replace(' ', '%20')}"))
    except (SyntaxError, ValueError) as error:
        raise UserError(f"{path}: is not {syntax.lower()} ({str(error)[:100]})") from error
    blank: dict[str, str] = {}
    labels: dict[str, tuple[int, str]] = {}
    facts: list[tuple[str, str, str, int]] = []  # the last: 0 a node, else the rank of a value's language
    for quad in quads:
        parts = [
            blank.setdefault(term.value, f"_:b{len(blank)}") if isinstance(term, pyoxigraph.BlankNode) else term.value
            for term in (quad.subject, quad.predicate, quad.object)
        ]
        rank = 0
        if isinstance(quad.object, pyoxigraph.Literal):
            tag = (quad.object.language or "").lower()
            rank = 1 if tag == "en" else 2 if tag[:3] == "en-" else 4 if tag else 3
            if LABEL.fullmatch(parts[1]):
                labels[parts[0]] = min(labels.get(parts[0], (5, "")), (rank, clean_name(parts[2])), key=lambda p: p[0])
                continue
            if ALIAS.fullmatch(parts[1]):
                continue
        facts.append((parts[0], parts[1], parts[2], rank))
    best: dict[tuple[str, str], int] = {}
    for head, relation, _, rank in facts:
        if rank:
            best[head, relation] = min(rank, best.get((head, relation), 5))
    nodes, relations = Distinct(), Distinct()
    for head, relation, tail, rank in facts:
        if rank == 4 > best[head, relation]:
            continue
        told = [labels.get(node, (0, ""))[1] for node in (head, relation, tail)]
        start = nodes.name(head, told[0] or _node(head), _node(head))
        way = relations.name(relation, told[1] or words_of(relation), end_of(relation))
        end = clean_name(tail) if rank else nodes.name(tail, told[2] or _node(tail), _node(tail))
        if end:
            yield start, way, end, False


def _node(node: str) -> str:
    return node if node.startswith("_:") else end_of(node)
