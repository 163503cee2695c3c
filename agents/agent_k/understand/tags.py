"""Recognise cells that hold several tags, and turn them into a target of 0 and 1 for each tag."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agentkd.agents.agent_k.understand.cells import as_numbers

if TYPE_CHECKING:
    import pandas as pd

MARKS = (" ", "|", ",", ";")  # between the tags of a cell
MOST_TAGS, LEAST_ROWS = 500, 30
LONGEST = 40  # characters of a tag
SEVERAL = re.compile(
    r"\b(?:one or more|several|multiple|all(?: the)?|list of|lists? all|set of|sets? of) (?:\w+ ){0,2}?"
    r"(?:tags|labels|categories|classes|attributes|genres|topics)\b|"
    r"\bmulti ?-?label\b|\bseparated (?:by|with) (?:a )?(?:blanks?|spaces?|commas?)\b|"
    r"\b(?:space|comma|blank)[ -](?:separated|delimited)\b"
)


def find_tags(cells: pd.Series[str], text: str) -> tuple[tuple[str, ...], str]:
    """The tags of a column and the mark between them; ((), "") where its cells are single classes.

    No cell has a tag twice, tags are far fewer than their combinations or the pages speak of several, and nearly all
    tags stand in more than one combination."""
    known = cells[cells != ""]
    if len(known) < LEAST_ROWS or as_numbers(known) is not None:
        return (), ""
    combinations = known.unique()
    for mark in MARKS:
        rows = [split_tags(cell, mark) for cell in combinations]
        if not any(len(row) > 1 for row in rows) or any(len(set(row)) < len(row) for row in rows):
            continue
        often = Counter(tag for row in rows for tag in row)
        if not 2 < len(often) <= MOST_TAGS or max(map(len, often)) > LONGEST:
            continue
        shared = sum(1 for count in often.values() if count > 1) / len(often)
        many = len(combinations) >= 2 * len(often)
        alone = any(len(row) == 1 for row in rows)
        if shared >= 0.8 and (many or (bool(SEVERAL.search(text.lower())) and alone)):
            return tuple(sorted(often)), mark
    return (), ""


def split_tags(cell: str, mark: str) -> list[str]:
    """The tags of a cell."""
    return [part.strip() for part in (cell.split() if mark == " " else cell.split(mark)) if part.strip()]


def name_targets(column: str, tags: Sequence[str]) -> tuple[str, ...]:
    """The names of the tags' targets."""
    return tuple(f"{column}: {tag}" for tag in tags)


def expand_tags(train: pd.DataFrame, column: str, targets: Sequence[str], mark: str) -> pd.DataFrame:
    """The training table with a column of 0 and 1 for each target, "" where the cell is empty, in place of the column.

    `targets` are those of `name_targets`."""
    import pandas as pd

    rows = [set(split_tags(cell, mark)) for cell in train[column]]
    tags = [name[len(column) + 2 :] for name in targets]
    flags: dict[str, Any] = {
        name: ["" if not row else "1" if tag in row else "0" for row in rows]
        for name, tag in zip(targets, tags, strict=True)
    }
    return pd.concat([train.drop(columns=column), pd.DataFrame(flags, index=train.index)], axis=1)
