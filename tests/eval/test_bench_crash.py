"""`agentkd bench crash`: real kills of real runs, and checks that see what is lost, doubled, changed or paid twice."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agentkd.cli.main import app
from agentkd.errors import WorldError
from agentkd.eval.bench.mock import LogEntry, Mock
from agentkd.eval.bench.truth import crash
from agentkd.eval.bench.truth.crash import count_sends, generate_command, require_passed, run_checks
from agentkd.trace import Trace, Verdict
from tests.support.warm import KBQA, warm


def entry(key: str, epoch: int, outcome: str) -> LogEntry:
    return LogEntry(text=key, key=key, epoch=epoch, came=0.0, outcome=outcome)


def trace(id: str, answer: str = "x") -> Trace:
    return Trace.close(
        id=id, sample=0, task="geo", question="?", steps=(), answers=(answer,), verified=False,
        verdict=Verdict(ok=False, rung="none"), teacher="mock-1",
    )  # fmt: skip


def write(folder: Path, traces: list[Trace]) -> Path:
    folder.mkdir()
    (folder / "traces-0.jsonl").write_text("".join(item.model_dump_json() + "\n" for item in traces))
    return folder


@pytest.mark.whole
def test_a_faulty_run_is_killed_and_ends_as_the_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crash, "start_command", warm(*KBQA).popen)
    monkeypatch.setattr(crash, "LATENCY", 0.02)
    monkeypatch.setattr(crash, "TIMEOUT", 1.0)
    options = ["--questions", "8", "--kills", "1", "--in-flight", "4", "--out", str(tmp_path / "out"), "--json"]
    done = CliRunner().invoke(app, ["bench", "crash", *options])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["requests"] > report["distinct"] > 8 and report["kills"] == 1 and sum(report["faults"].values()) > 0
    assert all(item["ok"] for item in report["checks"]) and len(report["checks"]) == 8
    assert json.loads((tmp_path / "out" / "crash.json").read_text()) == report
    hashes = [
        {json.loads(line)["hash"] for line in (tmp_path / "out" / name / "traces-0.jsonl").read_text().splitlines()}
        for name in ("undisturbed", "killed")
    ]
    assert hashes[0] == hashes[1] and len(hashes[0]) == 8


def test_only_what_no_fault_had_answered_counts_as_sent_again() -> None:
    log = [
        entry("a", 0, "ok"),
        entry("b", 0, "500"),
        entry("b", 0, "hang"),
        entry("b", 0, "cut"),
        entry("c", 0, "cut"),
        entry("a", 1, "ok"),
        entry("b", 1, "ok"),
        entry("c", 1, "429"),
        entry("c", 1, "ok"),
        entry("d", 2, "ok"),
        entry("d", 2, "ok"),
    ]
    found = count_sends(log, kills=2)
    assert found["requests"] == 11 and found["distinct"] == 4 and found["open_at_kills"] == 2
    assert found["faults"] == {"429": 1, "500": 1, "garbage": 0, "hang": 1, "reset": 0, "refused": 0}
    assert found["sent_again"] == 4 and found["most_at_a_kill"] == 3 and found["without_a_kill"] == 1


def test_every_kind_of_damage_fails_its_check(tmp_path: Path) -> None:
    calm = write(tmp_path / "calm", [trace("1"), trace("2"), trace("3")])
    broken = trace("3").model_copy(update={"answers": ("y",)})
    killed = write(tmp_path / "killed", [trace("1"), trace("1"), broken])
    (killed / "failures-0.jsonl").write_text('{"id": "2", "sample": 0, "error": "e", "retry": false}\n')
    report = {
        "questions": 3, "in_flight": 4, "kills": 2, "sent_again": 9, "most_at_a_kill": 5, "without_a_kill": 1,
    }  # fmt: skip
    found = run_checks(report, calm, killed)
    assert [item["found"] for item in found] == [1, 1, 0, 1, 1, 9, 5, 1]
    changed = write(tmp_path / "changed", [trace("1"), trace("2", "z"), trace("3")])
    assert run_checks(report, calm, changed)[2]["found"] == 1
    with pytest.raises(WorldError, match=r"^7 of 8 checks failed: questions lost, questions doubled, traces whose"):
        require_passed({"checks": found})
    fine = {**report, "sent_again": 8, "most_at_a_kill": 4, "without_a_kill": 0}
    require_passed({"checks": run_checks(fine, calm, calm)})


def test_the_command_is_what_a_user_types(tmp_path: Path) -> None:
    argv = generate_command(Mock("http://127.0.0.1:1", ""), tmp_path, 9, 3)
    assert argv[1:4] == ["-m", "agentkd", "generate"] and argv[argv.index("--limit") + 1] == "9"
    assert argv[argv.index("--teacher") + 1] == "http://127.0.0.1:1/v1#mock-1"


def test_a_command_is_started_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    code = "import os, sys; print('heard by nobody'); sys.exit(os.environ['HF_HUB_OFFLINE'])"
    with crash.start_command([sys.executable, "-c", code]) as process:
        assert process.communicate() == (None, "1\n") and process.returncode == 1
