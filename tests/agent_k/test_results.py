"""Results are kept as plain dicts, in the form of earlier versions' runs, and read as records."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from agentkd.agents.agent_k.contract import Setup
from agentkd.agents.agent_k.results import (
    Best,
    Failed,
    Scored,
    dump_best,
    dump_results,
    first_score,
    gain,
    is_better,
    read_best,
    read_results,
)

BEGUN = {"author": "code", "folder": "linear-1a2b3c4d", "basis": "1a2b3c4d", "kind": "linear"}
SCORED = BEGUN | {"score": 0.75, "folds": [0.5, None, 1.0], "seconds": 1.5}
STOPPED = BEGUN | {"error": "stopped, over its limit of time"}
WRONG = BEGUN | {"error": "test.csv: no such file", "seconds": 2.0}
KEPT: dict[str, dict[str, Any]] = {"stopped": STOPPED, "scored": SCORED, "wrong": WRONG}


def setup(*, lower_is_better: bool) -> Setup:
    return Setup(
        train="train.csv", test="test.csv", sample="sample.csv", id="id", targets=("y",), outputs=("y",), task="binary",
        classes=("0", "1"), output="label", metric="accuracy", lower_is_better=lower_is_better,
    )  # fmt: skip


def test_candidates_are_dumped_as_they_were_read() -> None:
    results = read_results({"candidates": KEPT})
    assert [type(result) for result in results.values()] == [Failed, Scored, Failed]
    dumped = dump_results(results)
    assert dumped == KEPT and list(dumped) == list(KEPT)
    assert type(dumped["scored"]["folds"]) is list, "the checkpointer keeps lists"


def test_a_state_without_candidates_and_without_a_best_one() -> None:
    assert read_results({}) == {}
    assert read_best({}) is None and read_best({"best": {}}) is None
    assert dump_best(None) == {}


def test_the_best_one_is_dumped_as_it_was_read() -> None:
    kept = {"name": "linear", "score": 0.75, "file": "linear-1a2b3c4d.csv", "form": ""}
    best = read_best({"best": kept})
    assert isinstance(best, Best) and dump_best(best) == kept


@pytest.mark.parametrize("values", [BEGUN, SCORED | {"error": "both"}, SCORED | {"note": "unknown"}])
def test_other_shapes_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        read_results({"candidates": {"odd": values}})


def test_gains_are_counted_from_the_first_score() -> None:
    results = read_results({"candidates": KEPT})
    assert first_score(results) == 0.75
    assert first_score({"stopped": results["stopped"]}) is None


@pytest.mark.parametrize(("lower", "sign"), [(True, -1.0), (False, 1.0)])
def test_better_depends_on_the_direction_of_the_metric(lower: bool, sign: float) -> None:
    facts = setup(lower_is_better=lower)
    assert gain(facts, 0.75, 0.5) == sign * 0.25
    assert is_better(facts, 0.75, 0.5) is not lower and not is_better(facts, 0.5, 0.5)
    assert is_better(facts, 0.5, None)
