"""`Student` and `agentkd ask`: answers with path and evidence, and what is told where there is none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from agentkd.ask.student import Student
from agentkd.distill.publish.lineage import write_lineage
from agentkd.errors import UserError
from tests.support.commands import call
from tests.support.lazy import require
from tests.support.students import little_student

require("torch", "transformers")

FACTS = "France\tcapital\tParis\nFrance\tborders\tSpain\nSpain\tcapital\tMadrid\nParis\triver\tSeine\n"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return little_student(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def here(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with facts, and `student`, which was taught paths on questions whose file is gone."""
    (tmp_path / "facts.tsv").write_text(FACTS)
    shutil.copytree(weights, tmp_path / "student")
    write_config(tmp_path, stage="distill", form="path")
    source = {"stage": "generate", "task": "gone.jsonl", "kb": "facts.tsv", "retriever": "bm25", "hops": 2}
    write_lineage(tmp_path / "student", source)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_config(here: Path, **values: str) -> None:
    (here / "student/config.yaml").write_text(yaml.safe_dump({"student": "smollm2-135m", "traces": "gone", **values}))


def test_a_student_answers_from_the_knowledge_base_of_its_traces(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Student.load("student") as student:
        answer = student.ask("What is the capital of france?")
        assert answer.topics == ("France",) and answer.linked and answer.proven and answer.answers
        facts = {(fact.head, fact.relation, fact.tail) for fact in answer.evidence}
        assert facts and facts <= {tuple(line.split("\t")) for line in FACTS.splitlines()}
        assert answer.path and (answer.form, answer.read_by, answer.student) == ("path", "weighed", "student")
        assert answer.usage.calls == 1 and "France → " in answer.describe()[0]
        other = student.ask("Which river?", topics=["paris"])
        assert other.topics == ("Paris",) and not other.linked
        assert [each.topics for each in student.ask_all(["Capital of Spain?", "River of Paris?"])] == [
            ("Spain",),
            ("Paris",),
        ]
    student.close()
    with pytest.raises(UserError, match="closed"):
        student.ask("What is the capital of France?")
    told = capsys.readouterr().err
    assert "task gone.jsonl, kb facts.tsv, retriever bm25: as student was taught" in told
    assert "4 facts, 3 relations, 5 names" in told


def test_the_command_prints_answers_and_evidence(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, error = call(["ask", "student", "What is the capital of Spain?", "--json"], monkeypatch, capsys)
    record = json.loads(out)
    assert code == 0 and record["topics"] == ["Spain"] and record["path"] and record["evidence"][0]["head"]
    code, out, error = call(
        ["ask", "student", "capital?", "--topic", "Spain", "--kb", "facts.tsv"], monkeypatch, capsys
    )
    assert code == 0 and out.splitlines() == record["answers"]
    assert f"Spain → {record['path']} · proven · student, weighed" in error
    assert "retriever bm25: as student was taught" in error and "gone.jsonl" not in error


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["ask", "student", "Where is Atlantis?"], "no name of the knowledge base is in 'Where is Atlantis?': name it"),
        (
            ["ask", "student", "Where?", "--topic", "Franc"],
            "'Franc' is not in the knowledge base (nearest: 'France')",
        ),
        (["ask", "student", "Where?", "--kb", "fact.tsv"], "fact.tsv: no such file or folder; did you mean facts.tsv?"),
        (["ask", "student", "Where?", "--task", "goe"], "unknown task 'goe'; did you mean geo?"),
        (
            ["ask", "student", "2 + 2?", "--task", "math"],
            "task math is answered with a tool, not from a knowledge base",
        ),
        (["ask", "studnt", "Where?"], "studnt does not say which knowledge base it was taught on: give --kb FILE"),
        (["ask", "studnt", "Where?", "--kb", "facts.tsv"], "no weights in 'studnt'"),
        (["ask", "a,b", "Where?"], "'a,b' is not one student"),
        (["ask", "student", "Where?", "--constrain", "all"], "option 'constrain' = 'all'"),
        (["ask", "student", " "], "a question has 1 to 10,000 characters, this one has 0"),
        (
            ["serve", "student", "--evidence"],
            "--evidence is for a student that answers from a knowledge base: add --kb",
        ),
    ],
)
def test_bad_input_is_one_line(
    here: Path, words: list[str], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, error = call(words, monkeypatch, capsys)
    last = error.splitlines()[-1]
    assert code == 2 and not out and last.startswith(f"error: {line}"), error


@pytest.mark.parametrize("form", ["one-call", "dialogue"])
def test_other_forms_are_asked_in_theirs_and_what_is_not_proven_is_told(
    here: Path, form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Random weights write nothing that the knowledge base holds: a text in one call, no path in a dialogue."""
    write_config(here, stage="distill", form=form)
    code, out, error = call(["ask", "student", "What is the capital of France?", "--json"], monkeypatch, capsys)
    record = json.loads(out)
    assert not record["proven"] and (record["form"], record["path"]) == (form, None) and record["reason"]
    assert code == (0 if record["answers"] else 2) and bool(record["answers"]) == (form == "one-call")
    assert ("error: no answer: " in error) == (form == "dialogue")


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"stage": "distill-texts"}, "student was taught plain text: questions are for students"),
        ({"stage": "generate", "task": "geo"}, "student is a directory of stage 'generate'"),
    ],
)
def test_what_is_no_student_of_traces_is_refused(here: Path, config: dict[str, str], line: str) -> None:
    write_config(here, **config)
    with pytest.raises(UserError, match=line):
        Student.load("student", kb="facts.tsv")


def test_a_model_that_was_not_taught_can_be_asked_where_the_facts_are_named(
    here: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Student.load(weights, kb="facts.tsv", retriever="bm25", hops=1) as student:
        assert student.ask("capital of France?").proven and student.form == "path"
    assert "is no student of `agentkd distill`: it is asked in form path" in capsys.readouterr().err
