"""A group of wrong answers is doubted, each kind of fault by its rule; right ones, and those with gold, are not."""

from __future__ import annotations

from pathlib import Path

from agentkd.doubts.checks import Checks, Proven
from agentkd.doubts.groups import SAMPLES, Group, doubtful_traces, read_groups, write_groups
from agentkd.doubts.groups import find_groups as groups_of
from agentkd.doubts.kinds import name_slot
from agentkd.retrievers.kb import KnowledgeBase
from agentkd.retrievers.relation_path import RelationPath
from agentkd.trace import Trace
from tests.doubts.conftest import ALBUMS, BANDS, MakeTrace

BY, LABEL, YEAR, PRODUCER = (((name, 1),) for name in ("performed by", "record label", "release year", "produced by"))
ALBUM = (("performed by", -1),)
LABELS = (*ALBUM, *LABEL)


def right_traces(trace: MakeTrace) -> list[Trace]:
    found = [trace(f"When was {name} released?", name, YEAR) for name in ALBUMS]
    found += [trace(f"Which label released {name}?", name, LABEL) for name in ALBUMS]
    found += [trace(f"Who produced {name}?", name, PRODUCER) for name in ALBUMS]
    return found + [trace(f"Who worked with {band} on their albums?", band, (*ALBUM, *PRODUCER)) for band in BANDS]


def find_groups(traces: list[Trace], kb: KnowledgeBase) -> list[Group]:
    proven = [Proven(trace, kb) for trace in traces]
    return groups_of(proven, Checks(proven, kb))


def doubts(traces: list[Trace], kb: KnowledgeBase) -> dict[str, str]:
    """Doubt by wording."""
    return {group.asked: group.doubt for group in find_groups(traces, kb) if group.doubt}


def test_right_answers_are_not_doubted(music: KnowledgeBase, trace: MakeTrace) -> None:
    good = [trace(f"Which albums did {band} record?", band, ALBUM) for band in BANDS]
    groups = find_groups(right_traces(trace) + good, music)
    assert not [group.doubt for group in groups if group.doubt]
    assert [len(group.traces) for group in groups] == [5, 5, 5, 3, 3]
    assert groups[0].asked == "When was # released?" and groups[0].path == "release year"


def test_answers_of_a_kind_that_has_another_name(music: KnowledgeBase, trace: MakeTrace) -> None:
    """Albums are asked, and their labels are given: the path is proven, and the fault is in every such question."""
    wrong = [trace(f"Which albums did {band} record?", band, LABELS) for band in BANDS]
    groups = find_groups(right_traces(trace) + wrong, music)
    assert groups[0].doubt == "asks “which albums”; the answers are known as “record label”"
    assert groups[0].example == "Which albums did Anchors record? → Polar; Nightjar"
    assert {key for key, _ in doubtful_traces(groups)} == {item.id for item in wrong}


def test_answers_that_who_would_ask_for(music: KnowledgeBase, trace: MakeTrace) -> None:
    wrong = [trace(f"Which albums did {band} record?", band, (*ALBUM, *PRODUCER)) for band in BANDS]
    assert doubts(right_traces(trace) + wrong, music) == {
        "Which albums did # record?": "asks “which albums”; the answers are known as “who”"
    }
    fine = [trace(f"Which producers worked with {band}?", band, (*ALBUM, *PRODUCER)) for band in BANDS]
    assert not doubts(right_traces(trace) + fine, music)


def test_answers_that_simple_questions_ask_for_with_another_noun(trace: MakeTrace) -> None:
    """The knowledge base has no name for sites or digs; questions of one step tell them apart."""
    digs = [(f"Dig {n}", "led by", f"Person {n}") for n in range(4)] + [
        (f"Dig {n}", "lies at", f"Bay {n}") for n in range(4)
    ]
    kb = KnowledgeBase.from_triples(digs)

    def ask(question: str, topic: str, path: RelationPath) -> Trace:
        text = question.format(topic)
        proof = {"path": path, "topics": [topic]}
        fields = {"id": text, "question": text, "answers": tuple(kb.follow([topic], path)), "provenance": proof}
        return trace("?", "Amber Door", YEAR).model_copy(update=fields)

    simple = [ask("Which sites has {}?", f"Dig {n}", (("lies at", 1),)) for n in range(4)]
    far = (("led by", -1), ("lies at", 1))
    right = [ask("Which sites did {} see?", f"Person {n}", far) for n in range(4)]
    wrong = [ask("Which camps did {} lead?", f"Person {n}", far) for n in range(4)]
    assert doubts([*simple, *right, *wrong], kb) == {
        "Which camps did # lead?": "asks “which camps”; the answers are known as “site”"
    }


def test_a_noun_that_the_knowledge_base_knows(music: KnowledgeBase, trace: MakeTrace) -> None:
    wrong = [trace(f"Which labels has {band} been with?", band, (*ALBUM, *PRODUCER)) for band in BANDS]
    (doubt,) = doubts(right_traces(trace) + wrong, music).values()
    assert doubt.startswith("asks “which labels”")


def test_things_that_are_asked_for_in_the_plural_are_no_numbers(music: KnowledgeBase, trace: MakeTrace) -> None:
    wrong = [trace(f"Which songs are on {name}?", name, YEAR) for name in ALBUMS]
    assert doubts(wrong, music) == {
        "Which songs are on # ?": "asks “which songs”; the answers are known as “a date or number”"
    }


def test_dates_numbers_and_mixtures(music: KnowledgeBase, trace: MakeTrace) -> None:
    traces = [trace(f"When was {name} released?", name, LABEL) for name in ALBUMS]
    traces += [trace(f"How many songs are on {name}?", name, LABEL) for name in ALBUMS]
    traces += [trace(f"Who sang on {name}?", name, YEAR) for name in ALBUMS]
    traces += [trace(f"Which albums did {band} record?", band, ALBUM, LABELS) for band in BANDS]
    assert doubts(traces, music) == {
        "When was # released?": "asks for a date (when); the answers are none",
        "How many songs are on # ?": "asks for a number (how many); the answers are none",
        "Who sang on # ?": "asks who; the answers are dates or numbers",
        "Which albums did # record?": "answers of several kinds together",
    }


def test_what_gold_has_checked_is_not_doubted(music: KnowledgeBase, trace: MakeTrace) -> None:
    wrong = [trace(f"Which albums did {band} record?", band, LABELS, gold=True) for band in BANDS]
    groups = find_groups(right_traces(trace) + wrong, music)
    assert len(groups) == 5 and not doubtful_traces(groups)


def test_samples_that_contradict_each_other(music: KnowledgeBase, trace: MakeTrace) -> None:
    """At most one of several answers is right: the most frequent stays, of equally frequent ones the first."""
    ask = "Who produced Amber Door?", "Amber Door"
    one = [trace(*ask, PRODUCER), trace(*ask, BY, sample=1), trace(*ask, BY, sample=2)]
    assert doubtful_traces(find_groups(one, music)) == {(ask[0], 0): SAMPLES}
    assert doubtful_traces(find_groups(one[:2], music)) == {(ask[0], 1): SAMPLES}
    assert not doubtful_traces(find_groups([*one[1:]], music))
    with_gold = [trace(*ask, PRODUCER, gold=True), trace(*ask, BY, sample=1, gold=True)]
    assert not doubtful_traces(find_groups(with_gold, music))


def test_groups_are_read_back_and_damaged_ones_are_none(tmp_path: Path) -> None:
    groups = [Group(asked="who", path="p", traces=(("q", 0),), question="Who?", answers=("a", "b"), total=7, doubt="d")]
    write_groups(tmp_path, groups)
    assert read_groups(tmp_path) == groups and groups[0].example == "Who? → a; b … (7)"
    for text in ("{", "[]", '{"groups": [{"asked": 1}]}'):
        (tmp_path / "groups.json").write_text(text)
        assert read_groups(tmp_path) == []
    assert read_groups(tmp_path / "nowhere") == []


def test_the_words_by_which_a_relation_calls_its_ends() -> None:
    for relation, heads, tails in [
        ("starred actors", "", "starred actors"),
        ("directed by", "", ""),
        ("has genre", "", "genre"),
        ("capital of", "capital", ""),
        ("mountain in", "", ""),
        ("plays for", "", ""),
        ("treats", "", ""),
        ("place of birth", "", "place of birth"),
        ("film.film.genre", "film", "genre"),
        ("country.capital", "country", "capital"),
        ("people.person.place_of_birth", "person", "place of birth"),
    ]:
        assert (name_slot(relation, 1, set()), name_slot(relation, -1, set())) == (heads, tails), relation
    assert name_slot("mountain in", 1, {"mountain"}) == "mountain" and name_slot("members", -1, {"member"}) == "members"


def test_who_is_no_place(trace: MakeTrace) -> None:
    towns = [(f"FC {name}", "plays in town", f"Town of {name}") for name in ("Ost", "Sud", "West", "Nord", "Mitte")]
    kb = KnowledgeBase.from_triples(towns)
    asked = [("Which town is {} from?", 0), ("Who plays for {}?", 0)]
    traces = [
        trace("?", "Amber Door", YEAR).model_copy(
            update={
                "id": question.format(club), "question": question.format(club), "answers": (town,),
                "provenance": {"path": [("plays in town", 1)], "topics": [club]},
            }
        )
        for question, _ in asked
        for club, _, town in towns
    ]  # fmt: skip
    assert doubts(traces, kb) == {"Who plays for # ?": "asks who; the answers are known as “town”"}
