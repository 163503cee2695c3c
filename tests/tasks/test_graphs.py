"""Data sets whose questions come with a graph each: SR's files and KGQAGen-10k's, as their authors write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentkd.errors import UserError
from agentkd.tasks.load import load_task
from agentkd.tasks.prepare import tell_apart
from agentkd.tasks.task import Task


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTKD_HOME", str(tmp_path / "home"))


def write_lines(file: Path, rows: list[dict[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


IDS = ["m.01", "m.02", "m.03", "m.04", "g.05"]
NAMES = {"m.01": "Ada", "m.02": "Bo", "m.03": "Paris", "m.04": "Paris"}
RELATIONS = ["people.person.children", "people.person.place_of_birth"]


def sr_row(form: str) -> dict[str, Any]:
    """One question whose entities are written as numbers, as ids or as objects."""

    def entity(number: int) -> Any:
        return {"number": number, "id": IDS[number], "object": {"kb_id": IDS[number], "text": NAMES[IDS[number]]}}[form]

    def relation(number: int) -> Any:
        return {"number": number, "id": RELATIONS[number], "object": {"rel_id": number, "text": RELATIONS[number]}}[
            form
        ]

    facts = [(0, 0, 1), (1, 1, 2), (0, 1, 3)]
    tuples = [[entity(head), relation(kind), entity(tail)] for head, kind, tail in facts]
    answers = [{"kb_id": "m.03", "text": "Paris"}]
    graph = {"tuples": tuples, "entities": [entity(number) for number in range(4)]}
    question = "where was the child of Ada born"
    return {"id": f"q-{form}", "question": question, "entities": [entity(0)], "answers": answers, "subgraph": graph}


def sr_folder(folder: Path, split: str = "test_simple", form: str = "number", names: bool = True) -> Path:
    write_lines(folder / f"{split}.json", [sr_row(form)])
    (folder / "entities.txt").write_text("".join(f"{id_}\n" for id_ in IDS))
    (folder / "relations.txt").write_text("".join(f"{name}\n" for name in RELATIONS))
    if names:
        (folder / "entities_names.json").write_text(json.dumps(NAMES))
    return folder


@pytest.mark.parametrize("form", ["number", "id", "object"])
@pytest.mark.parametrize("split", ["test", "test_simple"])
def test_sr_files_in_all_their_forms(tmp_path: Path, form: str, split: str) -> None:
    task = load_task("webqsp", data=sr_folder(tmp_path / "sr", split, form))
    assert task.splits == ("test",)
    [question] = task.questions("test")
    assert (question.id, question.topic_entities) == (f"q-{form}", ("Ada",))
    assert task.gold("test")[question.id].answers == ("Paris",)
    kb = task.knowledge_base()
    path = tuple((relation, 1) for relation in RELATIONS)
    assert kb.follow(["Ada"], path) == ["Paris"]
    assert kb.follow(["Ada"], path[1:]) == ["Paris (m.04)"]  # another Paris


def test_sr_files_below_the_folder_and_without_names(tmp_path: Path) -> None:
    sr_folder(tmp_path / "data" / "CWQ", names=False)
    task = load_task("cwq", data=tmp_path / "data")
    [question] = task.questions("test")
    assert question.topic_entities == ("m.01",)
    assert task.gold("test")[question.id].answers == ("Paris",)  # its text names it
    assert task.knowledge_base().is_cvt("m.01")


def test_sr_answers_whose_number_is_the_id(tmp_path: Path) -> None:
    row = {**sr_row("number"), "answers": [{"kb_id": 2, "text": "m.03"}]}
    folder = sr_folder(tmp_path / "sr")
    write_lines(folder / "test_simple.json", [row])
    task = load_task("webqsp", data=folder)
    assert task.gold("test")["q-number"].answers == ("Paris",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"entities": [99]}, r"test_simple\.json:1: 99 is no line of a vocabulary of 5"),
        ({"entities": [True]}, r"test_simple\.json:1: 'True' is neither an id"),
        ({"entities": None}, r"test_simple\.json:1: has no 'entities'"),
        ({"subgraph": {}}, r"test_simple\.json:1: has no 'entities' and 'subgraph'"),
        ({"subgraph": {"tuples": [[0, 1]]}}, r"test_simple\.json:1: 'tuples' holds '\[0, 1\]'"),
    ],
)
def test_a_wrong_sr_file_is_one_line(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    folder = sr_folder(tmp_path / "sr")
    write_lines(folder / "test_simple.json", [{**sr_row("number"), **change}])
    with pytest.raises(UserError, match=message):
        load_task("webqsp", data=folder)


def test_sr_names_must_be_a_table(tmp_path: Path) -> None:
    folder = sr_folder(tmp_path / "sr")
    (folder / "entities_names.json").write_text("[1]")
    with pytest.raises(UserError, match=r"entities_names\.json: is no object"):
        load_task("webqsp", data=folder)


KGQAGEN: list[dict[str, Any]] = [
    {
        "id": 1,
        "seed": "Q3",
        "question": "Which town borders Biombo and is the capital of a country that speaks Portuguese?",
        "answer": ["Bissau"],
        "sparql": "SELECT ?x WHERE { ?x wdt:P47 wd:Q8 . ?c wdt:P36 ?x ; wdt:P37 wd:Q5 . }",
        "proof": [
            ["Bissau (Q3)", "shares border with (P47)", "Biombo (Q8)"],
            ["Guinea-Bissau (Q1)", "capital (P36)", "Bissau (Q3)"],
            ["Guinea-Bissau (Q1)", "official language (P37)", "Portuguese (Q5)"],
        ],
    },
    {
        "id": 2,
        "seed": "Q20",
        "question": "What is the work based on?",
        "answer": ["Journey (Q21)"],
        "sparql": "SELECT ?x WHERE { wd:Q20 wdt:P144 ?x . }",
        "proof": [["Journey (Q20)", "based on (P144)", "Journey (Q21)"], ["Journey (Q20)", "ID (P1)", "/m/1"]],
    },
]


def check_kgqagen(task: Task, split: str) -> None:
    first, second = task.questions(split)
    gold = task.gold(split)
    assert first.topic_entities == ("Biombo", "Portuguese") and gold["1"].answers == ("Bissau",)
    assert second.topic_entities == ("Journey",) and gold["2"].answers == ("Journey (Q21)",)
    assert gold["1"].proof[1] == ("Guinea-Bissau", "capital", "Bissau")
    kb = task.knowledge_base()
    assert kb.follow(["Journey"], (("based on", 1),)) == ["Journey (Q21)"]
    assert all(kb.has(*fact) for one in gold.values() for fact in one.proof)
    assert "not comparable" in task.note


def test_kgqagen_lines_and_lists(tmp_path: Path) -> None:
    write_lines(tmp_path / "lines" / "data.jsonl", KGQAGEN)
    check_kgqagen(load_task("kgqagen", data=tmp_path / "lines"), "all")
    check_kgqagen(load_task("kgqagen", data=tmp_path / "lines" / "data.jsonl"), "all")
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "test.json").write_text(json.dumps(KGQAGEN))
    check_kgqagen(load_task("kgqagen", data=tmp_path / "list"), "test")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}\n", "holds no JSON lines with 'question', 'answer' and 'proof'"),
        ("[1]", r"data\.jsonl:1: not an object: '1'"),
        ("[1", r"data\.jsonl: not JSON"),
        ('{"question": "q", "proof": [["a", "b"]]}\n', r"data\.jsonl:1: 'proof' is"),
        ('{"proof": [], "sparql": 1}\n', r"data\.jsonl:1: 'question' is None"),
    ],
)
def test_a_wrong_kgqagen_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "data.jsonl").write_text(text)
    with pytest.raises(UserError, match=message):
        load_task("kgqagen", data=tmp_path / "data.jsonl")


def test_kgqagen_needs_files() -> None:
    with pytest.raises(UserError, match="task kgqagen needs its files"):
        load_task("kgqagen")


def test_the_first_of_a_name_has_it() -> None:
    assert tell_apart([("1", "a"), ("2", "a"), ("1", "a"), ("3", "b")]) == {"1": "a", "2": "a (2)", "3": "b"}
