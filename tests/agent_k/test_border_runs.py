"""Runs of Agent K whose model writes code that leaves what cannot be read: no such code ends a run, or its resume."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agentkd.agents.agent_k.clock import Clock
from agentkd.agents.agent_k.competition.source import local_source
from agentkd.agents.agent_k.model import ask, coding
from agentkd.agents.agent_k.results import Failed
from agentkd.agents.agent_k.run import run
from agentkd.agents.agent_k.solvers.portfolio import CandidateSpec
from agentkd.agents.agent_k.stages import candidates
from agentkd.agents.agent_k.stages.facts import rebuild_maps
from agentkd.agents.agent_k.understand.setup_from_files import guess_setup
from agentkd.agents.agent_k.workbench import Workbench
from agentkd.runs.progress import say
from agentkd.sandbox.sandbox import Sandbox
from tests.support.competition_runs import OWN, config, last_trace, valid_submission
from tests.support.lazy import require
from tests.support.little_competition import make
from tests.support.scripted_expert import expert, python

require("lightgbm")

FUNCTIONS = {"maps": "make_maps", "metric": "metric", "format": "format_submission", "features": "features",
             "solution": "fit_predict"}  # fmt: skip


def leaving(part: str, *files: tuple[str, str]) -> str:
    """Code that writes these files (a name, and an expression of the content), and ends as if all were well."""
    writes = "".join(f"    pathlib.Path({name!r}).write_text({content})\n" for name, content in files)
    return python(f"import os, pathlib\ndef {FUNCTIONS[part]}(*given):\n{writes}    os._exit(0)")


READ = 'pd.read_csv(data / "{}.csv", dtype={{"id": str}})[["id", "reading", "size", "colour"]]'
MAPS = f"""
import pandas as pd
def make_maps(data):
    train, test = {READ.format("train")}, {READ.format("test")}
    return {{"train_tab": TRAIN, "test_tab": TEST}}
"""
DEEP = python("""
import os
def fit_predict(*given):
    for _ in range(1200):
        os.mkdir("d")
        os.chdir("d")
    os._exit(0)
""")
LINK = python("""
import os
def fit_predict(*given):
    os.symlink("/etc/hostname", "predictions.csv")
    os._exit(0)
""")
VALUES = ("'5'", "'null'", "'[' * 60_000", "'[1' + '0' * 400 + ', 2]'", "'[NaN, 1]'")
SUBMISSIONS = (
    "'id,odd\\n' + '\\0' * 5000",
    "'id,odd\\n' + 'r,' * 90_000",
    "'id\\n'",
    "'\\x1b[2J'",
    "'id,odd\\nr0240,1\\n'",
)
COLUMNS = ("'a,b\\n' + '1,2\\n' * 240", "'id,f\\n' + '\"' * 999", "'id,f\\n' + 'x,1\\n' * 200_000", "''", "'id,id\\n'")
CODE = {
    "maps": [
        python(MAPS.replace("TRAIN", "train[train['size'] < 1]").replace("TEST", "test")),
        python(MAPS.replace("TRAIN", "test").replace("TEST", "train")),
        python(MAPS.replace("TRAIN", "train.assign(id=None)").replace("TEST", "test.assign(id=None)")),
        leaving("maps", ("train_tab_input_map.csv", "'id' + ',' * 2_000_000")),
        leaving("maps", ("train_tab_input_map.csv", "'id,' + 'x' * 900_000 + '\\n'")),
    ],
    "metric": [leaving("metric", ("values.json", content)) for content in VALUES],
    "format": [leaving("format", ("submission.csv", content)) for content in SUBMISSIONS],
    "features": [
        leaving("features", ("train_features.csv", content), ("test_features.csv", content)) for content in COLUMNS
    ],
    "solution": [
        DEEP,
        LINK,
        leaving("solution", ("predictions.csv", "'id,0,1\\n' + ',' * 900_000")),
        leaving("solution", ("predictions.csv", "'{' * 900_000")),
        leaving("solution", ("predictions.csv", "'id,0,1\\n' + 'r,1e400,nan\\n' * 60")),
    ],
}


def play(
    tmp_path: Path, code: Mapping[str, Sequence[str]], monkeypatch: pytest.MonkeyPatch, candidates: int
) -> dict[str, list[str]]:
    """A run and its resume with a model that writes this code, and what it was told of it, by part.

    The page names no metric that is known, so that the model writes one, too."""
    monkeypatch.setattr(ask, "PATIENCE", 100)
    monkeypatch.setattr(coding, "TRIES", max(map(len, code.values())))
    folder, out = make(tmp_path, description="# Odd ones\n## Evaluation\nThe joy that it brings.\n"), tmp_path / "run"
    script = {("maps", "choose"): [OWN], ("format", "choose"): [OWN]} | {(part, "code"): code[part] for part in code}
    causes = ['{"cause": "\\ud83d ' + "{" * 9000 + '"}']
    with expert(script | {(part, "analyse"): causes for part in code}) as server:
        result = run(config(folder, out, teacher=server.spec, candidates=candidates))
        again = run(config(folder, out, teacher=server.spec, candidates=candidates + 1))
    assert set(result["accepted"].values()) == set(again["accepted"].values()) == {"code"}
    assert not result["silent"] and len(again["candidates"]) == candidates + 1
    valid_submission(out, folder, labels=False)
    told: dict[str, list[str]] = {part: [] for part in code}
    for step in last_trace(out).steps:
        part, _, action = step.kind.partition(".")
        if action == "run" and part in told:
            assert step.verdict and not step.verdict.ok
            told[part].append(step.verdict.reason)
    assert all(len(told[part]) >= len(code[part]) for part in code), told
    return told


def test_mistakes_of_a_model_end_no_run_and_no_resume(
    tmp_path: Path, forked_solvers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = play(tmp_path, {part: CODE[part][:1] for part in ("maps", "metric", "features")}, monkeypatch, 2)
    assert "ids are missing, first r0" in told["maps"][0] and "the target map 240" in told["maps"][0]
    assert "not 5" in told["metric"][0] and "the first column of train_features.csv is not" in told["features"][0]


@pytest.mark.whole
def test_no_code_of_a_model_ends_a_run_or_its_resume(
    tmp_path: Path, forked_solvers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = play(tmp_path, CODE, monkeypatch, 3)
    assert "more than the 120 rows" in told["maps"][1] and "empty ids" in told["maps"][2]
    assert "commas" in told["maps"][3] and "characters" in told["maps"][4] and "x" * 99 not in told["maps"][4]
    assert "not None" in told["metric"][1] and "finite" in told["metric"][4]
    assert "symbolic link" in told["solution"][1] and "900,000 commas" in told["solution"][2]


def prepared(tmp_path: Path) -> tuple[Any, Path]:
    """A run of a stage on the small competition, and its run directory."""
    folder, out = make(tmp_path), tmp_path / "run"
    (out / "workspace").mkdir(parents=True)
    source = local_source(folder, say)
    (out / "workspace" / "data").symlink_to(source.data)
    settings = config(folder, out)
    bench = Workbench(settings, source, out, Sandbox("none"), Clock(out, 600), say)
    rebuild_maps(bench, guess_setup(source.data, source.text, "", {}).setup)
    return SimpleNamespace(bench=bench, state={}, stage="solve"), out


def test_nothing_is_written_through_a_link_that_a_solver_left(
    tmp_path: Path, forked_solvers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_of_stage, out = prepared(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("log.txt", "spec.json", "oof.csv", "test.csv"):
        (outside / name).write_text("kept")
    candidate = CandidateSpec("linear", "linear", {}, 10.0)
    monkeypatch.setattr(candidates, "SOLVERS", "tests.support.planting_solver")
    for _ in range(2):
        _, result = asyncio.run(candidates.run_candidate(run_of_stage, candidate, 30.0))
        assert isinstance(result, Failed) and "symbolic link" in result.error
        assert {path.read_text() for path in outside.iterdir()} == {"kept"}
    (home,) = (out / "workspace" / "candidates").iterdir()
    assert "what the code prints" in (home / "log.txt").read_text()
    monkeypatch.undo()


def test_a_candidate_leaves_its_checked_files_and_no_work_folder(tmp_path: Path, forked_solvers: None) -> None:
    run_of_stage, out = prepared(tmp_path)
    candidate = CandidateSpec("linear", "linear", {}, 10.0)
    _, first = asyncio.run(candidates.run_candidate(run_of_stage, candidate, 30.0))
    (home,) = (out / "workspace" / "candidates").iterdir()
    assert sorted(path.name for path in home.iterdir()) == ["log.txt", "oof.csv", "spec.json", "test.csv"]
    (home / "spec.json").unlink()
    _, again = asyncio.run(candidates.run_candidate(run_of_stage, candidate, 30.0))  # what is there is not run again
    assert json.dumps(first.model_dump(exclude={"seconds"})) == json.dumps(again.model_dump(exclude={"seconds"}))
    assert not (home / "spec.json").exists()
