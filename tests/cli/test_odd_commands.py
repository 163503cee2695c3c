"""Odd servers and whole commands: no run ends well that lost a sample, and mended it ends as an undisturbed one.

All of them: `pytest -m "" tests/cli/test_odd_commands.py --junitxml=odd.xml`, and then
`scripts/recorded_table.py odd.xml mode` makes the table of docs/results/odd-servers.md.
"""

from __future__ import annotations

import functools
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from agentkd.agents.agent_k.model import ask
from agentkd.runs.read import is_complete, read_lines, read_traces
from agentkd.sandbox import supervised
from agentkd.teacher import transport
from tests.support.commands import call
from tests.support.lazy import require
from tests.support.little_competition import make
from tests.support.odd_server import MODES, Request, answer_told, odd_server
from tests.support.scripted_expert import default
from tests.support.warm import KAGGLE, start_solver, warm

require("pandas")
COMMANDS = ("generate", "eval", "kaggle")
FEW = [("generate", "max-tokens"), ("generate", "402-three-times"), ("generate", "filtered"), ("eval", "413")]
EVERY = [(command, name) for command in COMMANDS for name in MODES if (command, name) not in FEW]
CALM: dict[str, Any] = {}


def play(request: Request) -> str:
    """The answers of a model that plays Agent K's expert, a function of the prompt alone; else those to a question."""
    prompt = request["messages"][-1]["content"]
    found = re.search(r"^Stage: (\S+)\nAction: (\S+)$", prompt, re.MULTILINE)
    if found is None:
        return answer_told(request)
    return default(found[1], found[2], prompt.partition("\n\nAnswer with nothing but JSON")[0])


class Ended(NamedTuple):
    code: int
    line: str  # the last one that a person reads
    made: Any  # what the run holds, without its times; None if it is not complete
    lost: list[str]  # failures that the same command would not try again
    missing: int  # questions that `eval` says it has no answer to


class Commands:
    """The three commands, in one process."""

    def __init__(self, competition: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.competition, self.monkeypatch, self.capsys = competition, monkeypatch, capsys

    def run(self, command: str, spec: str, out: Path) -> Ended:
        questions = f"--task geo --limit 5 --agent kd-cot --retriever bm25 --teacher {spec} --concurrency 3 --json"
        line = {
            "generate": f"generate {questions} --out {out}",
            "eval": f"eval {questions} --out {out}",
            "kaggle": f"kaggle run {self.competition} --teacher {spec} --out {out} --submit never --json "
            "--max-hours 0.2 candidates=1 threads=1 sandbox=none",
        }[command]
        if command == "kaggle":
            self.monkeypatch.setattr(supervised, "start", functools.partial(start_solver, warm(*KAGGLE).path))
        code, told, error = call(shlex.split(line), self.monkeypatch, self.capsys)
        runs = [out, *out.glob("kd-cot-*")] if command == "eval" else [out]
        lost = [row["error"] for run in runs for row in read_lines(run, "failures") if not row["retry"]]
        missing = sum(row["missing"] for row in json.loads(told)["rows"]) if command == "eval" and not code else 0
        last = [text for text in error.splitlines() if text.startswith("error:")] or error.splitlines()
        return Ended(code, last[-1], self.made(command, runs[-1]) if is_complete(runs[-1]) else None, lost, missing)

    def made(self, command: str, run: Path) -> Any:
        traces = list(read_traces(run))
        if command == "kaggle":
            steps = [(step.kind, step.output) for step in traces[-1].steps]
            return steps, (run / "submission.csv").read_text()
        return {trace.id: trace.hash for trace in traces}


@pytest.fixture(scope="module")
def competition(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("competition"))


@pytest.fixture
def commands(competition: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Commands:
    monkeypatch.setattr(transport, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(ask, "OUTAGE", (0.01,))
    return Commands(competition, monkeypatch, capsys)


def check_mended(command: str, name: str, commands: Commands, out: Path, record: Callable[[str, object], None]) -> None:
    mode = MODES[name]
    if (command, mode.model) not in CALM:
        with odd_server("sound", play) as server:
            calm = commands.run(command, f"{server.url}#{mode.model}", out.with_name("calm"))
        assert calm.code == 0 and calm.made and not calm.lost
        CALM[command, mode.model] = calm.made
    with odd_server(name, play) as server:
        spec = server.spec
        first = commands.run(command, spec, out)
        server.mode = MODES["sound"]
        again = commands.run(command, spec, out)
    record("mode", name)
    record(command, f"{first.code} → {again.code}, {'equal' if again.made == CALM[command, mode.model] else 'other'}")
    if first.code and command != "eval":  # which says what generate says
        line = first.line.removeprefix("error: ").replace(server.url, "URL").replace(str(out), "OUT")
        record(f"{command} says", line)
    if mode.outcome == "right":
        assert first.code == 0 and first.made == CALM[command, mode.model], first
    else:
        assert first.code == 3 and re.search(mode.words, first.line) and first.made is None, first
    assert not first.lost and not first.missing
    assert again.code == 0 and again.made == CALM[command, mode.model] and not again.lost and not again.missing


@pytest.mark.parametrize(("command", "name"), FEW)
def test_a_command_ends_as_undisturbed(
    command: str, name: str, commands: Commands, tmp_path: Path, record_property: Any
) -> None:
    check_mended(command, name, commands, tmp_path / "run", record_property)


@pytest.mark.whole
@pytest.mark.parametrize(("command", "name"), EVERY)
def test_every_command_ends_as_undisturbed(
    command: str, name: str, commands: Commands, tmp_path: Path, record_property: Any
) -> None:
    check_mended(command, name, commands, tmp_path / "run", record_property)
