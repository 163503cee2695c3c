"""What a knowledge base cannot answer is told before the first question, and refused where it is everything."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from agentkd.errors import UserError
from agentkd.tasks.coverage import Coverage, check_coverage
from agentkd.tasks.load import load_task
from agentkd.tasks.task import Task

FACTS = [
    "Alien\tyear\t1979",
    "Alien\trating\t8.50",
    "Alien\tis horror\ttrue",
    "Alien\tdirected by\tRidley Scott",
    "Vitamin\tfound in\tfood",
    "U.S.\tcapital\tWashington",
    "Vitamin A\tfound in\tcarrots",
]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTKD_HOME", str(tmp_path / "home"))


def own(folder: Path, *rows: tuple[str, list[str], Any], **options: Any) -> Task:
    lines = [json.dumps({"question": q, "topic_entities": t, "answers": a}) for q, t, a in rows]
    (folder / "mine.jsonl").write_text("\n".join(lines))
    (folder / "kb.tsv").write_text("".join(f"{fact}\n" for fact in FACTS))
    return load_task(str(folder / "mine.jsonl"), kb=folder / "kb.tsv", **options)


def check(task: Task, **options: Any) -> Coverage:
    return check_coverage(task, "all", task.questions("all"), **{"verify": True, **options})


FINE = ("Who directed Alien?", ["Alien"], ["Ridley Scott"])


@pytest.mark.parametrize(
    ("row", "counts", "line"),
    [
        (FINE, (0, 0, 0), ""),
        (("Who?", ["Aliens"], ["Ridley Scott"]), (1, 0, 0), "have no topic .*'Aliens'; nearest: 'Alien'"),
        (("Who directed it?", [], ["Ridley Scott"]), (1, 0, 0), "first: 'Who directed it\\?' names none"),
        (("Zzz?", ["Zzz"], ["Ridley Scott"]), (1, 0, 0), "'Zzz'; the knowledge base has 'Alien', '1979', …"),
        (("What is it?", ["vitamin a"], ["carrots"]), (0, 0, 0), ""),
        (("What is it?", ["Vitamin B"], ["food"]), (1, 0, 0), "'Vitamin B'; nearest: 'Vitamin A', 'Vitamin'"),
        (("Capital?", ["the US"], ["Washington"]), (0, 1, 0), "read as another spelling .*'the US' as 'U.S.'"),
        (("How many films?", ["Alien"], [2]), (0, 0, 1), "never verifies: first: '2' for 'How many.*no answer form"),
        (("When?", ["Alien"], ["May 25, 1979"]), (0, 0, 1), "'May 25, 1979'"),
        (("Which?", ["Alien"], []), (0, 0, 1), "'Which\\?' has no answer"),
        (("Year?", ["Alien"], 1979.0), (0, 0, 0), ""),
        (("Rating?", ["Alien"], [8.5]), (0, 0, 0), ""),
        (("Horror?", ["Alien"], [True]), (0, 0, 0), ""),
        (("Year?", ["Alien"], [19.79, 1979]), (0, 0, 0), ""),
    ],
)  # fmt: skip
def test_what_is_missing_is_counted_with_the_first_case(
    tmp_path: Path, row: tuple[str, list[str], Any], counts: tuple[int, ...], line: str
) -> None:
    found = check(own(tmp_path, FINE, row))
    assert tuple(found.record().values()) == counts and found.questions == 2
    assert len(found.lines) == bool(line) and re.search(line, " ".join(found.lines)), found.lines


def test_all_of_them_are_refused(tmp_path: Path) -> None:
    lost = own(tmp_path, ("a?", ["Aliens"], ["Ridley Scott"]), ("b?", ["Nowhere"], ["Ridley Scott"]))
    with pytest.raises(
        UserError, match=r"none of the 2 questions has a topic in .*kb\.tsv .*'Aliens'; nearest: 'Alien'"
    ):
        check(lost)
    assert check(lost, topics=False).without_topic == 2  # an agent that asks no knowledge base
    hopeless = own(tmp_path, ("a?", ["Alien"], [2]), ("b?", ["Alien"], ["no"]))
    with pytest.raises(UserError, match="none would verify: first: '2'"):
        check(hopeless)
    assert check(hopeless, verify=False).unreachable_gold == 2  # eval scores such answers as any other


def test_topics_and_gold_may_be_aliases(tmp_path: Path) -> None:
    (tmp_path / "names.tsv").write_text("Alien\tStar Beast\nRidley Scott\tSir Ridley\n")
    row = ("Who directed Star Beast?", ["star beast"], ["Sir Ridley", "R. Scott"])
    task = own(tmp_path, row, aliases=tmp_path / "names.tsv")
    assert task.questions("all")[0].topic_entities == ("Alien",)
    assert task.gold("all")["mine-1"].answers == ("Ridley Scott", "R. Scott")
    assert task.read_loosely("all") == {} and check(task).lines == ()
    assert own(tmp_path, row).hashes() != task.hashes()
    with pytest.raises(UserError, match="endpoint has its own labels"):
        load_task(str(tmp_path / "mine.jsonl"), kb="wikidata", aliases=tmp_path / "names.tsv")


def test_a_loosely_read_topic_is_known_by_question(tmp_path: Path) -> None:
    task = own(tmp_path, ("Capital?", ["the US"], ["Washington"]), FINE)
    assert task.questions("all")[0].topic_entities == ("U.S.",)
    assert task.read_loosely("all") == {"mine-1": {"the US": "U.S."}}
