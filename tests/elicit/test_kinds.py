"""The six ways of elicitation on packaged data: what a teacher gives is verified, counted, and read by the rest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentkd.config import ElicitConfig
from agentkd.distill.data.dataset import load_dataset
from agentkd.doubts.review import review_run
from agentkd.elicit.novelty import split_words
from agentkd.elicit.run import elicit
from agentkd.elicit.writing import FILE, LONG, NAMELESS, REPEAT
from agentkd.errors import UserError, WorldError
from agentkd.proof import Proof
from agentkd.runs.read import find_newest_run, read_config, read_failures, read_traces
from agentkd.teacher.cache import Cache
from agentkd.trace import Trace
from tests.support import mock_server as mock
from tests.support.lazy import require
from tests.support.mock_server import MODEL, Server, mock_server
from tests.support.scripted_teacher import scripted_answer
from tests.support.students import little_student


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(mock, "answer", scripted_answer)
    with mock_server(faults=[429, 500, mock.GARBAGE]) as server:
        yield server


def make(kind: str, server: Server, out: Path, **options: Any) -> ElicitConfig:
    values = {"kind": kind, "teacher": server.spec, "out": str(out), "retriever": "bm25", "concurrency": 4}
    return ElicitConfig.model_validate({**values, "limit": 12, **options})


def read(out: Path) -> list[Trace]:
    return sorted(read_traces(out), key=lambda trace: (trace.id, trace.sample))


def test_labeling_labels_each_question_once(server: Server, tmp_path: Path) -> None:
    rows = [{"question": "What is the capital of Kenya?", "topic_entities": ["Kenya"]}] * 2
    rows += [{"question": "What is the continent of Kenya?", "topic_entities": ["Kenya"]}]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    kb = [("Kenya", "country.capital", "Nairobi"), ("Kenya", "country.continent", "Africa")]
    (tmp_path / "kb.tsv").write_text("".join("\t".join(fact) + "\n" for fact in kb))
    own = {"task": str(tmp_path / "q.jsonl"), "kb": str(tmp_path / "kb.tsv"), "hops": 1}
    result = elicit(make("labeling", server, tmp_path / "run", **own))
    assert result["left_out"] == {"question asked before": 1} and result["traces"] == result["verified"] == 2
    assert [trace.answers for trace in read(tmp_path / "run")] == [("Nairobi",), ("Africa",)]
    assert {trace.provenance["elicited"] for trace in read(tmp_path / "run")} == {"labeling"}


def test_expansion_writes_new_questions_and_counts_the_bad_ones(server: Server, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = elicit(make("expansion", server, out, count=24, limit=40))
    written = [json.loads(line) for line in (out / FILE).read_text().splitlines()[1:]]
    assert sum(result["left_out"].values()) + len(written) == 24
    assert {NAMELESS, LONG} < set(result["left_out"]), "bad questions are told by reason"
    failed = [row["error"] for row in read_failures(out)]
    assert len(failed) == sum(result["left_out"].values())
    traces = read(out)
    assert {trace.id for trace in traces} == {row["id"] for row in written} and traces
    assert len({split_words(trace.question, Proof.of(trace).topics) for trace in traces}) == len(traces)
    assert all(trace.provenance["shown"] and trace.usage.calls > 1 for trace in traces), "writing is a cost, too"
    assert read_config(out)["stage"] == "elicit" and find_newest_run(tmp_path) == out


def test_curation_keeps_what_finds_its_own_answers_again(server: Server, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = elicit(make("curation", server, out, count=24, limit=40, similar=1.0))
    traces = read(out)
    assert 0 < result["verified"] < len(traces)
    reasons = {trace.verdict.reason for trace in traces if not trace.verified}
    assert "the answers are not those of the path that the question was written for" in reasons
    assert all(trace.provenance["written_for"] for trace in traces)
    assert len(load_dataset(out).examples) > 0
    summary = review_run(out, count=2, seed=0, ask=lambda trace, group, place, total: "right")
    assert summary["right"] == min(2, result["verified"])


def test_features_are_distributions_over_paths(server: Server, tmp_path: Path) -> None:
    require("torch", "transformers")
    student = little_student(tmp_path / "teacher")
    elicit(make("feature", server, tmp_path / "run", teacher=str(student), limit=4))
    for trace in read(tmp_path / "run"):
        record = json.loads(next(step.output for step in trace.steps if step.kind == "feature"))
        assert record["weighed"] and sum(record["p"].values()) == pytest.approx(1, abs=1e-4)
        assert trace.verified or trace.verdict.reason


def test_feedback_pairs_a_refused_draft_with_a_correction(server: Server, tmp_path: Path) -> None:
    require("torch", "transformers")
    student = little_student(tmp_path / "student")
    (tmp_path / "student/config.yaml").write_text("stage: distill\nform: path\n")
    result = elicit(make("feedback", server, tmp_path / "run", student=str(student), limit=12))
    traces = read(tmp_path / "run")
    drafts = {trace.id: trace for trace in traces if trace.sample == 0}
    corrections = {trace.id: trace for trace in traces if trace.sample == 1}
    assert len(drafts) == 12 and set(corrections) == {name for name, draft in drafts.items() if not draft.verified}
    assert {trace.teacher for trace in drafts.values()} == {str(student)}
    assert all(trace.answers != drafts[name].answers for name, trace in corrections.items() if trace.verified)
    assert result["verified"] >= 1
    pairs = [example for example in load_dataset(tmp_path / "run", "path").examples if example.rejected]
    assert pairs, "a refused draft and its correction are a pair to prefer from"


def test_self_knowledge_asks_no_teacher(server: Server, tmp_path: Path) -> None:
    require("torch", "transformers")
    student = little_student(tmp_path / "student")
    (tmp_path / "student/config.yaml").write_text("stage: distill\nform: path\n")
    result = elicit(make("self-knowledge", server, tmp_path / "run", student=str(student), samples=3))
    assert not server.requests and result["traces"] == 36
    assert {trace.teacher for trace in read(tmp_path / "run")} == {str(student)}
    with pytest.raises(UserError, match="needs --student"):
        elicit(make("self-knowledge", server, tmp_path / "other"))
    with pytest.raises(UserError, match="asks no student"):
        elicit(make("labeling", server, tmp_path / "other", student=str(student)))


def test_money_is_kept_and_more_of_it_goes_on(server: Server, tmp_path: Path) -> None:
    out, prices = tmp_path / "run", tmp_path / "prices.yaml"
    prices.write_text(f"models: {{{MODEL}: {{prompt: 0, completion: 1000}}}}")
    options: dict[str, Any] = {"count": 8, "prices": str(prices)}
    with pytest.raises(WorldError, match=r"--max-usd is 0\.16: raise it"):
        elicit(make("expansion", server, out, max_usd=0.16, **options))
    assert 0 < Cache(out / "cache").usd <= 0.16
    result = elicit(make("expansion", server, out, max_usd=99, **options))
    assert result["usd"] == pytest.approx(0.003 * server.answered.total())
    assert set(server.answered.values()) == {1}, "no answer is paid for twice"


def test_a_larger_count_goes_on_from_the_smaller(server: Server, tmp_path: Path) -> None:
    elicit(make("expansion", server, tmp_path / "grown", count=8))
    elicit(make("expansion", server, tmp_path / "grown", count=16))
    elicit(make("expansion", server, tmp_path / "whole", count=16))
    hashes = [[trace.hash for trace in read(tmp_path / name)] for name in ("grown", "whole")]
    assert hashes[0] == hashes[1] and REPEAT
