"""The packaged tasks `sql` and `math`: honest data, agents with a tool, and traces that are computed again."""

from __future__ import annotations

import asyncio
import json
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agentkd.agents.with_tools import make_tool_agent
from agentkd.agents.with_tools.calculator import TURNS
from agentkd.agents.with_tools.context import ToolContext
from agentkd.distill.data.dataset import load_dataset
from agentkd.runs.read import read_traces
from agentkd.tasks.load import load_task
from agentkd.tasks.question import Question
from agentkd.tasks.tool_task import ToolTask
from agentkd.teacher.chat import NoTeacher, Reply
from agentkd.trace import Draft, Message, ToolResult, Usage
from agentkd.verifiers.arithmetic import compute, write_number
from agentkd.verifiers.sql import run_query
from agentkd.verify_tools import check_tools, judge_with_tools
from tests.support.commands import call
from tests.support.paths import ROOT

SPLITS = ("train", "dev", "test")


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENTKD_HOME", str(tmp_path_factory.mktemp("home")))
        yield


def database() -> Path:
    task = load_task("sql")
    assert isinstance(task, ToolTask) and task.database is not None
    return task.database


def rows(task: str, split: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (ROOT / "agentkd/data" / task / f"{split}.jsonl").read_text().splitlines()]


# ---- the data ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["sql", "math"])
def test_the_files_are_what_the_script_makes(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["build", "--out", str(tmp_path)])
    runpy.run_path(str(ROOT / f"scripts/build_{task}.py"), run_name="__main__")
    for split in SPLITS:
        assert (tmp_path / f"{split}.jsonl").read_bytes() == (ROOT / f"agentkd/data/{task}/{split}.jsonl").read_bytes()


def test_gold_is_what_the_gold_query_gives() -> None:
    for split in SPLITS:
        for row in rows("sql", split)[::5]:
            assert run_query(database(), row["sql"]).answers == row["answers"]
        for row in rows("math", split):
            assert write_number(compute(row["expression"])) == row["answers"][0]


def test_no_entity_is_in_two_splits() -> None:
    """The names of a query are those that its question names."""
    named = {
        split: {name for row in rows("sql", split) for name in row["sql"].replace("''", "\0").split("'")[1::2]}
        for split in SPLITS
    }
    assert all(len(names) > 40 for names in named.values())
    assert not named["train"] & named["test"] and not named["train"] & named["dev"] and not named["dev"] & named["test"]
    words = {split: {word for row in rows("math", split) for word in row["question"].split()} for split in SPLITS}
    for person in ("Ada", "Liam", "Mara", "Olga", "Quentin", "Yara"):
        assert sum(person in words[split] for split in SPLITS) == 1
    numbers = {
        split: {
            (row["type"], *(word for word in row["expression"].split() if word.strip("()").isdigit()))
            for row in rows("math", split)
        }
        for split in SPLITS
    }
    assert not numbers["train"] & numbers["test"] and not numbers["dev"] & numbers["test"]


# ---- the agents ----------------------------------------------------------------------------------------------------


class Scripted:
    """A model that says these texts, one after another."""

    name, weighs = "scripted", False

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts, self.asked = list(texts), list[list[Message]]()

    async def chat(self, messages: Sequence[Message], **_: Any) -> Reply:
        self.asked.append(list(messages))
        return Reply(
            texts=(self.texts[min(len(self.asked), len(self.texts)) - 1],), finish_reason="stop", usage=Usage(calls=1)
        )

    complete = chat


def solve(task: str, *texts: str) -> tuple[Draft, Scripted]:
    model = Scripted(texts)
    context = ToolContext(model, database=database() if task == "sql" else None)
    asked = Question(id="q", question="What is the capital of France?", topic_entities=())
    return asyncio.run(make_tool_agent(task, context).solve(asked, 0)), model


RIGHT = "SELECT capital FROM country WHERE name = 'France'"


def test_sql_is_run_and_its_rows_are_the_answer() -> None:
    draft, model = solve("sql", f"```sql\n{RIGHT}\n```")
    assert draft.answers == ("Paris",) and draft.usage.calls == 1
    assert [step.kind for step in draft.steps] == ["write", "run"]
    assert "country(name, capital" in model.asked[0][0].content
    assert check_tools(draft, database()).rung == "rows"
    _, verdict = judge_with_tools(draft, database(), ["Paris"])
    assert verdict.ok and verdict.rung == "gold"
    judged, verdict = judge_with_tools(draft, database(), ["Lyon"])
    assert not verdict.ok and verdict.rung == "rows" and judged.steps[-1].reward == 0


def test_a_query_that_fails_comes_back_twice() -> None:
    draft, model = solve("sql", "SELEC", "SELECT capital FROM country WHERE name = 'Nowhere'", RIGHT)
    assert draft.answers == ("Paris",) and check_tools(draft, database()).ok
    assert "syntax error" in model.asked[1][-1].content and "no row" in model.asked[2][-1].content
    draft, model = solve("sql", "DROP TABLE country")
    assert draft.answers == () and len(model.asked) == 3
    assert check_tools(draft, database()).reason == "not authorized"


def test_other_rows_or_answers_than_the_querys_are_refused() -> None:
    draft, _ = solve("sql", RIGHT)
    assert not check_tools(draft.model_copy(update={"answers": ("Lyon",)}), database()).ok
    run = draft.steps[-1]
    (result,) = run.evidence
    assert isinstance(result, ToolResult)
    forged = result.model_copy(update={"result": result.result.replace("Paris", "Lyon")})
    steps = (*draft.steps[:-1], run.model_copy(update={"evidence": (forged,)}))
    found = check_tools(draft.model_copy(update={"answers": ("Lyon",), "steps": steps}), database())
    assert found.reason == "the query gives other rows than are on record"
    assert check_tools(Draft(steps=(), answers=("Paris",)), database()).reason == "no tool was called"


def test_the_calculator_is_told_and_the_last_result_is_the_answer() -> None:
    draft, model = solve("math", "calc 6 * 7", "Calc: 42 / 8", "answer 5.25")
    assert draft.answers == ("5.25",) and check_tools(draft, None).rung == "computed"
    assert [messages[-1].content for messages in model.asked[1:]] == ["42", "5.25"]
    assert not check_tools(draft.model_copy(update={"answers": ("5",)}), None).ok
    draft, _ = solve("math", "calc 1 / 0", "calc 2 + 2", "answer 4")
    assert check_tools(draft, None).ok
    draft, _ = solve("math", "calc __import__('os')", "answer 4")
    assert not check_tools(draft, None).ok
    draft, _ = solve("math", "It is 4.")
    assert draft.answers == () and check_tools(draft, None).reason == "no tool was called"
    draft, model = solve("math", "calc 1 + 1")
    assert len(model.asked) == TURNS and draft.answers == ()


def test_the_expert_sees_no_gold_and_samples_its_ranking() -> None:
    agent = make_tool_agent("math", ToolContext(NoTeacher()))
    asked = Question(
        id="q", question="Ada has 3 boxes with 10 pencils each and gives 4 away. How many are left?", topic_entities=()
    )
    found = [asyncio.run(agent.solve(asked, sample)).answers for sample in range(8)]
    assert ("26",) in found and len(set(found)) > 3
    assert asyncio.run(agent.solve(asked, 1000)).answers == ()


# ---- the commands --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["sql", "math"])
def test_the_road(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    argv = [
        "generate",
        "--task",
        task,
        "--teacher",
        "none",
        "--limit",
        "12",
        "--samples",
        "8",
        "--out",
        "run",
        "until_verified=true",
    ]
    code, out, error = call([*argv, "--json"], monkeypatch, capsys)
    assert code == 0, error
    assert json.loads(out)["questions_with_verified"] >= 9 and (tmp_path / "run/report.html").exists()
    assert f"agent {task}" in error and "retriever" not in error
    traces = list(read_traces(Path("run")))
    gold = load_task(task).gold("train")
    for trace in traces:
        assert trace.verified == (set(trace.answers) == set(gold[trace.id].answers))
    dataset = load_dataset(Path("run"), "agent")
    assert dataset.traces == json.loads(out)["questions_with_verified"]
    example = dataset.examples[0]
    assert example.target.startswith("SELECT" if task == "sql" else "answer")
    code, out, error = call(["verify", "run", "--verify", "set", "--json"], monkeypatch, capsys)
    assert code == 0 and json.loads(out)["verified"] == sum(trace.verified for trace in traces), error
    argv = ["eval", "--task", task, "--agent", task, "--teacher", "none", "--limit", "12", "--out", "eval", "--json"]
    code, out, error = call(argv, monkeypatch, capsys)
    assert code == 0, error
    row = json.loads(out)["rows"][0]
    assert row["name"] == f"{task}/none" and 0 < row["f1"] <= 100 and row["faithful"] is None


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--task", "sql", "--agent", "kd-cot"], "task sql is answered by --agent sql, not by kd-cot"),
        (
            ["--task", "geo", "--agent", "sql", "--teacher", "none"],
            "--agent sql answers the packaged task sql, not geo",
        ),
        (["--task", "math", "--kb", "x.tsv"], "x.tsv: no such file"),
        (["--task", "math", "--kb", __file__], "task math has no knowledge base"),
        (["--task", "sql", "--data", "."], "holds no sql files"),
        (["--task", "sql", "--teacher", "none", "--rationalise"], "are for the agents that search a knowledge base"),
        (["--task", "sql", "--split", "tst"], "no split 'tst'"),
    ],
)
def test_wrong_input_is_one_line(
    argv: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, error = call(["generate", *argv, "--limit", "2"], monkeypatch, capsys)
    assert code == 2 and message in error.splitlines()[-1]
