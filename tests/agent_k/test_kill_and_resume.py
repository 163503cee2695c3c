"""From a URL to a score, through the real client, and through `kill -9` in every stage: the same file, sent once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from agentkd.agents.agent_k.graph import NODES
from agentkd.errors import UserError
from agentkd.sandbox.sandbox import open_sandbox
from tests.support.commands import call
from tests.support.competition_runs import FEATURES, FULL_MAPS, OWN, kaggle_run, result_of, start_kaggle_run
from tests.support.kaggle_server import board_of, kaggle_server
from tests.support.lazy import require
from tests.support.little_competition import SLUG, make
from tests.support.scripted_expert import expert

require("lightgbm", "kagglesdk")

KILLED = 137
KILLED_RUN = "tests.support.killed_run"
USER, WORLD = 2, 3  # exit codes
FEW = ("draft", "maps", "solve", "submit", "report")
SCRIPT = {("features", "code"): [FEATURES], ("maps", "choose"): [OWN], ("maps", "code"): [FULL_MAPS]}


@pytest.mark.parametrize("stages", [FEW, pytest.param(tuple(NODES), marks=pytest.mark.whole)], ids=["few", "every"])
def test_killed_in_stages(
    stages: tuple[str, ...],
    tmp_path: Path,
    forked_solvers: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The same as an undisturbed run, which is in the test's process, or in one of its own and a user's sandbox."""
    if stages != FEW:
        try:
            open_sandbox("auto")
        except UserError as error:
            pytest.skip(f"no sandbox here: {error}")
    monkeypatch.setenv("HOME", str(tmp_path))
    board = board_of(make(tmp_path))
    with expert(SCRIPT) as model, kaggle_server(board) as server:
        out = tmp_path / "whole"
        if stages == FEW:
            for name, value in server.environment.items():
                monkeypatch.setenv(name, value)
            code, said, error = call([*kaggle_run(model.spec, out), "sandbox=none"], monkeypatch, capsys)
            assert code == 0, error[-3000:]
            whole = json.loads(said)
        else:
            whole = result_of(start_kaggle_run(server, model.spec, out, "agentkd", home=tmp_path, real=True))
        once = dict(server.received)
        assert len(once) == 1 and set(once.values()) == {1}
        server.received.clear()
        board.submissions.clear()  # the second run must not find the first one's file
        out = tmp_path / "killed"
        for number, stage in enumerate(NODES):
            if stage not in stages:
                continue
            when = ("after", "before")[number % 2] if stage != "submit" else "after"
            mark = tmp_path / f"{stage}.mark"
            done = start_kaggle_run(server, model.spec, out, KILLED_RUN, stage, when, str(mark), "--", home=tmp_path)
            assert done.returncode in (-9, KILLED) and mark.exists(), f"{stage}: {done.stderr[-2000:]}"
            assert not (out / "manifest.json").exists()
        again = result_of(start_kaggle_run(server, model.spec, out, "agentkd", home=tmp_path))
        sent = dict(server.received)
        paid = dict(model.asked)
    assert (out / "submission.csv").read_bytes() == (tmp_path / "whole" / "submission.csv").read_bytes()
    assert again["score"] == whole["score"] and again["best"] == whole["best"]
    assert {name: item.get("score") for name, item in again["candidates"].items()} == {
        name: item.get("score") for name, item in whole["candidates"].items()
    }
    assert sent == once  # the same content, and one submission of it
    assert again["submissions"][0]["public"] == whole["submissions"][0]["public"]
    assert paid["features", "code"] == 2  # once for each run: what a killed process had paid for is not asked again
    lines = (out / "traces-0.jsonl").read_text().splitlines()
    assert len(lines) == 1 and len({json.dumps(step) for step in json.loads(lines[0])["steps"]}) > 10


def test_what_stops_a_run_is_one_line_and_the_run_goes_on_later(tmp_path: Path) -> None:
    board = board_of(make(tmp_path))
    out = tmp_path / "run"
    with kaggle_server(board) as server:

        def told(code: int, *words: str) -> None:
            done = start_kaggle_run(server, "none", out, "agentkd", home=tmp_path, candidates=1)
            lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
            assert done.returncode == code and not done.stdout, done.stderr[-2000:]
            assert len(lines) == 1 and all(word in lines[0] for word in words), done.stderr[-2000:]

        board.rules_accepted = False
        told(USER, f"kaggle.com/competitions/{SLUG}/rules")
        board.rules_accepted = True
        sample = board.files.pop("sample_submission.csv")
        told(USER, "no sample submission")
        board.files["sample_submission.csv"], board.archive = sample, b""
        shutil.rmtree(out / "workspace" / "data")  # as the message says: download it again
        assert result_of(start_kaggle_run(server, "none", out, "agentkd", home=tmp_path, candidates=1))["submissions"]
