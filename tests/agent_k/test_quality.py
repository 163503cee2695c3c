"""What a score is made of, against scikit-learn's own counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agentkd.agents.agent_k.contract import Setup
from agentkd.agents.agent_k.scoring.quality import describe_quality
from agentkd.report.competition import describe_spread
from tests.support.lazy import lazily, require

pd = lazily("pandas")
require("sklearn")
N = 60


def set_up(**values: Any) -> Setup:
    fields = {"train": "t", "test": "u", "sample": "s", "id": "id", "targets": ("y",), "outputs": ("y",)}
    return Setup(**{"lower_is_better": False, **fields, **values})


def table(**columns: Any) -> Any:
    return pd.DataFrame({"id": [f"r{row}" for row in range(N)]} | columns)


def test_classes_are_counted_by_truth_and_by_prediction() -> None:
    from sklearn.metrics import accuracy_score, confusion_matrix

    random = np.random.default_rng(0)
    setup = set_up(task="multiclass", classes=("a", "b", "c"), output="label", metric="accuracy")
    truth, values = random.choice(["a", "b", "b", "c"], N), random.dirichlet([1, 1, 1], N)
    folds = [np.arange(first, N, 3) for first in range(3)]
    found = describe_quality(setup, table(y=truth), table(**dict(zip("abc", values.T, strict=True))), folds)
    guess = np.array(list("abc"))[values.argmax(axis=1)]
    assert found["confusion"] == {"classes": ["a", "b", "c"], "rows": confusion_matrix(truth, guess).tolist()}
    assert found["folds"] == pytest.approx([accuracy_score(truth[rows], guess[rows]) for rows in folds], abs=1e-6)
    assert found["constant"] == pytest.approx((truth == "b").mean(), abs=1e-6), "the most frequent class"


def test_a_constant_of_two_classes_has_no_area() -> None:
    setup = set_up(task="binary", classes=("0", "1"), output="probability", metric="auc")
    truth = ["0", "1"] * (N // 2)
    found = describe_quality(setup, table(y=truth), table(**{"0": 0.5, "1": 0.5}), np.split(np.arange(N), 2))
    assert found["constant"] == 0.5 and found["folds"] == [0.5, 0.5]
    alone = describe_quality(setup, table(y=sorted(truth)), table(**{"0": 0.5, "1": 0.5}), np.split(np.arange(N), 2))
    assert alone["folds"] == [None, None], "a fold of one class"


def test_errors_of_a_regression_leave_unknown_values_out() -> None:
    setup = set_up(task="regression", output="value", metric="mae", lower_is_better=True)
    truth = ["" if row == 0 else str(row) for row in range(N)]
    found = describe_quality(setup, table(y=truth), table(y=np.arange(N) + 2.0), [np.arange(N)])
    assert found["errors"] == {"y": [2.0] * 5} and found["folds"] == [2.0]
    assert found["constant"] == pytest.approx(np.abs(np.arange(1, N) - 30).mean(), abs=1e-6), "the median"
    assert (
        describe_quality(
            set_up(task="regression", output="value", metric="code"), table(y=truth), table(y=1.0), [np.arange(N)]
        )
        == {}
    )


def test_the_spread_is_a_sentence() -> None:
    assert describe_spread([0.5, None, 0.7]) == "0.50000, 0.70000; mean 0.60000, standard deviation 0.14142"
    assert describe_spread([0.5]) == describe_spread([]) == ""
