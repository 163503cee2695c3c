"""Options that settle how rows are split and what is added to them: checked against the data, and used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentkd.agents.agent_k.run import run
from agentkd.agents.agent_k.understand.setup_from_files import guess_setup
from agentkd.agents.agent_k.workspace.build import build_maps
from agentkd.agents.agent_k.workspace.own_folds import keep_own_folds
from agentkd.cli.options import read_hours
from agentkd.errors import UserError
from tests.support.competition_runs import config, valid_submission
from tests.support.lazy import lazily, require
from tests.support.little_competition import make

pd = lazily("pandas")
require("lightgbm")

ROWS = 60
PLACE = np.arange(ROWS)


def write(folder: Path) -> Path:
    """Rows of twelve cities, which the test table lacks, and of days in no order."""
    folder.mkdir()
    random = np.random.default_rng(0)
    train = pd.DataFrame({"id": [f"r{place}" for place in PLACE], "a": random.normal(size=ROWS)})
    train["city"] = [f"city {place % 12}" for place in PLACE]
    train["day"] = (PLACE * 7 % ROWS).astype(str)
    train["y"] = random.normal(size=ROWS).round(3)
    train.to_csv(folder / "train.csv", index=False)
    pd.DataFrame({"id": ["t0", "t1"], "a": [0.1, 0.2]}).to_csv(folder / "test.csv", index=False)
    pd.DataFrame({"id": ["t0", "t1"], "y": 0.5}).to_csv(folder / "sample_submission.csv", index=False)
    return folder


def split(folder: Path, **fixed: Any) -> tuple[Any, list[str]]:
    """The fold of each training row, and the lines about it."""
    data = folder / "data" if (folder / "data").exists() else write(folder / "data")
    setup = guess_setup(data, "RMSE", "", fixed).setup
    if setup.folds == 0:
        keep_own_folds(fixed["folds"], setup, folder)
    said = build_maps(setup, data, folder, seed=0)
    return pd.read_csv(folder / "maps" / "folds.csv")["fold"], said


def test_a_group_that_only_the_training_table_has(tmp_path: Path) -> None:
    folds, said = split(tmp_path, group="city")
    assert folds.nunique() == 5 and (folds.groupby(PLACE % 12).nunique() == 1).all()
    assert said == ["training rows of one 'city' stay in one fold, as group= says"]


def test_blocks_of_a_time_in_a_number_of_folds(tmp_path: Path) -> None:
    folds, said = split(tmp_path, time="day", folds="3")
    assert list(folds) == list(PLACE * 7 % ROWS * 3 // ROWS) and "'day'" in said[0]


def test_folds_of_a_file_by_id_in_any_order(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    frame = pd.DataFrame({"id": [f"r{place}" for place in PLACE], "fold": [f"part {place % 4}" for place in PLACE]})
    frame.sample(frac=1, random_state=0).to_csv(file, index=False)
    assert list(split(tmp_path, folds=str(file))[0]) == list(PLACE % 4)
    frame.iloc[:-2].to_csv(file, index=False)
    with pytest.raises(UserError, match="no fold for 2 of 60 training rows, such as the id r58"):
        split(tmp_path, folds=str(file))


@pytest.mark.parametrize(
    ("fixed", "words"),
    [
        ({"group": "citi"}, "group=citi is no column of the training table; did you mean city?"),
        ({"group": "y"}, "group=y is the target"),
        ({"group": "id"}, "group=id has another value in each row"),
        ({"time": "city"}, "time=city holds neither dates nor numbers ('city 0')"),
        ({"time": "60s"}, "for a limit write --time 60s"),
        ({"folds": "1"}, "folds=1: give a number from 2 to 30"),
        ({"folds": "31"}, "folds=31: give a number from 2 to 30"),
        ({"folds": "mine.csv", "group": "city"}, "leave out group="),
        ({"folds": "mine.csv"}, "folds=mine.csv is neither a number nor a file"),
    ],
)
def test_an_option_that_does_not_fit_the_data_is_one_line(fixed: dict[str, str], words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        split(tmp_path, **fixed)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        ({"row": ["r0"], "fold": [0]}, "no column 'id' (row, fold)"),
        ({"id": ["r0"], "a": [0], "b": [1]}, "no column 'fold' (id, a, b)"),
        ({"id": ["r0", "r0"], "fold": [0, 1]}, "has the id r0 twice"),
        ({"id": ["r0", "r1"], "fold": [0, None]}, "no fold for the id r1"),
        ({"id": [f"r{place}" for place in PLACE], "fold": 1}, "puts all training rows into fold 1"),
    ],
)
def test_a_file_of_folds_that_is_none_is_one_line(frame: dict[str, Any], words: str, tmp_path: Path) -> None:
    pd.DataFrame(frame).to_csv(tmp_path / "mine.csv", index=False)
    with pytest.raises(UserError) as caught:
        split(tmp_path, folds=str(tmp_path / "mine.csv"))
    assert words in str(caught.value)


HELPFUL = """
def features(table):
    table["twice"] = table["size"] * 2
    return table
"""


def test_features_of_the_users_own(tmp_path: Path, forked_solvers: None, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out, file = make(tmp_path), tmp_path / "run", tmp_path / "mine.py"
    file.write_text(HELPFUL)
    first = run(config(folder, out, candidates=1, features=str(file)))
    assert list(first["candidates"]) == ["linear+features"] or all(
        name.endswith("+features") for name in first["candidates"]
    )
    assert "mine.py adds 1 column: twice" in capsys.readouterr().err and "mine.py adds" in "".join(first["said"])
    valid_submission(out, folder)
    file.write_text(HELPFUL.replace("* 2", "* 3"))
    run(config(folder, out, candidates=1, features=str(file)))
    assert "the files have changed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def feature(table):\n    return table", "has no features"),
        ("def features(table)\n", "cannot be read as Python"),
        ("def features(table):\n    return table", "return new ones"),
        ("def features(table):\n    return table.head(3)", "features gave 3 rows"),
        ("def features(table):\n    return table.assign(size=0.0)", "features changes column 'size'"),
        ("def features(table):\n    return table['nothing']", "KeyError"),
    ],
)
def test_features_that_fail_are_one_line(code: str, words: str, tmp_path: Path, forked_solvers: None) -> None:
    folder, file = make(tmp_path), tmp_path / "mine.py"
    file.write_text(code)
    with pytest.raises(UserError) as caught:
        run(config(folder, tmp_path / "run", candidates=1, features=str(file)))
    assert words in str(caught.value) and "mine.py" in str(caught.value)


@pytest.mark.parametrize(
    ("words", "hours"), [("60s", 1 / 60), ("10m", 1 / 6), ("1.5h", 1.5), ("1h30m", 1.5), ("90 sec", 0.025)]
)
def test_durations(words: str, hours: float) -> None:
    assert read_hours(words) == pytest.approx(hours)


@pytest.mark.parametrize("words", ["60", "soon", "5x", "0s", "1h and more", "10mm"])
def test_durations_that_are_none(words: str) -> None:
    with pytest.raises(UserError, match="is no duration"):
        read_hours(words)
