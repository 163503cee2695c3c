"""Print what tests recorded, as a Markdown table: one row per test, or per value of ROW with a column per value of
COLUMN.

    python scripts/recorded_table.py FILE.xml[,FILE.xml] [ROW COLUMN CELL…]

FILE.xml is pytest's `--junitxml`. Of a test that is in several files, the last one counts.
"""

from __future__ import annotations

import sys
from xml.etree import ElementTree


def read_rows(files: str) -> list[dict[str, str]]:
    """The properties that each test recorded, and whether it failed."""
    rows = {}
    for case in (case for file in files.split(",") for case in ElementTree.parse(file).iter("testcase")):
        found = {entry.get("name", ""): entry.get("value", "") for entry in case.iter("property")}
        failed = case.find("failure") is not None or case.find("error") is not None
        name = case.get("name", "")
        rows[name] = found | ({"failed": name} if failed else {})
    return [found for found in rows.values() if found]


def pivot(rows: list[dict[str, str]], row: str, column: str, cells: list[str]) -> list[dict[str, str]]:
    """One row per value of `row`; its cells under each value of `column` are joined."""
    made: dict[str, dict[str, str]] = {}
    for found in rows:
        cell = " · ".join(found.get(name, "") for name in cells)
        made.setdefault(found.get(row, ""), {row: found.get(row, "")})[found.get(column, "")] = cell
    return list(made.values())


def main(files: str, *names: str) -> None:
    rows = read_rows(files)
    if names:
        row, column, *cells = names
        rows = pivot(rows, row, column, cells)
    columns = list(dict.fromkeys(name for found in rows for name in found))
    lines = [columns, ["---"] * len(columns), *([found.get(name, "") for name in columns] for found in rows)]
    for cells in lines:
        print("|", " | ".join(cell.replace("|", "/") for cell in cells), "|")


if __name__ == "__main__":
    main(*sys.argv[1:])
