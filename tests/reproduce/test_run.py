"""The runner: rows by (arm, seed), killed and resumed; one real experiment, quick."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agentkd.cli.main import app
from agentkd.errors import UserError
from agentkd.reproduce import EXPERIMENTS
from tests.support.lazy import require
from tests.support.paths import ROOT

require("torch", "sklearn", "scipy")

# An experiment that needs no training: each row takes a while, and says in a file that it was made.
FAKE = """
import os, time
ARMS = {"method": "m", "control": "c"}
def one(arm, seed, quick):
    with open(os.environ["MADE"], "a") as file:
        file.write(f"{arm} {seed}\\n")
    time.sleep(float(os.environ["PAUSE"]))
    return {"score": seed + (arm == "method") + 0.01 * seed * (arm == "method")}
"""
COMMAND = """
import sys
import agentkd.reproduce as r
from agentkd.reproduce.experiment import Comparison, Experiment
claim = Comparison("method", "control", "score")
r.EXPERIMENTS["fake"] = Experiment("fake", "Fake", "none", "one more", "numbers", claim)
from agentkd.cli.main import main
main()
"""


def fake(folder: Path, pause: float, *options: str) -> subprocess.Popen[str]:
    """`agentkd reproduce fake`, whose module lies in `folder`; its spawned processes find it there, too."""
    import agentkd.reproduce

    (folder / "fake.py").write_text(FAKE)
    (folder / "start.py").write_text(
        f"import agentkd.reproduce as r; r.__path__.append({str(folder)!r})\\nif __name__ == '__main__':\\n"
        .replace("\\n", "\n") + "".join(f"    {line}\n" for line in COMMAND.strip().splitlines())
    )  # fmt: skip
    assert agentkd.reproduce.__path__
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MADE": str(folder / "made"), "PAUSE": str(pause)}
    argv = [sys.executable, str(folder / "start.py"), "reproduce", "fake", "--out", str(folder / "run"), *options]
    return subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_killed_run_goes_on_by_arm_and_seed(tmp_path: Path) -> None:
    made, rows = tmp_path / "made", tmp_path / "run/rows-0.jsonl"
    process = fake(tmp_path, 0.3, "--concurrency", "1", "--seeds", "3")
    deadline = time.monotonic() + 60
    while not (rows.exists() and len(rows.read_bytes().splitlines()) >= 2) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = len(rows.read_bytes().splitlines())
    assert 2 <= kept < 6
    with rows.open("ab") as file:
        file.write(b'{"id": "method", "sam')
    done, _ = fake(tmp_path, 0.0, "--seeds", "3", "--json").communicate(timeout=60)
    result = json.loads(done)
    assert result["verdict"] == "shown"
    assert [row["seeds"] for row in result["rows"]] == [[0, 1, 2]] * 2
    assert len(made.read_text().splitlines()) <= 6 + 1, "only the row that was in the making is made twice"
    assert (tmp_path / "run/manifest.json").exists()


@pytest.mark.whole
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_rows_of_a_quick_run(name: str, tmp_path: Path) -> None:
    """Direction is no test's business: two seeds of little training show none."""
    options = ["--quick", "--seeds", "2", "--out", str(tmp_path), "--json"]
    found = CliRunner().invoke(app, ["reproduce", name, *options], catch_exceptions=False)
    result = json.loads(found.stdout)
    assert {"method", "claim", "rows", "seconds", "verdict"} <= set(result)
    assert {row["arm"] for row in result["rows"]} == set(result["arms"])
    assert all(row["seeds"] == [0, 1] and len(row["values"]) == 2 for row in result["rows"])
    headline = EXPERIMENTS[name].headline
    assert {(headline.arm, headline.metric), (headline.control, headline.metric)} <= {
        (row["arm"], row["metric"]) for row in result["rows"]
    }
    before = (tmp_path / "rows-0.jsonl").read_bytes()
    again = CliRunner().invoke(app, ["reproduce", name, *options], catch_exceptions=False)
    assert json.loads(again.stdout)["rows"] == result["rows"]
    assert (tmp_path / "rows-0.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [(["hardd"], "unknown experiment 'hardd'"), (["hard", "--seeds", "1"], "seeds")],
)
def test_bad_input_is_one_line(words: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        CliRunner().invoke(app, ["reproduce", *words, "--out", str(tmp_path)], catch_exceptions=False)


def test_every_experiment_has_a_module() -> None:
    for experiment in EXPERIMENTS.values():
        assert (ROOT / f"agentkd/reproduce/{experiment.module.replace('.', '/')}.py").exists()


def test_the_list_of_experiments_is_light() -> None:
    code = "import agentkd.reproduce, sys; sys.exit(bool({'torch', 'numpy', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
