"""The table of an evaluation: rows that say the same are one, small kinds one line, and who is better is said."""

from __future__ import annotations

from typing import Any

import pytest

from agentkd.config import EvalConfig
from agentkd.eval.systems import System
from agentkd.eval.table import print_evaluation

SCORES = (
    "hit",
    "hits1",
    "precision",
    "recall",
    "f1",
    "em",
    "faithful",
    "calls",
    "tokens",
    "seconds",
    "f1_low",
    "f1_high",
)


def row(name: str, matcher: str, **changes: Any) -> dict[str, Any]:
    return {"name": name, "matcher": matcher, "n": 9, **dict.fromkeys(SCORES, 50.0), "read_by": "weighed", **changes}


def difference(name: str, f1: float, low: float, high: float) -> dict[str, Any]:
    return {"name": name, "minus": "base", "matcher": "strict", "f1": f1, "f1_low": low, "f1_high": high}


def shown(capsys: pytest.CaptureFixture[str], **report: Any) -> str:
    print_evaluation(
        {"task": "films", "split": "test", "n": 9, "rows": [row("s", "strict")], "differences": [], **report}
    )
    return capsys.readouterr().out


def test_matchers_that_agree_share_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row("s", "strict"), row("s", "rog"), row("t", "strict"), row("t", "rog", f1=51.0)]
    out = shown(capsys, rows=rows)
    assert out.count("strict, rog") == 1 and out.count("51.0") == 1 and out.count("weighed") == 3


@pytest.mark.parametrize("columns", [None, "60"])
def test_no_column_is_cut_off(
    columns: str | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rich would cut what a narrow terminal, or the width that it takes for a file, has no room for."""
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
        monkeypatch.setenv("FORCE_COLOR", "1")
    rows = [row("students/one", "strict", best_shown=71.5, best_wide=81.5, proof=61.5, read_by="8 votes")]
    out = shown(capsys, rows=rows, ceiling=50)
    assert all(text in out for text in ("Hits@1", "best of 50", "71.5", "81.5", "61.5", "read by", "8 votes")), out


def test_small_kinds_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    kinds = [{**row("s", "strict"), "group": f"kind {n}", "n": n} for n in (1, 2, 4, 5)]
    out = shown(capsys, groups=kinds)
    assert "kind 5" in out and "kind 4" not in out and "3 kinds have fewer than 5 questions, 7 in all" in out


def test_a_difference_says_who_is_better(capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, differences=[difference("s", 5, 1, 9), difference("t", -5, -9, -1), difference("u", 1, -1, 3)])
    lines = [line.rpartition(": ")[2] for line in out.splitlines() if "minus base" in line]
    assert lines == ["s is better", "base is better", "these questions do not tell which is better"]


def test_a_student_below_the_untrained_model_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert "warning" not in shown(capsys)
    out = " ".join(shown(capsys, below_untrained=[difference("s", -13.3, -30, 3.3)]).split())
    assert "warning: s is below the untrained model. s minus base: strict F1 -13.3 [-30.0, +3.3] (paired, 95 %)" in out


@pytest.mark.parametrize(
    ("agent", "model", "served", "changes", "expected"),
    [
        ("path-writer", "students/a", False, {}, "weighed"),
        ("path-writer", "local:students/a/model-f16.gguf", True, {}, "8 votes"),
        ("path-writer", "http://host/v1#a", True, {"votes": 4}, "4 votes"),
        ("path-writer", "students/a", False, {"constrain": "none"}, "one answer"),
        ("kd-cot", "local", True, {}, "one answer"),
        ("kd-cot", "http://host/v1#smollm2-135m", True, {}, "8 votes"),
        ("kd-cot", "vllm:Qwen/Qwen3-8B", True, {}, "one answer"),
        ("one-call", "students/a", False, {}, "one answer"),
        ("top-path", "none", True, {}, "no model"),
    ],
)
def test_how_a_model_is_read(agent: str, model: str, served: bool, changes: dict[str, Any], expected: str) -> None:
    system = System("x", agent, model, served, "")
    assert system.describe_reading(EvalConfig.model_validate(changes), 3) == expected
