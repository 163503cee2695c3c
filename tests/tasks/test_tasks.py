"""Tasks: every kind of file is read, gold stays apart, wrong input is named, splits do not leak."""

import gzip
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from agentkd.errors import UserError, WorldError
from agentkd.tasks.load import load_task
from agentkd.tasks.overlap import find_overlaps, id_root
from agentkd.tasks.question import Gold, Question
from agentkd.tasks.task import Task
from tests.support.paths import DATA, KBQA_DATA

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no data at {DATA}; set AGENTKD_DATA")


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTKD_HOME", str(tmp_path / "home"))


def write(file: Path, *rows: dict[str, Any] | str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return file


KB = ("Oslo\tcity.country\tNorway", "Rome\tcity.country\tItaly", "São Tomé\tcity.country\tItaly")


# ---- the records ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gold", [{"answers": ["x"]}, {"hops": 1}, {"type": "city.country"}, {"path": []}])
def test_a_question_has_no_room_for_gold(gold: dict[str, Any]) -> None:
    """A type names geo's and MetaQA's gold path, and hops are its length."""
    assert set(Question.model_fields) == {"id", "question", "topic_entities"}
    with pytest.raises(ValidationError):
        Question.model_validate({"id": "1", "question": "?", "topic_entities": [], **gold})


# ---- the user's own file -------------------------------------------------------------------------------------------


def own(tmp_path: Path, *rows: dict[str, Any] | str) -> Task:
    return load_task(str(write(tmp_path / "mine.jsonl", *rows)), kb=write(tmp_path / "kb.tsv", *KB))


def test_own_questions_in_every_spelling(tmp_path: Path) -> None:
    task = own(
        tmp_path,
        {"question": " Where is Oslo? ", "answers": ["Norway"], "topic_entities": ["Oslo"], "mood": "curious"},
        "",
        {
            "question": "Rome?",
            "answer": "Italy",
            "topic_entity": "ROME",
            "id": 7,
            "split": "test",
            "hops": 1,
            "type": "x",
        },
        {"question": "Sao Tome?", "answer": ["Italy", "Italy"], "q_entity": ["Sao Tome", "Atlantis"], "split": "train"},
        {"question": "No gold?", "topic_entities": "Oslo", "split": "test"},
    )
    assert (task.name, task.splits, task.max_hops) == ("mine", ("train", "test", "all"), 3)
    assert task.questions("all") == [Question(id="mine-1", question="Where is Oslo?", topic_entities=("Oslo",))]
    assert task.questions("test")[0] == Question(id="7", question="Rome?", topic_entities=("Rome",))
    # a question without gold has no entry
    assert task.gold("test") == {"7": Gold(answers=("Italy",), hops=1, type="x")}
    assert task.gold("train") == {"mine-4": Gold(answers=("Italy",))}
    assert task.unresolved("train") == {"mine-4": ("Atlantis",)} and task.unresolved("test") == {}
    assert set(task.hashes()) == {f"{tmp_path.name}/kb.tsv", f"{tmp_path.name}/mine.jsonl"}
    assert len(task.knowledge_base()) == 3 and task.knowledge_base() is task.knowledge_base()


@pytest.mark.parametrize(("hops", "deepest"), [((1, 2), 2), ((1, None), 3), ((None,), 3), ((4, None), 4)])
def test_own_questions_are_searched_as_deep_as_their_gold(
    tmp_path: Path, hops: tuple[int | None, ...], deepest: int
) -> None:
    row = {"question": "Oslo?", "topic_entities": "Oslo", "answers": ["Norway"]}
    assert own(tmp_path, *({**row, "hops": count} for count in hops)).max_hops == deepest
    assert own(tmp_path, {**row, "answers": None, "hops": 1}).max_hops == 3  # no gold, so nothing is known


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{not json}", "not JSON"),
        ("[1]", "not an object"),
        ({"answers": ["x"]}, "'question' is None"),
        ({"question": "  ", "topic_entities": []}, "'question' is '  '"),
        ({"question": "What?", "answers": ["x"]}, "no 'topic_entities'"),
        ({"question": "What?", "topic_entities": [["x"]]}, "'topic_entities' is"),
        ({"question": "What?", "topic_entities": [], "answers": {"a": 1}}, "'answers' is"),
        ({"question": "What?", "topic_entities": [], "hops": "two"}, "'hops' is 'two'"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, row: Any, message: str) -> None:
    with pytest.raises(UserError, match=rf"mine\.jsonl:2: .*{message}") as caught:
        own(tmp_path, {"question": "Fine?", "topic_entities": "Oslo"}, row)
    assert "\n" not in str(caught.value)


def test_ids_must_be_unique(tmp_path: Path) -> None:
    row = {"id": "a", "question": "Oslo?", "topic_entities": "Oslo"}
    with pytest.raises(UserError, match="id 'a' occurs twice"):
        own(tmp_path, row, row).questions("all")


# ---- finding a task ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "webqps"}, r"unknown task 'webqps'; did you mean webqsp\? choose one of: geo, webqsp, cwq"),
        ({"name": "zzz"}, r"unknown task 'zzz'; choose one of: geo"),
        ({"name": "metaqa-9hop"}, r"unknown task 'metaqa-9hop'; did you mean metaqa"),
        ({"name": "metaqa"}, r"task metaqa needs its files: give --data DIR"),
        ({"name": "pathquestion", "data": "."}, r"task pathquestion needs its files"),
        ({"name": "mine.jsonl"}, r"need a knowledge base; add --kb FILE"),
        ({"name": "webqsp", "data": "no/such"}, r"no/such: no such file or folder; check --data"),
        ({"name": "webqsp", "data": "."}, r"holds neither webqsp_train\.jsonl"),
        ({"name": "geo", "data": "."}, r"holds no geo files"),
    ],
)
def test_errors_name_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        load_task(**arguments)


def test_default_splits(tmp_path: Path) -> None:
    def splits(*names: str) -> Task:
        rows = [{"question": f"{n}?", "topic_entities": "Oslo", **({"split": n} if n else {})} for n in names]
        return own(tmp_path, *rows)

    full = splits("train", "dev", "test")
    assert (full.default_split("generate"), full.default_split("eval")) == ("train", "test")
    assert splits("train", "dev").default_split("eval") == "dev"
    assert splits("").default_split("generate") == splits("").default_split("eval") == "all"
    with pytest.raises(UserError, match=r"no split 'train' here \(it has: dev\); name one with --split"):
        splits("dev").default_split("generate")
    with pytest.raises(UserError, match=r"no split 'dve'; did you mean dev\? choose one of: train, dev, test"):
        full.questions("dve")


def test_a_larger_pick_contains_the_smaller(tmp_path: Path) -> None:
    task = own(tmp_path, *({"question": f"q{i}", "topic_entities": "Oslo"} for i in range(50)))
    ten, twenty, other = task.pick("all", 10), task.pick("all", 20), task.pick("all", 10, seed=1)
    assert twenty[:10] == ten == task.pick("all", 10) != other
    assert sorted(q.id for q in task.pick("all")) == sorted(q.id for q in task.questions("all"))
    assert task.questions("all")[0].id == "mine-1"  # picking leaves the order alone
    with pytest.raises(UserError, match="limit 0"):
        task.pick("all", 0)


def test_overlaps_by_text_and_by_id_root() -> None:
    def question(name: str, text: str) -> Question:
        return Question(id=name, question=text, topic_entities=())

    assert id_root("WebQTest-832_c334509bb5e02cacae1ba2e80c176499") == "WebQTest-832" and id_root("my_id") == "my_id"
    train = [question("WebQTrn-1", "who?"), question("WebQTrn-2", "Where is the Nile?"), question("WebQTrn-3", "why?")]
    test = [
        question("WebQTrn-1_" + "0f" * 16, "who, when it rains?"),
        question("t-2", "where is Nile"),
        question("t", "how?"),
    ]
    assert find_overlaps(train, test) == (frozenset({"WebQTrn-1", "WebQTrn-2"}), frozenset({test[0].id, "t-2"}))


# ---- known formats, hand-made --------------------------------------------------------------------------------------


def test_freebase_files(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "kbqa" / "fbmini"
    write(folder / "kb.tsv", *KB)
    (folder / "mid2name.json").write_text('{"m.1": "Rome"}')
    common = {"question": "Where?", "answers": ["Italy"], "split": "validation", "relation_chains": ["secret"]}
    write(
        folder / "webqsp_train.jsonl",
        {"id": "WebQTrn-0", "topic_mid": "m.1", "topic_key": "roma", **common},
        {"id": "WebQTrn-1", "topic_mid": "m.2", "topic_key": "sao_tome", **common},
        {"id": "WebQTrn-2", "topic_mid": "m.3", "topic_key": "new_york", **common},
    )
    parse = {
        "AnnotatorComment": {"ParseQuality": "Complete", "QuestionQuality": "Good"},
        "Answers": [{"AnswerArgument": "m.9", "EntityName": "Italy"}, {"AnswerArgument": "1999", "EntityName": None}],
    }
    write(folder / "webqsp_dev.jsonl", {"id": "d", "topic_entities": ["Rome"], "parses": [parse, {}], **common})
    write(folder / "cwq_dev.jsonl", {"id": "c", "topic_entities": [], "compositionality_type": "conjunction", **common})
    task = load_task("webqsp", data=tmp_path / "data")
    assert task.splits == ("train", "dev") and "not comparable with published WebQSP" in task.note
    assert [q.topic_entities for q in task.questions("train")] == [("Rome",), ("São Tomé",), ("new york",)]
    assert task.unresolved("train") == {"WebQTrn-2": ("new york",)}
    first, second = task.gold("dev")["d"].parses
    assert first.good and first.answers == ("Italy", "1999") and first.arguments == ("m.9", "1999")
    assert not second.good and second.answers == ()
    cwq = load_task("cwq", data=folder)
    assert cwq.gold("dev")["c"].type == "conjunction" and "CWQ" in cwq.note
    other_kb = write(tmp_path / "other.tsv", "a\tr\tb")
    assert len(load_task("cwq", data=folder, kb=other_kb).knowledge_base()) == 1
    (folder / "kb.tsv").unlink()
    with pytest.raises(UserError, match=r"no kb\.tsv"):
        load_task("cwq", data=folder)


def test_metaqa_files(tmp_path: Path) -> None:
    write(tmp_path / "kb.txt", "Heat|directed_by|Michael Mann", "Ali|directed_by|Michael Mann")
    write(tmp_path / "1-hop" / "qa_dev.txt", "who directed [Heat]\tMichael Mann")
    write(tmp_path / "1-hop" / "qa_dev_qtype.txt", "movie_to_director")
    write(tmp_path / "2-hop" / "vanilla" / "qa_dev.txt", "films by the director of [Heat]?\tAli|Ali")
    task = load_task("metaqa", data=tmp_path)
    one, two = task.questions("dev")
    assert one == Question(id="metaqa-1hop-dev-1", question="who directed Heat", topic_entities=("Heat",))
    assert task.gold("dev") == {
        one.id: Gold(answers=("Michael Mann",), hops=1, type="movie_to_director"),
        "metaqa-2hop-dev-1": Gold(answers=("Ali",), hops=2),
    }
    assert two.id == "metaqa-2hop-dev-1" and task.licence == "CC BY 3.0"
    assert [g.hops for g in load_task("metaqa-2hop", data=tmp_path).gold("dev").values()] == [2]
    assert load_task("metaqa-2hop", data=tmp_path).max_hops == 2
    with pytest.raises(UserError, match="holds no questions of task metaqa-3hop"):
        load_task("metaqa-3hop", data=tmp_path)
    write(tmp_path / "1-hop" / "qa_dev.txt", "who directed [Heat]\tMichael Mann", "who directed Heat")
    with pytest.raises(UserError, match="1 types for the 2 questions"):
        load_task("metaqa", data=tmp_path).questions("dev")
    write(tmp_path / "1-hop" / "qa_dev_qtype.txt", "x", "y")
    with pytest.raises(UserError, match=r"qa_dev\.txt:2: not a MetaQA line"):
        load_task("metaqa", data=tmp_path).questions("dev")


def test_pathquestion_split_is_disjoint_in_topics(tmp_path: Path) -> None:
    rows = [
        f"the x of e_{i} ' s {w} ?\tb{i}(b{i}/c{i}/)\te_{i}#r#a{i}#s#b{i}#<end>#b{i}" for i in range(40) for w in "uv"
    ]
    write(tmp_path / "PQ-2H.txt", *rows)
    write(tmp_path / "2H-kb.txt", *(f"e_{i}\tr\ta{i}" for i in range(40)), "e_0\tr\ta0")
    task = load_task("pathquestion", data=tmp_path)
    topics = {s: {q.topic_entities[0] for q in task.questions(s)} for s in task.splits}
    assert {s: len(names) for s, names in topics.items()} == {"train": 24, "dev": 6, "test": 10}
    assert len(set.union(*topics.values())) == 40 and len(task.knowledge_base()) == 40
    name = task.questions("train")[0].topic_entities[0]
    number = name.removeprefix("e_")
    gold = task.gold("train")[task.questions("train")[0].id]
    proof = ((name, "r", f"a{number}"), (f"a{number}", "s", f"b{number}"))
    assert gold == Gold(answers=(f"b{number}", f"c{number}"), hops=2, proof=proof)
    write(tmp_path / "PQ-2H.txt", "what\tx\ty")
    with pytest.raises(UserError, match=r"PQ-2H\.txt:1: not a PathQuestion line"):
        load_task("pathquestion", data=tmp_path).questions("train")


ROG = [
    {"id": "q1", "question": "Oslo?", "answer": ["Norway"], "q_entity": ["Oslo"], "graph": [["Oslo", "in", "Norway"]]},
    {
        "id": "q2",
        "question": "Rome?",
        "answer": ["Italy"],
        "q_entity": [],
        "graph": [["Oslo", "in", "Norway"], ["a\tb", "r", "c"]],
    },
]


def check_rog(task: Task) -> None:
    assert [q.id for q in task.questions("train")] == ["q1"] and [q.id for q in task.questions("test")] == ["q2"]
    assert list(task.knowledge_base().triples()) == [("Oslo", "in", "Norway"), ("a b", "r", "c")]
    assert task.gold("train")["q1"].answers == ("Norway",) and task.note == ""


def test_rog_rows_from_files(tmp_path: Path) -> None:
    write(tmp_path / "jsonl" / "train-00000-of-00001.jsonl", ROG[0])
    write(tmp_path / "jsonl" / "RoG_test.jsonl", ROG[1])
    check_rog(load_task("webqsp", data=tmp_path / "jsonl"))
    write(tmp_path / "bad" / "train.jsonl", {**ROG[0], "graph": [["a", "b"]]})
    with pytest.raises(UserError, match=r"train\.jsonl:1: 'graph' holds"):
        load_task("webqsp", data=tmp_path / "bad")
    assert not list((tmp_path / "home" / "tasks").glob("*.part-*"))  # nothing half-written stays


def test_rog_rows_from_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra: train)")
    parquet = pytest.importorskip("pyarrow.parquet")
    for split, row in zip(("train", "test"), ROG, strict=True):
        (tmp_path / "data").mkdir(exist_ok=True)
        parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "data" / f"{split}-00000.parquet")
    check_rog(load_task("cwq", data=tmp_path))
    (tmp_path / "data" / "train-00000.parquet").write_bytes(b"PAR?")
    with pytest.raises(UserError, match=r"train-00000\.parquet: not a readable Parquet file"):
        load_task("cwq", data=tmp_path)


def test_rog_rows_from_the_hub_are_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(name: str) -> dict[str, list[dict[str, Any]]]:
        asked.append(name)
        return {"train": ROG[:1], "test": ROG[1:]}

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    check_rog(load_task("webqsp"))
    check_rog(load_task("webqsp"))
    assert asked == ["rmanluo/RoG-webqsp"]


def test_no_network_and_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(name: str) -> None:
        raise ConnectionError(f"Couldn't reach {name}\nlong story")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    with pytest.raises(WorldError, match=r"cannot fetch rmanluo/RoG-cwq .*--data DIR, or use --task geo") as caught:
        load_task("cwq")
    assert "\n" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"pip install 'agentkd\[train\]'"):
        load_task("cwq")


# ---- packaged and real data ----------------------------------------------------------------------------------------


def test_geo_is_packaged_and_whole() -> None:
    task = load_task("geo")
    assert task.splits == ("train", "dev", "test") and task.aliases_path is not None
    for split in task.splits:
        assert len(task.questions(split)) == len(task.gold(split)) > 100 and not task.unresolved(split)
    assert not find_overlaps(task.questions("train"), task.questions("test")).test
    assert {gold.hops for gold in task.gold("test").values()} == {1, 2, 3}


@needs_data
def test_real_counts() -> None:
    webqsp, cwq = load_task("webqsp", data=DATA), load_task("cwq", data=KBQA_DATA / "fbmini")
    assert (len(webqsp.questions("train")), len(webqsp.questions("dev")), len(cwq.questions("dev"))) == (
        3072,
        814,
        1765,
    )
    assert len(webqsp.unresolved("train")) < 300 and not webqsp.unresolved("dev")
    assert len(find_overlaps(webqsp.questions("train"), cwq.questions("dev")).test) == 1165
    assert sum(any(p.good for p in g.parses) for g in webqsp.gold("dev").values()) > 400


@needs_data
def test_real_pathquestion(tmp_path: Path) -> None:
    task = load_task("pathquestion", data=DATA)
    assert sum(len(task.questions(s)) for s in task.splits) == 1908 + 5198
    assert not any(task.unresolved(s) for s in task.splits) and len(task.knowledge_base()) == 3377


def test_a_gzipped_knowledge_base_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "kb.tsv.gz").write_bytes(gzip.compress("\n".join(KB).encode()))
    questions = write(tmp_path / "mine.jsonl", {"question": "Oslo?", "topic_entities": "oslo"})
    assert load_task(str(questions), kb=tmp_path / "kb.tsv.gz").questions("all")[0].topic_entities == ("Oslo",)


@needs_data
def test_cwq_unseen_leaves_out_what_is_composed_from_webqsp() -> None:
    cwq = load_task("cwq", data=DATA)
    unseen = {question.id for question in cwq.questions("unseen")}
    assert len(unseen) == 600 and unseen < {question.id for question in cwq.questions("dev")}
    known = {id_root(question.id) for question in load_task("webqsp", data=DATA).questions("train")}
    assert not {id_root(name) for name in unseen} & known
    assert set(cwq.gold("unseen")) == unseen
