"""`eval --inspect-log`: inspect-ai itself reads the logs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentkd.config import EvalConfig
from agentkd.errors import UserError
from agentkd.eval import inspect_log
from agentkd.eval.inspect_log import write_log
from agentkd.eval.kbqa import evaluate
from tests.support.traces import SECRET, tooled

KB = "Ann\tmother of\tBen\nAnn\tmother of\tCleo\nAnn\tborn in\tOslo\n"
ROWS = [
    {"question": "Who is Ann the mother of?", "topic_entities": ["Ann"], "answers": ["Ben", "Cleo"]},
    {"question": "What was Ann born in?", "topic_entities": ["Ann"], "answers": ["Bergen"]},
]


def test_the_package_is_asked_for_before_anything_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect_log, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install inspect-ai"):
        evaluate(EvalConfig(agent="top-path", out=str(tmp_path / "out"), inspect_log=str(tmp_path / "logs")))
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="leave it out with --predictions"):
        evaluate(EvalConfig(predictions="a.jsonl", inspect_log="logs"))


def test_inspect_reads_an_evaluation(tmp_path: Path) -> None:
    log = pytest.importorskip("inspect_ai.log")
    (tmp_path / "kb.tsv").write_text(KB)
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    options: dict[str, Any] = {"task": str(tmp_path / "q.jsonl"), "kb": str(tmp_path / "kb.tsv"), "retriever": "bm25"}
    logs = str(tmp_path / "logs")
    report = evaluate(
        EvalConfig(agent="top-path", hops=2, paths=1, out=str(tmp_path / "out"), inspect_log=logs, **options)
    )
    (info,) = log.list_eval_logs(logs)
    found = log.read_eval_log(info)
    assert found.status == "success" and found.eval.model == "top-path" and found.results.total_samples == 2
    scores = {score.name: score.metrics["f1"].value for score in found.results.scores}
    assert scores["strict"] == pytest.approx(report["rows"][0]["f1"] / 100)
    assert [sample.scores["strict"].value for sample in found.samples] == [1, 0]
    assert found.samples[0].target == ["Ben", "Cleo"] and found.samples[0].scores["strict"].answer == "Ben\nCleo"


def test_messages_and_tools(tmp_path: Path) -> None:
    log = pytest.importorskip("inspect_ai.log")
    trace = tooled()
    record = {
        "id": trace.id, "question": "?", "prediction": SECRET, "ground_truth": [SECRET], "topics": [], "path": None,
        "rung": "none", "scores": {"strict": dict.fromkeys(("hit", "hits1", "precision", "recall", "f1", "em"), 1.0)},
    }  # fmt: skip
    path = write_log(tmp_path / "a.json", "geo", "m", [record], {trace.id: trace}, ["strict"])
    (sample,) = log.read_eval_log(str(path)).samples
    user, assistant = sample.messages
    assert user.text == SECRET and assistant.tool_calls[0].arguments == {"q": SECRET}
    assert sample.output.usage.input_tokens == 7
