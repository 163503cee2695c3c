"""The cases of a user's finished runs, in one SQLite file, with how often each was borne out or refuted.

Several runs may write at once, and a write that is killed is there whole or not at all: SQLite locks the file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agentkd.agents.agent_k.experience.case import Case
from agentkd.config import user_data
from agentkd.errors import UserError, WorldError
from agentkd.runs.untrusted import parse_json, read_file_lines
from agentkd.trace import Frozen

FILE = "agent-k.sqlite"
WAIT_SECONDS = 30.0  # for another run that is writing
NEEDED = 2  # later runs that must bear a case out before it counts in full
_REMEDY = "remove it, set experience=off, or set AGENTKD_DATA_HOME to another folder"


class Known(Frozen):
    """A case, and what later runs said of its advice."""

    case: Case
    borne_out: int = 0
    refuted: int = 0

    @property
    def status(self) -> str:
        """`pending` until later runs have borne it out, `trusted` then, `off` where they refuted it."""
        if self.refuted >= NEEDED and self.refuted > self.borne_out:
            return "off"
        return "trusted" if self.borne_out >= NEEDED else "pending"


class Experience:
    """The file of cases. Raises WorldError where it cannot be read or written."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or user_data(FILE)

    @contextmanager
    def _open(self, write: bool) -> Iterator[sqlite3.Connection]:
        try:
            if write:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=WAIT_SECONDS, isolation_level=None)) as database:
                if write:
                    database.execute("BEGIN IMMEDIATE")
                    database.execute(
                        "CREATE TABLE IF NOT EXISTS cases (key TEXT PRIMARY KEY, content TEXT NOT NULL, "
                        "borne_out INTEGER NOT NULL DEFAULT 0, refuted INTEGER NOT NULL DEFAULT 0, "
                        "forgotten INTEGER NOT NULL DEFAULT 0)"
                    )
                    database.execute(
                        "CREATE TABLE IF NOT EXISTS verdicts (key TEXT, run TEXT, agrees INTEGER NOT NULL, "
                        "PRIMARY KEY (key, run))"
                    )
                yield database
                if write:
                    database.execute("COMMIT")
        except (OSError, sqlite3.Error) as error:
            raise WorldError(f"cannot use {self.path}: {error}; {_REMEDY}") from None

    def add(self, case: Case) -> None:
        """Add a case, or replace the earlier one of the same run. One that the user had forgotten stays so."""
        with self._open(write=True) as database:
            database.execute(
                "INSERT INTO cases (key, content) VALUES (?, ?) ON CONFLICT (key) "
                "DO UPDATE SET content = excluded.content WHERE NOT forgotten",
                (case.key, case.model_dump_json()),
            )

    def judge(self, run: str, agreements: Iterable[tuple[str, bool]]) -> None:
        """Keep what a run said of the cases that had advised it; a run that goes on replaces its own verdicts."""
        with self._open(write=True) as database:
            for key, agrees in agreements:
                database.execute("INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?)", (key, run, int(agrees)))
                database.execute(
                    "UPDATE cases SET borne_out = (SELECT COUNT(*) FROM verdicts WHERE key = ?1 AND agrees), "
                    "refuted = (SELECT COUNT(*) FROM verdicts WHERE key = ?1 AND NOT agrees) WHERE key = ?1",
                    (key,),
                )

    def all(self) -> list[Known]:
        """All cases, in the order of their dates and keys; none without a file.

        UserError names a case that is damaged."""
        if not self.path.exists():
            return []
        with self._open(write=False) as database:
            found = database.execute("SELECT name FROM sqlite_master WHERE name = 'cases'").fetchone()
            query = "SELECT key, content, borne_out, refuted FROM cases WHERE NOT forgotten"
            rows = database.execute(query).fetchall() if found else []
        return sorted((self._read(*row) for row in rows), key=lambda known: (known.case.date, known.case.key))

    def _read(self, key: str, content: str, borne_out: int, refuted: int) -> Known:
        try:
            case = Case.model_validate(parse_json(content.encode()))
            return Known(case=case, borne_out=borne_out, refuted=refuted)
        except (ValidationError, ValueError):
            raise UserError(
                f"case {key!r} of {self.path} is damaged: agentkd kaggle memory forget {key}, or {_REMEDY}"
            ) from None

    def find(self, key: str) -> Known:
        """The case whose key begins with `key`. Raises UserError for none or several."""
        known = {item.case.key: item for item in self.all()}
        return known[self._pick(key, list(known))]

    def forget(self, key: str) -> str:
        """Remove a case for good, so that its run does not bring it back, damaged or not; returns its whole key.

        Raises UserError for none or several."""
        with self._open(write=True) as database:
            keys = [row[0] for row in database.execute("SELECT key FROM cases WHERE NOT forgotten")]
            whole = self._pick(key, keys)
            database.execute("UPDATE cases SET forgotten = 1, content = '' WHERE key = ?", (whole,))
        return whole

    def _pick(self, key: str, keys: Sequence[str]) -> str:
        found = [one for one in keys if one.startswith(key)]
        if len(found) != 1:
            many = f"{len(found)} cases begin with" if found else "no case begins with"
            raise UserError(f"{many} {key!r} in {self.path}: agentkd kaggle memory ls shows their keys")
        return found[0]

    def write(self, file: Path) -> int:
        """Write all cases as JSON lines, for another machine; returns their number."""
        cases = [known.case for known in self.all()]
        file.write_text("".join(case.model_dump_json() + "\n" for case in cases), encoding="utf-8")
        return len(cases)

    def read(self, file: Path) -> int:
        """Add the cases of such a file; they begin as pending, whatever they were there. Returns their number.

        Raises UserError, with the line, for anything else; nothing is added then."""
        cases = []
        try:
            for number, line in enumerate(read_file_lines(file), 1):
                try:
                    cases.append(Case.model_validate(parse_json(line)))
                except (ValidationError, ValueError):
                    raise UserError(
                        f"{file}:{number} is no case: give a file of agentkd kaggle memory export"
                    ) from None
        except OSError as error:
            raise UserError(f"cannot read {file}: {error.strerror}") from None
        for case in cases:
            self.add(case)
        return len(cases)


def dump_known(known: Known) -> dict[str, Any]:
    """A case with its status, for `--json`."""
    return {
        **known.case.model_dump(mode="json"),
        "status": known.status,
        "borne_out": known.borne_out,
        "refuted": known.refuted,
    }
