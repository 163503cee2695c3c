"""The table of distillations: rows that replace, two writers at once, files that are none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agentkd.errors import WorldError
from agentkd.recommend.table import Candidate, Row, add_rows, name_candidate, read_rows, remember, table_path
from tests.support.paths import ROOT


def row(task: str = "a", method: str = "kd", score: float | None = 50.0, **options: float) -> Row:
    return Row(
        kind="images", task=task, group=task, part="held-out", facts={"classes": 3.0}, method=method,
        options=dict(options), seed=0, score=score, seconds=1.0, date="2026-11-30",
    )  # fmt: skip


def test_the_same_training_replaces_its_row(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.sqlite"
    assert read_rows(path) == []
    add_rows([row(alpha=0.5), row(alpha=0.9, score=None)], path)
    add_rows([row(alpha=0.9, score=70.0)], path)
    assert sorted(each.score or 0 for each in read_rows(path)) == [50.0, 70.0]
    assert read_rows(path, "questions") == []


WRITER = """
import sys
from pathlib import Path
from agentkd.recommend.table import add_rows
from tests.recommend.test_table import row
for number in range(40):
    add_rows([row(sys.argv[2], alpha=float(number))], Path(sys.argv[1]))
"""


def test_two_runs_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "table.sqlite"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), name], cwd=ROOT) for name in "ab"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert len(read_rows(path)) == 80


def test_a_file_that_is_no_table_costs_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AGENTKD_DATA_HOME", str(tmp_path))
    assert table_path().parent == tmp_path
    table_path().write_text("no database, but some text that is longer than its header")
    with pytest.raises(WorldError, match=r"cannot read .*AGENTKD_DATA_HOME"):
        read_rows()
    remember([row()])
    assert "warning: this run is not in the table" in capsys.readouterr().err


def test_rows_of_another_version_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import sqlite3

    path = tmp_path / "table.sqlite"
    add_rows([row()], path)
    with sqlite3.connect(path) as database:
        database.execute("INSERT INTO distillations VALUES ('x', '{\"kind\": \"songs\"}')")
    database.close()
    assert len(read_rows(path)) == 1 and "1 of 2 rows cannot be read" in capsys.readouterr().err


def test_names_of_candidates() -> None:
    assert name_candidate(Candidate("kd", {"temperature": 2.0, "alpha": 0.25})) == "kd alpha=0.25 temperature=2"
