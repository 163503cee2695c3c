"""Open a knowledge base's file or folder: its bytes, its form, and the reader for it.

The ending of the name tells the form (`.gz` may follow it), else the first line does.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from agentkd.errors import UserError
from agentkd.matching import clean_name
from agentkd.retrievers.files import graphs, rdf, tables
from agentkd.retrievers.files.rows import FORMS, SHOWN, Reading

TABLES = {".csv": "csv", ".tsv": "tsv", ".jsonl": "json", ".ndjson": "json", ".json": "json"}
BINARY = {
    b"PAR1": "a Parquet file",
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"SQLite": "a database",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}
FOLDER = "a folder holds a table of nodes (id, name) and one of edges (source, relation, target)"


def read_content(path: Path) -> tuple[dict[Path, bytes], str]:
    """Return the bytes of a file, or of the tables in a folder, and their SHA-256. Raises UserError."""
    try:
        if not path.is_dir():
            data = path.read_bytes()
            return {path: data}, hashlib.sha256(data).hexdigest()
        files = {file: file.read_bytes() for file in sorted(path.iterdir()) if _ending(file) in TABLES}
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    if not files:
        raise UserError(f"{path}: holds no .csv, .tsv or .jsonl file; {FOLDER}")
    digest = hashlib.sha256()
    for file, data in files.items():
        digest.update(f"{file.name}\0{len(data)}\0".encode() + data)
    return files, digest.hexdigest()


def read_kb(path: Path, content: dict[Path, bytes], columns: str | None = None) -> Reading:
    """Return the facts of a file or folder that `read_content` has read. Raises UserError with file and line."""
    reading = Reading()
    texts = {file: decode(file, data) for file, data in content.items()}
    if path.is_dir():
        _refuse_columns(columns, path, "a folder of nodes and edges")
        opened = [tables.open_table(file, text, TABLES[_ending(file)]) for file, text in texts.items()]
        reading.rows = graphs.read_graph(opened, reading)
        return reading
    ((file, text),) = texts.items()
    kind = find_form(file, text)
    if kind in rdf.ENDINGS.values():
        _refuse_columns(columns, file, "RDF")
        reading.rows = rdf.read_rdf(file, text, kind, reading)
    elif kind == "csv" and graphs.is_neo4j(next(tables.csv_lines(file, text), (0, []))[1]):
        _refuse_columns(columns, file, "Neo4j's export")
        reading.rows = graphs.read_graph([tables.open_table(file, text, kind)], reading)
    else:
        reading.rows = tables.read_facts(tables.open_table(file, text, kind), reading, columns)
    return reading


def read_pairs(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the pairs of names in a table of aliases: TSV, CSV or JSON lines. Raises UserError with file and line."""
    content, _ = read_content(file)
    text = decode(file, content[file])
    kind = TABLES.get(_ending(file), "tsv" if "\t" in text else "csv")
    for number, cells in tables.open_table(file, text, kind).lines:
        pair = [clean_name(cell) for cell in cells[:2]]
        if len(pair) < 2 or not all(pair):
            raise UserError(f"{file}:{number}: not an alias: {chr(9).join(cells)[:SHOWN]!r}; write entity<TAB>alias")
        yield pair[0], pair[1]


def _refuse_columns(columns: str | None, path: Path, what: str) -> None:
    if columns:
        raise UserError(f"--kb-columns {columns}: {path} is {what}, whose columns are known; leave it out")


def decode(file: Path, data: bytes) -> str:
    """Return the text of a file, unpacked where it is gzipped, its line ends as \\n. Raises UserError."""
    try:
        raw = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        text = raw.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        known = next((what for magic, what in BINARY.items() if data.startswith(magic)), None)
        reason = f"it is {known}" if known else str(error)
        raise UserError(
            f"{file}: cannot be read as (gzipped) UTF-8 text ({reason}); save it as CSV or TSV in UTF-8"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _ending(file: Path) -> str:
    name = file.name.lower().removesuffix(".gz")
    return Path(name).suffix


def find_form(file: Path, text: str) -> str:
    """Return tsv, bars, csv, json, or an RDF syntax. Raises UserError where the first line tells nothing."""
    ending = _ending(file)
    if ending in rdf.ENDINGS:
        return rdf.ENDINGS[ending]
    start = text[:10_000].lstrip()
    first = start.split("\n", 1)[0]
    if re.match(r"<\?xml|<rdf:RDF", start):
        return "RDF_XML"
    if re.match(r"@(?:prefix|base)\b|(?:PREFIX|BASE)\s+\S*\s*<", start, re.IGNORECASE):
        return "TURTLE"
    if re.match(r"(?:<[^<>\s]+>|_:\S+)\s+<[^<>\s]+>\s+\S.*\.\s*$", first):
        return "N_TRIPLES"
    if start[:1] in ("{", "[") and re.search(r'"@(?:context|graph|id)"', start):
        return "JSON_LD"
    if ending in TABLES and not (ending == ".tsv" and "\t" not in first):
        return TABLES[ending]
    if start[:1] in ("{", "["):
        return "json"
    if "\t" in first:
        return "tsv"
    if first.count("|") >= 2:
        return "bars"
    if ending != ".tsv" and len(re.split("[,;]", first)) >= 3:
        return "csv"
    if not first:
        raise UserError(f"{file}: holds no triple; give lines of {FORMS}")
    raise UserError(f"{file}:{_line_of(text)}: not a triple: {first[:SHOWN]!r}; write a line as {FORMS}")


def _line_of(text: str) -> int:
    return text[: len(text) - len(text.lstrip())].count("\n") + 1
