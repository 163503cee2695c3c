"""Print what tests recorded, as a Markdown table: one row per test, or one per value of KEY.

    python scripts/recorded_table.py FILE.xml[,FILE.xml] [KEY]

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


def join_rows(rows: list[dict[str, str]], key: str) -> list[dict[str, str]]:
    """Join the rows that have the same value of `key`."""
    made: dict[str, dict[str, str]] = {}
    for found in rows:
        made.setdefault(found.get(key, ""), {}).update(found)
    return list(made.values())


def main(files: str, key: str = "") -> None:
    rows = join_rows(read_rows(files), key) if key else read_rows(files)
    columns = list(dict.fromkeys(name for found in rows for name in found))
    lines = [columns, ["---"] * len(columns), *([found.get(name, "") for name in columns] for found in rows)]
    for cells in lines:
        print("|", " | ".join(cell.replace("|", "/") for cell in cells), "|")


if __name__ == "__main__":
    main(*sys.argv[1:])
