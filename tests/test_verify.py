"""The ladder: each rung is reached by the traces that deserve it, and a corrupted trace is refused."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkd.proof import Derivation
from agentkd.retrievers.kb import KnowledgeBase
from agentkd.retrievers.relation_path import RelationPath
from agentkd.tasks.load import load_task
from agentkd.trace import Draft, Step, Triple, Verdict
from agentkd.verify import check_draft, check_step, find_explaining_path, join_gold

KB = KnowledgeBase.from_triples(
    [
        ("Anna", "child", "Ben"),
        ("Anna", "child", "Cleo"),
        ("Ben", "born in", "Rome"),
        ("Cleo", "born in", "Rome"),
        ("Cleo", "likes", "Tea"),
        ("Rome", "country", "Italy"),
    ]
)
CHILD: RelationPath = (("child", 1),)
OK = Verdict(ok=True, rung="endpoint")


def facts(*rows: str) -> tuple[Triple, ...]:
    return tuple(Triple(head=h, relation=r, tail=t) for h, r, t in (row.split("|") for row in rows))


def draft(
    answers: list[str], evidence: tuple[Triple, ...], path: RelationPath | None, topics: tuple[str, ...] = ("Anna",)
) -> Draft:
    step = Step(kind="answer", evidence=evidence, verdict=OK)
    return Draft(steps=(step,), answers=tuple(answers), provenance={"path": path, "topics": list(topics)})


BOTH = facts("Anna|child|Ben", "Anna|child|Cleo")


@pytest.mark.parametrize(
    ("made", "rung", "reason"),
    [
        (draft(["Ben", "Cleo"], BOTH, CHILD), "complete", ""),
        (draft(["Ben"], BOTH[:1], CHILD), "chain", "not the full endpoint set"),
        (draft(["Ben", "Cleo", "Rome"], BOTH, CHILD), "endpoint", "no chain of evidence to Rome"),
        (draft(["Zoe"], BOTH, CHILD), "none", "no entity of the KB"),
        (draft([], BOTH, CHILD), "none", "no answer"),
        (draft(["Ben", "Cleo"], BOTH, CHILD, ()), "none", "no topic"),
        (draft(["Ben", "Cleo"], (), CHILD), "none", "no evidence"),
        (draft(["Tea"], facts("Cleo|likes|Tea"), (("likes", 1),)), "endpoint", "no chain of evidence to Tea"),
    ],
)  # fmt: skip
def test_each_rung_and_each_refusal(made: Draft, rung: str, reason: str) -> None:
    verdict = check_draft(KB, made)
    assert (verdict.rung, verdict.ok) == (rung, rung == "complete")
    assert reason in verdict.reason


def test_a_step_needs_real_facts_that_touch_its_start() -> None:
    assert check_step(KB, ["Anna"], Derivation(CHILD), ["Ben", "Cleo"], BOTH).ok
    for answers, evidence, reason in [
        (["Ben"], facts("Anna|child|Rome"), "not in the KB"),
        (["Rome"], BOTH, "not at the end of the path"),
        (["Ben"], facts("Cleo|likes|Tea"), "does not touch the topic"),
        ([], BOTH, "no answer"),
    ]:
        verdict = check_step(KB, ["Anna"], Derivation(CHILD), answers, evidence)
        assert not verdict.ok and reason in verdict.reason


def test_evidence_of_a_conjunction_touches_each_of_its_topics() -> None:
    joined = Derivation(joins=(("Anna", CHILD), ("Tea", (("likes", -1),))))
    both = facts("Anna|child|Cleo", "Cleo|likes|Tea")
    assert check_step(KB, ["Anna", "Tea"], joined, ["Cleo"], both).ok
    for half in (both[:1], both[1:]):
        verdict = check_step(KB, ["Anna", "Tea"], joined, ["Cleo"], half)
        assert not verdict.ok and "does not touch the topic" in verdict.reason


def test_gold_is_the_last_rung_and_may_be_absent() -> None:
    proven = Verdict(ok=True, rung="complete")
    assert join_gold(proven, ["Ben", "Cleo"], ["the ben"]) == Verdict(ok=True, rung="gold")
    assert join_gold(proven, ["Ben"], None) == proven
    refused = join_gold(proven, ["Ben"], ["Cleo"])
    assert not refused.ok and refused.rung == "complete" and "not the answer" in refused.reason
    unproven = Verdict(ok=False, rung="chain", reason="x")
    assert join_gold(unproven, ["Ben"], ["Ben"]) == unproven


def test_an_answer_in_another_spelling_is_said_and_another_thing_is_refused() -> None:
    loose = check_draft(KB, draft(["the Ben", "cleo"], BOTH, CHILD))
    assert loose == Verdict(ok=True, rung="complete", reason="'the Ben' is read as 'Ben'")
    assert join_gold(loose, ["the Ben"], ["Ben"]).reason == loose.reason
    kb = KnowledgeBase.from_triples([("Chrome", "written in", "C++"), ("Unix", "written in", "C")])
    made = draft(["C"], facts("Chrome|written in|C++"), (("written in", 1),), ("Chrome",))
    assert not check_draft(kb, made).ok
    for answer, gold in [("C++", "C"), ("3.14", "314"), ("-5", "5"), ("3.5 V", "35 V")]:
        assert not join_gold(Verdict(ok=True, rung="complete"), [answer], [gold]).ok
    for answer, gold in [("1979", "1979.0"), ("8.50", "8.5"), ("11000000", "11,000,000"), ("true", "True")]:
        assert join_gold(Verdict(ok=True, rung="complete"), [answer], [gold]).ok


def test_a_chain_without_a_named_path_is_looked_for() -> None:
    assert find_explaining_path(KB, ["Anna"], ["Ben", "Cleo"]) == CHILD
    assert find_explaining_path(KB, ["Anna"], ["Rome"]) == (("child", 1), ("born in", 1))
    assert find_explaining_path(KB, ["Anna"], ["Ben"]) is None


GEO = load_task("geo")
GEO_KB = GEO.knowledge_base()
QUESTIONS = {question.id: question for question in GEO.questions("train")}
GOLD = {name: gold for name, gold in GEO.gold("train").items() if QUESTIONS[name].topic_entities}


def proven(name: str) -> tuple[Draft, RelationPath]:
    """A trace as a perfect agent would leave it: the first path whose endpoints are gold."""
    topics = list(QUESTIONS[name].topic_entities)
    found = GEO_KB.relation_paths(topics, 3)
    path = next(p for p in sorted(found, key=len) if set(GEO_KB.follow(topics, p)) == set(GOLD[name].answers))
    evidence = tuple(Triple(head=h, relation=r, tail=t) for h, r, t in GEO_KB.evidence(topics, path))
    return draft(GEO_KB.follow(topics, path), evidence, path, tuple(topics)), path


NAMES = random.Random(0).sample(sorted(GOLD), 40)


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(NAMES), seed=st.integers(0, 10**6))
def test_corruption_is_refused(name: str, seed: int) -> None:
    good, path = proven(name)
    assert check_draft(GEO_KB, good).rung == "complete"
    rng = random.Random(seed)
    facts, answers = list(good.steps[0].evidence), list(good.answers)
    stranger = rng.choice(
        [entity for entity in GEO_KB.entities if entity not in {*answers, *QUESTIONS[name].topic_entities}]
    )
    relation, sign = path[-1]
    other = rng.choice([item for item in GEO_KB.relations if item != relation])
    bad: dict[str, dict[str, Any]] = {
        "entity": {"answers": [*answers[:-1], stranger]},
        "added": {"answers": [*answers, stranger]},
        "no evidence": {"evidence": ()},
        "relation": {"path": (*path[:-1], (other, sign))},
        "direction": {"path": (*path[:-1], (relation, -sign))},
    }
    if len(answers) > 1:
        bad["dropped"] = {"answers": answers[1:]}
    for what, change in bad.items():
        values = {"answers": answers, "evidence": tuple(facts), "path": path, **change}
        if "path" in change and set(GEO_KB.follow(QUESTIONS[name].topic_entities, change["path"])) == set(answers):
            continue  # another way to the very same answers proves them as well
        made = draft(values["answers"], values["evidence"], values["path"], tuple(QUESTIONS[name].topic_entities))
        assert not check_draft(GEO_KB, made).ok, what


def test_gold_is_not_in_the_room() -> None:
    from dataclasses import fields

    from agentkd.agents.base import AgentContext, ReadingSettings
    from agentkd.agents.path_search import PathSearch
    from agentkd.agents.worked_examples import MemorySearch
    from agentkd.tasks.question import Question

    parts = (AgentContext, ReadingSettings, PathSearch, MemorySearch)
    names = {*Question.model_fields, *Draft.model_fields, *(field.name for part in parts for field in fields(part))}
    names |= {*vars(KB)}
    assert not {name for name in names if "gold" in name or name in {"golden_answers", "label", "labels"}}
    assert "answers" not in Question.model_fields and not set(Question.model_fields) & {"hops", "path", "parses"}
