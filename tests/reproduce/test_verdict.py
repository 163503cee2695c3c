"""The one rule: where the interval of the paired difference lies."""

from __future__ import annotations

import pytest

from agentkd.errors import UserError
from agentkd.reproduce.experiment import Comparison, Experiment, Row, report
from agentkd.reproduce.verdict import judge
from tests.support.lazy import require

require("scipy")


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ([1.0, 1.2, 0.9], "shown"),
        ([-1.0, -1.2, -0.9], "against"),
        ([1.0, -1.0, 0.1], "not shown"),
        ([0, 0], "not shown"),
    ],
)
def test_the_interval_decides(differences: list[float], verdict: str) -> None:
    assert judge(differences).verdict == verdict


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [([0.0, 0.0], "shown"), ([0.001, -0.001, 0.0], "shown"), ([5.0, 5.1, 4.9], "against"), ([0.0, 9.0], "not shown")],
)
def test_a_claim_of_equality_has_a_bound(differences: list[float], verdict: str) -> None:
    assert judge(differences, within=0.01).verdict == verdict


def test_the_interval_is_students() -> None:
    """Of 1, 2, 3, 4, 5: mean 3, standard error 0.7071, quantile 2.7764."""
    found = judge([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (round(found.low, 3), round(found.high, 3)) == (1.037, 4.963)


@pytest.mark.parametrize("differences", [[1.0], [], [1.0, float("nan")]])
def test_what_cannot_be_judged_is_refused(differences: list[float]) -> None:
    with pytest.raises(UserError):
        judge(differences)


def make_report(method: list[float], control: list[float], *, higher: bool = True) -> dict[str, object]:
    experiment = Experiment("m", "T", "P", "c", "b", Comparison("method", "control", "score", higher))
    rows = [Row(arm, seed, {"score": value}, 1.5, 1.25) for arm, values in (("method", method), ("control", control))
            for seed, value in enumerate(values)]  # fmt: skip
    return report("name", experiment, ["control", "method"], reversed(rows))


def test_seeds_are_paired() -> None:
    """The arms overlap, and yet each seed gains one."""
    found = make_report([11.0, 51.1, 90.9], [10.0, 50.0, 90.0])
    assert found["verdict"] == "shown"
    assert (found["seconds"], found["cpu_seconds"]) == (9.0, 7.5)
    assert found["rows"][0] == {  # type: ignore[index]
        "arm": "control", "metric": "score", "mean": 50.0, "sd": 40.0, "seeds": [0, 1, 2], "values": [10.0, 50.0, 90.0],
    }  # fmt: skip


def test_lower_may_be_better() -> None:
    found = make_report([1.0, 2.0, 3.0], [2.0, 3.1, 4.0], higher=False)
    comparison = found["comparisons"][0]  # type: ignore[index]
    assert comparison["verdict"] == "shown" and comparison["low"] < comparison["high"] < 0
    assert make_report([1.0, 2.0, 3.0], [2.0, 3.1, 4.0])["verdict"] == "against"
