"""Records are frozen, whole after a copy, and known by their content."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agentkd.trace import Draft, Score, StageTest, Step, Trace, Triple, Usage, Verdict

FACT = Triple(head="France", relation="capital", tail="Paris", source="kb")
YES, NO = Verdict(ok=True, rung="endpoint"), Verdict(ok=False, rung="none", reason="no")


def close(**changes: Any) -> Trace:
    fields: dict[str, Any] = {
        "id": "q1",
        "sample": 0,
        "task": "geo",
        "question": "?",
        "steps": (Step(kind="answer", evidence=(FACT,), verdict=YES),),
        "answers": ("Paris",),
        "verified": True,
        "verdict": YES,
        "teacher": "t",
    }
    return Trace.close(**{**fields, **changes})


def test_the_hash_is_of_the_content_and_not_of_the_cost() -> None:
    trace = close()
    assert trace.hash == trace.content_hash() == close(usage=Usage(calls=9, seconds=1.5)).hash
    names = dict.fromkeys(("id", "task", "question", "teacher"), "other")
    changes = {
        **names,
        "sample": 1,
        "steps": (),
        "answers": (),
        "verified": False,
        "verdict": NO,
        "provenance": {"a": 1},
    }
    assert set(changes) == set(Trace.model_fields) - {"hash", "usage"}
    assert len({trace.hash, *(close(**{name: value}).hash for name, value in changes.items())}) == 1 + len(changes)
    assert close(provenance={"a": 1, "b": 2}).hash == close(provenance={"b": 2, "a": 1}).hash


def test_a_trace_survives_json() -> None:
    evidence = (FACT, StageTest(name="ids", passed=True), Score(metric="auc", value=0.5, split="cv"))
    trace = close(steps=(Step(kind="mixed", evidence=evidence, reward=0.5),), provenance={"path": [["capital", 1]]})
    again = Trace.model_validate_json(trace.model_dump_json())
    assert again == trace and again.content_hash() == trace.hash
    assert [type(item) for item in again.steps[0].evidence] == [Triple, StageTest, Score]


def test_records_do_not_change_and_know_their_fields() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        close().answers = ()
    for record in (Trace, Draft, Step, Triple, Usage):
        with pytest.raises(ValidationError, match="gold"):
            record.model_validate({"gold": ["Paris"]})


def test_evidence_of_refused_steps_does_not_count() -> None:
    no, code = (FACT.model_copy(update={"tail": tail}) for tail in ("Lyon", "Brest"))
    found = [((FACT, FACT), YES), ((no,), NO), ((code, StageTest(name="ids", passed=True)), None), ((FACT,), YES)]
    steps = tuple(Step(kind="a", evidence=evidence, verdict=verdict) for evidence, verdict in found)
    assert Draft(steps=steps, answers=()).triples == [FACT, code]


usages = st.builds(Usage, **{name: st.integers(0, 10**6) for name in Usage.model_fields})


@given(st.lists(usages, max_size=5))
def test_usage_adds_up_field_by_field(found: list[Usage]) -> None:
    total = Usage.total(found)
    assert all(getattr(total, name) == sum(getattr(item, name) for item in found) for name in Usage.model_fields)
    assert total.tokens == total.prompt_tokens + total.completion_tokens


@pytest.mark.parametrize("field", ["calls", "prompt_tokens", "seconds", "usd"])
def test_usage_is_finite_and_not_negative(field: str) -> None:
    for value in (-1, float("inf"), float("nan"), 10**400):
        with pytest.raises(ValidationError):
            Usage.model_validate({field: value})
    most = Usage(calls=10**12, usd=1e9)
    assert (most + most).calls == 2 * 10**12, "a sum has no bound"
