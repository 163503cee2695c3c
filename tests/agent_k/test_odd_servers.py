"""Agent K with an odd teacher: it ends well, or stops with a line and resumes to the run that it would have been."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from agentkd.agents.agent_k.model import ask
from agentkd.agents.agent_k.run import run
from agentkd.errors import WorldError
from agentkd.runs.read import is_complete
from agentkd.teacher import transport
from tests.support.competition_runs import config, last_trace
from tests.support.lazy import require
from tests.support.little_competition import make
from tests.support.odd_server import MODES, Request, odd_server
from tests.support.scripted_expert import default

require("pandas")
pytestmark = pytest.mark.whole
Decisions = tuple[list[tuple[str, str]], str]


def play(request: Request) -> str:
    """The expert's answers, which are a function of the prompt alone."""
    prompt = request["messages"][-1]["content"]
    found = re.search(r"^Stage: (\S+)\nAction: (\S+)$", prompt, re.MULTILINE)
    return default(found[1], found[2], prompt.partition("\n\nAnswer with nothing but JSON")[0]) if found else "hello"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(ask, "OUTAGE", (0.01,))


def decisions(out: Path) -> Decisions:
    """What the run did, without its times."""
    steps = [(step.kind, step.output) for step in last_trace(out).steps]
    return steps, (out / "submission.csv").read_text()


@pytest.fixture(scope="module")
def competition(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("competition"))


CALM: dict[str, Decisions] = {}


def check_mended(name: str, folder: Path, out: Path) -> None:
    mode = MODES[name]
    values: dict[str, Any] = {"candidates": 1}
    if not CALM:
        with odd_server("sound", play) as server:
            run(config(folder, out.with_name("calm"), teacher=server.spec, **values))
        CALM["sound"] = decisions(out.with_name("calm"))
    with odd_server(name, play) as server:
        teacher = server.spec
        try:
            run(config(folder, out, teacher=teacher, **values))
            assert mode.outcome == "right", "it ended well"
        except WorldError as error:
            assert mode.outcome != "right" and re.search(mode.words, str(error)), error
            assert not is_complete(out)
        server.mode = MODES["sound"]
        run(config(folder, out, teacher=teacher, **values))
    assert is_complete(out) and decisions(out) == CALM["sound"]


@pytest.mark.parametrize("name", MODES)
def test_every_run_ends_as_undisturbed(name: str, competition: Path, tmp_path: Path, forked_solvers: None) -> None:
    check_mended(name, competition, tmp_path / "run")
