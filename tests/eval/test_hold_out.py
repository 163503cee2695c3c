"""A hold-out of one's own: it is split, named and graded; wrong names are one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from agentkd.errors import UserError
from agentkd.eval.competition import NEEDED, SPELLINGS, grade, read_metric
from agentkd.eval.competition_metrics import METRICS
from agentkd.eval.hold_out import Split, hold_out
from tests.support.lazy import lazily, require
from tests.support.paths import ROOT

pd = lazily("pandas")
require("sklearn")
ROWS = 80


def a_table(folder: Path) -> Path:
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "size": random.normal(size=ROWS),
            "street": random.choice(list("abcdefgh"), ROWS),
            "sold": pd.date_range("2020-01-01", periods=ROWS).strftime("%Y-%m-%d"),
            "price": random.integers(1, 500, ROWS),
            "kind": random.choice(["hut", "house", "tower"], ROWS),
            "dear": random.integers(0, 2, ROWS),
            "old": random.integers(0, 2, ROWS),
        }
    )
    frame.to_csv(folder / "homes.csv", index=False)
    return folder / "homes.csv"


@pytest.mark.parametrize(
    "target, metric, task",
    [
        ("price", "rmsle", "regression"),
        ("dear", "auc", "binary"),
        ("kind", "accuracy", "multiclass"),
        ("kind", "multiclass_logloss", "multiclass"),
        ("dear,old", "mean_columnwise_auc", "multilabel"),
        ("size,price", "r2", "regression"),
    ],
)
def test_the_truth_of_a_hold_out_scores_best(tmp_path: Path, target: str, metric: str, task: str) -> None:
    home = tmp_path / "homes"
    found = hold_out(a_table(tmp_path), target, metric, Split(), home)
    assert (found["task"], found["train"], found["test"]) == (task, 60, 20)
    truth = pd.read_csv(home / "private" / "solution.csv", dtype=str)
    sample = pd.read_csv(home / "public" / "sample_submission.csv", dtype=str)
    assert not set(target.split(",")) & set(pd.read_csv(home / "public" / "test.csv").columns)
    assert set(truth["Usage"]) == {"Public", "Private"}
    right = sample.copy()
    for name in sample.columns[1:]:
        known = name in truth.columns
        right[name] = truth[name] if known else (truth["kind"] == name).astype(int).astype(str)
    scores = []
    for frame in (right, sample):
        frame.to_csv(tmp_path / "given.csv", index=False)
        graded = grade(home, tmp_path / "given.csv", tmp_path / "log")
        assert graded.valid and graded.public is not None, graded.invalid
        scores.append(graded.overall)
    assert scores[0] == pytest.approx(0, abs=1e-9) if "log" in metric or metric == "rmsle" else scores[0] == 1
    assert scores[0] != scores[1]


def test_groups_stay_together_and_later_rows_are_held_out(tmp_path: Path) -> None:
    file = a_table(tmp_path)
    hold_out(file, "price", "mae", Split(group="street"), tmp_path / "g")
    train, test = (pd.read_csv(tmp_path / "g" / "public" / f"{name}.csv") for name in ("train", "test"))
    assert not set(train["street"]) & set(test["street"]) and len(test)
    hold_out(file, "price", "mae", Split(later="sold", share=0.1), tmp_path / "l")
    train, test = (pd.read_csv(tmp_path / "l" / "public" / f"{name}.csv") for name in ("train", "test"))
    assert train["sold"].max() < test["sold"].min() and len(test) == 8


def test_what_cannot_be_held_out_is_one_line(tmp_path: Path) -> None:
    file = a_table(tmp_path)
    for target, metric, split, message in (
        ("prize", "mae", Split(), "unknown column 'prize'; did you mean price"),
        ("price", "rsmle", Split(), "unknown metric 'rsmle'; did you mean rmsle"),
        ("kind", "rmse", Split(), "for regression: column 'kind' has 3 values, such as house, hut, tower"),
        ("price", "mae", Split(share=0.001), "0 of 80 rows would be held out"),
    ):
        with pytest.raises(UserError, match=message):
            hold_out(file, target, metric, split, tmp_path / "out")
    with pytest.raises(UserError, match="holds something"):
        hold_out(file, "price", "mae", Split(), tmp_path)


def test_a_table_of_true_answers_needs_only_a_metric(tmp_path: Path) -> None:
    answers, given, log = tmp_path / "answers.csv", tmp_path / "given.csv", tmp_path / "log"
    answers.write_text("key,price\na,1\nb,2\nc,3\n")
    given.write_text("key,price\nb,2\na,3\nc,3\n")
    assert grade(answers, given, log, "mean_absolute_error").overall == pytest.approx(2 / 3)
    with pytest.raises(UserError, match="add --metric NAME"):
        grade(answers, given, log)
    given.write_text("key,price\nb,2\n")
    assert "it lacks 2 of 3 ids" in grade(answers, given, log, "mae").invalid
    given.write_text("row,price\nb,2\n")
    with pytest.raises(UserError, match="lacks the submission's first column 'row'"):
        grade(answers, given, log, "mae")


def test_names_in_competition_json_are_known_or_corrected(tmp_path: Path) -> None:
    assert read_metric("mean_column_auc", "x") == "mean_columnwise_auc"
    with pytest.raises(UserError, match=r"unknown metric 'acuracy' in x; did you mean accuracy"):
        read_metric("acuracy", "x")
    home = tmp_path / "c"
    (home / "private").mkdir(parents=True)
    facts = {"slug": "c", "metric": "mae", "id": "id", "task": "regresion", "targets": ["y"]}
    for change, message in (
        ({}, "unknown task 'regresion'; did you mean regression"),
        ({"slug": None, "task": "regression", "id": "row"}, "lacks the column of ids 'row'"),
    ):
        (home / "competition.json").write_text(json.dumps(facts | change))
        (home / "private" / "solution.csv").write_text("id,y\n1,2\n")
        (home / "public").mkdir(exist_ok=True)
        (home / "public" / "sample_submission.csv").write_text("id,y\n1,0\n")
        with pytest.raises(UserError, match=message):
            grade(home, home / "private" / "solution.csv", tmp_path / "log")
    (home / "competition.json").write_text('{"slug": "c"}')
    with pytest.raises(UserError, match=r"lacks 'metric', 'id', 'task', 'targets': docs/kaggle.md"):
        grade(home, home / "private" / "solution.csv", tmp_path / "log")


def test_the_docs_list_the_names_of_metrics() -> None:
    page = (ROOT / "docs" / "kaggle.md").read_text()
    assert [name for name in (*METRICS, *NEEDED) if f"`{name}`" not in page] == []
    assert {*SPELLINGS.values()} <= set(METRICS) and not set(SPELLINGS) & set(METRICS)
