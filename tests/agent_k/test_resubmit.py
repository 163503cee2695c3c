"""A run directory opened again: with other facts, another teacher, after ctrl-C, with a score still to come."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from agentkd.agents.agent_k.competition.source import parse_competition
from agentkd.agents.agent_k.memory import LongTermMemory
from agentkd.agents.agent_k.run import asks_for_more, derive_config, run
from agentkd.config import KaggleConfig
from agentkd.errors import UserError, WorldError
from tests.support.competition_runs import config, last_trace, result_of, start_kaggle_run
from tests.support.kaggle_server import board_of, kaggle_server
from tests.support.lazy import require
from tests.support.little_competition import SLUG, make
from tests.support.scripted_expert import expert

require("lightgbm", "kagglesdk")

INTERRUPTED = 130


def test_facts_that_the_user_settles_later_begin_the_run_anew(tmp_path: Path, forked_solvers: None) -> None:
    folder, out = (
        make(tmp_path, description="# Odd ones\nPredict for each `id` whether the item is odd.\n"),
        tmp_path / "run",
    )
    first = run(config(folder, out, candidates=1))
    told = run(config(folder, out, candidates=1, metric="f1"))
    assert (first["metric"], told["metric"]) == ("auc", "f1")
    assert len(told["candidates"]) == 1 and told["candidates"] != first["candidates"]
    kinds = [step.kind for step in last_trace(out).steps]
    assert kinds.count("fetch.sniff") == 2, "what was done before stays on record"


def test_a_remedy_that_an_error_names_works_in_the_same_directory(tmp_path: Path, forked_solvers: None) -> None:
    folder, out = make(tmp_path), tmp_path / "run"
    for name in ("train.csv", "sample_submission.csv"):
        file = folder / "public" / name
        lines = file.read_text().splitlines()
        new = "odd,also" if name == "train.csv" else "answer"
        lines[0] = lines[0].replace("odd", new)
        file.write_text("\n".join([lines[0], *(f"{line},7" if "also" in new else line for line in lines[1:])]) + "\n")
    with pytest.raises(UserError, match="set target="):
        run(config(folder, out, candidates=1))
    assert run(config(folder, out, candidates=1, target="odd"))["task"] == "binary"


def test_a_teacher_that_is_gone_can_be_left_out_and_not_exchanged(tmp_path: Path, forked_solvers: None) -> None:
    folder, out = make(tmp_path), tmp_path / "run"
    with expert({}) as server:
        first = run(config(folder, out, candidates=1, teacher=server.spec))
        teacher = server.spec
    assert first["calls"]
    with pytest.raises(UserError, match=r"holds answers of .*#scripted-expert: resume it with"):
        run(config(folder, out, candidates=2, teacher="http://127.0.0.1:9/v1#another"))
    more = run(config(folder, out, candidates=2, teacher="none"))
    assert len(more["candidates"]) == 2
    assert last_trace(out).teacher == teacher, "what it has said stays its own"


@pytest.mark.parametrize("stage", ["modalities", "submit"])
def test_ctrl_c_ends_the_run_and_nothing_is_sent(stage: str, tmp_path: Path, forked_solvers: None) -> None:
    out = tmp_path / "run"
    with expert({}) as model, kaggle_server(board_of(make(tmp_path))) as server:
        mark = str(tmp_path / "mark")
        done = start_kaggle_run(
            server,
            model.spec,
            out,
            "tests.support.killed_run",
            stage,
            "interrupted",
            mark,
            "--",
            home=tmp_path,
            candidates=1,
        )
        assert done.returncode == INTERRUPTED, done.stderr[-2000:]
        assert "stopping" in done.stderr and not server.received
        asked = model.asked["modalities", "choose"]
        again = result_of(start_kaggle_run(server, model.spec, out, "agentkd", home=tmp_path, candidates=1))
        assert model.asked["modalities", "choose"] == 1 and asked == (stage == "submit"), "it is asked later, and once"
    assert len(server.received) == 1 and again["submissions"][0]["status"] == "COMPLETE"


def test_a_full_disk_under_sqlite_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forked_solvers: None
) -> None:  # fmt: skip
    def full(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(LongTermMemory, "__init__", full)
    with pytest.raises(WorldError, match="disk is full"):
        run(config(make(tmp_path), tmp_path / "run", candidates=1))


def test_a_url_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert isinstance(parse_competition(SLUG), Path)
    first = derive_config(KaggleConfig(competition=f"https://www.kaggle.com/competitions/{SLUG}", teacher="none"))
    assert parse_competition(first.competition) == SLUG and parse_competition(derive_config(first).competition) == SLUG
    assert first.out == f"runs/{SLUG}-agent-k"


@pytest.mark.parametrize(
    ("sent", "more"),
    [
        ([], True),
        ([{"ref": 1, "status": "COMPLETE"}], False),
        ([{"ref": 1, "status": "PENDING"}], True),
        ([{"ref": None, "status": "PENDING"}], True),
    ],
)
def test_what_is_not_scored_yet_is_looked_at_again(sent: list[dict[str, Any]], more: bool) -> None:
    asked = KaggleConfig(competition="https://www.kaggle.com/competitions/titanic", submit="auto")
    done = {"max_hours": 1.0, "limit": None, "settled": {}, "submissions": sent}
    assert asks_for_more(asked, done) is more
    assert asks_for_more(asked.model_copy(update={"submit": "never"}), done) is False


def test_without_anything_to_send_a_resume_needs_no_kaggle(tmp_path: Path, forked_solvers: None) -> None:
    out = tmp_path / "run"
    with kaggle_server(board_of(make(tmp_path))) as server:
        result_of(start_kaggle_run(server, "none", out, "agentkd", home=tmp_path, candidates=1))
    kept = json.loads((out / "source.json").read_text())
    assert kept["title"] == SLUG and kept["data"] is None
    values = {"teacher": "none", "submit": "never", "candidates": 2, "max_hours": 0.3, "threads": 1, "sandbox": "none"}
    again = run(KaggleConfig(competition=f"https://www.kaggle.com/competitions/{SLUG}", out=str(out), **values))
    assert len(again["candidates"]) == 2
