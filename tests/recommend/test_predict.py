"""The recommender: what it learns from rows, and what it refuses."""

from __future__ import annotations

import pytest

from agentkd.errors import UserError
from agentkd.recommend.table import Candidate, Row
from tests.support.lazy import lazily, require

require("sklearn")
predict = lazily("agentkd.recommend.predict")

METHODS = ("kd", "dist", "hard")


def row(task: int, method: str, score: float) -> Row:
    """Of an easy or a hard task: the level differs by up to 60 points, and says nothing about methods."""
    return Row(
        kind="images", task=f"task {task}", group=f"task {task}", part="held-out", facts={"noise": float(task % 2)},
        method=method, options={}, seed=0, score=score + 10 * task, seconds=1.0, date="",
    )  # fmt: skip


def table() -> list[Row]:
    """With noise `hard` is best, without it `dist`; `kd` is second everywhere, and so best on average."""
    worth = {"kd": (5.0, 5.0), "dist": (6.0, 0.0), "hard": (0.0, 7.0)}
    return [row(task, method, worth[method][task % 2]) for task in range(6) for method in METHODS]


def test_it_recommends_by_the_facts_of_a_new_task() -> None:
    recommender = predict.Recommender(table(), 0)
    for noise, best in ((0.0, "dist"), (1.0, "hard")):
        expected = recommender.expect({"noise": noise}, [Candidate(method, {}) for method in METHODS])
        assert expected[0].candidate.method == best
        assert [each.gain for each in expected] == sorted((each.gain for each in expected), reverse=True)
    assert recommender.basis()["tasks"] == 6 and recommender.basis()["by_method"]["kd"] == 6


def test_regret_on_tasks_that_are_left_out() -> None:
    regret = predict.leave_one_task_out(table())
    assert regret.tasks == 6 and regret.recommended == 0.0
    assert regret.average == pytest.approx((1 + 2) / 2)
    assert predict.leave_one_task_out([each for each in table() if each.task < "task 2"]) is None


def test_the_level_of_a_task_says_nothing_about_a_method() -> None:
    """`hard` was only tried on the easiest task, where all score high: it gains nothing by that."""
    rows = [row(0, "kd", 5.0), row(0, "dist", 6.0), row(5, "kd", 5.0), row(5, "dist", 6.0), row(5, "hard", 0.0)]
    expected = predict.Recommender(rows * 2, 0).expect({"noise": 1.0}, [Candidate(method, {}) for method in METHODS])
    assert expected[-1].candidate.method == "hard"


@pytest.mark.parametrize("rows", [[], [row(task, "kd", 1.0) for task in range(5)]])
def test_too_little_is_one_line(rows: list[Row]) -> None:
    with pytest.raises(UserError, match=r"too few to learn from: .* run agentkd distill with two methods"):
        predict.Recommender(rows)
