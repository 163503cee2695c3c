"""Agent K's two memories: a working memory for prompts, and a long-term memory with rewards.

After Grosnit et al. 2024 (arXiv:2411.03562, section 2): intrinsic actions change the working memory, long-term actions
the other. The agent learns by what it writes into them, never by its weights. There is no chat history: every prompt is
made anew from the entries with matching tags.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from agentkd.errors import UserError
from agentkd.runs.untrusted import parse_json
from agentkd.trace import Frozen

INTRINSIC = ("summarise", "choose", "plan", "code", "analyse", "recall")
EXTRINSIC = ("fetch", "sniff", "run", "test", "score", "blend", "validate", "submit")
LONG_TERM = ("remember", "credit", "forget")

Entry = dict[str, Any]  # {"tags": [...], "content": "..."}: plain, because the checkpointer keeps it
KEPT = 200  # entries of the working memory


def action_kind(name: str) -> str:
    """The kind, of the paper's three, that an action belongs to. ValueError for an unknown name."""
    for kind, names in (("intrinsic", INTRINSIC), ("extrinsic", EXTRINSIC), ("long-term", LONG_TERM)):
        if name in names:
            return kind
    raise ValueError(f"unknown action {name}")


def add_entry(memory: Sequence[Entry], content: str, *tags: str) -> list[Entry]:
    """Return the working memory with one more entry, newest first; an equal one moves up."""
    entry = {"tags": sorted(tags), "content": content}
    return [entry, *(other for other in memory if other != entry)][:KEPT]


def retrieve(memory: Sequence[Entry], weights: Mapping[str, float], k: int = 3) -> list[str]:
    """Return the k entries with the highest sum of their tags' weights, newer first among equals.

    Entries without a weighted tag are left out."""
    scored = [(sum(weights.get(tag, 0.0) for tag in entry["tags"]), entry["content"]) for entry in memory]
    ranked = sorted(enumerate(scored), key=lambda item: (-item[1][0], item[0]))
    return [content for _, (score, content) in ranked[:k] if score > 0]


class MemoryItem(Frozen):
    """An item of the long-term memory: code or a lesson. `reward` is the sum of what it earned."""

    key: int
    kind: str
    stage: str
    content: str
    provenance: dict[str, Any]
    uses: int
    reward: float


class LongTermMemory:
    """Items with their rewards, in an SQLite file of the run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as database, database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS items (key INTEGER PRIMARY KEY, kind TEXT, stage TEXT, content TEXT, "
                "provenance TEXT, uses INTEGER DEFAULT 0, reward REAL DEFAULT 0, UNIQUE (kind, stage, content))"
            )

    def _open(self) -> closing[sqlite3.Connection]:
        return closing(sqlite3.connect(self.path, timeout=30))

    def add(self, kind: str, stage: str, content: str, provenance: Mapping[str, Any]) -> int:
        """Add an item unless it is there already; returns its key."""
        with self._open() as database, database:
            database.execute(
                "INSERT OR IGNORE INTO items (kind, stage, content, provenance) VALUES (?, ?, ?, ?)",
                (kind, stage, content, json.dumps(dict(provenance))),
            )
            row = database.execute(
                "SELECT key FROM items WHERE kind = ? AND stage = ? AND content = ?", (kind, stage, content)
            )
            return int(row.fetchone()[0])

    def credit(self, key: int, reward: float) -> None:
        """Count one use of an item, which earned `reward` (negative: it did harm)."""
        with self._open() as database, database:
            database.execute("UPDATE items SET uses = uses + 1, reward = reward + ? WHERE key = ?", (reward, key))

    def remove(self, key: int) -> None:
        with self._open() as database, database:
            database.execute("DELETE FROM items WHERE key = ?", (key,))

    def retrieve(self, stage: str, kind: str | None = None, k: int = 3) -> list[MemoryItem]:
        """Return the k items of a stage that earned most per use, without those that lost."""
        query = (
            "SELECT * FROM items WHERE stage = ? AND (? IS NULL OR kind = ?) AND reward >= 0 "
            "ORDER BY reward / MAX(uses, 1) DESC, key DESC LIMIT ?"
        )
        with self._open() as database:
            rows = database.execute(query, (stage, kind, kind, k)).fetchall()
        names = ("key", "kind", "stage", "content", "provenance", "uses", "reward")
        try:
            values = [dict(zip(names, row, strict=True)) for row in rows]
            return [MemoryItem(**{**item, "provenance": parse_json(item["provenance"])}) for item in values]
        except (TypeError, ValueError):
            raise UserError(f"{self.path} is damaged: remove it, then the run goes on without it") from None
