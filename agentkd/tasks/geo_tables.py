"""The packaged geography as a SQLite database, for the task `sql`; made once, in the agentkd home."""

from __future__ import annotations

import csv
import os
import sqlite3
import tempfile
from collections import defaultdict
from pathlib import Path

from agentkd.errors import WorldError
from agentkd.models import agentkd_home
from agentkd.retrievers.kb_index import hash_file

VERSION = 1  # of what is made of the facts
SCHEMA = {
    "country": (
        *("name", "capital", "continent", "subregion", "currency", "calling_code"),
        *("iso_code", "internet_domain", "driving_side"),
    ),
    "border": ("country", "neighbour"),
    "speaks": ("country", "language"),
    "city": ("name", "country", "time_zone"),
    "airport": ("name", "city", "iata_code"),
}
KEYS = (  # (table, column) pairs that hold the same names
    (("border", "country"), ("country", "name")),
    (("border", "neighbour"), ("country", "name")),
    (("speaks", "country"), ("country", "name")),
    (("city", "country"), ("country", "name")),
    (("airport", "city"), ("city", "name")),
)


def describe_schema() -> str:
    """The tables with their columns, a table per line."""
    return "\n".join(f"{table}({', '.join(columns)})" for table, columns in SCHEMA.items())


def find_geo_database(facts: Path) -> Path:
    """The database of a file of facts, made at the first use. Raises WorldError where it cannot be written."""
    target = agentkd_home() / "tasks" / f"geo-{VERSION}-{hash_file(facts)[:16]}.db"
    if target.is_file():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=target.parent, prefix=".geo-")
        os.close(handle)
        try:
            make_database(facts, Path(part))
            os.replace(part, target)
        finally:
            Path(part).unlink(missing_ok=True)
    except (OSError, sqlite3.Error) as error:
        raise WorldError(f"cannot write {target} ({error}); free space or set AGENTKD_HOME") from error
    return target


def make_database(facts: Path, target: Path) -> None:
    """Write the tables of SCHEMA. Of several values of a column the first in the order of the file is taken."""
    values: dict[tuple[str, str], list[str]] = defaultdict(list)
    heads: dict[str, dict[str, None]] = defaultdict(dict)
    with facts.open(encoding="utf-8", newline="") as lines:
        for head, relation, tail, *_ in csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
            values[head, relation].append(tail)
            heads[relation.partition(".")[0]][head] = None

    def row(table: str, name: str) -> tuple[str | None, ...]:
        own = (values.get((name, f"{table}.{column}")) for column in SCHEMA[table][1:])
        return (name, *(found[0] if found else None for found in own))

    pairs = {"border": "country.borders", "speaks": "country.spoken_language"}
    rows = {
        table: [(head, tail) for head in heads["country"] for tail in values.get((head, pairs[table]), ())]
        if table in pairs
        else [row(table, name) for name in heads[table]]
        for table in SCHEMA
    }
    connection = sqlite3.connect(target)
    try:
        with connection:
            for table, columns in SCHEMA.items():
                connection.execute(f"CREATE TABLE {table} ({', '.join(f'{column} TEXT' for column in columns)})")
                marks = ", ".join("?" * len(columns))
                connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows[table])
                connection.execute(f"CREATE INDEX {table}_{columns[0]} ON {table} ({columns[0]})")
    finally:
        connection.close()
