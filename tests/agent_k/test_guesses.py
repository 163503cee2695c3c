"""Nothing that a submission depends on is guessed or left out in silence: each is right, or a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentkd.agents.agent_k.contract import Setup
from agentkd.agents.agent_k.scoring.metric_names import find_metrics
from agentkd.agents.agent_k.scoring.metric_qualifiers import find_other_metric, find_qualifier, read_form
from agentkd.agents.agent_k.understand.setup_from_files import SetupGuess, guess_setup
from agentkd.agents.agent_k.workspace.maps import write_maps
from agentkd.agents.agent_k.workspace.submission_file import make_submission
from agentkd.errors import UserError
from tests.support.lazy import lazily

pd = lazily("pandas")

N, TEST = 60, 12
KINDS = ["pine", "ash", "oak"]


def write(folder: Path, y: dict[str, Any], sample: dict[str, Any], **more: dict[str, Any]) -> Path:
    """A competition with an input `a`; `more` are further columns, or whole tables by their name."""
    folder.mkdir()
    random = np.random.default_rng(0)
    frames = {
        "train": {"id": [f"r{place}" for place in range(N)], "a": random.normal(size=N)} | more.pop("train", {}) | y,
        "test": {"id": [f"t{place}" for place in range(TEST)], "a": random.normal(size=TEST)} | more.pop("test", {}),
        "sample_submission": {"id": [f"t{place}" for place in range(TEST)]} | sample,
    } | more
    for name, columns in frames.items():
        pd.DataFrame(columns).to_csv(folder / f"{name}.csv", index=False)
    return folder


def kinds() -> dict[str, Any]:
    return {"kind": KINDS * (N // 3)}


def guess(data: Path, text: str = "Accuracy.", **fixed: str) -> SetupGuess:
    return guess_setup(data, f"## Evaluation\n{text}", "", fixed)


def sent(setup: Setup, data: Path, likeliest: str) -> list[str]:
    """The cells of a submission in which one class is the likeliest in every row."""
    ids = pd.read_csv(data / "test.csv", dtype=str)["id"]
    chances = {name: 0.8 if name == likeliest else 0.1 for name in setup.classes}
    return sorted(set(make_submission(pd.DataFrame({"id": ids} | chances), setup, data)[setup.outputs[0]]))


def test_a_table_numbers_the_classes(tmp_path: Path) -> None:
    codes = {"label": [2, 0, 1], "name": KINDS, "latin": ["p", "f", "q"]}
    data = write(tmp_path / "data", kinds(), {"label": 0}, codes=codes)
    found = guess(data)
    assert [sent(found.setup, data, kind) for kind in KINDS] == [["2"], ["0"], ["1"]]
    assert any("ash=0, oak=1, pine=2 are from column 'label' of codes.csv" in line for line in found.doubts)


@pytest.mark.parametrize(
    "text",
    [
        "Classes: 2 = pine, 0 = ash, 1 = oak.",
        "Use these numbers: pine (2), ash (0) and oak (1).",
        "| number | tree |\n| 0 | ash |\n| 1 | oak |\n| 2 | pine |",
    ],
)
def test_the_pages_number_the_classes(text: str, tmp_path: Path) -> None:
    data = write(tmp_path / "data", kinds(), {"label": 0})
    assert sent(guess(data, f"Accuracy.\n\n{text}").setup, data, "pine") == ["2"]


def test_a_json_file_numbers_the_classes_from_one(tmp_path: Path) -> None:
    data = write(tmp_path / "data", kinds(), {"label": 1})
    (data / "names.json").write_text(json.dumps({"3": "pine", "1": "ash", "2": "oak"}))
    assert sent(guess(data).setup, data, "pine") == ["3"]


def test_numbers_that_nothing_tells_are_a_line_and_an_option(tmp_path: Path) -> None:
    data = write(tmp_path / "data", kinds(), {"label": 0})
    found = guess(data)
    assert sent(found.setup, data, "pine") == ["2"]
    assert any("guess: ash=0, oak=1, pine=2; set classes=A,B,C" in line for line in found.doubts)
    settled = guess(data, classes="pine,ash,oak")
    assert sent(settled.setup, data, "pine") == ["0"] and not any("guess" in line for line in settled.doubts)
    with pytest.raises(UserError, match="has to name each class of 'kind' once: ash, oak, pine"):
        guess(data, classes="pine,ash")


def test_a_word_of_the_sample_that_is_no_class_is_a_line(tmp_path: Path) -> None:
    data = write(tmp_path / "data", kinds(), {"kind": "birch"})
    assert any("holds birch, which is no class" in line for line in guess(data).doubts)


def test_two_numbered_words(tmp_path: Path) -> None:
    y = {"state": ["cat", "dog"] * (N // 2)}
    data = write(tmp_path / "list", y, {"state": 0})
    assert sent(guess(data, "Accuracy. Codes: 0: dog, 1: cat.").setup, data, "cat") == ["1"]
    assert any("set positive=cat" in line for line in guess(data).doubts)


def test_rows_that_are_numbered_are_no_input(tmp_path: Path) -> None:
    more = {"train": {"": range(N), "b": range(N)[::-1]}, "test": {"": range(TEST), "b": 1}}
    found = guess(write(tmp_path / "index", {"y": [0, 1] * (N // 2)}, {"y": 0}, **more))
    assert found.setup.tab == ("a", "b") and any("numbers the rows" in line for line in found.doubts)
    more = {"train": {"n": range(1, N + 1)}, "test": {"n": range(1, TEST + 1)}}
    assert guess(write(tmp_path / "n", {"y": [0, 1] * (N // 2)}, {"y": 0}, **more)).setup.tab == ("a",)
    more = {"train": {"day": range(N)}, "test": {"day": range(N, N + TEST)}}
    assert guess(write(tmp_path / "day", {"y": np.arange(N) / 7}, {"y": 0}, **more), "RMSE").setup.tab == ("a", "day")


def test_headers_that_differ_by_blanks_or_case(tmp_path: Path) -> None:
    more = {"train": {"Width ": range(N)[::-1], " HEIGHT": 2, "Own": 3}, "test": {"width": 1, "Height": 2}}
    data = write(tmp_path / "data", {"y": [0, 1] * (N // 2)}, {"y": 0}, **more)
    found = guess(data)
    assert set(found.setup.tab) == {"a", "width", "Height"}
    assert any("'Width ' = 'width'" in line for line in found.doubts)
    assert any("column Own stands in the training table only" in line for line in found.doubts)
    write_maps(found.setup, data, tmp_path / "run")
    train = pd.read_csv(tmp_path / "run" / "maps" / "train_tab_input_map.csv")
    assert list(train["width"]) == list(range(N))[::-1]


def test_columns_that_the_user_drops(tmp_path: Path) -> None:
    data = write(tmp_path / "data", {"y": [0, 1] * (N // 2)}, {"y": 0}, train={"b": 1}, test={"b": 1})
    assert guess(data, drop="a").setup.tab == ("b",)
    with pytest.raises(UserError, match="drop=c is no input: choose of a, b"):
        guess(data, drop="c")


@pytest.mark.parametrize(
    "text, output, metric, doubt",
    [
        ("Equal error rate of your scores; any scale will do.", "probability", "auc", "equal error rate"),
        ("NDCG@10. Rows are ordered by the submitted value.", "probability", "auc", "ndcg@10"),
        ("Precision at 5 % of the customers.", "probability", "auc", "precision at 5 %"),
        ("Recall@20 of each user.", "probability", "auc", "recall@20"),
        ("A measure of our own.", "probability", "auc", "no metric"),
        ("Total cost of your decisions. Predict 1 where a check is needed.", "label", "accuracy", "total cost"),
        ("Partial AUC above 80 % sensitivity.", "probability", "auc", "partial auc"),
        ("F1 score of the positive class.", "label", "f1", ""),
        ("Accuracy of the predicted labels.", "label", "accuracy", ""),
    ],
)
def test_scores_where_the_metric_is_another_one(
    text: str, output: str, metric: str, doubt: str, tmp_path: Path
) -> None:
    found = guess(write(tmp_path / "data", {"y": [0, 1] * (N // 2)}, {"y": 0}), text)
    assert (found.setup.output, found.setup.metric) == (output, metric)
    assert any(doubt in line and "metric=FILE.py" in line for line in found.doubts) == bool(doubt)


@pytest.mark.parametrize(
    "text, name",
    [
        ("the log of the MAE, computed by type and averaged", "log of the mae"),
        ("the hierarchical macro-averaged recall, weights 3, 1", "hierarchical"),
        ("1/(1+RMSE), higher is better", "rmse"),
        ("the RMSE of log(1+revenue)", "rmse of log"),
        ("global average precision", "global average precision"),
        ("0.7 * AUC + 0.3 * F1", "auc +"),
        ("the RMSE per store", "rmse per store"),
    ],
)
def test_words_that_qualify_a_metric(text: str, name: str) -> None:
    page = f"## Evaluation\nSubmissions are evaluated on {text}."
    assert name in find_qualifier(page, "", find_metrics(page)[0])


@pytest.mark.parametrize(
    "text",
    [
        "mean column-wise ROC AUC",
        "the average of the individual AUCs of each predicted column",
        "RMSE between the logarithm of the predicted and the logarithm of the observed price",
        "the area under the ROC curve between the predicted probability and the observed target",
        "MAP@3",
        "the macro F1 score",
        "weighted F1",
        "the mean absolute error between the predicted and the true value",
        "quadratic weighted kappa",
        "balanced accuracy over classes",
    ],
)
def test_words_that_belong_to_a_metric_are_no_doubt(text: str) -> None:
    page = f"## Evaluation\nSubmissions are evaluated on {text}."
    assert find_qualifier(page, "", find_metrics(page)[0]) == "" == find_other_metric(page)


def test_what_the_pages_say_is_submitted() -> None:
    assert read_form("Give a score for each row: the higher, the more likely it is a fake.") == "scores"
    assert read_form("For each id predict 0 or 1.") == "labels" and read_form("Predict the price.") == ""
