"""The facts of a knowledge base's file, read again for the checker, which trusts no reader but its own.

It follows the rules of docs/tasks.md and shares no code with `agentkd.retrievers`, only the spelling rule
(`agentkd.matching`) and the RDF parser, a library. It reads simply: all at once, without notes, and refuses in fewer
words, since a file comes here only after it has been read there.
"""

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from agentkd.errors import UserError
from agentkd.eval.raw_graphs import (
    DIRECTIONS,
    HEAD,
    RELATION,
    TAIL,
    Cells,
    Distinct,
    Fact,
    are_terms,
    best_column,
    read_graph,
    read_rdf,
    refuse,
    word_of,
)
from agentkd.matching import clean_name

Triple = tuple[str, str, str]
"""Head, relation, tail."""
Place = int | str
"""The number of a column, or the text of all its cells."""

TABLES = ("csv", "tsv", "jsonl", "ndjson", "json")
RDF = {"nt": "N_TRIPLES", "ntriples": "N_TRIPLES", "nq": "N_QUADS", "ttl": "TURTLE", "turtle": "TURTLE"}
RDF |= {"trig": "TRIG", "n3": "N3", "rdf": "RDF_XML", "owl": "RDF_XML", "xml": "RDF_XML", "jsonld": "JSON_LD"}


def read_raw(path: Path, columns: str | None = None) -> tuple[list[Triple], list[Triple]]:
    """Return all triples of a file or folder, and those of them whose direction is unknown. Raises UserError."""
    if path.is_dir():
        files = [file for file in sorted(path.iterdir()) if _suffix(file) in TABLES]
        rows = read_graph([(file, _cells(file, _text(file))[1]) for file in files])
    else:
        rows = _read_file(path, columns)
    found: list[Triple] = []
    loose: list[Triple] = []
    for head, relation, tail, undirected in rows:
        triple = clean_name(head), clean_name(relation), clean_name(tail)
        found.append(triple)
        if undirected:
            loose.append(triple)
    return found, loose


def _read_file(path: Path, columns: str | None) -> Iterator[Fact]:
    text = _text(path)
    if syntax := _syntax(path, text):
        return read_rdf(path, text, syntax)
    kind, lines = _cells(path, text)
    if lines and {"_id", "_start", "_end", "_type"} <= {cell.strip() for cell in lines[0][1]}:
        return read_graph([(path, lines)])
    return _read_table(path, kind, lines, columns) if lines else iter(())


# ---- cells ---------------------------------------------------------------------------------------------------------


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if data.startswith(b"\x1f\x8b") or path.suffix == ".gz" else data).decode(
            "utf-8-sig"
        )
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "damaged, or not UTF-8 text"
        raise UserError(f"cannot read KB {str(path)!r} ({reason}): give a TSV, CSV, JSONL or RDF file") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _suffix(path: Path) -> str:
    return path.name.lower().removesuffix(".gz").rpartition(".")[2]


def _syntax(path: Path, text: str) -> str | None:
    """The RDF syntax of a file, by its name or its first line; None where it is a table."""
    if _suffix(path) in RDF:
        return RDF[_suffix(path)]
    start = text[:10_000].lstrip()
    signs = {
        r"<\?xml|<rdf:RDF": "RDF_XML",
        r"(?i:@prefix|@base|prefix\s+\S*\s*<|base\s+<)": "TURTLE",
        r"(<[^<>\s]+>|_:\S+)\s+<[^<>\s]+>\s+[^\s][^\n]*\.[ \t]*(\n|$)": "N_TRIPLES",
        r'[{\[](?=[\s\S]*"@(context|graph|id)")': "JSON_LD",
    }
    return next((syntax for pattern, syntax in signs.items() if re.match(pattern, start)), None)


def _cells(path: Path, text: str) -> tuple[str, Cells]:
    """The kind of a table, tsv, bars, csv or json, and its lines."""
    first = next((line for line in text.split("\n") if line.strip()), "")
    suffix = _suffix(path)
    if suffix in ("jsonl", "ndjson", "json") or (suffix not in TABLES and first.lstrip()[:1] in ("{", "[")):
        return "json", _json(path, text)
    if suffix != "csv" and ("\t" in first or first.count("|") > 1):
        separator = "\t" if "\t" in first else "|"
        lines = [(n, line.split(separator)) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
        return ("tsv", [(n, _unquoted(row, lines[0][1])) for n, row in lines]) if separator == "\t" else ("bars", lines)
    bare = re.sub(r'"[^"]*"', "", first)
    separator = "\t" if "\t" in bare else max(",;|", key=bare.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    return "csv", [(reader.line_num, row) for row in reader if any(map(str.strip, row))]


def _unquoted(row: list[str], first: list[str]) -> list[str]:
    def quoted(cell: str) -> bool:
        return re.fullmatch(r'\s*"([^"]|"")*"\s*', cell) is not None

    everywhere = all(map(quoted, first))
    return [
        cell.strip()[1:-1].replace('""', '"') if quoted(cell) and (everywhere or '""' in cell) else cell for cell in row
    ]


def _json(path: Path, text: str) -> Cells:
    try:
        whole = json.loads(text) if text.lstrip().startswith("[") else None
    except ValueError:
        whole = None
    try:
        if isinstance(whole, list) and all(isinstance(item, dict | list) for item in whole):
            items = list(enumerate(whole, 1))
        else:
            items = [(n, json.loads(line)) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
        if items and isinstance(items[0][1], dict):
            keys = list(items[0][1])
            items = [(0, keys), *((n, [item[key] for key in keys]) for n, item in items)]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: is not JSON lines of one form ({error!r}): give every line the same keys") from error
    return [(n, [str(v).lower() if isinstance(v, bool) else str(v) for v in item]) for n, item in items]


# ---- tables --------------------------------------------------------------------------------------------------------


def _read_table(path: Path, kind: str, lines: Cells, columns: str | None) -> Iterator[Fact]:
    first = [cell.strip() for cell in lines[0][1]]
    places, skip, terms = _places(first, lines, columns)
    numbers = [place for place in places if isinstance(place, int)]
    terms = terms or (not skip and are_terms([cell for i, cell in enumerate(first) if i <= max(numbers)]))
    labels = {place: _label_column(first, place) for place in numbers} if skip else {}
    by_id = terms or any(label is not None for label in labels.values())
    mark = _mark_column(first, places) if skip else 3
    alone = skip and mark is not None and mark < len(first) and word_of(first[mark]) in ("type", "direction")
    nodes, relations = Distinct(), Distinct()
    for number, cells in lines[skip:]:
        if len(cells) <= max(numbers) or (kind == "bars" and len(cells) > 3):
            refuse(path, number, cells)

        def name(role: int, cells: list[str] = cells) -> str:
            place = places[role]
            if isinstance(place, str):
                return place
            if not by_id:
                return cells[place]
            label = labels.get(place)
            told = None if label is None else cells[label].strip()
            return (relations if role == 1 else nodes).call(cells[place].strip(), told, terms, relation=role == 1)

        fact = name(0), name(1), name(2)
        if not all(part.strip() for part in fact):
            refuse(path, number, cells)
        told = cells[mark].strip().lower() if mark is not None and mark < len(cells) else ""
        yield *fact, told == "undirected" if alone else ";undirected" in told


def _label_column(first: Sequence[str], place: int) -> int | None:
    words = list(map(word_of, first))
    wanted = f"{words[place]}label"
    return words.index(wanted) if words[place] and wanted in words else None


def _mark_column(first: Sequence[str], places: Sequence[Place]) -> int | None:
    """The column that may say that a direction is unknown."""
    rest = {i: word_of(cell) for i, cell in enumerate(first) if i not in places}
    for i, word in rest.items():
        if word in ("provenance", "source", "origin", "reference", "direction"):
            return i
    if set(places) == {0, 1, 2} and len(first) == 3:
        return 3
    return next((i for i, word in rest.items() if word == "type"), None)


def _places(first: list[str], lines: Cells, columns: str | None) -> tuple[Sequence[Place], bool, bool]:
    """The columns of head, relation and tail, whether the first line is a header, and whether cells are RDF terms."""
    variables = all(re.fullmatch(r"\?\w+", cell) for cell in first)
    every = {i: word_of(cell) for i, cell in enumerate(first)}
    labels = {_label_column(first, i) for i in every}
    words = {i: word for i, word in every.items() if i not in labels}
    head, relation, tail = (best_column(words, names) for names in (HEAD, RELATION, TAIL))
    if columns:
        asked = [word.strip() for word in next(csv.reader([columns], skipinitialspace=True))]
        if all(word.isdigit() or word[:1] == "=" for word in asked):
            known = head is not None and relation is not None and tail is not None
            return [w[1:].strip() if w[:1] == "=" else int(w) - 1 for w in asked], variables or known, variables
        names = {cell.removeprefix("?"): i for i, cell in enumerate(first)}
        return [w[1:].strip() if w[:1] == "=" else names[w.removeprefix("?")] for w in asked], True, variables
    if first[0].startswith("/a/[") and len(first) > 3 and first[1].startswith("/r/"):
        return [2, 1, 3], False, False
    if relation is not None:
        values = {cells[relation].strip().lower() for _, cells in lines[1:] if len(cells) > relation}
        if values and values <= DIRECTIONS:
            relation = best_column({i: word for i, word in words.items() if i != relation}, RELATION)
    if head is not None and relation is not None and tail is not None:
        return [head, relation, tail], True, variables
    if variables or labels - {None} or (relation is not None and re.fullmatch(r"type\(\w+\)", first[relation])):
        return list(words), True, variables
    return [0, 1, 2], False, False
