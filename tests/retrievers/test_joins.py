"""Conjunctions of topics: found, executed, proven, and refused where they are not what they say."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from agentkd.agents import make_agent
from agentkd.agents.base import AgentContext, ReadingSettings
from agentkd.agents.survey import followed_label, proven_label
from agentkd.eval.faithful import RawKB
from agentkd.retrievers.bm25 import BM25Passages, BM25Paths
from agentkd.retrievers.guided import GuidedPassages
from agentkd.retrievers.joins import find_conjunctions, find_endpoints
from agentkd.retrievers.kb import KnowledgeBase
from agentkd.tasks.question import Question
from agentkd.teacher.chat import NoTeacher
from agentkd.trace import Draft, Trace
from agentkd.verify import check_draft

FACTS = [
    ("Alien", "directed by", "Scott"),
    ("Gladiator", "directed by", "Scott"),
    ("Thelma", "directed by", "Scott"),
    ("Alien", "starring", "Weaver"),
    ("Ghostbusters", "starring", "Weaver"),
    ("Gladiator", "starring", "Crowe"),
    ("Thelma", "starring", "Sarandon"),
]
KB = KnowledgeBase.from_triples(FACTS)
DIRECTED, STARRING = (("directed by", -1),), (("starring", -1),)
QUESTION = Question(
    id="q", question="which film directed by Scott is starring Weaver", topic_entities=("Scott", "Weaver")
)


def solve(question: Question = QUESTION, hops: int = 2) -> Draft:
    context = AgentContext.build(KB, BM25Paths(KB), NoTeacher(), ReadingSettings(hops=hops))
    return asyncio.run(make_agent("top-path", context).solve(question, 0))


def test_two_topics_meet_in_what_they_share() -> None:
    best, *_ = find_conjunctions(KB, BM25Paths(KB), "which film directed by is starring", ["Scott", "Weaver"], 1)
    assert best.answers == ("Alien",) and best.joins == (("Scott", DIRECTED), ("Weaver", STARRING))
    assert best.label == "inverse directed by (Scott) and inverse starring (Weaver)"
    assert find_endpoints(KB, [], (), best.joins) == ["Alien"]
    assert find_endpoints(KB, [], (("starring", 1),), best.joins) == ["Weaver"], "a path may go on from there"
    assert find_endpoints(KB, ["Scott"], DIRECTED, ()) == ["Alien", "Gladiator", "Thelma"]
    assert find_endpoints(KB, ["Scott"], (), ()) == []
    assert find_conjunctions(KB, BM25Paths(KB), "film", ["Sarandon", "Crowe"], 1) == []


def test_a_conjunction_is_proven_by_both_of_its_chains() -> None:
    draft = solve()
    assert draft.answers == ("Alien",) and check_draft(KB, draft).rung == "complete"
    assert {(fact.head, fact.tail) for fact in draft.triples} == {("Alien", "Scott"), ("Alien", "Weaver")}
    cited = [(fact.head, fact.relation, fact.tail) for fact in draft.triples]
    assert RawKB(FACTS).faithful_ratio([(["Scott", "Weaver"], ["Alien"], cited)]) == 1.0


def test_topics_that_share_nothing_are_followed_apart() -> None:
    apart = solve(QUESTION.model_copy(update={"topic_entities": ("Sarandon", "Crowe"), "question": "starring"}), hops=1)
    assert set(apart.answers) == {"Thelma", "Gladiator"} and not apart.provenance["joins"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"joins": [["Scott", [["directed by", -1]]]]}, "not the full endpoint set"),
        ({"joins": [["Scott", [["directed by", -1]]], ["Crowe", [["starring", -1]]]]}, "which is no topic"),
        ({"joins": [["Scott", [["directed by", 1]]], ["Weaver", [["starring", -1]]]]}, "not the full endpoint set"),
    ],
)
def test_a_false_conjunction_is_refused(change: dict[str, Any], reason: str) -> None:
    draft = solve()
    verdict = check_draft(KB, draft.model_copy(update={"provenance": {**draft.provenance, **change}}))
    assert not verdict.ok and reason in verdict.reason


def test_a_trace_of_a_conjunction_names_its_label_after_json() -> None:
    draft = solve()
    trace = Trace.close(
        **{name: getattr(draft, name) for name in type(draft).model_fields},
        id="q",
        sample=0,
        task="t",
        question=QUESTION.question,
        verified=True,
        verdict=check_draft(KB, draft),
        teacher="none",
    )
    again = Trace.model_validate(json.loads(trace.model_dump_json()))
    assert proven_label(again) == followed_label(again) == "inverse directed by (Scott) and inverse starring (Weaver)"
    assert followed_label(again.model_copy(update={"provenance": {}})) is None


def test_guided_passages_begin_with_the_best_path_and_alternate_with_words() -> None:
    sparse = BM25Passages(KB)
    guided = GuidedPassages(KB, BM25Paths(KB), sparse, 1)
    found = guided.search("starring Weaver directed by Scott", ["Scott"], 4)
    assert len(found) == len(set(found)) == 4 and "Ghostbusters" in dict(found), "no path of one hop leads there"
    assert found[0] == next(guided.along("starring Weaver directed by Scott", ["Scott"]))
    assert {entity for entity, _ in guided.along("directed by Scott", ["Scott"])} == {"Alien", "Gladiator", "Thelma"}
    assert guided.search("directed by Scott", [], 2) == [(e, t) for e, t, _ in sparse.search("directed by Scott", 2)]
