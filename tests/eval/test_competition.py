"""Grading: scores of both halves, the board, medals, what is invalid, and the log of every look."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentkd.errors import UserError
from agentkd.eval.competition import grade
from agentkd.eval.leaderboard import medal_by_rank, medal_by_thresholds, medal_ranks, percentile
from tests.support.lazy import lazily, require
from tests.support.paths import KAGGLE_DATA

pd = lazily("pandas")
require("sklearn")


def competition(folder: Path, facts: dict[str, Any], solution: str, sample: str, board: str = "") -> Path:
    for name in ("private", "public"):
        (folder / name).mkdir(parents=True)
    (folder / "competition.json").write_text(json.dumps({"slug": "mine", "id": "id"} | facts))
    (folder / "private" / "solution.csv").write_text(solution)
    (folder / "public" / "sample_submission.csv").write_text(sample)
    if board:
        (folder / "leaderboard.csv").write_text(board)
    return folder


def prices(folder: Path, board: str = "") -> Path:
    facts = {"metric": "mae", "task": "regression", "targets": ["price"]}
    solution = "id,price,Usage\n007,1,Public\n2,2,Private\n3,3,Private\n"
    return competition(folder, facts, solution, "id,price\n007,0\n2,0\n3,0\n", board)


def submitted(folder: Path, text: str) -> Path:
    path = folder / "submission.csv"
    path.write_text(text)
    return path


def test_both_halves_the_board_and_the_log(tmp_path: Path) -> None:
    where = prices(tmp_path / "c", "rank,score\n1,0.1\n2,0.5\n3,0.7\n4,2\n")
    log = tmp_path / "log" / "gradings.jsonl"
    found = grade(where, submitted(tmp_path, "id,price\n3,3\n007,5\n2,1\n"), log)  # in any order
    assert found.valid and found.public == 4 and found.private == 0.5 and found.overall == pytest.approx(5 / 3)
    assert found.percentile == 25 and found.medal is None
    grade(where, submitted(tmp_path, "id,price\n"), log)
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert [row["private"] for row in rows] == [0.5, None] and rows[0]["sha256"] != rows[1]["sha256"]
    assert rows[0]["competition"] == "mine" and rows[0]["time"]


@pytest.mark.parametrize(
    "text, reason",
    [
        ("id,cost\n007,1\n2,1\n3,1\n", "its columns are id, cost, not id, price"),
        ("price,id\n1,007\n1,2\n1,3\n", "its columns are price, id"),
        ("id,price\n007,1\n2,1\n", "it lacks 1 of 3 ids, the first is '3'"),
        ("id,price\n7,1\n2,1\n3,1\n", "it lacks 1 of 3 ids, the first is '007'"),
        ("id,price\n007,1\n2,1\n2,1\n3,1\n", "the id '2' stands there twice"),
        ("id,price\n007,1\n2,1\n3,1\n4,1\n", "it has 1 unknown ids, the first is '4'"),
        ("id,price\n007,1\n2,\n3,1\n", "column 'price' has 1 empty values"),
        ("id,price\n007,1\n2,many\n3,1\n", "'many' in column 'price' is no number"),
        ("id,price\n007,1\n2,inf\n3,1\n", "not finite"),
        ("", "no CSV file"),
    ],
)  # fmt: skip
def test_an_invalid_submission_says_why(tmp_path: Path, text: str, reason: str) -> None:
    found = grade(prices(tmp_path / "c"), submitted(tmp_path, text), tmp_path / "log")
    assert not found.valid and reason in found.invalid and found.private is None


def test_a_submission_that_is_not_there(tmp_path: Path) -> None:
    assert "cannot read" in grade(prices(tmp_path / "c"), tmp_path / "none.csv", tmp_path / "log").invalid
    with pytest.raises(UserError, match="is no competition"):
        grade(tmp_path, tmp_path / "none.csv", tmp_path / "log")


def test_labels_and_probabilities(tmp_path: Path) -> None:
    facts = {"metric": "accuracy", "task": "binary", "targets": ["y"]}
    where = competition(tmp_path / "a", facts, "id,y\n1,0\n2,1\n3,1\n4,0\n", "id,y\n1,0\n2,0\n3,0\n4,0\n")
    assert grade(where, submitted(tmp_path, "id,y\n1,0\n2,1.0\n3,0\n4,1\n"), tmp_path / "log").overall == 0.5
    found = grade(where, submitted(tmp_path, "id,y\n1,0\n2,1\n3,5\n4,0\n"), tmp_path / "log")
    assert "'5' is none of the classes 0, 1" in found.invalid
    three = competition(
        tmp_path / "e", facts | {"task": "multiclass"}, "id,y\n1,a\n2,b\n3,c\n", "id,y\n1,a\n2,a\n3,a\n"
    )
    found = grade(three, submitted(tmp_path, "id,y\n1,a\n2,b\n3,zebra\n"), tmp_path / "log")
    assert found.overall == pytest.approx(2 / 3)  # a label that no row has is wrong, and not the first class
    facts = {"metric": "auc", "task": "binary", "targets": ["y"]}
    where = competition(tmp_path / "b", facts, "id,y\n1,0\n2,1\n3,1\n4,0\n", "id,y\n1,0\n2,0\n3,0\n4,0\n")
    assert grade(where, submitted(tmp_path, "id,y\n1,.1\n2,.9\n3,.3\n4,.2\n"), tmp_path / "log").overall == 1
    facts = {"metric": "multiclass_logloss", "task": "multiclass", "targets": ["a", "b", "c"]}
    solution, sample = "id,b,a,c\n1,0,1,0\n2,1,0,0\n", "id,b,a,c\n1,0,0,0\n2,0,0,0\n"
    where = competition(tmp_path / "d", facts, solution, sample)
    found = grade(where, submitted(tmp_path, "id,b,a,c\n1,.25,.5,.25\n2,.5,.25,.25\n"), tmp_path / "log")
    assert found.overall == pytest.approx(0.693147, abs=1e-5)


def test_several_classes_in_a_cell(tmp_path: Path) -> None:
    facts = {"metric": "map@k", "task": "multiclass", "targets": ["kind"]}
    solution = "id,kind,Usage\n1,a,Public\n2,b,Private\n3,c,Private\n4,d,Private\n"
    where = competition(tmp_path / "c", facts, solution, "id,kind\n1,a b c\n2,a b c\n3,a b c\n4,a b c\n")
    file = submitted(tmp_path, "id,kind\n1,a b c\n2,a b c\n3,a b x c\n4,a\n")  # what comes too late is not read
    found = grade(where, file, tmp_path / "log.jsonl")
    assert (found.public, found.private, found.overall) == pytest.approx((1, 0.5 / 3, 1.5 / 4))


def test_several_quantiles_of_one_target(tmp_path: Path) -> None:
    facts = {"metric": "pinball", "task": "regression", "targets": ["y"], "quantiles": [0.1, 0.9]}
    where = competition(tmp_path / "c", facts, "id,y\n1,10\n2,20\n", "id,low,high\n1,0,0\n2,0,0\n")
    found = grade(where, submitted(tmp_path, "id,low,high\n1,8,12\n2,22,20\n"), tmp_path / "log")
    assert found.overall == pytest.approx(((0.1 * 2 + 0.9 * 2) / 2 + (0.1 * 2 + 0) / 2) / 2)


def test_medals_by_the_number_of_teams() -> None:
    """Kaggle's table, at its edges."""
    assert medal_ranks(99) == {"gold": 9, "silver": 19, "bronze": 39}
    assert medal_ranks(100) == {"gold": 10, "silver": 20, "bronze": 40}
    assert medal_ranks(249) == {"gold": 10, "silver": 49, "bronze": 99}
    assert medal_ranks(250) == {"gold": 10, "silver": 50, "bronze": 100}
    assert medal_ranks(999) == {"gold": 11, "silver": 50, "bronze": 100}
    assert medal_ranks(4066) == {"gold": 18, "silver": 203, "bronze": 406}
    board = [i / 1000 for i in range(1000)]  # lower is better
    assert [medal_by_rank(v, board, True) for v in (0.011, 0.012, 0.049, 0.05, 0.099, 0.1)] == [
        "gold", "silver", "silver", "bronze", "bronze", None]  # fmt: skip
    assert percentile(-1, board, True) == 100 and percentile(5, board, True) == 0 and percentile(0.5, board, True) == 50
    assert percentile(0.5, board, False) == pytest.approx(100 - 49.9)
    limits = {"gold": 0.9, "silver": 0.8, "bronze": 0.7}
    assert [medal_by_thresholds(v, limits, False) for v in (0.9, 0.85, 0.7, 0.6)] == ["gold", "silver", "bronze", None]


@pytest.mark.parametrize("slug, known", [("titanic", 0.76555), ("house-prices", 0.40613)])
def test_the_sample_submissions_known_scores(tmp_path: Path, slug: str, known: float) -> None:
    """What Kaggle itself shows for its sample submissions."""
    if not (KAGGLE_DATA / slug).exists():
        pytest.skip(f"no {KAGGLE_DATA / slug}: set AGENTKD_DATA to the folder with kaggle/")
    found = grade(KAGGLE_DATA / slug, KAGGLE_DATA / slug / "public" / "sample_submission.csv", tmp_path / "log")
    assert found.valid and found.overall == pytest.approx(known, abs=2e-5)
    assert found.medal is None and 0 < (found.percentile or 0) < 50
