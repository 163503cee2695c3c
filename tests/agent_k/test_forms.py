"""What a submission's values have to be is kept in the file and tested: shares, whole numbers, ranges, several tags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentkd.agents.agent_k.scoring.metrics import METRICS
from agentkd.agents.agent_k.stages.importance import measure_importance
from agentkd.agents.agent_k.stages.profile import describe_data
from agentkd.agents.agent_k.understand.setup_from_files import SetupGuess, guess_setup
from agentkd.agents.agent_k.workspace.arrays import load_data
from agentkd.agents.agent_k.workspace.build import build_maps
from agentkd.agents.agent_k.workspace.checks import check_maps, check_submission
from agentkd.agents.agent_k.workspace.files import read_targets
from agentkd.agents.agent_k.workspace.maps import write_maps
from agentkd.agents.agent_k.workspace.submission_file import make_submission, write_submission
from agentkd.eval.competition_metrics import METRICS as GRADED
from agentkd.report.competition import render_competition
from agentkd.trace import Trace, Usage, Verdict
from tests.support.lazy import lazily

pd = lazily("pandas")

N, TEST = 60, 6
IDS = [f"t{place}" for place in range(TEST)]


def write(folder: Path, y: dict[str, Any], sample: dict[str, Any]) -> Path:
    folder.mkdir()
    a = np.random.default_rng(0).normal(size=N)
    pd.DataFrame({"id": [f"r{place}" for place in range(N)], "a": a} | y).to_csv(folder / "train.csv", index=False)
    pd.DataFrame({"id": IDS, "a": a[:TEST]}).to_csv(folder / "test.csv", index=False)
    pd.DataFrame({"id": IDS} | sample).to_csv(folder / "sample_submission.csv", index=False)
    return folder


def guess(data: Path, text: str, **fixed: str) -> SetupGuess:
    return guess_setup(data, f"## Evaluation\n{text}", "", fixed)


def submit(found: SetupGuess, data: Path, values: dict[str, Any]) -> Any:
    """The submission of predicted values, which its check passes."""
    predictions, file = pd.DataFrame({"id": IDS} | values), data.parent / "made.csv"
    write_submission(predictions, found.setup, data, file)
    assert check_submission(file, found.setup, data) == []
    return pd.read_csv(file)


def fails(data: Path, found: SetupGuess, columns: dict[str, Any]) -> str:
    file = data.parent / "bad.csv"
    pd.DataFrame({"id": IDS} | columns).to_csv(file, index=False)
    return "; ".join(item.test for item in check_submission(file, found.setup, data))


@pytest.mark.parametrize("text", ["The error of the shares.", "RMSE. The values of a row must sum to one."])
def test_counts_become_shares_where_rows_sum_to_one(text: str, tmp_path: Path) -> None:
    counts = np.random.default_rng(1).integers(0, 9, (N, 3))
    counts[0] = 0
    names, zero = ("p", "q", "r"), "must" in text
    sample = dict.fromkeys(names, 0 if zero else 1 / 3)
    data = write(tmp_path / "data", dict(zip(names, counts.T, strict=True)), sample)
    found = guess(data, text)
    assert found.setup.sums and any("sum to one" in line for line in found.doubts)
    write_maps(found.setup, data, tmp_path / "run")
    assert check_maps(found.setup, data, tmp_path / "run") == []
    truth = read_targets(tmp_path / "run")
    assert len(truth) == N - 1, "a row without a count tells no share"
    assert np.allclose(truth[list(names)].astype(float).sum(axis=1), 1)
    made = submit(found, data, {"p": 2.0, "q": -0.5, "r": 2.0})[list(names)]
    assert np.allclose(made.sum(axis=1), 1) and (made > 0).all().all()
    assert "rows that sum to 1" in fails(data, found, {"p": 1, "q": 1, "r": 0})
    assert "range" in fails(data, found, {"p": 1.5, "q": -0.5, "r": 0})


def test_values_that_sum_to_nothing_are_left_alone(tmp_path: Path) -> None:
    y = {"p": np.random.default_rng(1).normal(size=N), "q": np.random.default_rng(2).normal(size=N)}
    found = guess(write(tmp_path / "data", y, {"p": 0.5, "q": 0.5}), "RMSE")
    assert not found.setup.sums and found.doubts == []


def test_whole_numbers_and_ranges(tmp_path: Path) -> None:
    y = np.random.default_rng(1).integers(0, 300, N)
    data = write(tmp_path / "data", {"y": y}, {"y": 0})
    found = guess(data, "RMSE. Predictions must be integers. They have to lie between 5 and 200.")
    assert (found.setup.whole, found.setup.low, found.setup.high) == (True, 5.0, 200.0)
    assert submit(found, data, {"y": [1.0, 7.6, 500, 9, 9, 9]})["y"].tolist() == [5, 8, 200, 9, 9, 9]
    assert "whole numbers" in fails(data, found, {"y": 7.5}) and "range" in fails(data, found, {"y": 201})
    free = guess(data, "RMSE. Ids must be integers.")
    assert (free.setup.whole, free.setup.low, free.doubts) == (False, None, [])
    assert guess(data, "RMSE. Values must not be negative.").setup.low == 0.0


def tags(mark: str) -> list[str]:
    random = np.random.default_rng(3)
    names = np.array(["sea", "rock", "sand", "tree"])
    return [mark.join(names[flags]) if (flags := random.random(4) < 0.5).any() else "sea" for _ in range(N)]


@pytest.mark.parametrize("mark", [" ", "|"])
def test_several_tags_in_a_cell(mark: str, tmp_path: Path) -> None:
    data = write(tmp_path / "data", {"kinds": tags(mark)}, {"kinds": "sea"})
    found = guess(data, "Mean F2 score over the rows. List all tags of a row.")
    setup = found.setup
    assert (setup.task, setup.output, setup.metric, setup.tags) == ("multilabel", "label", "f2_samples", "kinds")
    assert setup.targets == ("kinds: rock", "kinds: sand", "kinds: sea", "kinds: tree") and setup.tab == ("a",)
    write_maps(setup, data, tmp_path / "run")
    assert check_maps(setup, data, tmp_path / "run") == []
    assert set(read_targets(tmp_path / "run")["kinds: sea"]) == {"0", "1"}
    chances = {"kinds: rock": 0.3, "kinds: sand": 0.6, "kinds: sea": 0.7, "kinds: tree": 0.1}
    assert set(submit(found, data, chances)["kinds"]) == {f"sand{mark}sea"}
    assert set(submit(found, data, dict.fromkeys(setup.targets, 0.1))["kinds"]) == {"rock"}, "never an empty cell"
    low = make_submission(pd.DataFrame({"id": IDS} | chances), setup, data, (0.2, 0.2, 0.2, 0.2))
    assert set(low["kinds"]) == {mark.join(["rock", "sand", "sea"])}
    assert "tags" in fails(data, found, {"kinds": f"sea{mark}moon"})
    assert guess(data, "accuracy", task="multiclass").setup.task == "multiclass"


def test_classes_of_several_words_are_no_tags(tmp_path: Path) -> None:
    words = ["very low", "low", "medium", "high", "very high"]
    data = write(tmp_path / "data", {"y": words * (N // 5)}, {"y": "low"})
    assert guess(data, "accuracy").setup.classes == tuple(sorted(words))


def test_f2_of_sets_is_the_graders() -> None:
    random = np.random.default_rng(0)
    truth, given = random.integers(0, 2, (2, 50, 4))
    truth[0] = given[0] = 0
    value = METRICS["f2_samples"].function(truth, given)
    assert value == pytest.approx(GRADED["f2_samples"].function(truth, given)) and 0 < value < 1
    hit, true, sent = (truth & given).sum(1), truth.sum(1), given.sum(1)
    rows = [5 * h / (4 * t + s) if t + s else 0.0 for h, t, s in zip(hit, true, sent, strict=True)]
    assert value == pytest.approx(np.mean(rows))


@pytest.mark.parametrize(
    "quality, words",
    [
        ({}, "Candidates"),
        ({"constant": 0.5, "folds": [0.6, 0.8]}, "A constant scores 0.50000"),
        ({"constant": 0.5, "folds": [0.6], "errors": {"y": [1, 2, 3, 4, 5]}}, "prediction minus truth"),
        ({"constant": 0.5, "folds": [], "confusion": {"classes": ["a", "b"], "rows": [[1, 2], [3, 4]]}}, "true class"),
    ],
)
def test_the_report_of_every_task_and_its_doubts(quality: dict[str, Any], words: str) -> None:
    usage, verdict = Usage.total([]), Verdict(ok=True, rung="validate", reason="")
    trace = Trace.close(
        id="c", sample=0, task="kaggle", question="c", steps=(), answers=("submission.csv",), usage=usage,
        provenance={}, verified=True, verdict=verdict, teacher="none",
    )  # fmt: skip
    metrics = {
        "title": "c", "task": "t", "metric": "m", "lower_is_better": True, "score": 0.4, "best": "one", "blend": {},
        "candidates": {}, "accepted": {}, "sent_back": {}, "sandbox": "none", "silent": "", "seconds": 1.0,
        "model_seconds": 0.0, "submissions": [], "quality": quality, "said": ["column 'n' numbers the rows"],
    }  # fmt: skip
    page = render_competition({"teacher": "none", "seed": 0}, metrics, trace)
    assert words in page and page.index("numbers the rows") < page.index("<h2>Candidates</h2>")


def test_a_look_at_the_data_and_what_matters(tmp_path: Path) -> None:
    """Drift, missing and unseen values are found; a column of noise matters less than the one that tells."""
    random = np.random.default_rng(0)
    rows = 400
    frame = pd.DataFrame({"tells": random.normal(size=rows), "noise": random.normal(size=rows)})
    frame["place"] = np.where(np.arange(rows) < 300, random.choice(["a", "b"], rows), "c")
    frame["late"] = np.arange(rows) / 100
    frame.loc[:59, "noise"] = np.nan
    frame["y"] = (frame["tells"] > 0).astype(int)
    data = tmp_path / "data"
    data.mkdir()
    frame.insert(0, "id", [f"i{place}" for place in range(rows)])
    frame[:300].to_csv(data / "train.csv", index=False)
    frame[300:].drop(columns="y").to_csv(data / "test.csv", index=False)
    frame[300:][["id"]].assign(y=0.5).to_csv(data / "sample_submission.csv", index=False)
    setup = guess_setup(data, "Evaluated on AUC.", "", {}).setup
    build_maps(setup, data, tmp_path, 0)
    held = load_data(tmp_path)
    found = describe_data(held)
    columns = {item["name"]: item for item in found["columns"]}
    assert columns["late"]["drift"] == 1 and columns["tells"]["drift"] < 0.2
    assert columns["place"]["unseen"] == 1 and columns["noise"]["missing"] == [0.2, 0.0]
    assert sorted(count for _, count in found["targets"][0]["classes"]) == sorted(frame["y"][:300].value_counts())
    matters = measure_importance(held, 0, 60.0)
    assert matters["columns"][0]["name"] == "tells" and matters["columns"][0]["loss"] > 0.3 and matters["score"] > 0.9
    assert measure_importance(held, 0, 0.0) == {}

    alone = {"author": "code", "score": 0.8, "folds": [0.7, 0.9], "seconds": 1.0}
    metrics = {
        "title": "c", "task": "t", "metric": "auc", "lower_is_better": False, "score": 0.9, "best": "blend",
        "blend": {"kind": "climb", "weights": {"one": 0.25, "two": 0.75}, "score": 0.9},
        "candidates": {"one": alone, "two": alone},
        "accepted": {}, "sent_back": {}, "sandbox": "none", "silent": "", "seconds": 1.0, "model_seconds": 0.0,
        "submissions": [], "profile": found, "importance": matters,
    }  # fmt: skip
    trace = Trace.close(
        id="c", sample=0, task="kaggle", question="c", steps=(), answers=("submission.csv",), usage=Usage.total([]),
        provenance={}, verified=True, verdict=Verdict(ok=True, rung="validate", reason=""), teacher="none",
    )  # fmt: skip
    page = render_competition({"teacher": "none", "seed": 0}, metrics, trace)
    assert "built-in" not in page and "A weighted mean of 2 candidates (climb)" in page and "0.1414" in page
    assert page.index("Which columns matter") < page.index("The data") < page.index("What next")
