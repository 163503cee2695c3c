"""A trace of a hub keeps a part of its answers and their number, and is scored as if it had all."""

import json
from pathlib import Path

import pytest

from agentkd.answering import CLIPPED, KEPT, clip_answers
from agentkd.config import EvalConfig, GenerateConfig
from agentkd.eval.kbqa import evaluate
from agentkd.eval.metrics import MATCHERS
from agentkd.eval.records import make_record, score_record
from agentkd.generate import generate
from agentkd.runs.read import read_traces
from agentkd.tasks.question import Gold
from agentkd.trace import Draft, Step, Trace, Verdict

MANY = [f"Person {number}" for number in range(KEPT + 50)]


def draft(answers: list[str]) -> Draft:
    steps = (
        Step(kind="survey", output='{"topics": [], "candidates": []}'),
        Step(kind="answer", output="\n".join(answers)),
    )
    return Draft(steps=steps, answers=tuple(answers), provenance={"path": []})


def test_answers_beyond_the_limit_are_counted_and_not_kept() -> None:
    assert clip_answers(draft(MANY[:KEPT]), KEPT) == draft(MANY[:KEPT])
    clipped = clip_answers(draft(MANY), KEPT)
    assert clipped.answers == tuple(MANY[:KEPT]) and clipped.provenance == {"path": [], CLIPPED: len(MANY)}
    assert [len(step.output.split("\n")) for step in clipped.steps] == [1, KEPT]


@pytest.mark.parametrize("matcher", ["strict", "strict-1", "rog"])
def test_a_clipped_trace_scores_as_the_whole_one(matcher: str) -> None:
    gold = Gold(answers=("Person 1", "Person 7", "Nobody", "1050"))
    clipped = clip_answers(draft(MANY), KEPT)
    close = {"id": "1", "task": "t", "question": "?", "verified": False, "verdict": Verdict(ok=False, rung="none")}
    values = {name: getattr(clipped, name) for name in type(clipped).model_fields}
    trace = Trace.close(**values, **close, sample=0, teacher="none")
    record = make_record(trace, gold, [matcher], None, None)
    assert score_record(record, matcher) == MATCHERS[matcher]("\n".join(MANY), gold.answers, ())


def test_a_hub_leaves_a_small_trace_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AGENTKD_HOME", str(tmp_path / "home"))
    (tmp_path / "kb.tsv").write_text("".join(f"Hub\thas resident\t{name}\n" for name in MANY) + "the US\tin\tHub\n")
    rows = [
        {"question": "Who is a resident of Hub?", "topic_entities": ["Hub"], "answers": ["Person 3"]},
        {"question": "Where is US in?", "topic_entities": ["US"], "answers": ["Hub"]},
    ]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {"task": str(tmp_path / "q.jsonl"), "kb": str(tmp_path / "kb.tsv"), "retriever": "bm25", "hops": 1}
    result = generate(GenerateConfig(agent="top-path", out=str(tmp_path / "run"), **options))
    hub, us = sorted(read_traces(tmp_path / "run"), key=lambda trace: trace.id)
    assert len(hub.answers) == KEPT and hub.provenance[CLIPPED] == len(MANY)
    assert hub.steps[-1].reward == round(2 / (len(MANY) + 1), 4)  # against gold, all answers count
    assert us.provenance["read_as"] == {"US": "the US"} and us.answers == ("Hub",)
    assert result["coverage"] == {"without_topic": 0, "read_loosely": 1, "unreachable_gold": 0}
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith("/kb.tsv: 2,051 facts, 2 relations, 2,052 names (first: Hub | has resident | Person 0)")
    assert any("1 topics are read as another spelling of a name (first: 'US' as 'the US')" in line for line in lines)
    assert any("more than 2,000 answers" in line for line in lines)
    report = evaluate(EvalConfig(agent="top-path", matchers="strict", out=str(tmp_path / "eval"), **options))
    assert report["coverage"] == result["coverage"]
    assert report["rows"][0]["f1"] == pytest.approx(50 + 100 / (len(MANY) + 1))
