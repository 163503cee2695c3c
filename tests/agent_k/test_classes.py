"""The order of a target's classes, and the positive one of two: from the files and pages, or a doubt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentkd.agents.agent_k.scoring.scorer import score
from agentkd.agents.agent_k.scoring.truth import class_numbers
from agentkd.agents.agent_k.solvers.cross_fit import Problem, join_predictions
from agentkd.agents.agent_k.understand.setup_from_files import SetupGuess, guess_setup
from agentkd.errors import UserError
from tests.support.lazy import lazily, require

pd = lazily("pandas")
require("sklearn")

N, TEST = 60, 20


def guessed(folder: Path, y: Any, sample: Any, text: str, *, test: Any = None, train: Any = None, **fixed: str) -> Any:
    """Of a competition with the target columns `y`, the sample's columns `sample`, and more of train and test."""
    folder.mkdir()
    pd.DataFrame({"id": range(N), "a": np.arange(N) % 7} | y | (train or {})).to_csv(folder / "train.csv", index=False)
    rows = pd.DataFrame({"id": range(N, N + TEST), "a": np.arange(TEST) % 7})
    rows.assign(**(test or {})).to_csv(folder / "test.csv", index=False)
    rows[["id"]].assign(**sample).to_csv(folder / "sample_submission.csv", index=False)
    return guess_setup(folder, f"# Evaluation\n{text}", "", fixed)


def two(first: str, second: str) -> list[str]:
    return [first, second] * (N // 2)


@pytest.mark.parametrize(
    "words, column, text, positive, sure",
    [
        (("fraud", "normal"), "is_fraud", "the ROC AUC", "fraud", True),
        (("Fraud", "normal"), "fraudProbability", "the ROC AUC", "Fraud", True),
        (("fraud", "normal"), "fraud_probability", "the ROC AUC", "fraud", True),
        (("Charged Off", "Fully Paid"), "y", "Predict the probability that the loan is charged off. ROC AUC.",
         "Charged Off", True),
        (("Charged Off", "Fully Paid"), "y", "ROC AUC between target and prediction", "Fully Paid", False),
        (("fraud", "normal"), "y", "the F1 score of the fraud class", "fraud", True),
        (("no", "yes"), "y", "Predict the probability of no answer: ROC AUC.", "yes", True),
        (("a", "b"), "y", "accuracy", "b", True),
        (("No", "Yes"), "No-show", "the ROC AUC", "Yes", True),
        (("yes", "No"), "y", "the ROC AUC", "yes", True),
        (("0", "1"), "target_0", "the ROC AUC", "1", True),
        (("1", "2"), "y", "Predict a probability between 0 and 1. ROC AUC.", "2", False),
        (("1", "2"), "y", "Predict the probability of class 1. ROC AUC.", "1", True),
        (("a", "b"), "y", "the probability of a click, by ROC AUC", "b", False),
        (("benign", "malignant"), "y", "Reduce the risk of treating benign tumours. ROC AUC.", "malignant", False),
        (("genuine", "paid"), "y", "the probability that a review is not genuine: ROC AUC", "paid", False),
        (("approved", "not approved"), "y", "the probability that it is not approved: ROC AUC", "not approved", True),
    ],
)  # fmt: skip
def test_the_positive_class(
    words: tuple[str, str], column: str, text: str, positive: str, sure: bool, tmp_path: Path
) -> None:
    sample = {column: 0.5 if "AUC" in text else words[0]}
    found = guessed(tmp_path / "data", {"y": two(*words)}, sample, text)
    assert found.setup.classes[-1] == positive
    assert bool(found.doubts) != sure
    if not sure:
        other = found.setup.classes[0]
        assert f"set positive={other}" in found.doubts[0]
        settled = guessed(tmp_path / "again", {"y": two(*words)}, sample, text, positive=other)
        assert settled.setup.classes[-1] == other and not settled.doubts


def test_a_positive_class_that_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="positive=c is no class of 'y': choose of a, b"):
        guessed(tmp_path / "data", {"y": two("a", "b")}, {"y": 0.5}, "AUC", positive="c")
    with pytest.raises(UserError, match="positive=a chooses of two classes"):
        guessed(tmp_path / "more", {"y": ["a", "b", "c"] * 20}, {"y": "a"}, "accuracy", positive="a")


@pytest.mark.parametrize(
    "words, text, order",
    [
        (["High", "Low", "Medium", "Very High"], "", ["Low", "Medium", "High", "Very High"]),
        (["adult", "child", "teen"], "Stages go child -> teen -> adult.", ["child", "teen", "adult"]),
        (["adult", "child", "teen"], "One of adult, teen and child.", ["adult", "teen", "child"]),
        (["adult", "child", "teen"], "A child, for example, is no adult.", None),
    ],
)
def test_the_order_of_classes_whose_distances_count(
    words: list[str], text: str, order: list[str] | None, tmp_path: Path
) -> None:
    y = {"y": [words[place % len(words)] for place in range(N)]}
    found: SetupGuess = guessed(tmp_path / "data", y, {"y": words[0]}, f"Quadratic weighted kappa. {text}")
    assert list(found.setup.classes) == (order or words)
    assert bool(found.doubts) == (order is None)
    assert class_numbers(found.setup).tolist() == list(range(len(words)))


def test_targets_without_a_value(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="column 'y' of the training table has no known value"):
        guessed(tmp_path / "data", {"y": "-"}, {"y": "a"}, "accuracy", task="multiclass")


def test_classes_that_a_gap_has_made_decimal(tmp_path: Path) -> None:
    y = {"y": [f"{place % 3}.0" for place in range(N)]}
    found = guessed(tmp_path / "data", y, {"0": 0.3, "1": 0.3, "2": 0.4}, "multi-class log loss")
    assert found.setup.task == "multiclass" and found.setup.classes == ("0.0", "1.0", "2.0")


def test_classes_in_columns_of_their_own_are_scored_by_row(tmp_path: Path) -> None:
    columns = {name: [int(place % 3 == number) for place in range(N)] for number, name in enumerate("xyz")}
    sample = dict.fromkeys("xyz", 0.3)
    found = guessed(tmp_path / "data", columns, sample, "the multi-class logarithmic loss")
    assert found.setup.task == "multilabel" and found.setup.metric == "multiclass_logloss"
    truth = pd.DataFrame({"id": ["1", "2"], "x": ["1", "0"], "y": ["0", "1"], "z": ["0", "0"]})
    given = pd.DataFrame({"id": ["1", "2"], "x": [0.5, 0.4], "y": [0.5, 0.4], "z": [1.0, 0.0]})
    assert score(found.setup, truth, given) == pytest.approx(-(np.log(0.25) + np.log(0.5)) / 2)
    with pytest.raises(UserError, match="several classes, or none: set metric=logloss"):
        score(found.setup, truth.assign(z="1"), given)
    both = {"x": [1] * N, "y": two("0", "1"), "z": [0] * N}
    assert guessed(tmp_path / "sets", both, sample, "the multi-class logarithmic loss").setup.metric == "logloss"


def test_columns_without_a_value_in_the_test_rows(tmp_path: Path) -> None:
    y = {"y": two("0", "1")}
    more = {"train": {"gone": range(N)}, "test": {"gone": "NA"}}
    found = guessed(tmp_path / "data", y, {"prediction": 0.5}, "ROC AUC", **more)
    assert found.setup.tab == ("a",) and found.setup.targets == ("y",)
    assert found.doubts == ["column 'gone' has no value in the test rows, so it is no input"]
    held = guessed(tmp_path / "more", y, {"prediction": 0.5}, "ROC AUC", test={"y": ""})
    assert held.setup.targets == ("y",) and not held.doubts


def test_probabilities_for_a_balanced_log_loss_are_as_of_equal_classes(tmp_path: Path) -> None:
    """A model that knows nothing but the shares of the classes is right to say that each is as likely."""
    y = np.array([0] * 45 + [1] * 15)
    setup = guessed(tmp_path / "data", {"y": y}, {"y": 0.5}, "the balanced log loss").setup
    plain = setup.model_copy(update={"metric": "logloss"})
    parts = [(Problem(y, 2), np.array([[0.75, 0.25], [0.5, 0.5]]))]
    assert join_predictions(setup, parts) == pytest.approx(np.array([[0.5, 0.5], [0.25, 0.75]]))
    assert join_predictions(plain, parts) == pytest.approx(parts[0][1])
