"""`--method auto` for traces: folds of questions, a student's answers as reward, and rows in the table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentkd.config import DistillConfig, GenerateConfig
from agentkd.distill.publish.table_row import FILE, remember_score
from agentkd.errors import UserError
from agentkd.recommend.table import read_rows
from agentkd.runs.read import read_traces
from agentkd.runs.store import RunDirectory
from tests.support.lazy import lazily, require
from tests.support.traces import make_trace

require("torch", "trl", "sklearn", "optuna")
questions = lazily("agentkd.distill.auto.questions")
stages = lazily("agentkd.distill.stages")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine questions whose topic is France, verified; retrieval by words."""
    path = tmp_path_factory.mktemp("auto") / "run"
    with RunDirectory(path, "generate", GenerateConfig(task="geo", retriever="bm25"), {}) as directory:
        for number in range(9):
            directory.append(make_trace(f"country {number}"))
        directory.finish({})
    return path


def config(run: Path, student: Path, out: Path, **changes: Any) -> DistillConfig:
    values = {"traces": str(run), "student": str(student), "method": "auto", "budget_passes": 2.0, "epochs": 1}
    return DistillConfig.model_validate({**values, "batch": 4, "precision": "fp32", "out": str(out), **changes})


@pytest.mark.whole
def test_the_choice_is_trained_on_all_traces(
    run: Path, student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTKD_DATA_HOME", str(tmp_path / "home"))
    seen: list[set[str]] = []
    prepare = questions.Folds.prepare

    def spy(self: Any, fold: int) -> Path:
        folder: Path = prepare(self, fold)
        held = {json.loads(line)["id"] for line in (folder / "held.jsonl").read_text().splitlines()}
        learned = {trace.id for trace in read_traces(folder / "traces")}
        assert not held & learned and len(held | learned) == 9
        seen.append(held)
        return folder

    monkeypatch.setattr("agentkd.distill.auto.questions.Folds.prepare", spy)
    found = questions.distill_auto(config(run, student, tmp_path / "out"))
    assert found["examples"] == 9 and found["search"]["method"] == "sft" and found["search"]["trainings"] >= 3
    assert len(seen) == found["search"]["trainings"] and all(len(held) == 3 for held in seen)
    rows = read_rows()
    assert {row.score is None for row in rows if row.part == "held-out"} == {True}
    remember_score(tmp_path / "out", 40.0)
    assert [row.score for row in read_rows() if row.part == "held-out"] == [40.0]
    assert (tmp_path / "out" / FILE).exists() and not (tmp_path / "out/search/work").exists()
    again = questions.distill_auto(config(run, student, tmp_path / "out"))
    assert again["search"] == found["search"]


def test_methods_follow_from_the_teacher(run: Path, student: Path, teacher: Path, tmp_path: Path) -> None:
    alone, with_teacher = (
        questions.make_bed(each, *questions.resolve_auto(each))
        for each in (
            config(run, student, tmp_path / "a"),
            config(run, student, tmp_path / "b", teacher=str(teacher), nll=0.3),
        )
    )
    assert list(alone.space.methods) == ["sft"] and list(with_teacher.space.methods) == ["sft", "logits"]
    assert with_teacher.space.free("logits").keys() == {"lr", "divergence"}
    assert "teacher parameters" in with_teacher.facts and "teacher parameters" not in alone.facts


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"budget_passes": None}, "needs --budget-hours"),
        ({"limit": 3}, "3 questions are too few"),
        ({"control": "shuffled"}, "has nothing to choose"),
    ],
)
def test_what_cannot_be_searched_is_one_line(
    changes: dict[str, Any], line: str, run: Path, student: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=line):
        questions.distill_auto(config(run, student, tmp_path / "out", **changes))
