"""The page: it holds the figures, escapes what models and KBs say, and asks nothing of the network."""

from __future__ import annotations

import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from agentkd.cli.main import app
from agentkd.errors import UserError
from agentkd.report import page
from agentkd.report.write import write_report
from agentkd.trace import Score, StageTest, Step, Trace, Triple, Usage, Verdict

EVIL = "<script>alert('x')</script>"
CONFIG = {
    "stage": "generate", "task": "geo", "data": None, "kb": None, "split": "train", "agent": "kd-cot", "limit": 2,
    "seed": 0, "teacher": "http://host:8000/v1#model", "samples": 1, "hash_data": "d", "hash_kb": "k",
}  # fmt: skip
STUDENT = {"stage": "distill", "student": "tiny", "method": "sft", "traces": "runs/r", "epochs": 3.0, "batch": 8}
F1 = {"base": 12.3, "students/s": 45.6}
LEARNED = {
    "examples": 21,
    "steps": 3,
    "loss_first": 2.5,
    "loss_last": 0.125,
    "seconds": 9.0,
    "losses": [2.5, 1.0, 0.125],
}


def trace(name: str = "q1", *, answers: tuple[str, ...] = ("Paris",), ok: bool = True, **fields: Any) -> Trace:
    values: dict[str, Any] = {
        "steps": (
            Step(kind="survey", output=json.dumps({"topics": ["France"], "candidates": []})),
            Step(kind="plan", output='{"thought":"Think.","action":"Question","input":"Which city?"}'),
            Step(kind="read", output='"country capital"'),
            Step(
                kind="answer",
                output="\n".join(answers),
                evidence=(Triple(head="France", relation="country.capital", tail="Paris"),),
                verdict=Verdict(ok=True, rung="endpoint"),
            ),
        ),
        "question": "What is the capital of France?",
        "verdict": Verdict(ok=ok, rung="gold" if ok else "complete", reason="" if ok else "proven, but not gold"),
        "usage": Usage(calls=3, prompt_tokens=1200, completion_tokens=34, seconds=1.5),
    }
    values |= {"id": name, "sample": 0, "task": "geo", "teacher": "t", "verified": ok, "answers": answers}
    return Trace.close(**{**values, **fields})


def run_folder(path: Path, traces: list[Trace], config: dict[str, Any] = CONFIG, **files: Any) -> Path:
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(yaml.safe_dump(config))
    (path / "traces-0.jsonl").write_text("".join(item.model_dump_json() + "\n" for item in traces))
    for name, content in files.items():
        (path / f"{name}.json").write_text(json.dumps(content))
    return path


def row(name: str, matcher: str, f1: float) -> dict[str, Any]:
    scores = dict.fromkeys(("hit", "hits1", "precision", "recall", "em"), 50.0)
    return {"name": name, "matcher": matcher, "n": 2, **scores, "f1": f1, "f1_low": f1 - 10, "f1_high": f1 + 10,
            "faithful": None, "calls": 1.0, "tokens": 321.0, "seconds": 0.5}  # fmt: skip


def evaluation(path: Path) -> Path:
    path.mkdir()
    rows = [row(name, matcher, f1) for name, f1 in F1.items() for matcher in ("rog", "strict")]
    difference = {
        "name": "students/s",
        "minus": "base",
        "matcher": "strict",
        "f1": 33.3,
        "f1_low": 1.5,
        "f1_high": 60.0,
    }
    report = {"task": "geo", "split": "test", "n": 3, "note": "mind the gap", "rows": rows, "differences": [difference]}
    (path / "metrics.json").write_text(json.dumps(report))
    config = CONFIG | {"stage": "answers", "agent": "one-call", "hash_data": "another"}
    run_folder(
        path / "base-0123abcd",
        [trace("q2", answers=("Lyon",)), trace("q1", answers=(EVIL,), question=EVIL)],
        config | {"teacher": "base", "hash_weights": "0123abcdef"},
    )
    run_folder(
        path / "students-s",
        [trace("q1"), trace("q2", answers=("Paris", "Lyon", "Nice"))],
        config | {"teacher": "students/s/"},
    )
    return path


class Names(HTMLParser):
    """Collects tags, and the attributes that make a browser fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [str(value) for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]


def read(path: Path) -> str:
    """The page, checked for what no page may have."""
    html = path.read_text()
    names = Names()
    names.feed(html)
    assert not names.links and not {"script", "link", "img", "iframe", "object"} & set(names.tags)
    assert "@import" not in html and "url(" not in html
    assert "default-src 'none'" in html and "prefers-color-scheme: dark" in html
    return html


def words(html: str) -> str:
    """The text that a reader sees, with single blanks."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def test_a_run_of_agents(tmp_path: Path) -> None:
    traces = [trace("q1", question=EVIL, answers=(EVIL,)), trace("q2", ok=False)]
    path = run_folder(tmp_path / "run", traces)
    failures = [{"id": "q3", "sample": 0, "error": f"refused {EVIL}", "retry": False},
                {"id": "q1", "sample": 0, "error": "came back later", "retry": True}]  # fmt: skip
    (path / "failures-0.jsonl").write_text("".join(json.dumps(item) + "\n" for item in failures))
    html = read(write_report(path))
    text = words(html)
    assert EVIL not in html and html.count("&lt;script&gt;") >= 4  # question, answers, a step's output, a failure
    assert "50.0 %" in text and "1 of 2 traces" in text and "proven, but not gold 1" in text
    assert "gold a gold answer is hit 1 · 50.0 %" in text and "complete the chain's full answer set 2 · 100.0 %" in text
    assert "prompt tokens 2 400 1 200.0" in text
    assert "Thought 1 Think. Action 1 Question[Which city?]" in text
    assert "Answer 1 Paris France country.capital Paris" in text
    assert "refused" in text and "came back later" not in text
    assert "Not complete" in text  # there is no manifest
    assert "http://host:8000/v1#model" in text  # as text it may stand there


def test_metrics_that_are_handed_over_are_shown(tmp_path: Path) -> None:
    path = run_folder(tmp_path / "run", [trace()])
    metrics = {"questions": 7, "traces": 1, "verified": 1, "questions_with_verified": 1, "rungs": {"gold": 1},
               "calls": 3.0, "tokens": 1234.0}  # fmt: skip
    text = words(write_report(path, metrics=metrics).read_text())
    assert "questions 7" in text and "Not complete" not in text and "1 234" in text


def test_an_empty_run_has_a_page(tmp_path: Path) -> None:
    assert "Not complete" in read(write_report(run_folder(tmp_path / "run", [])))


def test_without_gold_there_is_no_such_rung() -> None:
    assert [rung["name"] for rung in page.count_rungs({"complete": 2}, 2, 2)] == ["endpoint", "chain", "complete"]
    assert [rung["count"] for rung in page.count_rungs({"none": 1, "chain": 2, "gold": 3}, 6, 3)] == [5, 5, 3, 3]


def test_steps_of_another_form_are_shown_as_they_came() -> None:
    stage = Step(kind="stage", output="x = 1", evidence=(
        StageTest(name="shape", passed=False, detail=EVIL), Score(metric="auc", value=0.9123, split="cv")))  # fmt: skip
    odd = trace(steps=(Step(kind="plan", output="not JSON"), stage))
    metrics = {"questions": 1, "traces": 1, "verified": 1, "questions_with_verified": 1, "rungs": {"gold": 1},
               "calls": 1.0, "tokens": 1.0}  # fmt: skip
    html = page.render_generation(CONFIG, metrics, page.RunRecords(odd.usage, {}, [odd], []))
    text = words(html)
    assert "Thought 1 not JSON" in text and "Stage x = 1" in text and "0.9123" in text and "failed" in text
    assert EVIL not in html


def test_an_evaluation(tmp_path: Path) -> None:
    path = evaluation(tmp_path / "eval")
    html = read(write_report(path, gold={"q2": ("Lyon",), "q1": ("Paris",), "q0": ("nobody answered",)}))
    text = words(html)
    assert EVIL not in html and "&lt;script&gt;" in html
    table = text[text.index("All scores") :]
    assert table.index("base strict") < table.index("students/s strict") < table.index("base rog")
    assert "highest strict F1 45.6 students/s" in text and "mind the gap" in text
    assert "students/s minus base strict +33.3 +1.5, +60.0" in text
    assert 'x1="35.60%" x2="55.60%"' in html and 'cx="45.60%"' in html
    assert text.index("gold Lyon") < text.index("gold Paris")  # in the order asked
    assert "base Lyon ● right" in text and "students/s Paris; Lyon; Nice ◐ partly 0.50" in text and "○ wrong" in text


def test_gold_of_another_version_of_the_task_is_not_shown(tmp_path: Path) -> None:
    text = words(read(write_report(evaluation(tmp_path / "eval"))))
    assert "have changed since" in text and "judged" not in text and "Paris; Lyon; Nice" in text


def test_a_student(tmp_path: Path) -> None:
    run_folder(tmp_path / "runs/r", [], metrics={"verified": 21, "traces": 40})
    path = run_folder(tmp_path / "students/s", [], {**STUDENT, "student": EVIL}, metrics=LEARNED)
    html = read(write_report(path))
    text = words(html)
    assert EVIL not in html and "0.125" in text and "examples learned from 21" in text
    assert "verified traces 21 of 40" in text and "agent kd-cot" in text
    assert 'points="0.00,16.67 50.00,66.67 100.00,95.83 "' in html


def test_a_student_whose_run_is_gone(tmp_path: Path) -> None:
    path = run_folder(tmp_path / "s", [], STUDENT)
    assert "no longer at hand" in read(write_report(path, metrics={**LEARNED, "losses": []}))


def test_curves() -> None:
    assert page.draw_curve([]) is None
    long = page.draw_curve([1.0] * 1000)
    assert long is not None and long["averaged"] == 5 and len(long["points"]) == 200
    broken = page.draw_curve([float("nan"), 0.0])
    assert broken is not None and broken["points"] == [(100.0, 100.0)]
    assert [page.round_up(value) for value in (0.0, 0.03, 0.5, 7.0)] == [1.0, 0.05, 0.5, 10.0]


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(UserError, match="not a run directory"):
        write_report(tmp_path)
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        write_report(tmp_path)


def test_the_command_prints_the_path(tmp_path: Path) -> None:
    path = run_folder(tmp_path / "run", [trace()])
    result = CliRunner().invoke(app, ["report", str(path)])
    assert result.exit_code == 0 and result.stdout.strip() == str(path / "report.html")
    assert isinstance(CliRunner().invoke(app, ["report", str(tmp_path / "x")]).exception, UserError)
