"""`agentkd verify`: verdicts on the traces of a run, in a run of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agentkd.config import GenerateConfig
from agentkd.runs.read import is_complete, read_config, read_traces
from agentkd.runs.store import RunDirectory
from agentkd.trace import Check, Trace, content_hash
from tests.support.commands import call
from tests.support.mock_server import mock_server
from tests.support.paths import ROOT
from tests.support.traces import make_trace, write_run

MODULE = """
import time
def right(item, answer): return answer == item.get("capital")
def slow(item, answer):
    time.sleep(0.05)
    return item["id"] != "q3"
def odd(item, answer):
    if item["id"] == "q1": raise ValueError("odd")
    if item["id"] == "q2": time.sleep(100)
    return True
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four questions with two samples each; the second sample of each says something else."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "capitals.py").write_text(MODULE)
    rows = [{"id": f"q{number}", "capital": "Paris", "answers": ["Paris"]} for number in range(4)]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    traces = [
        make_trace(f"q{number}", sample=sample, answer=["Paris", "Lyon"][sample])
        for number in range(4)
        for sample in range(2)
    ]
    write_run(tmp_path / "run", traces)
    return Path("run")


def by_key(path: Path) -> dict[tuple[str, int], Trace]:
    return {(trace.id, trace.sample): trace for trace in read_traces(path)}


def test_verdicts_are_in_a_run_of_their_own(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {file.name: file.read_bytes() for file in run.iterdir()}
    argv = ["verify", "run", "--verify", "regex:^[PL]", "--verify", "capitals:right", "--items", "items.jsonl"]
    code, out, error = call([*argv, "--json"], monkeypatch, capsys)
    assert code == 0, error
    result = json.loads(out)
    assert (result["traces"], result["verified"], result["failed"]) == (8, 4, 0)
    assert result["rungs"] == {"capitals:right": 4, "regex": 4} and result["out"] == "run-verified"
    assert {file.name: file.read_bytes() for file in run.iterdir()} == before
    old, new = by_key(run), by_key(Path("run-verified"))
    assert old.keys() == new.keys() and is_complete(Path("run-verified"))
    for key, trace in new.items():
        assert (
            trace.verified == trace.verdict.ok == (trace.answers == ("Paris",)) and trace.hash == trace.content_hash()
        )
        *steps, last = trace.steps
        assert tuple(steps) == old[key].steps and last.kind == "verify" and last.verdict == trace.verdict
        assert [item.name for item in last.evidence if isinstance(item, Check)] == ["regex", "capitals:right"]
        assert json.loads(last.output)["verdict_before"] == old[key].verdict.model_dump()
    config = read_config(Path("run-verified"))
    assert (config["stage"], config["task"]) == ("verify", "geo") and (Path("run-verified") / "report.html").exists()
    code, _, error = call(argv, monkeypatch, capsys)
    assert code == 0 and "4 of 8 traces are verified" in error and "agentkd distill --traces run-verified" in error
    (Path.cwd() / "capitals.py").write_text(MODULE.replace("==", "!="))
    code, _, error = call(argv, monkeypatch, capsys)
    assert code == 2 and "run-verified was made with hash_capitals:right" in error


def test_gold_is_that_of_the_runs_own_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    argv = ["generate", "--task", "geo", "--limit", "6", "--agent", "top-path", "--retriever", "bm25", "--out", "run"]
    assert call(argv, monkeypatch, capsys)[0] == 0
    code, out, error = call(["verify", "run", "--verify", "set:at_least=0.5", "--json"], monkeypatch, capsys)
    assert code == 0, error
    traces = by_key(Path("run"))
    rewards = {key: step.reward or 0 for key, trace in traces.items() for step in trace.steps if step.kind == "gold"}
    found = {key: trace.steps[-1].reward for key, trace in by_key(Path("run-verified")).items()}
    assert found == pytest.approx(rewards, abs=1e-4)
    assert json.loads(out)["verified"] == sum(reward >= 0.5 for reward in rewards.values())
    code, out, error = call(["distill", "--traces", "run-verified", "--plan"], monkeypatch, capsys)
    assert code == 0, error


def test_rows_of_ones_own_items_are_joined(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An agent of the user was asked from a file, whose rows the verifiers see whole."""
    rows = [json.loads(line) | {"question": "?"} for line in Path("items.jsonl").read_text().splitlines()]
    Path("items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = GenerateConfig(task="items.jsonl", agent="mine:graph", split="all")
    with RunDirectory(Path("own"), "generate", config, {"hash_data": content_hash(rows)}) as own:
        for trace in read_traces(run):
            own.append(trace)
        own.finish({})
    code, out, error = call(["verify", "own", "--verify", "capitals:right", "--json"], monkeypatch, capsys)
    assert code == 0 and json.loads(out)["verified"] == 4, error
    Path("items.jsonl").write_text(Path("items.jsonl").read_text() + '{"question": "more"}\n')
    code, out, error = call(
        ["verify", "own", "--verify", "capitals:right", "--out", "o", "--json"], monkeypatch, capsys
    )
    assert code == 0 and json.loads(out)["verified"] == 0 and "items.jsonl has changed since" in error


def test_a_function_that_raises_or_hangs_costs_its_sample_only(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["verify", "run", "--verify", "capitals:odd", "--verify-timeout", "1", "--json"]
    code, out, error = call(argv, monkeypatch, capsys)
    assert code == 0, error
    assert (json.loads(out)["verified"], json.loads(out)["failed"]) == (4, 4)
    told = [line for line in error.splitlines() if "failed:" in line]
    assert len(told) == 1 and "such traces are not verified" in told[0]
    reasons = {
        key[0]: trace.verdict.reason for key, trace in by_key(Path("run-verified")).items() if not trace.verified
    }
    assert reasons == {
        "q1": "capitals:odd failed: it raised ValueError: odd", "q2": "capitals:odd failed: it took longer than 1 s",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["nowhere", "--verify", "exact"], "nowhere is not a run directory"),
        (["run"], "--verify names no verifier"),
        (["run", "--verify", "exact", "--out", "run"], "--out run is the run itself"),
        (["run", "--verify", "exact", "--labelled", "items.jsonl"], "measures a judge, and there is none"),
        (["run", "--verify", "exact", "--items", "capitals.py"], "capitals.py:2: not JSON"),
        (["run", "--verify", "exact", "--items", "none.jsonl"], "none.jsonl: no row has the id"),
    ],
)
def test_wrong_input_is_one_line(
    argv: list[str], message: str, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("none.jsonl").write_text('{"id": "x"}\n')
    code, out, error = call(["verify", *argv], monkeypatch, capsys)
    assert code == 2 and out == ""
    assert message in error.splitlines()[-1] and not Path("run-verified").exists()


def test_a_judge_with_labels(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"question": "?", "prediction": text, "label": label} for text, label in (("a", True), ("b", False))]
    Path("labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with mock_server() as server:
        argv = ["verify", "run", "--verify", f"judge:{server.spec}", "--labelled", "labels.jsonl", "--json"]
        code, out, error = call(argv, monkeypatch, capsys)
        asked = len(server.requests)
    assert code == 0, error
    result = json.loads(out)
    assert result["verified"] == 8 and result["agreement"]["accuracy"] == 0.5 and result["agreement"]["n"] == 2
    assert "agreement with 2 labels: accuracy 50.0 %, Cohen's kappa 0.00" in error
    usage = [trace.usage.calls for trace in read_traces(Path("run-verified"))]
    assert sum(usage) == 8 and 0 < asked <= 10


def test_kill_9_loses_nothing(run: Path) -> None:
    """Killed again and again, the same command ends with what an undisturbed one gives."""
    argv = [sys.executable, "-m", "agentkd", "verify", "run", "--verify", "capitals:slow", "--concurrency", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for _ in range(2):
        process = subprocess.Popen(argv, env=environment, stderr=subprocess.DEVNULL)
        shard = Path("run-verified/traces-0.jsonl")
        lines = shard.read_bytes().count(b"\n") if shard.exists() else 0
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if shard.exists() and shard.read_bytes().count(b"\n") > lines:
                break
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert subprocess.run(argv, env=environment, capture_output=True).returncode == 0
    found = by_key(Path("run-verified"))
    assert found.keys() == by_key(run).keys() and is_complete(Path("run-verified"))
    assert {key[0] for key, trace in found.items() if not trace.verified} == {"q3"}
