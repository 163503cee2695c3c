"""The second chance that gold hints: what it proves is flagged, resumed, and left out on demand; agents see no gold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentkd.config import GenerateConfig
from agentkd.distill.data.dataset import load_dataset
from agentkd.generate import generate
from agentkd.runs.read import read_traces
from agentkd.runs.summary import RATIONALISED_SAMPLE


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "kb.tsv").write_text(
        "Ann\thas child\tBob\nAnn\tlives in\tOslo\nBob\tworks in\tRome\nBob\tworks in\tBonn\nEve\thas child\tDan\n"
    )
    rows = [
        {"id": "easy", "question": "has child Ann", "topic_entities": ["Ann"], "answers": ["Bob"]},
        {"id": "hard", "question": "lives child has Ann", "topic_entities": ["Ann"], "answers": ["Rome", "Bonn"]},
        {"id": "lost", "question": "who is the king of Eve", "topic_entities": ["Eve"], "answers": ["Zoe"]},
    ]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps({**row, "hops": 2}) + "\n" for row in rows))
    return {"task": str(tmp_path / "own.jsonl"), "kb": str(tmp_path / "kb.tsv"), "out": str(tmp_path / "run")}


def made(files: dict[str, str], **changes: Any) -> dict[str, Any]:
    options: dict[str, Any] = {"agent": "top-path", "retriever": "bm25", "split": "all", "paths": 2, **files, **changes}
    return generate(GenerateConfig.model_validate(options))


def test_gold_chooses_only_where_nothing_was_proven(files: dict[str, str]) -> None:
    run = Path(files["out"])
    assert made(files)["rationalised"] == 0 and {t.id for t in read_traces(run) if t.verified} == {"easy"}
    metrics = made(files, rationalise=True)
    assert metrics["rationalised"] == 1 and metrics["verified"] == 1, "the flagged ones are counted apart"
    second = {trace.id: trace for trace in read_traces(run) if trace.sample == RATIONALISED_SAMPLE}
    assert set(second) == {"hard", "lost"} and not second["lost"].verified and not second["lost"].answers
    hard = second["hard"]
    assert hard.verified and set(hard.answers) == {"Rome", "Bonn"} and hard.provenance["rationalised"] is True
    assert hard.verdict.rung == "gold" and hard.teacher == "none"
    before = (run / "traces-0.jsonl").read_bytes()
    made(files, rationalise=True)
    assert (run / "traces-0.jsonl").read_bytes() == before, "the same command does nothing twice"
    assert {example.id for example in load_dataset(run, "one-call").examples} == {"easy", "hard"}
    without = load_dataset(run, "one-call", rationalised=False)
    assert {example.id for example in without.examples} == {"easy"} and without.left_out["rationalised"] == 1
    (example,) = (example for example in load_dataset(run, "one-call").examples if example.id == "hard")
    assert "has child > works in" in example.prompt[-1].content  # type: ignore[union-attr]  # the student can read it off its prompt


def test_the_best_sample_is_learned_from(tmp_path: Path) -> None:
    kb = tmp_path / "kb.tsv"
    kb.write_text("Ann\tchild\tBob\nAnn\tfamily child\tBob\nAnn\tfamily child\tCleo\n")
    row = {"id": "q", "question": "child of Ann", "topic_entities": ["Ann"], "answers": ["Bob", "Cleo"], "hops": 1}
    (tmp_path / "own.jsonl").write_text(json.dumps(row) + "\n")
    files = {"task": str(tmp_path / "own.jsonl"), "kb": str(kb), "out": str(tmp_path / "run")}
    made(files, samples=2)
    traces = {trace.sample: trace for trace in read_traces(tmp_path / "run")}
    assert [traces[n].answers for n in (0, 1)] == [("Bob",), ("Bob", "Cleo")] and all(
        t.verified for t in traces.values()
    )
    (example,) = load_dataset(tmp_path / "run", "one-call").examples
    assert "Cleo" in example.target


def test_until_verified_asks_no_more_than_it_needs(files: dict[str, str]) -> None:
    made(files, samples=2, until_verified=True)
    asked = {(trace.id, trace.sample) for trace in read_traces(Path(files["out"]))}
    assert asked == {("easy", 0), ("hard", 0), ("hard", 1), ("lost", 0), ("lost", 1)}
    made(files, samples=2)
    assert len(list(read_traces(Path(files["out"])))) == 6, "the extent can grow to all samples"
