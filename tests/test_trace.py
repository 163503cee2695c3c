"""Records are frozen, whole after a copy, and known by their content."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agentkd.trace import (
    Check,
    Draft,
    Message,
    Score,
    StageTest,
    Step,
    ToolCall,
    ToolResult,
    Trace,
    Triple,
    Usage,
    Verdict,
)

FACT = Triple(head="France", relation="capital", tail="Paris", source="kb")
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
CALL = ToolCall(id="call_1", name="add", arguments='{"a":1, "b" :2}')
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
        "tools": (TOOL,),
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


def test_tool_calls_survive_json_as_the_model_wrote_them() -> None:
    asked = Message(role="developer", content="Add."), Message(role="user", content="1 + 2?", name="ann")
    found = ToolResult(name="add", arguments=CALL.arguments, result="3", id=CALL.id)
    first = Step(kind="call", messages=asked, tool_calls=(CALL,), reasoning="Easy.", tools=(0,), evidence=(found,))
    told = Message(role="tool", content="3", name="add", tool_call_id="call_1")
    last = Step(kind="call", messages=(*asked, first.reply, told), output="3", usage=Usage(calls=1), tools=(0,))
    checked = Step(kind="verify", evidence=(Check(name="is_right", passed=True, score=1.0),))
    trace = close(steps=(first, last, checked), tools=(TOOL,))
    line = trace.model_dump_json()
    again = Trace.model_validate_json(line)
    assert again == trace and again.model_dump_json() == line and again.content_hash() == trace.hash
    assert again.steps[1].messages[2].tool_calls[0].arguments == CALL.arguments
    assert again.tools_of(again.steps[0]) == [TOOL]
    assert [type(item) for step in again.steps for item in step.evidence] == [ToolResult, Check]


def test_a_step_that_follows_has_only_what_is_new() -> None:
    ask, told = Message(role="user", content="1+2?"), Message(role="tool", content="3", tool_call_id=CALL.id)
    first = Step(kind="call", messages=(ask,), tool_calls=(CALL,))
    code = Step(kind="check", evidence=(Check(name="is_right", passed=True),))
    last = Step(kind="call", messages=(told,), output="3", follows=True)
    more = Step(kind="call", output="So 3.", follows=True)
    trace = close(steps=(first, code, last, more))
    whole = (ask, first.reply, told)
    assert trace.prompts() == [(ask,), (), whole, (*whole, last.reply)]
    assert close(steps=(first, code, last, Step(kind="call", messages=(ask,)))).prompts()[-1] == (ask,)
    assert Trace.model_validate_json(trace.model_dump_json()) == trace
    with pytest.raises(ValidationError, match="follows none"):
        close(steps=(code, last))


def test_what_a_step_cost_is_no_part_of_the_hash() -> None:
    step = Step(kind="call", messages=(Message(role="user", content="?"),), output="!")
    other = step.model_copy(update={"usage": Usage(calls=1, seconds=2.0)})
    assert close(steps=(step,)).hash == close(steps=(other,)).hash != close(steps=(step, step)).hash


def test_a_step_cannot_be_offered_a_tool_that_is_not_there() -> None:
    with pytest.raises(ValidationError, match=r"the tools \[1\], of 1"):
        close(steps=(Step(kind="call", tools=(1,)),), tools=(TOOL,))


OLD = (
    '{"steps":[{"kind":"plan","messages":[{"role":"system","content":""},{"role":"user","content":"é?"}],"output":"o",'
    '"evidence":[{"type":"triple","head":"France","relation":"capital","tail":"Paris","source":"kb"},{"type":"test",'
    '"name":"ids","passed":true,"detail":""},{"type":"score","metric":"auc","value":0.5,"split":"cv"}],"verdict":{"ok":'
    'true,"rung":"endpoint","reason":""},"reward":0.5}],"answers":["Paris"],"usage":{"calls":1,"cached":0,'
    '"prompt_tokens":5,"completion_tokens":1,"seconds":0.25,"usd":0.0},"provenance":{"path":[["capital",1]]},"id":"q1",'
    '"sample":0,"task":"geo","question":"?","verified":true,"verdict":{"ok":true,"rung":"endpoint","reason":""},'
    '"teacher":"t","hash":"HASH"}'
)
"""A trace as it was written before messages knew tools."""


def test_a_trace_without_tools_is_written_and_hashed_as_ever() -> None:
    content = json.loads(OLD)
    del content["hash"], content["usage"]
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    old = OLD.replace("HASH", hashlib.sha256(text.encode()).hexdigest())
    trace = Trace.model_validate_json(old)
    assert trace.model_dump_json() == old and trace.content_hash() == trace.hash
    message = trace.steps[0].messages[0]
    assert message.model_dump() == {"role": "system", "content": ""}, "what chat templates and servers get"


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
