"""Each question's record: its ceiling, its gold proof, and the same scores when it is read again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentkd.config import EvalConfig
from agentkd.errors import UserError
from agentkd.eval.ceiling import best_worth, mean_ceiling
from agentkd.eval.gold_proof import share_held
from agentkd.eval.kbqa import evaluate
from agentkd.eval.metrics import MATCHERS, read_predictions
from agentkd.matching import strict_f1

KB = "Ann\tmother of\tBen\nAnn\tmother of\tCleo\nAnn\tborn in\tOslo\nBen\tborn in\tBergen\nCleo\tborn in\tBergen\n"
ROWS: list[dict[str, Any]] = [
    {
        "question": "Who is Ann the mother of?",
        "topic_entities": ["Ann"],
        "answers": ["Ben", "Cleo"],
        "proof": [["Ann", "mother of", "Ben"], ["Ann", "mother of", "Cleo"]],
    },
    # the words name one relation, gold is at the end of another: retrieval offers it, the choice loses it
    {"question": "What was Ann born in?", "topic_entities": ["Ann"], "answers": ["Bergen"]},
    {"question": "Who is the mother of Ben?", "topic_entities": ["Ben"], "answers": ["Nobody"]},
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("eval")
    (folder / "kb.tsv").write_text(KB)
    (folder / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    options: dict[str, Any] = {"task": str(folder / "q.jsonl"), "kb": str(folder / "kb.tsv"), "retriever": "bm25"}
    return evaluate(EvalConfig(agent="top-path", hops=2, paths=1, out=str(folder / "out"), **options))


def test_each_score_has_its_ceiling(report: dict[str, Any]) -> None:
    row = report["rows"][0]
    assert row["matcher"] == "strict" and row["f1"] == pytest.approx(100 / 3)
    assert row["best_shown"] == pytest.approx(row["f1"])  # one path is shown, and the agent follows it
    assert row["best_wide"] == pytest.approx(200 / 3)
    lines = Path(report["out"], "questions", "top-path.jsonl").read_text().splitlines()
    wide = [json.loads(line)["ceiling"]["strict"]["wide"] for line in lines]
    assert sorted(wide) == [0, 1, 1]
    assert (row["proof"], row["with_proof"]) == (100, 1)


def test_records_score_again_as_they_did(report: dict[str, Any]) -> None:
    file = Path(report["out"], "questions", "top-path.jsonl")
    again = evaluate(EvalConfig(predictions=str(file), matchers="strict,rog,tog_em"))
    kept = ("hit", "hits1", "precision", "recall", "f1", "em", "f1_low", "f1_high", "best_shown", "best_wide", "proof")
    before = {row["matcher"]: {key: row[key] for key in kept} for row in report["rows"]}
    after = {row["matcher"]: {key: row[key] for key in kept} for row in again["rows"]}
    assert {name: after[name] for name in before} == before
    assert after["tog_em"]["best_wide"] is None  # the file has no ceiling by this matcher


def test_several_files_are_compared_question_by_question(report: dict[str, Any], tmp_path: Path) -> None:
    file = Path(report["out"], "questions", "top-path.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    better = tmp_path / "better.jsonl"
    better.write_text("".join(json.dumps({**row, "prediction": "\n".join(row["ground_truth"])}) + "\n" for row in rows))
    found = evaluate(EvalConfig(predictions=f"{better},{file}", baseline="top-path"))
    assert [row["name"] for row in found["rows"] if row["matcher"] == "strict"] == ["better", "top-path"]
    assert found["differences"][0]["f1"] == pytest.approx(200 / 3)
    with pytest.raises(UserError, match="one name"):
        evaluate(EvalConfig(predictions=f"{file},{file}"))


@pytest.mark.parametrize(
    "change",
    [
        lambda row: {**row, "ceiling": {"strict": {"shown": 1}}},
        lambda row: {**row, "ceiling": {"strict": {"shown": "high", "wide": 1}}},
        lambda row: {**row, "unlisted": "many"},
        lambda row: {**row, "parses": [1]},
        lambda row: {**row, "proof": {}},
    ],
)
def test_a_spoilt_record_is_one_line_with_the_place(
    report: dict[str, Any], tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    row = json.loads(Path(report["out"], "questions", "top-path.jsonl").read_text().splitlines()[0])
    (tmp_path / "bad.jsonl").write_text(json.dumps(change(row)) + "\n")
    with pytest.raises(UserError, match=r"bad\.jsonl:1: not as eval wrote it"):
        read_predictions(tmp_path / "bad.jsonl")
    foreign = {key: value for key, value in change(row).items() if key != "scores"}  # another program's fields
    (tmp_path / "bad.jsonl").write_text(json.dumps(foreign) + "\n")
    assert set(read_predictions(tmp_path / "bad.jsonl")[0]) == {"id", "question", "prediction", "ground_truth"}


def test_official_scores_come_from_the_parses_of_the_questions(tmp_path: Path) -> None:
    (tmp_path / "kb.tsv").write_text(KB)
    comments = [("Good", "Complete"), ("Good", "Complete"), ("Bad", "Complete")]
    rows = []
    for row, (question, parse) in zip(ROWS, comments, strict=True):
        answers = [{"EntityName": name, "AnswerArgument": f"m.{name}"} for name in row["answers"]]
        comment = {"QuestionQuality": question, "ParseQuality": parse}
        rows.append({**row, "parses": [{"AnnotatorComment": comment, "Answers": answers}]})
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options: dict[str, Any] = {"task": str(tmp_path / "q.jsonl"), "kb": str(tmp_path / "kb.tsv"), "retriever": "bm25"}
    config = EvalConfig(
        agent="top-path", hops=2, paths=1, matchers="webqsp_official", out=str(tmp_path / "out"), **options
    )
    found = evaluate(config)["rows"][0]
    assert (found["n"], found["f1"], found["best_wide"]) == (2, 50, 100)  # the third has no good parse
    file = tmp_path / "out" / "questions" / "top-path.jsonl"
    again = evaluate(EvalConfig(predictions=str(file), matchers="webqsp_official"))["rows"][0]
    assert (again["n"], again["f1"], again["best_wide"]) == (2, 50, 100)


def test_without_a_ceiling_nothing_is_searched(tmp_path: Path, report: dict[str, Any]) -> None:
    folder = Path(report["out"]).parent
    options: dict[str, Any] = {"task": str(folder / "q.jsonl"), "kb": str(folder / "kb.tsv"), "retriever": "bm25"}
    found = evaluate(EvalConfig(agent="top-path", hops=2, paths=1, ceiling=0, out=str(tmp_path / "out"), **options))
    assert found["rows"][0]["best_shown"] is None and found["rows"][0]["best_wide"] is None


def test_the_best_of_several() -> None:
    def worth(answers: Any) -> float:
        return strict_f1(answers, ["a", "b"])

    assert best_worth([("a",), ("a", "b"), ("c",)], worth) == 1
    assert best_worth([("c",)], worth) == 0 and best_worth([], worth) == 0
    assert best_worth([], lambda _: None) is None
    assert mean_ceiling({}) == {"best_shown": None, "best_wide": None}
    assert MATCHERS["strict"]("", ["a"]).f1 == 0


HELD = ("Ann", "mother of", "Ben")


@pytest.mark.parametrize(
    ("proof", "evidence", "share"),
    [
        ([], [HELD], None),
        ([HELD], [], 0),
        ([HELD], [HELD], 1),
        ([HELD], [("Ben", "mother of", "Ann")], 1),  # a knowledge base may state it the other way round
        ([HELD], [("Ann", "aunt of", "Ben")], 0),
        ([("Ann ", "mother of", "Ben")], [HELD], 1),
        ([HELD, HELD], [HELD], 1),
        ([HELD, ("Ann", "teacher of", "Ben")], [HELD], 0.5),  # two facts of the same two
        ([HELD, ("Ben", "child of", "Ann")], [HELD], 1),  # a fact and its inverse
        ([HELD, ("Ben", "born in", "Bergen")], [HELD], 0.5),
    ],
)
def test_the_share_of_a_gold_proof(proof: list[Any], evidence: list[Any], share: float | None) -> None:
    assert share_held(proof, evidence) == share
