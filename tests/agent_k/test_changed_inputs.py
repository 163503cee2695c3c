"""What a user mends or brings: changed files begin a run anew, a metric's file scores, a score too good is doubted."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from agentkd.agents.agent_k.contract import Setup
from agentkd.agents.agent_k.model.user_metric import prefers_lower, read_user_metric
from agentkd.agents.agent_k.run import run
from agentkd.agents.agent_k.stages.suspect import is_too_good, question_score
from agentkd.agents.agent_k.workspace.arrays import CompetitionData
from agentkd.agents.agent_k.workspace.data_hash import hash_data
from agentkd.agents.agent_k.workspace.files import save_setup
from agentkd.errors import UserError
from tests.support.competition_runs import config
from tests.support.lazy import lazily, require
from tests.support.little_competition import make

pd = lazily("pandas")
require("lightgbm")

METRIC = """
lower_is_better = True


def score(truth, prediction):
    assert list(truth["id"]) == list(prediction["id"]) and "reading" in truth
    return float(((truth["odd"] - prediction["odd"]) ** 2).mean())
"""


def test_changed_files_begin_the_run_anew(
    tmp_path: Path, forked_solvers: None, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = make(tmp_path), tmp_path / "run"
    run(config(folder, out, candidates=1))
    rows = len(pd.read_csv(out / "submission.csv"))
    run(config(folder, out, candidates=1))
    assert "is complete" in capsys.readouterr().err
    for name in ("test.csv", "sample_submission.csv"):  # a row is lost
        frame = pd.read_csv(folder / "public" / name, dtype=str)
        frame.sort_values("id").iloc[1:].to_csv(folder / "public" / name, index=False)
    told = run(config(folder, out, candidates=1))
    assert "files have changed since the run began" in capsys.readouterr().err
    assert len(pd.read_csv(out / "submission.csv")) == rows - 1 and len(told["candidates"]) == 1
    run(config(folder, out, candidates=1))
    assert "is complete" in capsys.readouterr().err


def test_a_metric_of_the_users_own(tmp_path: Path, forked_solvers: None) -> None:
    folder, out, file = make(tmp_path), tmp_path / "run", tmp_path / "half.py"
    file.write_text(METRIC)
    done = run(config(folder, out, candidates=2, metric=str(file)))
    assert (done["metric"], done["lower_is_better"]) == ("half.py", True) and 0 <= done["score"] < 0.3
    assert "half.py" in (out / "report.html").read_text()
    file.write_text(METRIC.replace("= True", "= False"))
    with pytest.raises(UserError, match="says that higher is better, but it scores the truth the other way"):
        run(config(folder, out, candidates=2, metric=str(file)))


@pytest.mark.parametrize(
    "text, words",
    [
        ("def score(truth, prediction: pass", "cannot be read as Python"),
        ("lower_is_better = True", "has no score"),
        ("def score(a, b): return 0\nlower_is_better = 1", "has no lower_is_better"),
    ],
)
def test_a_metrics_file_that_is_none(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(text)
    with pytest.raises(UserError, match=words):
        read_user_metric(str(tmp_path / "own.py"))
    with pytest.raises(UserError, match="cannot be read as Python"):
        read_user_metric(str(tmp_path / "absent.py"))


def test_the_direction_that_a_metrics_file_gives() -> None:
    assert prefers_lower(METRIC) and not prefers_lower(METRIC.replace("True", "False"))


def test_the_hash_of_the_data(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("id,a\n1,2\n")
    first = hash_data(tmp_path, "page")
    os.utime(tmp_path / "train.csv", (1, 1))
    assert hash_data(tmp_path, "page") == first != hash_data(tmp_path, "other page")
    (tmp_path / "train.csv").write_text("id,a\n1,3\n")
    assert hash_data(tmp_path, "page") != first


def test_a_score_that_is_too_good_is_questioned(tmp_path: Path) -> None:
    names = {"train": "t", "test": "t", "sample": "s", "id": "id", "targets": ("y",), "outputs": ("y",)}
    setup = Setup(
        **names, task="binary", classes=("0", "1"), output="label", metric="accuracy", lower_is_better=False,
        tab=("a", "b"),
    )  # fmt: skip
    assert is_too_good(setup, 0.998, 0.5) and not is_too_good(setup, 0.97, 0.5)
    random, maps = np.random.default_rng(0), tmp_path / "maps"
    maps.mkdir()
    y = np.sort(random.integers(0, 2, 200))
    inputs = pd.DataFrame({"id": range(200), "a": random.normal(size=200), "b": np.arange(200) / 7})
    for split in ("train", "test"):
        inputs.to_csv(maps / f"{split}_tab_input_map.csv", index=False)
    pd.DataFrame({"id": range(200), "y": y}).to_csv(maps / "train_target_map.csv", index=False)
    save_setup(setup, tmp_path)
    data = CompetitionData(tmp_path, setup)
    assert "column 'b' alone tells" in question_score(data, 0.998, 0.5)
    assert "drop=b" in question_score(data, 0.998, 0.5) and question_score(data, 0.9, 0.5) == ""
