"""SQL against a SQLite database: the query runs, read-only and bounded, and its rows are the evidence.

`run_query` is also the tool that agents call. A connection is opened for each query, read-only, and an authoriser
refuses all but reading: no ATTACH, no PRAGMA, no extension. A query ends at its number of rows, and in its time.
"""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from agentkd.errors import UserError, near_file
from agentkd.matching import strict_key, strict_set
from agentkd.trace import Check, ToolResult
from agentkd.verifiers.contract import Finding, Item
from agentkd.verifiers.fenced import unfence
from agentkd.verifiers.gold import GOLD, gold_answers

ROWS, SECONDS = 1_000, 5.0
CELL = 1_000_000  # bytes of a text that a query may make
KEPT = 200  # rows of a result that are kept as evidence
_READS = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_STEPS = 10_000  # of SQLite's virtual machine between two looks at the clock

Row = tuple[Any, ...]


class QueryError(ValueError):
    """A query that SQLite refuses, or that a limit ended; the text says why, in one line."""


class Table(NamedTuple):
    """The result of a query."""

    columns: tuple[str, ...]
    rows: list[Row]

    @property
    def answers(self) -> list[str]:
        """The distinct rows as texts; the cells of a row are joined by ` | `, and empty ones are left out."""
        lines = (" | ".join(write_cell(cell) for cell in row) for row in self.rows)
        return list(dict.fromkeys(line for line in lines if line))

    def record(self) -> str:
        """The result as JSON, of a long one the first rows and the number of all."""
        rows = [[cell.hex() if isinstance(cell, bytes) else cell for cell in row] for row in self.rows]
        more = {"total": len(rows)} if len(rows) > KEPT else {}
        return json.dumps({"columns": self.columns, "rows": rows[:KEPT], **more}, ensure_ascii=False)


def write_cell(cell: object) -> str:
    """A cell as a text: NULL is empty, and 3.0 is 3."""
    if cell is None:
        return ""
    if isinstance(cell, bytes):
        return cell.hex()
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15 else str(cell)


def run_query(database: Path, query: str, *, rows: int = ROWS, seconds: float = SECONDS) -> Table:
    """Run one SELECT. Raises QueryError where it is wrong, not allowed, or exceeds `rows` or `seconds`; UserError where
    the database cannot be opened."""
    if not database.is_file():
        raise UserError(f"{database}: no such database{near_file(database)}; give a SQLite file")
    end = time.monotonic() + seconds
    connection = sqlite3.connect(f"file:{quote(str(database.resolve()))}?mode=ro", uri=True, timeout=seconds)
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, CELL)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.set_authorizer(
            lambda action, first, second, *_: (
                sqlite3.SQLITE_OK
                if action in _READS and "load_extension" not in (first, second)
                else sqlite3.SQLITE_DENY
            )
        )
        connection.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
        cursor = connection.execute(query)
        found = cursor.fetchmany(rows + 1)
        columns = tuple(str(one[0]) for one in cursor.description or ())
    except sqlite3.Error as error:
        reason = " ".join(str(error).split())
        if reason == "file is not a database":
            raise UserError(f"{database} is no SQLite database") from None
        raise QueryError(f"it took longer than {seconds:g} s" if reason == "interrupted" else reason[:160]) from None
    except (ValueError, TypeError, UnicodeError, OverflowError) as error:  # a null character, half an emoji
        raise QueryError(" ".join(str(error).split())[:160]) from None
    finally:
        connection.close()
    if not columns:
        raise QueryError("it is no query that gives rows")
    if len(found) > rows:
        raise QueryError(f"it gives more than {rows:,} rows")
    return Table(columns, found)


class Sql:
    """Check that the answer is a query whose rows are right.

    Right are the rows of the item's own query (`sql` or `query`; as a sequence where it orders them, else with their
    counts), else the item's gold answers, as a set; without either, a query passes that gives a row. `database` is a
    file, or a folder of `DB/DB.sqlite` for items with `db_id`, as Spider's."""

    name = "sql"

    def __init__(self, database: Path, rows: int = ROWS, seconds: float = SECONDS) -> None:
        if not database.exists():
            raise UserError(f"sql:{database}: no such file or folder{near_file(database)}")
        self.database, self.rows, self.seconds = database, rows, seconds

    def __call__(self, item: Item, answer: str) -> Finding:
        database, query = self._find(item), unfence(answer).strip()
        arguments = json.dumps({"query": query}, ensure_ascii=False)
        try:
            table = run_query(database, query, rows=self.rows, seconds=self.seconds)
        except QueryError as error:
            tool = ToolResult(name="sql", arguments=arguments, result=str(error), ok=False)
            return Finding(Check(name=self.name, passed=False, detail=str(error)), (tool,))
        detail = self._compare(database, item, table)
        tool = ToolResult(name="sql", arguments=arguments, result=table.record())
        return Finding(Check(name=self.name, passed=not detail, detail=detail), (tool,))

    def _find(self, item: Item) -> Path:
        if not self.database.is_dir():
            return self.database
        name = str(item.get("db_id") or "")
        if not re.fullmatch(r"[\w-]{1,100}", name):
            raise UserError(f"item {str(item.get('id', ''))[:60]!r} names no database: give db_id")
        return self.database / name / f"{name}.sqlite"

    def _compare(self, database: Path, item: Item, table: Table) -> str:
        """Why the rows are not right; empty where they are."""
        if wanted := item.get("sql") or item.get("query"):
            try:
                gold = run_query(database, str(wanted), rows=self.rows, seconds=self.seconds)
            except QueryError as error:
                raise UserError(f"item {str(item.get('id', ''))[:60]!r}: its own query fails: {error}") from None
            ordered = re.search(r"\border\s+by\b", str(wanted), re.IGNORECASE) is not None
            same = same_rows(table.rows, gold.rows, ordered=ordered)
            return "" if same else f"{len(table.rows)} rows, not the {len(gold.rows)} that are asked for"
        if any(item.get(key) is not None for key in GOLD):
            found, gold_set = strict_set(table.answers), strict_set(gold_answers(item))
            return "" if found == gold_set else f"{len(found & gold_set)} of {len(gold_set)} answers, {len(found)} rows"
        return "" if table.answers else "no row"


def same_rows(some: Sequence[Row], others: Sequence[Row], *, ordered: bool) -> bool:
    """Whether two results have the same rows, by the rule for names and numbers; column names do not matter."""
    left, right = ([tuple(strict_key(write_cell(cell)) for cell in row) for row in rows] for rows in (some, others))
    return left == right if ordered else Counter(left) == Counter(right)
