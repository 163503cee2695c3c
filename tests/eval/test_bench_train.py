"""`agentkd bench train`: all methods train on the same rows, in real processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agentkd.cli.main import app
from agentkd.errors import UserError
from agentkd.eval.bench.speed import train
from agentkd.tasks.task import Task
from tests.support.lazy import require
from tests.support.warm import TRAIN, warm

require("trl")


@pytest.mark.whole
def test_every_method_trains_the_same_tokens_and_steps(tmp_path: Path) -> None:
    student, traces = train.make_tiny_student(tmp_path / "tiny"), train.make_traces(tmp_path / "traces", 4)
    names = [train.TRL, *train.MEASURED]
    rows = [train.measure_training(name, str(student), traces, 2, 2, 0, tmp_path / name) for name in names]
    assert {row["steps"] for row in rows} == {2} and len({row["tokens"] for row in rows}) == 1
    for row in rows:
        assert row["tokens"] / 4 == pytest.approx(200, abs=100)  # of realistic length
        assert row["tokens_per_second"] * row["seconds"] == pytest.approx(row["tokens"])
        assert 0 < row["seconds"] < row["stage_seconds"] and row["peak_mib"] > 100


def test_ratios_are_those_of_a_round() -> None:
    def run(seconds: float, peak: float) -> dict[str, float]:
        return {"seconds": seconds, "stage_seconds": 2 * seconds, "tokens_per_second": 60 / seconds, "peak_mib": peak}

    found = {"trl": [run(1, 10), run(2, 10), run(6, 10)], "sft": [run(2, 20), run(2, 20), run(3, 10)]}
    row = train.summarise_runs("sft", found)
    assert (row["speed_to_trl_low"], row["speed_to_trl"], row["speed_to_trl_high"]) == (0.5, 1, 2)
    row = train.summarise_runs("trl", found)
    assert (row["seconds_to_sft"], row["stage_seconds_to_sft"], row["peak_to_sft_high"]) == (1, 1, 1)


@pytest.mark.whole
def test_the_command_runs_each_in_a_process_and_keeps_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The processes are forked from one that has imported torch and trl."""
    monkeypatch.setattr(train.subprocess, "run", lambda argv, **_: warm(*TRAIN).run(argv))
    options = ["--student", "tiny", "--methods", "", "--steps", "2", "--batch", "2", "--rounds", "1"]
    done = CliRunner().invoke(app, ["bench", "train", *options, "--out", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout.splitlines()[-1])
    assert [row["name"] for row in report["rows"]] == ["trl", "sft"] and report["examples"] == 4
    assert report["rows"][1]["speed_to_trl"] > 0 and report["rows"][1]["seconds_to_sft"] == 1
    assert json.loads((tmp_path / "train.json").read_text()) == report


def test_wrong_input_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="unknown method 'magic': the methods are sft, logits, on-policy"):
        train.bench_train(student="tiny", methods="magic", steps=1, batch=1, rounds=1, seed=0, out=None)
    pick = Task.pick
    monkeypatch.setattr(Task, "pick", lambda self, split, limit, seed: pick(self, split, 9, seed))
    with pytest.raises(UserError, match=r"geo gives \d examples of 5000: lower --steps or --batch"):
        train.make_traces(tmp_path / "traces", 5000)
