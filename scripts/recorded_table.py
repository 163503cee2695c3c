"""Print what tests recorded, as a Markdown table: one row per test, or per value of ROW with a column per value of
COLUMN.

    python scripts/recorded_table.py FILE.xml [ROW COLUMN CELL…]

FILE.xml is pytest's `--junitxml`.
"""

from __future__ import annotations

import sys
from xml.etree import ElementTree


def read_rows(file: str) -> list[dict[str, str]]:
    """The properties that each test recorded, and whether it passed."""
    rows = []
    for case in ElementTree.parse(file).iter("testcase"):
        found = {entry.get("name", ""): entry.get("value", "") for entry in case.iter("property")}
        failed = case.find("failure") is not None or case.find("error") is not None
        if found or failed:
            rows.append(found | ({"failed": case.get("name", "")} if failed else {}))
    return rows


def pivot(rows: list[dict[str, str]], row: str, column: str, cells: list[str]) -> list[dict[str, str]]:
    """One row per value of `row`; its cells under each value of `column` are joined."""
    made: dict[str, dict[str, str]] = {}
    for found in rows:
        cell = " · ".join(found.get(name, "") for name in cells)
        made.setdefault(found.get(row, ""), {row: found.get(row, "")})[found.get(column, "")] = cell
    return list(made.values())


def main(file: str, *names: str) -> None:
    rows = read_rows(file)
    if names:
        row, column, *cells = names
        rows = pivot(rows, row, column, cells)
    columns = list(dict.fromkeys(name for found in rows for name in found))
    lines = [columns, ["---"] * len(columns), *([found.get(name, "") for name in columns] for found in rows)]
    for cells in lines:
        print("|", " | ".join(cell.replace("|", "/") for cell in cells), "|")


if __name__ == "__main__":
    main(*sys.argv[1:])
