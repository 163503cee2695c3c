"""Constraints: read from a question, checked on endpoints, and executed again by a verifier."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkd.agents.base import AgentContext, ReadingSettings
from agentkd.agents.option import Option, collect_evidence, make_proof
from agentkd.retrievers.bm25 import BM25Paths
from agentkd.retrievers.constraints import (
    Constraint,
    Wish,
    apply_constraint,
    find_constraint,
    parse_date,
    parse_number,
    read_wishes,
)
from agentkd.retrievers.joins import find_endpoints
from agentkd.retrievers.kb import KnowledgeBase
from agentkd.teacher.chat import NoTeacher
from agentkd.trace import Draft, Step
from agentkd.verify import check_draft, check_step

CITY = (("city", 1),)
KB = KnowledgeBase.from_triples(
    [
        ("Utopia", "city", "Alba"),
        ("Utopia", "city", "Brig"),
        ("Utopia", "city", "Cole"),
        ("Utopia", "city", "Lake Dee"),
        *((place, "types", "City") for place in ("Alba", "Brig", "Cole")),
        ("Lake Dee", "types", "Lake"),
        ("Alba", "population", "20,000"),
        ("Brig", "population", "9000"),
        ("Cole", "population", "100"),
        ("Lake Dee", "population", "7"),
        ("Alba", "founded", "1950-05-02"),
        ("Brig", "founded", "1990"),
        ("Cole", "census", "m.0c1"),
        ("m.0c1", "date", "1871"),
    ]
)
ENDS = KB.follow(["Utopia"], CITY)


def even(labels: Sequence[str]) -> list[float]:
    return [0.0] * len(labels)


@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        ("which city has the largest population", [Wish("highest"), Wish("type", "ha"), Wish("type", "city")]),
        ("the most recent film", [Wish("latest")]),
        (
            "what was founded after May 2, 1950",
            [Wish("after", "1950-05-02"), Wish("type", "founded"), Wish("type", "wa")],
        ),
        ("opened before 1966", [Wish("before", "1966")]),
        ("elected in march 2001", [Wish("within", "2001-03")]),
        ("who lives there", []),
    ],
)
def test_what_is_read_from_a_question(question: str, wanted: list[Wish]) -> None:
    assert read_wishes(question) == wanted


@pytest.mark.parametrize(
    ("question", "kept"),
    [
        ("the place of highest population", ["Alba"]),
        ("the place of fewest people", ["Lake Dee"]),
        ("what lake is in", ["Lake Dee"]),
        ("places founded after 1960", ["Brig"]),
        ("places founded before 1960", ["Alba"]),
        ("places founded in May 1950", ["Alba"]),
    ],
)
def test_endpoints_that_meet_it_are_left(question: str, kept: list[str]) -> None:
    found = find_constraint(KB, question, ENDS, even)
    assert found is not None and found[1] == kept == apply_constraint(KB, ENDS, found[0])
    assert find_endpoints(KB, ["Utopia"], CITY, (), found[0]) == kept


@pytest.mark.parametrize(
    "question",
    [
        "the oldest place",  # two of four have a date: another could be older
        "places founded after 2020",  # none
        "what moon is in",  # none
        "who is there",
    ],
)
def test_what_cannot_be_checked_is_no_constraint(question: str) -> None:
    assert find_constraint(KB, question, ENDS, even) is None


def test_an_attribute_may_lie_behind_an_unnamed_node() -> None:
    ends = ["Cole", "Brig"]
    way = (("census", 1), ("date", 1))
    assert apply_constraint(KB, ends, Constraint("before", way, "1900")) == ["Cole"]


def test_a_constrained_proof_is_executed_by_the_verifier() -> None:
    retrieval = AgentContext.build(KB, BM25Paths(KB), NoTeacher(), ReadingSettings(hops=1)).retrieval
    plain = [Option(CITY, "city", tuple(ENDS))]
    (option,) = asyncio.run(retrieval.constrain("Which city of Utopia has the highest population?", ["Utopia"], plain))
    assert option.answers == ("Alba",) and option.constraint is not None
    evidence = collect_evidence(KB, ["Utopia"], option, option.answers)
    assert {fact.relation for fact in evidence} == {"city", "population"}, "the compared values are evidence, too"
    verdict = check_step(KB, ["Utopia"], option.derivation, option.answers, evidence)
    step = Step(kind="answer", evidence=evidence, verdict=verdict)
    draft = Draft(steps=(step,), answers=option.answers, provenance=make_proof([option], ["Utopia"]).record())
    assert verdict.ok and check_draft(KB, draft).rung == "complete"
    claimed = {**draft.provenance, "constraint": ["lowest", option.constraint.way, ""]}
    assert not check_draft(KB, draft.model_copy(update={"provenance": claimed})).ok
    assert not check_draft(KB, draft.model_copy(update={"provenance": {**claimed, "constraint": None}})).ok


dates = st.tuples(st.integers(1, 9999), st.integers(1, 12), st.integers(1, 28))


@given(dates, dates)
def test_dates_are_ordered_as_their_iso_texts(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    first, second = (f"{y:04}-{m:02}-{d:02}" for y, m, d in (one, other))
    assert ((parse_date(first) or ()) < (parse_date(second) or ())) == (first < second)
    assert parse_number(first) is None and parse_date(f"{one[0]:04}") == (float(one[0]),)
