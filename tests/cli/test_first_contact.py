"""The first minutes of a user: the version, help, slips in names, and a directory that a slip has touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentkd import __version__
from tests.support.commands import call
from tests.support.mock_server import mock_server

UNREACHABLE = "http://127.0.0.1:9/v1#m"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with a knowledge base and a question."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("agentkd.teacher.transport.FIRST_PAUSE", 0.001)
    (tmp_path / "kb.tsv").write_text("Rome\tcapital of\tItaly\nItaly\tcontinent\tEurope\n")
    (tmp_path / "ask.jsonl").write_text('{"question": "what is Rome the capital of", "topic_entities": ["Rome"]}\n')
    (tmp_path / "run").mkdir()
    (tmp_path / "students" / "films").mkdir(parents=True)
    (tmp_path / "run" / "config.yaml").write_text("stage: generate\ntask: geo\n")
    (tmp_path / "scores.jsonl").write_text('{"id": "1", "question": "q", "prediction": "a", "ground_truth": ["a"]}\n')
    return tmp_path


def test_the_version_needs_no_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["--version"], monkeypatch, capsys) == (0, f"{__version__}\n", "")


@pytest.mark.parametrize("words", [[], ["generate"], ["kaggle", "run"]])
def test_help_is_a_command_too(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = call(["help", *words], monkeypatch, capsys)
    assert told == call([*words, "--help"], monkeypatch, capsys) and told[0] == 0
    assert " ".join(words) in told[1].splitlines()[0]


OWN = ["generate", "--task", "ask.jsonl", "--kb", "kb.tsv", "--teacher", UNREACHABLE]
SLIPS = [
    (["genrate"], "generate"),
    (["generate", "--task", "geoo"], "geo"),
    (["generate", "--agent", "kdcot"], "kd-cot"),
    (["generate", "--teacher", "lokal"], "local"),
    (["generate", "--teacher", "vlm:Qwen/Qwen3-8B"], "vllm"),
    (["generate", "--teacher", "none", "--agent", "top-path", "--retriever", "hibrid"], "hybrid"),
    ([*OWN, "--retriever", "bm-25"], "bm25"),
    (["generate", "--split", "trian"], "train"),
    (["generate", "--task", "aks.jsonl", "--kb", "kb.tsv"], "ask.jsonl"),
    (["generate", "--task", "ask.jsonl", "--kb", "kb.tvs"], "kb.tsv"),
    (["distill", "--traces", "rum"], "run"),
    (["eval", "--model", "students/flms", "--agent", "none"], "students/films"),
    (["generate", "vote=4"], "votes"),
    (["generate", "votes"], "votes"),
    (["generate", "until-verifed=true"], "until_verified"),
    (["generate", "reader=chose"], "choose"),
    (["generate", "constrain=kbs"], "kb"),
    (["distill", "--traces", "run", "--method", "sfd"], "sft"),
    (["distill", "--traces", "run", "--form", "paths"], "path"),
    (["distill", "--traces", "run", "precision=bf-16"], "bf16"),
    (["eval", "--predictions", "scores.jsonl", "--matchers", "strikt"], "strict"),
    (["eval", "--agent", "top-path,kd-cott", "--teacher", "local"], "kd-cot"),
    (["eval", "--agent", "top-path", "--baseline", "top-pth"], "top-path"),
    (["export", "nowhere", "--dtype", "f-16"], "f16"),
    (["kaggle", "run", "run", "--teacher", "lokal"], "local"),
]


@pytest.mark.parametrize(("argv", "meant"), SLIPS, ids=[" ".join(row[0][-2:]) for row in SLIPS])
def test_a_slip_names_what_was_meant_and_leaves_nothing(
    argv: list[str], meant: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(here.rglob("*"))
    code, out, error = call(argv, monkeypatch, capsys)
    lines = [line for line in error.splitlines() if line.startswith("error:")]
    assert code == 2 and not out and len(lines) == 1
    assert f"id you mean {meant}" in lines[0].replace("'", "").replace("vllm:", "vllm"), lines[0]
    assert sorted(here.rglob("*")) == before and "starting" not in error


def test_a_directory_without_a_trace_identifies_nothing(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A teacher that cannot be reached, an answer that is refused: the next values may be other ones."""
    own = ["generate", "--task", "ask.jsonl", "--kb", "kb.tsv", "--retriever", "bm25", "--out", "out"]
    assert call([*own, "--teacher", UNREACHABLE], monkeypatch, capsys)[0] == 3
    assert (here / "out" / "config.yaml").exists()
    line = '{"id": "q1", "sample": 0, "error": "no such model", "retry": false}\n'
    (here / "out" / "failures-0.jsonl").write_text(line)
    with mock_server() as server:
        code, _, error = call([*own, "--teacher", server.spec, "votes=1"], monkeypatch, capsys)
        assert code == 0 and "traces 1/1" in error, error
        code, _, error = call([*own, "--teacher", server.spec, "votes=2"], monkeypatch, capsys)
        assert code == 2 and "votes = 1" in error  # from the first trace on, it is that run's


def test_the_failures_of_a_run_stay_when_only_its_extent_changes(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = ["generate", "--task", "ask.jsonl", "--kb", "kb.tsv", "--retriever", "bm25", "--out", "out"]
    assert call([*own, "--teacher", UNREACHABLE], monkeypatch, capsys)[0] == 3
    line = '{"id": "q1", "sample": 7, "error": "refused", "retry": false}\n'
    (here / "out" / "failures-0.jsonl").write_text(line)
    assert call([*own, "--teacher", UNREACHABLE, "timeout=5"], monkeypatch, capsys)[0] == 3
    assert (here / "out" / "failures-0.jsonl").read_text() == line
