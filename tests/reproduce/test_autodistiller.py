"""Regret on the family of little tasks: how it is counted, and what a shuffled table teaches."""

from __future__ import annotations

from itertools import combinations
from statistics import fmean

import pytest

from agentkd.recommend.table import Row
from tests.support.lazy import lazily, require

require("torch", "sklearn")
auto = lazily("agentkd.reproduce.language.autodistiller")


def row(task: int, place: int, score: float) -> Row:
    method, options = auto.CONFIGURATIONS[place]
    return Row(
        kind="questions", task=f"task {task}", group=f"task {task}", part="held-out", facts={"classes": 3.0},
        method=method, options=dict(options), seed=0, score=score, seconds=0.0, date="",
    )  # fmt: skip


def test_the_best_of_some_at_random() -> None:
    scores = [9.0, 7.0, 4.0, 4.0, 1.0]
    for count in (1, 3, 5):
        expected = fmean(max(some) for some in combinations(scores, count))
        assert auto.expected_best(scores, count) == pytest.approx(expected)


def test_regret_of_each_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last configuration is best on every task, the second is second."""
    last = len(auto.CONFIGURATIONS) - 1
    rows = tuple(
        row(task, place, 50.0 + 5 * task + {last: 9.0, 1: 6.0}.get(place, 0.0))
        for task in range(5)
        for place in range(last + 1)
    )
    monkeypatch.setattr("agentkd.reproduce.language.autodistiller.make_table", lambda seed, quick: rows)
    found = {arm: auto.one(arm, 0, False)["regret"] for arm in auto.ARMS}
    assert found["recommended"] == found["recommended, 3"] == found["best on average"] == 0.0
    assert found["random"] == pytest.approx(9 - 15 / (last + 1)) and found["no teacher"] == 9.0
    assert found["random, 3"] < found["random"] and found["shuffled"] > 0
