"""`agentkd gate`: right decisions on simulated systems, and what it reads or makes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentkd.config import EvalConfig, GateConfig, GenerateConfig
from agentkd.errors import UserError
from agentkd.eval.gate import decide, describe_gate, gate
from agentkd.eval.kbqa import evaluate
from agentkd.generate import generate
from agentkd.runs.store import RunDirectory
from agentkd.runs.summary import RATIONALISED_SAMPLE
from agentkd.trace import Step, Trace, Verdict
from tests.support.commands import call

FOUR = [0.0, 0.5, 0.8, 1.0]  # scores of a question by F1


def simulate(rng: np.random.Generator, kind: str, questions: int) -> tuple[Any, Any, float]:
    """Scores of a student and a teacher, and the true ratio of their means."""
    if kind == "identical":
        teacher = rng.random(questions) < 0.8
        return teacher.astype(float), teacher.astype(float), 1.0
    if kind == "rare fault":  # equal on nearly all questions: a small sample sees no difference
        teacher = np.ones(questions)
        return (rng.random(questions) < 0.94).astype(float), teacher, 0.94
    if kind == "boundary":
        teacher = np.ones(questions)
        return (rng.random(questions) < 0.95).astype(float), teacher, 0.95
    skill = rng.random()
    share = {"worse": 0.8, "better": 1.1, "just below": 0.94}[kind]
    p_teacher = np.array([0.3 - 0.1 * skill, 0.1, 0.1, 0.5 + 0.1 * skill]) * 0.8 + np.array([0.2, 0, 0, 0])
    mean = float(p_teacher @ FOUR)
    p_student = p_teacher * share
    p_student[0] = 1 - p_student[1:].sum()
    shared = rng.random(questions)  # the hard questions are hard for both
    own = np.where(rng.random(questions) < 0.7, shared, rng.random(questions))
    pick = lambda p, u: np.array(FOUR)[np.minimum(np.searchsorted(np.cumsum(p), u), 3)]  # noqa: E731
    return pick(p_student, own), pick(p_teacher, shared), float(p_student @ FOUR) / mean


def test_few_of_two_hundred_decisions_are_wrong() -> None:
    """Pairs at, below and above the boundary, of 3 to 2,000 questions; what is clear is decided."""
    rng = np.random.default_rng(24)
    wrong, clear = [], []
    kinds = ["identical", "rare fault", "boundary", "worse", "better", "just below"]
    for number in range(200):
        kind = kinds[number % len(kinds)]
        questions = int(rng.choice([3, 10, 30, 100, 300, 2_000]))
        student, teacher, truth = simulate(rng, kind, questions)
        found = decide(student, teacher, at_least=0.95).answer
        wrong.append(found != "undecided" and (found == "yes") != (truth >= 0.95 - 1e-12))
        if questions == 2_000 and kind in ("identical", "worse", "better"):
            clear.append(found == ("no" if kind == "worse" else "yes"))
    assert sum(wrong) / len(wrong) <= 0.05
    assert clear and all(clear)


def test_equal_answers_to_few_questions_prove_nothing() -> None:
    """A bootstrap of equal scores has no width. With 0.95^n <= 0.025 the fault that would matter would have shown."""
    assert decide([1.0] * 3, [1.0] * 3, at_least=0.95).answer == "undecided"
    assert decide([1.0] * 71, [1.0] * 71, at_least=0.95).answer == "undecided"
    assert decide([1.0] * 74, [1.0] * 74, at_least=0.95).answer == "yes"
    assert decide([1.0] * 30, [1.0] * 30, at_least=0.95).more == pytest.approx(42, abs=4)
    assert decide([1.0] * 30, [1.0] * 30, at_least=1.0).more is None
    assert decide([0.0] * 9, [0.0] * 9, at_least=0.95).answer == "undecided"
    assert decide([0.0] * 9, [1.0] * 9, at_least=0.95).answer == "no"


def test_the_number_of_questions_that_would_decide_does() -> None:
    teacher = [1.0] * 80 + [0.0] * 20
    student = [0.0] * 2 + [1.0] * 80 + [0.0] * 18
    found = decide(student, teacher, at_least=0.95)
    assert found.answer == "undecided" and found.more
    times = -(-(found.more + 100) // 100) + 1
    assert decide(np.tile(student, times), np.tile(teacher, times), at_least=0.95).answer == "yes"
    assert decide(student, teacher, at_least=0.95) == found  # seeded


ROWS = [
    {"question": f"What is the capital of {name}?", "topic_entities": [name], "answers": [f"{name} City"]}
    for name in (f"Land {number}" for number in range(90))
]


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("gate")
    (folder / "kb.tsv").write_text("".join(f"Land {n}\tcapital\tLand {n} City\n" for n in range(90)))
    (folder / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return {"task": str(folder / "q.jsonl"), "kb": str(folder / "kb.tsv"), "retriever": "bm25", "hops": 1}


def write_answers(path: Path, right: int, *, count: int = 90) -> Path:
    rows = [
        {"id": str(n), "question": "?", "prediction": "a" if n < right else "b", "ground_truth": ["a"]}
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_exit_codes_and_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = write_answers(tmp_path / "teacher.jsonl", 90)

    def run(right: int, *more: str) -> tuple[int, str, str]:
        student = write_answers(tmp_path / "student.jsonl", right)
        return call(["gate", "--student", str(student), "--teacher", str(teacher), *more], monkeypatch, capsys)

    code, out, _ = run(90)
    assert code == 0 and out.startswith("yes: f1 (strict) of the student is 100.0 % of the teacher's [96.")
    code, out, _ = run(50)
    assert code == 1 and out.startswith("no: ")
    code, out, _ = run(88)
    assert code == 1 and out.startswith("undecided: ") and "more questions like these would decide it" in out
    code, out, _ = run(88, "--json")
    found = json.loads(out)
    assert code == 1 and found["decision"] == "undecided" and found["more_questions"] > 0 and not found["passes"]
    assert run(88, "--at-least", "0.9", "--json")[0] == 0
    assert run(88, "--metric", "f2")[0] == 2
    assert run(88, "--matcher", "strikt")[0] == 2


def test_missing_answers_count_and_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    teacher = write_answers(tmp_path / "teacher.jsonl", 90)
    student = write_answers(tmp_path / "student.jsonl", 80, count=80)
    both = {"student": str(student), "teacher": str(teacher)}
    found = gate(GateConfig(**both))
    assert found["questions"] == 90 and found["score_student"] == pytest.approx(80 / 90)
    assert "no answer to 10 of 90 questions: they count as wrong (missing=leave-out" in capsys.readouterr().err
    assert gate(GateConfig(**both, missing="leave-out"))["questions"] == 80
    found = gate(GateConfig(student=str(teacher), teacher=str(student)))
    assert found["questions"] == 80 and "10 of the student's questions" in capsys.readouterr().err


@pytest.mark.whole
def test_an_evaluation_is_made_where_there_is_none(task: dict[str, Any], tmp_path: Path) -> None:
    """The agent of a run of `generate` and the student are asked the same held-out questions, once."""
    from tests.support.students import little_student

    generate(GenerateConfig(agent="top-path", paths=1, limit=3, out=str(tmp_path / "run"), **task))
    student = little_student(tmp_path / "student")
    config = GateConfig(student=str(student), teacher=str(tmp_path / "run"), limit=8, out=str(tmp_path / "eval"))
    found = gate(config)
    assert found["questions"] == 8 and found["score_teacher"] == 1 and not found["passes"]
    assert found["teacher"] == str(tmp_path / "eval/questions/top-path.jsonl")
    answers = [path.stat().st_mtime_ns for path in tmp_path.glob("eval/*/traces-0.jsonl")]
    assert len(answers) == 2 and gate(config) == found
    assert answers == [path.stat().st_mtime_ns for path in tmp_path.glob("eval/*/traces-0.jsonl")]
    named = gate(GateConfig(student=str(student), teacher=str(tmp_path / "eval")))
    assert named["student"] == found["student"]
    (student / "model.safetensors").touch()
    with pytest.raises(UserError, match=r"has no answers of .* with these weights"):
        gate(GateConfig(student=str(student), teacher=str(tmp_path / "eval")))


def test_an_evaluation_is_only_read(task: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "eval"
    evaluate(EvalConfig(agent="top-path", paths=1, out=str(out), **task))
    questions = out / "questions"
    student = questions / "a-student.jsonl"
    student.write_text((questions / "top-path.jsonl").read_text())
    for teacher in (out, out / "top-path", questions / "top-path.jsonl"):
        found = gate(GateConfig(student=str(student), teacher=str(teacher)))
        assert found["teacher"] == str(questions / "top-path.jsonl") and found["decision"] == "yes"
    write_answers(questions / "third.jsonl", 1)
    with pytest.raises(UserError, match=r"2 systems beside the student \(third.jsonl, top-path.jsonl\)"):
        gate(GateConfig(student=str(student), teacher=str(out)))


@pytest.mark.parametrize(
    ("student", "teacher", "line"),
    [
        ("a.jsonl", "nowhere", "no file or directory nowhere"),
        ("b.jsonl", "t.jsonl", r"no file .*b\.jsonl; did you mean"),
        ("a.jsonl", "u.jsonl", "no question in common"),
        ("a.jsonl", ".", "is not a run directory"),
        ("other", "t.jsonl", "has no answers of other"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, student: str, teacher: str, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_answers(Path("a.jsonl"), 1)
    write_answers(Path("t.jsonl"), 1)
    Path("u.jsonl").write_text(json.dumps({"id": "x", "question": "?", "prediction": "", "ground_truth": []}) + "\n")
    with pytest.raises(UserError, match=line):
        gate(GateConfig(student=student, teacher=teacher))


def test_two_runs_by_what_is_verified(tmp_path: Path) -> None:
    """Samples of a question share it, what failed for good is not verified, a rationalised sample does not count."""
    write_run(tmp_path / "teacher", {("a", 0): True, ("a", 1): True, ("b", 0): True, ("b", 1): True})
    write_run(tmp_path / "student", {("a", 0): True, ("a", 1): False, ("a", RATIONALISED_SAMPLE): True}, failed=["b"])
    own = {"student": str(tmp_path / "student"), "teacher": str(tmp_path / "teacher"), "metric": "verified"}
    found = gate(GateConfig(**own, at_least=0.2))
    assert (found["score_student"], found["score_teacher"], found["questions"]) == (0.25, 1.0, 2)
    assert found["matcher"] is None and "verified of the student is 25.0 %" in describe_gate(found)
    with pytest.raises(UserError, match="--metric verified"):
        gate(GateConfig(**{**own, "metric": "f1"}))
    with pytest.raises(UserError, match="not a run directory"):
        gate(GateConfig(**{**own, "student": str(tmp_path / "nowhere")}))


def write_run(path: Path, verdicts: dict[tuple[str, int], bool], failed: Sequence[str] = ()) -> None:
    """A finished run of an agent of a user."""
    config = GenerateConfig(task="items.jsonl", agent="mine.py:graph", out=str(path))
    with RunDirectory(path, "generate", config, {}) as run:
        for (name, sample), ok in verdicts.items():
            verdict = Verdict(ok=ok, rung="exact" if ok else "answered")
            facts = {"task": "items", "question": name, "verified": ok, "verdict": verdict, "teacher": "mock"}
            step = Step(kind="call", output="x")
            run.append(Trace.close(steps=(step,), answers=("x",), id=name, sample=sample, **facts))
        for name in failed:
            run.fail((name, 0), "it raised", retry=False)
        run.finish({})
