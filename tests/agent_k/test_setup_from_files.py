"""Competitions in the forms that hosts give them: each goes from its files to maps, a metric and a valid submission."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from agentkd.agents.agent_k.contract import Setup, map_file
from agentkd.agents.agent_k.scoring.scorer import score
from agentkd.agents.agent_k.understand.setup_from_files import guess_setup
from agentkd.agents.agent_k.workspace.checks import check_maps, check_metric, check_submission
from agentkd.agents.agent_k.workspace.files import read_targets, save_table
from agentkd.agents.agent_k.workspace.folds import make_folds
from agentkd.agents.agent_k.workspace.maps import write_maps
from agentkd.agents.agent_k.workspace.submission_file import make_submission, write_submission
from agentkd.agents.agent_k.workspace.trial_predictions import perfect_predictions, random_predictions
from agentkd.errors import UserError
from tests.support.lazy import lazily, require

pd = lazily("pandas")
require("sklearn")

N, TEST = 120, 20
Columns = dict[str, Any]


class Road(NamedTuple):
    setup: Setup
    data: Path
    workspace: Path
    doubts: list[str]

    def submit(self, **columns: Any) -> Any:
        """The submission of these predicted columns."""
        ids = pd.read_csv(map_file(self.workspace, "test", "tab"), dtype=str)["id"]
        return make_submission(pd.DataFrame({"id": ids} | columns), self.setup, self.data)


def inputs(rows: int = N, first: int = 0) -> Columns:
    random = np.random.default_rng(first)
    return {"id": range(first, first + rows), "a": random.normal(size=rows), "b": random.integers(0, 5, rows)}


def tables(y: Columns, sample: Columns, more: Columns | None = None) -> dict[str, Any]:
    """`y` are target columns of the training table, `sample` those of the sample submission."""
    test = inputs(TEST, 1000)
    made = {"train": inputs() | y, "test": test, "sample_submission": {"id": test["id"]} | sample}
    return {name: pd.DataFrame(columns) for name, columns in (made | (more or {})).items()}


def write(folder: Path, frames: dict[str, Any], **options: Any) -> Path:
    folder.mkdir()
    for name, frame in frames.items():
        frame.to_csv(folder / f"{name}.csv", index=False, **options)
    return folder


def road(data: Path, text: str, **fixed: str) -> Road:
    """Set up without a model; every unit test of the stages passes."""
    found = guess_setup(data, f"## Evaluation\nSubmissions are evaluated on {text}.", "", fixed)
    setup, workspace = found.setup, data.parent / f"{data.name}-run"
    groups = write_maps(setup, data, workspace).groups
    truth = read_targets(workspace)
    save_table(make_folds(setup, truth, 5, 0, groups), workspace / "maps" / "folds.csv")
    assert check_maps(setup, data, workspace) == []
    assert check_metric(lambda frame: score(setup, truth, frame), perfect_predictions(setup, truth), setup, 0) == []
    write_submission(random_predictions(setup, data), setup, data, data.parent / f"{data.name}.csv")
    assert check_submission(data.parent / f"{data.name}.csv", setup, data) == []
    return Road(setup, data, workspace, found.doubts)


def flags(seed: int, rows: int = N) -> Any:
    return np.random.default_rng(seed).integers(0, 2, rows)


def test_several_labels_are_submitted_as_labels_where_the_metric_needs_them(tmp_path: Path) -> None:
    y, zeros = {"u": flags(1), "v": flags(2)}, {"u": 0, "v": 0}
    way = road(write(tmp_path / "f1", tables(y, zeros)), "micro F1 score")
    assert (way.setup.task, way.setup.output, way.setup.metric) == ("multilabel", "label", "f1_micro")
    predictions = pd.DataFrame({"id": [str(i) for i in range(1000, 1020)], "u": 0.3, "v": 0.7})
    assert make_submission(predictions, way.setup, way.data).iloc[0].tolist() == ["1000", "0", "1"]
    assert make_submission(predictions, way.setup, way.data, (0.2, 0.8)).iloc[0].tolist() == ["1000", "1", "0"]
    assert road(write(tmp_path / "auc", tables(y, zeros)), "mean ROC AUC").setup.output == "probability"
    halves = {"u": 0.5, "v": 0.5}
    assert road(write(tmp_path / "half", tables(y, halves)), "micro F1 score").setup.output == "probability"


def test_the_metric_says_whether_many_numbers_are_classes(tmp_path: Path) -> None:
    data = write(tmp_path / "data", tables({"y": np.arange(N) % 40}, {"y": 0}))
    assert road(data, "classification accuracy").setup.classes[-1] == "39"
    assert road(data, "joy").setup.task == "regression"
    assert road(data, "the quadratic weighted kappa").setup.task == "regression"
    nearly_all_other = write(tmp_path / "other", tables({"y": np.arange(N)}, {"y": 0}))
    assert guess_setup(nearly_all_other, "accuracy", "", {}).setup.task == "regression"


@pytest.mark.parametrize("ext", ["parquet", "json", "csv"])
def test_training_rows_without_a_target_are_left_out(ext: str, tmp_path: Path) -> None:
    y = np.random.default_rng(5).normal(size=N)
    y[[3, 7]] = np.nan
    frames = tables({"y": y}, {"y": 0.0})
    data = write(tmp_path / "data", frames, na_rep="NA")
    if ext != "csv":
        (data / "train.csv").unlink()
        train = frames["train"].assign(c=["x", None] * (N // 2))
        train.to_parquet(data / "train.parquet") if ext == "parquet" else train.to_json(data / "train.json")
    way = road(data, "RMSE")
    assert way.setup.task == "regression" and len(read_targets(way.workspace)) == N - 2


def test_a_word_for_missing_is_a_class_among_other_words(tmp_path: Path) -> None:
    data = write(tmp_path / "data", tables({"y": ["NA", "EU", "AS"] * (N // 3)}, {"y": "EU"}))
    assert road(data, "accuracy").setup.classes == ("AS", "EU", "NA")


def test_targets_of_which_a_row_knows_some(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    sparse = np.full((N, 3), np.nan)
    sparse[np.arange(N), random.integers(0, 3, N)] = random.normal(size=N)
    y = dict(zip("pqr", sparse.T, strict=True))
    y["p"][0] = y["q"][0] = y["r"][0] = np.nan
    way = road(write(tmp_path / "values", tables(y, dict.fromkeys("pqr", 0))), "mean absolute error")
    assert way.setup.task == "regression" and len(read_targets(way.workspace)) == N - 1
    labels = {"u": pd.Series(flags(1)).where(random.random(N) > 0.1), "v": flags(2)}
    way = road(write(tmp_path / "labels", tables(labels, {"u": 0.5, "v": 0.5})), "mean column-wise ROC AUC")
    assert (way.setup.task, way.setup.metric) == ("multilabel", "mean_columnwise_auc")


def test_several_targets_that_are_true_or_false(tmp_path: Path) -> None:
    y, no = {"u": flags(1) > 0, "v": flags(2) > 0}, {"u": False, "v": False}
    assert road(write(tmp_path / "auc", tables(y, no)), "ROC AUC").setup.output == "probability"
    way = road(write(tmp_path / "f1", tables(y, no)), "macro F1")
    assert set(way.submit(u=0.3, v=0.7).iloc[0, 1:]) == {"False", "True"}


@pytest.mark.parametrize(
    "y, sample, task, words",
    [
        ({"u": "a", "v": "x"}, {"u": "a", "v": "x"}, "", "several targets|column 'u' holds 'a'|numbers"),
        ({"y": ["low", "high"] * (N // 2)}, {"y": 0}, "regression", "needs numbers|column 'y' holds 'low'|task="),
        ({"y": ["a", "b", "c"] * (N // 3)}, {"y": "a"}, "binary", "two values|has 3|task=multiclass"),
        ({"u": flags(1), "v": flags(2)}, {"u": 0, "v": 0}, "binary", "one target, not 2 targets (u, v)|multilabel"),
        ({"u": flags(1), "v": range(N)}, {"u": 0, "v": 0}, "multilabel", "targets of 0 and 1|column 'v' holds '2'"),
        ({"y": ["a", "b", "c"] * (N // 3)}, {"a": 0.3, "b": 0.3, "c": 0.4}, "regression", "each class of 'y'"),
        ({"y": [f"text {i}" for i in range(N)]}, {"y": "text"}, "", "120 different values|'text 0'|no classes"),
    ],
)  # fmt: skip
def test_targets_that_do_not_fit_the_task(y: Columns, sample: Columns, task: str, words: str, tmp_path: Path) -> None:
    data = write(tmp_path / "data", tables(y, sample))
    with pytest.raises(UserError) as error:
        guess_setup(data, "accuracy", "", {"task": task} if task else {})
    assert all(word in str(error.value) for word in words.split("|")), error.value


def test_an_empty_sample_says_nothing(tmp_path: Path) -> None:
    data = write(tmp_path / "data", tables({"y": flags(0)}, {"y": ""}))
    way = road(data, "the area under the ROC curve")
    assert (way.setup.output, way.setup.metric) == ("probability", "auc")
    assert road(data, "accuracy").setup.output == "label"


def test_columns_that_the_sample_repeats_of_the_test_table_are_no_targets(tmp_path: Path) -> None:
    y = np.random.default_rng(5).normal(size=N)
    frames = tables({"y": y}, {"b": inputs(TEST, 1000)["b"], "y": 0.0})
    way = road(write(tmp_path / "data", frames), "RMSE")
    assert way.setup.outputs == way.setup.targets == ("y",) and "b" in way.setup.tab
    made = way.submit(y=1.5)
    assert list(made["b"]) == [str(b) for b in frames["test"]["b"]] and (made["y"] == 1.5).all()


@pytest.mark.parametrize("name", ["ID", "row"])
def test_ids_that_are_called_otherwise_in_the_sample(name: str, tmp_path: Path) -> None:
    frames = tables({"y": np.random.default_rng(5).normal(size=N)}, {"y": 0.0})
    for split in ("train", "test"):
        frames[split] = frames[split].rename(columns={"id": name})
    frames["sample_submission"] = frames["sample_submission"].iloc[::-1]
    way = road(write(tmp_path / "data", frames), "RMSE")
    test = pd.read_csv(map_file(way.workspace, "test", "tab"))
    assert way.setup.tab == ("a", "b") and list(test["id"]) == list(range(1019, 999, -1))
    assert list(test["a"]) == pytest.approx(list(frames["test"]["a"][::-1]))


def test_a_column_or_a_class_called_id_that_is_not_the_id(tmp_path: Path) -> None:
    frames = tables({"id": flags(1), "y": ["en", "de", "id"] * (N // 3)}, {"y": "en"})
    frames["train"].insert(2, "row", range(N))
    frames["test"]["row"] = frames["test"]["id"]
    frames["sample_submission"] = frames["sample_submission"].rename(columns={"id": "row"})
    way = road(write(tmp_path / "data", frames), "accuracy")
    assert way.setup.id == "row" and "id" in way.setup.tab
    assert way.submit(de=0.1, en=0.2, **{"id (class)": 0.7})["y"].tolist() == ["id"] * TEST


@pytest.mark.parametrize("column, last", [("fake", "fake"), ("real", "real"), ("label", "real")])
def test_a_column_named_by_a_class_holds_its_probability(column: str, last: str, tmp_path: Path) -> None:
    data = write(tmp_path / "data", tables({"label": ["real", "fake"] * (N // 2)}, {column: 0.5}))
    way = road(data, "log loss", target="label")
    assert way.setup.classes[-1] == last and set(way.submit(fake=0.2, real=0.8)[column]) <= {0.2, 0.8}
    assert way.submit(**{"fake": 0.2, "real": 0.8, last: 0.9})[column].tolist() == [0.9] * TEST


def test_a_logarithmic_error_takes_no_values_below_zero(tmp_path: Path) -> None:
    data = write(tmp_path / "data", tables({"y": np.random.default_rng(5).random(N)}, {"y": 0.0}))
    assert set(road(data, "RMSLE").submit(y=-0.2)["y"]) == {0.0} and set(road(data, "RMSE").submit(y=-0.2)["y"]) == {
        -0.2
    }


@pytest.mark.parametrize("code", ["latin-1", "cp1252", "utf-16", "utf-8-sig"])
def test_tables_in_other_encodings(code: str, tmp_path: Path) -> None:
    data = write(tmp_path / "data", tables({"y": ["café", "thé", "eau"] * (N // 3)}, {"y": "café"}), encoding=code)
    way = road(data, "accuracy")
    assert way.setup.classes == ("café", "eau", "thé") and way.setup.tab == ("a", "b")
    assert "café" in way.submit(**{"café": 0.8, "eau": 0.1, "thé": 0.1}).to_csv()


def test_a_fault_in_utf_8_is_one_letter(tmp_path: Path) -> None:
    data = write(tmp_path / "data", tables({"y": ["чай", "вода"] * (N // 2)}, {"y": "чай"}))
    train = (data / "train.csv").read_bytes()
    (data / "train.csv").write_bytes(train + b"500,1,1,\xd1\n501,1,1,\xd1\n")
    assert {"чай", "вода", "�"} == set(road(data, "accuracy").setup.classes)


def test_a_decimal_comma(tmp_path: Path) -> None:
    y = np.random.default_rng(5).normal(size=N)
    data = write(tmp_path / "data", tables({"y": y, "c": "1,2 and so on"}, {"y": 0.5}), sep=";", decimal=",")
    way = road(data, "RMSE")
    assert way.setup.task == "regression" and pd.to_numeric(read_targets(way.workspace)["y"]).tolist() == list(y)
    assert pd.read_csv(map_file(way.workspace, "train", "tab"))["a"].dtype == float


KINDS = ["10-26-26", "DAP", "Urea", "14-35-14"]


def test_the_likeliest_classes_of_a_row(tmp_path: Path) -> None:
    y = {"y": KINDS * (N // 4)}
    chances = dict(zip(KINDS, [0.1, 0.2, 0.4, 0.3], strict=True))
    way = road(write(tmp_path / "three", tables(y, {"y": "DAP Urea 10-26-26"})), "MAP@3")
    assert (way.setup.metric, way.setup.top, way.doubts) == ("map@k", 3, [])
    assert way.submit(**chances)["y"][0] == "Urea 14-35-14 DAP"
    way = road(write(tmp_path / "empty", tables(y, {"y": ""})), "mean average precision at 2")
    assert way.submit(**chances)["y"][0] == "Urea 14-35-14"
    way = road(write(tmp_path / "one", tables(y, {"y": "DAP"})), "MAP@3")
    assert way.submit(**chances)["y"][0] == "Urea" and "3 classes a row" in way.doubts[0]


def test_a_metric_that_is_not_known_is_a_doubt(tmp_path: Path) -> None:
    data = write(tmp_path / "data", tables({"y": np.random.default_rng(5).normal(size=N)}, {"y": 0.0}))
    way = road(data, "weighted MAE")
    assert way.setup.metric == "mae" and "'weighted mae'" in way.doubts[0] and "metric=NAME" in way.doubts[0]
    assert road(data, "weighted MAE", metric="mae").doubts == [] and road(data, "MAE").doubts == []


def test_columns_that_stand_for_numbered_classes(tmp_path: Path) -> None:
    y, thirds = {"y": np.arange(N) % 3 + 1}, [f"class{i}" for i in (1, 2, 3)]
    data = write(tmp_path / "data", tables(y, dict.fromkeys(thirds, 0.3)))
    made = road(data, "multi-class log loss").submit(**{"1": 0.1, "2": 0.2, "3": 0.7})
    assert made[thirds].iloc[0].tolist() == [0.1, 0.2, 0.7]
    other = write(tmp_path / "other", tables(y, {"low": 0.3, "mid": 0.3, "high": 0.3}))
    with pytest.raises(UserError, match="column 'low' is no class of 'y'"):
        guess_setup(other, "log loss", "", {"target": "y"})


def test_a_target_that_is_the_id_is_refused(tmp_path: Path) -> None:
    """The sample's header repeats the target, so that its first column, the id, is called as the target."""
    frames = tables({"y": flags(0)}, {"y": 0})
    frames["sample_submission"].columns = ["y", "y"]
    with pytest.raises(UserError, match="'y' cannot be both the id and the target: set id=COLUMN"):
        guess_setup(write(tmp_path / "data", frames), "accuracy", "", {"target": "y"})


def test_labels_in_lower_case(tmp_path: Path) -> None:
    way = road(write(tmp_path / "data", tables({"y": flags(0)}, {"y": "true"})), "accuracy")
    assert set(way.submit(**{"0": 0.9, "1": 0.1})["y"]) == {"false"}
