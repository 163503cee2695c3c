"""The decision between paths: a distribution, monotone in the vote, and of least expected loss."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkd.agents.base import Option
from agentkd.agents.memory import Example, Memory
from agentkd.agents.reading import beliefs, decide
from agentkd.matching import strict_f1

logits = st.floats(-30, 30)
answers = st.lists(st.sampled_from("abcde"), min_size=1, max_size=4, unique=True).map(tuple)
options = st.lists(st.tuples(logits, answers), min_size=1, max_size=6).map(
    lambda rows: [Option((("r", 1),), f"path {n}", found, logit) for n, (logit, found) in enumerate(rows)]
)


@given(options, st.integers(0, 5), st.floats(0, 20))
def test_beliefs_are_a_distribution_and_a_vote_raises_its_option(found: list[Option], vote: int, trust: float) -> None:
    choice = found[vote % len(found)]
    plain, voted = beliefs(found, [], trust), beliefs(found, [choice], trust)
    assert sum(plain) == pytest.approx(1) and sum(voted) == pytest.approx(1)
    assert voted[vote % len(found)] >= plain[vote % len(found)] - 1e-12


@given(options, st.lists(st.integers(0, 5), min_size=1, max_size=8), st.floats(0, 20))
def test_votes_count_by_their_share(found: list[Option], drawn: list[int], trust: float) -> None:
    votes = [found[n % len(found)] for n in drawn]
    assert beliefs(found, votes * 3, trust) == pytest.approx(beliefs(found, votes, trust))
    plain, voted = beliefs(found, [], trust), beliefs(found, votes, trust)
    for one, before, after in zip(found, plain, voted, strict=True):
        if votes.count(one) == len(votes) and before > 0:  # unanimous: exactly `trust` nats against the others
            others = [(p, q) for p, q, other in zip(plain, voted, found, strict=True) if other is not one and p > 1e-12]
            assert all(after / q == pytest.approx(before / p * math.exp(trust), rel=1e-6) for p, q in others if q)


@given(options)
def test_the_decision_is_the_naive_minimum_of_risk(found: list[Option]) -> None:
    best, expected = decide(found, [], 0.0)
    chances = beliefs(found, [], 0.0)
    naive = [sum(p * strict_f1(one.answers, two.answers) for p, two in zip(chances, found)) for one in found]  # noqa: B905
    assert expected == pytest.approx(max(naive)) and naive[found.index(best)] == pytest.approx(max(naive))


def test_agreeing_paths_outvote_a_lone_one() -> None:
    found = [
        Option((("a", 1),), "a", ("x",), 1.0),
        Option((("b", 1),), "b", ("y",), 0.8),
        Option((("c", 1),), "c", ("y",), 0.8),
    ]
    assert decide(found, [], 0.0)[0].label == "b"
    assert decide(found, [found[0]], 5.0)[0].label == "a", "a trusted model decides"
    ranked = [decide(found, [], 0.0, rank)[0].answers for rank in range(4)]
    assert ranked == [("y",), ("x",), ("y",), ("y",)], "samples differ as long as there is another answer"


def test_memory_gives_the_nearest_last_and_never_the_question_itself() -> None:
    memory = Memory([Example(str(n), text, text) for n, text in enumerate(["red fox", "red hen", "blue whale"])], None)
    assert [example.id for example in memory.nearest("9", "a red fox", ["nobody"], 2)] == ["1", "0"]
    assert [example.id for example in memory.nearest("0", "a red fox", ["nobody"], 1)] == ["1"]
    assert Memory([], None).nearest("9", "a red fox", [], 2) == []
