"""Items for agents of the user: JSONL of {id, question or input, …}, with all that is not asked kept apart.

An agent is given the `question`, a text, or the `input`, a text or an object; everything else in a row is for the
verifier alone. So gold needs no reserved name: whatever a row calls it, no agent sees it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentkd.errors import UserError, near_file
from agentkd.runs.read import IMPORTED
from agentkd.tasks.files import read_jsonl

ASKED = ("input", "question")  # the first of them that a row has
ALL = "all"  # the split of a row that names none


def is_foreign(name: object) -> bool:
    """Whether agentkd can replay an agent's conversations, and not ask its questions: one of a user, or of traces that
    were imported."""
    return is_own_agent(name) or name == IMPORTED


def is_own_agent(name: object) -> bool:
    """Whether an agent is a user's, named as `pkg.mod:graph` or `file.py:graph`."""
    return isinstance(name, str) and ":" in name


@dataclass(frozen=True)
class Item:
    """One item. `asked` is what an agent is given, `row` the whole row, for a verifier."""

    id: str
    split: str
    asked: str | dict[str, Any]
    row: Mapping[str, Any]

    @property
    def question(self) -> str:
        """What was asked, as a text: an object's last message, else its JSON."""
        if isinstance(self.asked, str):
            return self.asked
        messages = self.asked.get("messages")
        last = messages[-1] if isinstance(messages, list) and messages else None
        content = last.get("content") if isinstance(last, dict) else last
        return content if isinstance(content, str) else json.dumps(self.asked, ensure_ascii=False)


def read_items(file: Path) -> list[Item]:
    """Read a file of items. Raises UserError, with file and line, for a row that asks nothing or an id that repeats."""
    if not file.is_file():
        raise UserError(
            f"no file {file}{near_file(file)}: an agent of your own needs --task FILE.jsonl of {{id, question}}"
        )
    found: dict[str, Item] = {}
    for where, row in read_jsonl(file):
        name = next((name for name in ASKED if row.get(name) is not None), None)
        asked = row.get(name) if name else None
        if not (isinstance(asked, str) and asked.strip()) and not (
            name == "input" and isinstance(asked, dict) and asked
        ):
            raise UserError(f"{where}: it asks nothing: give 'question', a text, or 'input', a text or an object")
        number = where.rsplit(":", 1)[1]
        item = Item(str(row.get("id") or f"{file.stem}-{number}"), str(row.get("split") or ALL), asked, row)
        if item.id in found:
            raise UserError(f"{where}: id {item.id!r} occurs twice; make ids unique, or leave them out")
        found[item.id] = item
    if not found:
        raise UserError(f"{file} has no item: write one object on each line")
    return list(found.values())


def default_split(items: list[Item]) -> str:
    """`train` to make traces of, or `all` for a file without splits. Raises UserError where it is neither."""
    splits = {item.split for item in items}
    found = next((name for name in ("train", ALL) if name in splits), None)
    if found is None:
        raise UserError(f"no item is of split 'train' (there are: {', '.join(sorted(splits))}); name one with --split")
    return found


def pick_items(items: list[Item], split: str, limit: int | None, seed: int) -> list[Item]:
    """The first `limit` items of a split in a seeded order, so that a larger limit contains a smaller one.

    Raises UserError for a split that there is not."""
    chosen = [item for item in items if item.split == split]
    if not chosen:
        known = ", ".join(sorted({item.split for item in items}))
        raise UserError(f"no item is of split '{split}'; choose one of: {known}")
    random.Random(seed).shuffle(chosen)
    return chosen[:limit]
