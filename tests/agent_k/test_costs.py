"""Costs in words: read off the pages, and labels are cut for the least of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agentkd.agents.agent_k.scoring.costs import find_costs
from agentkd.agents.agent_k.scoring.predictions import decide_codes
from agentkd.agents.agent_k.scoring.scorer import Scorer
from agentkd.agents.agent_k.understand.setup_from_files import guess_setup
from agentkd.agents.agent_k.workspace.checks import check_submission
from agentkd.agents.agent_k.workspace.submission_file import write_submission
from tests.support.lazy import lazily

pd = lazily("pandas")

TEXT = "## Evaluation\nTotal cost: a failure that is missed costs 500, a needless check 10. The lowest cost wins."


def write(folder: Path) -> Path:
    folder.mkdir()
    train = pd.DataFrame({"id": range(40), "a": np.arange(40.0), "failure": [0, 0, 0, 1] * 10})
    train.to_csv(folder / "train.csv", index=False)
    train.head(4).drop(columns="failure").to_csv(folder / "test.csv", index=False)
    train.head(4)[["id"]].assign(failure=0).to_csv(folder / "sample_submission.csv", index=False)
    return folder


def test_labels_are_cut_for_the_least_cost(tmp_path: Path) -> None:
    data = write(tmp_path / "data")
    found = guess_setup(data, TEXT, "", {})
    setup = found.setup
    assert (setup.metric, setup.output, setup.costs, setup.lower_is_better) == ("cost", "label", (500, 10), True)
    assert [line for line in found.doubts if "costs 500 and a needless label 10" in line]
    chances = np.array([[0.99, 0.01], [0.97, 0.03], [0.5, 0.5], [0.1, 0.9]])
    assert decide_codes(setup, chances).tolist() == [0, 1, 1, 1]  # from 10 / 510 on
    truth = pd.DataFrame({"id": ["0", "1", "2", "3"], "failure": ["1", "0", "1", "1"]})
    assert Scorer(setup, truth)(chances) == pytest.approx((500 + 10) / 4)
    made = pd.DataFrame({"id": [str(place) for place in range(4)], "0": chances[:, 0], "1": chances[:, 1]})
    write_submission(made, setup, data, tmp_path / "made.csv")
    assert check_submission(tmp_path / "made.csv", setup, data) == []
    assert list(pd.read_csv(tmp_path / "made.csv")["failure"]) == [0, 1, 1, 1]


def test_another_metric_comes_first(tmp_path: Path) -> None:
    data = write(tmp_path / "data")
    assert guess_setup(data, f"{TEXT} Submissions are evaluated on accuracy.", "", {}).setup.metric == "accuracy"
    assert guess_setup(data, TEXT, "", {"metric": "f1"}).setup.costs is None
    assert guess_setup(data, f"{TEXT} Evaluated on F1.", "", {"metric": "cost"}).setup.costs == (500, 10)


@pytest.mark.parametrize(
    ("text", "costs"),
    [
        ("A false negative costs $1,500.50 and a false positive costs $20.", (1500.5, 20)),
        ("The cost is 10 for each false positive and 500 for each false negative.", (500, 10)),
        ("Cost_1 = 10 per unnecessary check, Cost_2 = 500 per missed faulty truck.", (500, 10)),
        ("Every false alarm costs 1 point.\nEvery missed case costs 5 points.", (5, 1)),
        ("We miss 5 % of the failures, and a false alarm costs 10.", None),
        ("A missed failure costs 500.", None),
        ("False positives: 10, false negatives: 3.", None),  # no costs
        ("Predict the total cost of the claim.", None),
    ],
)
def test_costs_in_words(text: str, costs: tuple[float, float] | None) -> None:
    assert find_costs(text) == costs
