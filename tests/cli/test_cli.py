"""The command line as a user meets it: wrong input is one line with the value and the remedy, and an exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import call
from tests.support.mock_server import mock_server
from tests.support.paths import ROOT

UNREACHABLE = "http://127.0.0.1:9/v1#m"
USER, WORLD = 2, 3


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with a small knowledge base, questions, and some that are wrong."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("agentkd.teacher.transport.FIRST_PAUSE", 0.001)
    files = {
        "kb.tsv": "Rome\tcapital of\tItaly\nItaly\tcontinent\tEurope\n",
        "bad_kb.tsv": "Rome\tcapital of\tItaly\nItaly only\n",
        "ask.jsonl": '{"question": "what is Rome the capital of", "topic_entities": ["Rome"], "answers": ["Italy"]}\n',
        "strange.jsonl": '{"question": "where is Atlantis", "topic_entities": ["Atlantis"], "answers": ["Europe"]}\n',
        "bad.jsonl": '{"question": "fine", "topic_entities": ["Rome"]}\n{"question": \n',
        "empty.jsonl": "",
        "nested.yaml": "task: {name: geo}\n",
        "scores.jsonl": '{"id": "1", "question": "q", "prediction": "Italy", "ground_truth": ["Italy", "Rome"]}\n',
        "bad_scores.jsonl": '{"id": "1", "question": "q"}\n',
        "model/config.json": "{}",
        "run/config.yaml": "stage: generate\ntask: geo\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


OWN = ["generate", "--retriever", "bm25", "--teacher", UNREACHABLE]
WRONG = [
    (["generate", "--task", "webqps"], USER, "'webqps'; did you mean webqsp"),
    (["generate", "--task", "webqsp", "--data", "nowhere"], USER, "nowhere: no such file or folder"),
    (["generate", "--task", "webqsp"], WORLD, "HF_HUB_OFFLINE|--data"),
    (["generate", "--task", "metaqa"], USER, "give --data DIR"),
    (["generate", "--task", "ask.jsonl"], USER, "add --kb FILE"),
    (["generate", "--task", "ask.jsonl", "--kb", "bad_kb.tsv"], USER, r"bad_kb.tsv:2"),
    (["generate", "--task", "bad.jsonl", "--kb", "kb.tsv"], USER, r"bad.jsonl:2"),
    (["generate", "--task", "empty.jsonl", "--kb", "kb.tsv"], USER, "holds no question"),
    (["generate", "--limit", "0"], USER, "'limit' = 0"),
    (["generate", "--split", "nope"], USER, "'nope'; choose one of: train"),
    (["generate", "--agent", "nope", "--retriever", "bm25", "--teacher", "MOCK"], USER, "unknown agent .nope."),
    (["generate", "--retriever", "nope", "--limit", "1", "--teacher", "MOCK"], USER, "'nope'"),
    (["generate", "--teacher", "nope", "--limit", "1"], USER, "unknown teacher 'nope'"),
    (["generate", "--teacher", "local:nope.gguf", "--limit", "1"], USER, "nope.gguf"),
    (["generate", "--teacher", UNREACHABLE, "--limit", "1"], WORLD, "127.0.0.1:9"),
    (["generate", "--teacher", "vllm:nope/nope", "--limit", "1"], WORLD, "vLLM|nope/nope"),
    (["generate", "colour=red"], USER, "unknown option 'colour'"),
    (["generate", "colour"], USER, "'colour' is not an option: write key=value"),
    (["generate", "--recipe", "nope.yaml"], USER, "no recipe at nope.yaml"),
    (["generate", "--recipe", "nested.yaml"], USER, "nested.yaml is not a flat recipe"),
    (["generate", "--colour"], USER, "--colour"),
    (["nope"], USER, "nope"),
    (["distill"], USER, "no complete generate run under runs/"),
    (["distill", "--traces", "nowhere"], USER, "nowhere is not a run directory"),
    (["distill", "--traces", "run"], USER, "nothing to learn from in run"),
    (["distill", "--traces", "run", "--method", "nope"], USER, "unknown method 'nope'"),
    (["eval", "--agent", "none", "--limit", "1"], USER, "nothing to evaluate"),
    (["eval", "--model", "nowhere/at/all", "--limit", "1"], USER, "nowhere/at/all"),
    (["eval", "--model", "model", "--limit", "1"], USER, "model"),
    (["eval", "--model", "some/hub-name", "--limit", "1"], WORLD, "some/hub-name.*HF_HUB_OFFLINE"),
    (["eval", "--predictions", "nowhere.jsonl"], USER, "nowhere.jsonl"),
    (["eval", "--predictions", "bad_scores.jsonl"], USER, "bad_scores.jsonl:1"),
    (["eval", "--predictions", "scores.jsonl", "--matchers", "nope"], USER, "unknown matcher 'nope'"),
    (["report", "nowhere"], USER, "nowhere"),
]  # fmt: skip


@pytest.mark.parametrize(("argv", "code", "words"), WRONG, ids=[" ".join(row[0]) for row in WRONG])
def test_wrong_input(
    argv: list[str],
    code: int,
    words: str,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import re

    monkeypatch.delenv("AGENTKD_VLLM", raising=False)
    with mock_server() as server:
        found, out, error = call([server.spec if word == "MOCK" else word for word in argv], monkeypatch, capsys)
    lines = [line for line in error.splitlines() if line.startswith("error:")]
    assert found == code, error
    assert len(lines) == 1 and re.search(words, lines[0]), error
    assert "Traceback" not in error and not out
    assert not list(here.glob("*/traces-0.jsonl"))


def test_an_entity_that_the_kb_lacks_is_a_question_without_answer(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "mixed.jsonl").write_text((here / "strange.jsonl").read_text() + (here / "ask.jsonl").read_text())
    with mock_server() as server:
        argv = [
            "generate",
            "--task",
            "mixed.jsonl",
            "--kb",
            "kb.tsv",
            "--retriever",
            "bm25",
            "--teacher",
            server.spec,
        ]
        code, _, error = call([*argv, "--out", "out"], monkeypatch, capsys)
        argv[2] = "strange.jsonl"
        refused, _, reason = call([*argv, "--out", "none"], monkeypatch, capsys)
    traces = [json.loads(line) for line in (here / "out" / "traces-0.jsonl").read_text().splitlines()]
    (trace,) = [trace for trace in traces if not trace["provenance"]["topics"]]
    assert code == 0 and "have no topic in the knowledge base" in error
    assert refused == 2 and "has a topic in kb.tsv" in reason and not (here / "none").exists()
    assert trace["answers"] == [] and trace["verdict"]["reason"] == "no answer"


def test_a_users_own_questions_run_and_json_is_one_object(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with mock_server() as server:
        argv = ["--task", "ask.jsonl", "--kb", "kb.tsv", "--retriever", "bm25", "--teacher", server.spec, "--json"]
        code, out, error = call(["generate", *argv], monkeypatch, capsys)
        result = json.loads(out)
        assert code == 0 and result["traces"] == result["verified"] == 1 and "traces 1/1" in error
        code, out, _ = call(["eval", *argv, "--agent", "kd-cot,cot,rag"], monkeypatch, capsys)
    report = json.loads(out)
    assert code == 0 and report["n"] == 1
    f1 = {row["name"].partition("/")[0]: row["f1"] for row in report["rows"] if row["matcher"] == "strict"}
    assert f1["kd-cot"] == 100.0 and f1["cot"] == 0.0
    needed = {
        "name",
        "matcher",
        "hit",
        "hits1",
        "precision",
        "recall",
        "f1",
        "em",
        "faithful",
        "calls",
        "tokens",
        "seconds",
    }
    assert all(needed <= set(row) for row in report["rows"])


def test_predictions_of_others_are_scored(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = call(["eval", "--predictions", "scores.jsonl", "--json"], monkeypatch, capsys)
    row = json.loads(out)["rows"][0]
    assert code == 0 and row["matcher"] == "strict"
    assert (row["hit"], row["precision"], row["recall"]) == (100.0, 100.0, 50.0)


def test_recipe_then_option_then_override(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import yaml

    with mock_server() as server:
        recipe = {
            "task": "ask.jsonl",
            "kb": "kb.tsv",
            "retriever": "bm25",
            "teacher": server.spec,
            "paths": 3,
            "seed": 5,
        }
        (here / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        argv = ["generate", "--recipe", "recipe.yaml", "--seed", "6", "paths=4", "rounds=2", "--out", "out"]
        assert call(argv, monkeypatch, capsys)[0] == 0
    used = yaml.safe_load((here / "out" / "config.yaml").read_text())
    assert (used["seed"], used["paths"], used["rounds"], used["temperature"]) == (6, 4, 2, 0.0)


@pytest.mark.parametrize("argv", [[], *([name] for name in ["generate", "distill", "eval", "report", "doctor"])])
def test_help(argv: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call([*argv, "--help"], monkeypatch, capsys)
    assert code == 0 and "Usage" in out


def test_doctor_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(["doctor", "--json", "--no-measure"], monkeypatch, capsys)
    checks = {check["name"]: check for check in json.loads(out)["checks"]}
    assert code == 0 and "machine" in checks
    assert all(check["remedy"] for check in checks.values() if not check["ok"])


def test_help_and_import_load_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['agentkd', '--help']\n"
        "from agentkd.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'langgraph', 'openai', 'aiohttp', 'faiss', 'bm25s'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr
