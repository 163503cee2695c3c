"""The Python API: the commands as functions, with the same words, results and errors."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

import agentkd
from agentkd.config import EvalConfig, GenerateConfig, ImagesConfig
from agentkd.errors import UserError
from agentkd.runs.read import is_complete
from tests.support.paths import ROOT

FACTS = "Rome\tcapital of\tItaly\nParis\tcapital of\tFrance\n"
QUESTIONS = [
    {"question": "what is Rome the capital of", "topic_entities": ["Rome"], "answers": ["Italy"], "split": "train"},
    {"question": "what is Paris the capital of", "topic_entities": ["Paris"], "answers": ["France"], "split": "test"},
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kb.tsv").write_text(FACTS)
    (tmp_path / "ask.jsonl").write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))
    return tmp_path


OWN = {"task": Path("ask.jsonl"), "kb": "kb.tsv", "retriever": "bm25", "teacher": "none"}


def test_questions_become_traces_and_scores(here: Path) -> None:
    run = agentkd.generate(**OWN, agent="top-path", out=here / "run")
    assert run.path == here / "run" and run.complete and run.stage == "generate"
    (trace,) = run.traces()
    assert trace.answers == ("Italy",) and trace.verdict is not None and trace.verdict.ok
    assert run.metrics["verified"] == 1 and not list(run.failures())
    again = agentkd.generate(GenerateConfig(**{**OWN, "task": "ask.jsonl"}, agent="top-path", out=str(here / "run")))
    assert list(again.traces()) == [trace]

    scores = agentkd.evaluate(**OWN, agent=["top-path", "kd-cot"], baseline="top-path", out=here / "scores")
    assert [row["f1"] for row in scores.metrics["rows"] if row["matcher"] == "strict"] == [100, 100]
    opened = agentkd.load_run(here / "scores")
    assert opened.stage == "eval" and opened.complete and opened.metrics["rows"] == scores.metrics["rows"]


def test_the_names_stay_functions_once_their_modules_are_loaded(here: Path) -> None:
    import agentkd.distill.stages
    import agentkd.generate

    assert agentkd.distill.stages.distill and callable(agentkd.distill) and callable(agentkd.generate)
    with pytest.raises(UserError, match="unknown option 'tsk'; did you mean task"):
        agentkd.generate(tsk="geo")


def test_in_a_notebook_where_an_event_loop_runs(here: Path) -> None:
    async def cell() -> agentkd.Run:
        return agentkd.generate(**OWN, agent="top-path", out="run")

    assert is_complete(here / "run") is False
    assert asyncio.run(cell()).complete

    async def bad_cell() -> agentkd.Run:
        return agentkd.generate(task="nowhere.jsonl", kb="kb.tsv")

    with pytest.raises(UserError, match=r"nowhere\.jsonl"):
        asyncio.run(bad_cell())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: agentkd.load_run("ask.jsonl"), "not a run directory"),
        (lambda: agentkd.distill(task="imagse"), "did you mean images"),
        (lambda: agentkd.distill(traces="run", learning=1), "unknown option 'learning'"),
        (lambda: agentkd.evaluate(EvalConfig(), model="x"), "a config and model were given"),
        (lambda: agentkd.distill(ImagesConfig()), "--task images needs"),
        (lambda: agentkd.generate(**OWN, limit=0), "'limit' = 0"),
    ],
)
def test_wrong_words_are_one_line(here: Path, call, words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        call()
    assert "\n" not in str(error.value)


def test_scored_predictions_have_no_directory(here: Path) -> None:
    row = {"id": "1", "question": "q", "prediction": "Italy", "ground_truth": ["Italy"]}
    (here / "scores.jsonl").write_text(json.dumps(row) + "\n")
    run = agentkd.evaluate(predictions="scores.jsonl")
    assert run.path is None and not run.complete and run.metrics["rows"][0]["f1"] == 100
    with pytest.raises(UserError, match="no directory"):
        run.traces()


def test_import_is_light_and_names_are_found() -> None:
    code = (
        "import sys, agentkd; assert not {'torch', 'langgraph', 'pydantic'} & set(sys.modules);"
        "assert callable(agentkd.evaluate);"
        "agentkd.nothing"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "no attribute 'nothing'" in done.stderr


def test_a_recipe_of_stages_is_read_as_by_the_command(here: Path) -> None:
    (here / "recipe.yaml").write_text("task: images\nstages:\n  - method: kd\n  - seed: 1\n")
    with pytest.raises(UserError, match="stage 2 has seed, which all stages share"):
        agentkd.distill(recipe=here / "recipe.yaml")
    (here / "recipe.yaml").write_text("task: images\nstages:\n  - method: kd\n  - method: dist\n")
    with pytest.raises(UserError, match="--task images needs --data"):
        agentkd.distill(recipe=here / "recipe.yaml")
