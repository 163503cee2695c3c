"""Evaluation questions are not learned from: by text, by the root of an id, and only across splits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentkd.tasks.decontaminate import make_evaluation_check
from tests.support.traces import make_trace


@pytest.fixture
def source(tmp_path: Path) -> dict[str, str]:
    rows = [
        {"id": "t-1", "question": "What is the capital of France?", "split": "train"},
        {"id": "t-2", "question": "What is the capital of Spain?", "split": "train"},
        {"id": "e-1", "question": "what is THE capital of france", "split": "test"},
        {"id": "WebQTest-7_0123456789abcdef0123", "question": "A composed one?", "split": "test"},
    ]
    shared = {"topic_entities": ["France"], "answers": ["Paris"]}
    (tmp_path / "own.jsonl").write_text("".join(json.dumps({**row, **shared}) + "\n" for row in rows))
    (tmp_path / "kb.tsv").write_text("France\tcapital\tParis\n")
    return {"task": str(tmp_path / "own.jsonl"), "kb": str(tmp_path / "kb.tsv"), "split": "train"}


def test_by_text_and_by_the_root_of_the_id(source: dict[str, str]) -> None:
    asked = make_evaluation_check(source)
    assert asked(make_trace("t-1", question="What is the capital of France?"))
    assert not asked(make_trace("t-2", question="What is the capital of Spain?"))
    assert asked(make_trace("WebQTest-7", question="The original one?"))


def test_files_that_are_gone_are_told(source: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    asked = make_evaluation_check({**source, "task": "gone.jsonl"})
    assert not asked(make_trace("t-1", question="What is the capital of France?"))
    assert "not checked against evaluation questions" in capsys.readouterr().err
