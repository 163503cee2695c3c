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
    if f'"{arm}" {seed}' == os.environ["SPOIL"]:
        return {"score": float("nan")}
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


def fake(folder: Path, pause: float, *options: str, spoil: str = "") -> subprocess.Popen[str]:
    """`agentkd reproduce fake`, whose module lies in `folder`; its spawned processes find it there, too."""
    import agentkd.reproduce

    (folder / "fake.py").write_text(FAKE)
    (folder / "start.py").write_text(
        f"import agentkd.reproduce as r; r.__path__.append({str(folder)!r})\\nif __name__ == '__main__':\\n"
        .replace("\\n", "\n") + "".join(f"    {line}\n" for line in COMMAND.strip().splitlines())
    )  # fmt: skip
    assert agentkd.reproduce.__path__
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MADE": str(folder / "made"), "PAUSE": str(pause),
                   "SPOIL": spoil}  # fmt: skip
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
    assert {"report.html", "plot.png", "metrics.json"} <= {path.name for path in (tmp_path / "run").iterdir()}


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
    assert result["cpu_seconds"] > 0
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


def test_a_row_that_is_no_number_is_named_and_the_others_stay(tmp_path: Path) -> None:
    process = fake(tmp_path, 0.0, "--seeds", "2", "--concurrency", "1", spoil='"method" 1')
    _, error = process.communicate(timeout=120)
    assert process.returncode == 3 and "arm method, seed 1 diverged: {'score': nan}" in error
    assert len((tmp_path / "run/rows-0.jsonl").read_bytes().splitlines()) >= 1
    assert not (tmp_path / "run/manifest.json").exists()


def test_a_loss_that_is_no_number_ends_the_training() -> None:
    import torch

    from agentkd.errors import WorldError
    from agentkd.reproduce.fit import Plan, fit

    model, x = torch.nn.Linear(2, 2), torch.full((8, 2), float("nan"))
    with pytest.raises(WorldError, match="the loss is nan in epoch 1: lower the learning rate"):
        fit([model], [x], lambda rows: model(rows).sum(), Plan(epochs=2, batch=4))
    with pytest.raises(WorldError, match="8 examples do not fill a batch of 64"):
        fit([model], [x], lambda rows: model(rows).sum(), Plan(epochs=2))


def test_every_experiment_has_a_module() -> None:
    for experiment in EXPERIMENTS.values():
        assert (ROOT / f"agentkd/reproduce/{experiment.module.replace('.', '/')}.py").exists()


def test_the_list_of_experiments_is_light() -> None:
    code = "import agentkd.reproduce, sys; sys.exit(bool({'torch', 'numpy', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_a_run_leaves_plots_and_a_page(tmp_path: Path) -> None:
    """The page holds the verdict, the table and both pictures, and asks for nothing from elsewhere."""
    require("matplotlib")
    from agentkd.reproduce.experiment import Comparison, Curve, Experiment, Row, report
    from agentkd.reproduce.page import write_page
    from agentkd.reproduce.plots import draw_plots

    claims = [Comparison("a", "b", "first", True), Comparison("a", "b", "second", False)]
    experiment = Experiment(
        "m", "Title <1>", "paper", "one is more", "bed", claims[0], (claims[1],), curve=Curve("x", "y", {"second": 2.0})
    )
    rows = [Row(arm, seed, {"first": seed + (arm == "a") + 0.1 * seed, "second": -1.0}, 3.0, 60.0)
            for arm in "ab" for seed in (0, 1)]  # fmt: skip
    found = report("name", experiment, ["a", "b", "not run"], rows)
    found |= {"arms": {"a": "an arm", "b": "a control"}, "out": str(tmp_path), "date": "2026-01-01"}
    assert [path.name for path in draw_plots(found, tmp_path)] == ["plot.png", "curve.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.glob("*.png"))
    page = write_page({"name": found}, tmp_path / "report.html", quick=False).read_text()
    assert (
        page.count("data:image/png;base64,") == 2 and "img-src data:" in page and "http" not in page.split("<main>")[1]
    )
    assert "Title &lt;1&gt;" in page and "4.0 CPU minutes" in page and "agentkd reproduce name" in page
    assert page.count("not shown") >= 1 and "an arm" in page and "2 seeds" in page
    both = write_page({"name": found, "other": found}, tmp_path / "all.html", quick=True).read_text()
    assert 'id="other"' in both and "figures mean little" in both
