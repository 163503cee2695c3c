"""The unit tests of stages at the edges of what passes: ids, numbers and probabilities."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentkd.agents.agent_k.contract import Setup
from agentkd.agents.agent_k.workspace.checks import check_predictions, check_submission
from tests.support.lazy import lazily

pd = lazily("pandas")

SETUP = Setup(
    train="train.csv", test="test.csv", sample="sample.csv", id="id", targets=("y",), outputs=("y",), task="binary",
    classes=("0", "1"), output="probability", metric="auc", lower_is_better=False,
)  # fmt: skip
IDS = ["a", "b", "c"]


def predictions(ids: list[str], ones: list[object]) -> object:
    return pd.DataFrame({"id": ids, "0": [0.5] * len(ids), "1": ones})


@pytest.mark.parametrize(
    ("ids", "ones", "words"),
    [
        (IDS, [0.0, 0.5, 1.0], None),
        (["b", "a", "c"], [0.1, 0.2, 0.3], "whose ids are not the 3 asked"),
        (["a", "b", "d"], [0.1, 0.2, 0.3], "whose ids are not the 3 asked"),
        (["a", "b"], [0.1, 0.2], "2 rows whose ids"),
        (IDS, [0.1, 0.2, 1.1], "outside 0"),
        (IDS, [-0.1, 0.2, 1.0], "outside 0"),
        (IDS, [0.1, float("nan"), 0.2], "NaN or infinite"),
        (IDS, [0.1, "x", 0.2], "no numbers"),
    ],
)
def test_predictions_answer_the_ids_that_were_asked(ids: list[str], ones: list[object], words: str | None) -> None:
    found = check_predictions(predictions(ids, ones), SETUP, IDS, "test")
    assert [words in failure.message for failure in found] == ([] if words is None else [True])


@pytest.mark.parametrize(
    ("cells", "words"),
    [([0, 0.5, 1], None), ([0.1, 0.2, 1.5], "from 0.1 to 1.5"), ([-0.2, 0.2, 0.5], "from -0.2 to 0.5")],
)
def test_a_submission_of_probabilities_holds_probabilities(
    cells: list[float], words: str | None, tmp_path: Path
) -> None:
    pd.DataFrame({"id": IDS, "y": [0.5] * 3}).to_csv(tmp_path / "sample.csv", index=False)
    pd.DataFrame({"id": IDS, "y": cells}).to_csv(tmp_path / "submission.csv", index=False)
    found = check_submission(tmp_path / "submission.csv", SETUP, tmp_path)
    assert [words in failure.message for failure in found] == ([] if words is None else [True])
