"""The decision between paths: a distribution, monotone in the vote, and of least expected loss."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkd.agents.option import Option
from agentkd.agents.reading import LIKELIHOOD, choose_options, compute_beliefs
from agentkd.agents.worked_examples import Example, Memory, MemorySearch
from agentkd.matching import strict_f1

logits = st.floats(-30, 30)
answers = st.lists(st.sampled_from("abcde"), min_size=1, max_size=4, unique=True).map(tuple)
options = st.lists(st.tuples(logits, answers), min_size=1, max_size=6).map(
    lambda rows: [Option((("r", 1),), f"path {n}", found, logit) for n, (logit, found) in enumerate(rows)]
)


@given(options, st.integers(0, 5), st.floats(0, 20))
def test_beliefs_are_a_distribution_and_a_vote_raises_its_option(found: list[Option], vote: int, trust: float) -> None:
    choice = found[vote % len(found)]
    plain, voted = compute_beliefs(found, [], trust), compute_beliefs(found, [choice], trust)
    assert sum(plain) == pytest.approx(1) and sum(voted) == pytest.approx(1)
    assert voted[vote % len(found)] >= plain[vote % len(found)] - 1e-12


@given(options, st.lists(st.integers(0, 5), min_size=1, max_size=8), st.floats(0, 20))
def test_votes_count_by_their_share(found: list[Option], drawn: list[int], trust: float) -> None:
    votes = [found[n % len(found)] for n in drawn]
    assert compute_beliefs(found, votes * 3, trust) == pytest.approx(compute_beliefs(found, votes, trust))
    plain, voted = compute_beliefs(found, [], trust), compute_beliefs(found, votes, trust)
    for one, before, after in zip(found, plain, voted, strict=True):
        if votes.count(one) == len(votes) and before > 0:  # unanimous: exactly `trust` nats against the others
            others = [(p, q) for p, q, other in zip(plain, voted, found, strict=True) if other is not one and p > 1e-12]
            assert all(after / q == pytest.approx(before / p * math.exp(trust), rel=1e-6) for p, q in others if q)


@given(options)
def test_the_decision_is_the_naive_minimum_of_risk(found: list[Option]) -> None:
    (best,), expected = choose_options(found, [], 0.0, union=1)
    chances = compute_beliefs(found, [], 0.0)
    naive = [sum(p * strict_f1(one.answers, two.answers) for p, two in zip(chances, found)) for one in found]  # noqa: B905
    assert expected == pytest.approx(max(naive)) and naive[found.index(best)] == pytest.approx(max(naive))


def test_agreeing_paths_outvote_a_lone_one() -> None:
    found = [
        Option((("a", 1),), "a", ("x",), 1.0),
        Option((("b", 1),), "b", ("y",), 0.8),
        Option((("c", 1),), "c", ("y",), 0.8),
    ]
    assert [one.label for one in choose_options(found, [], 0.0, union=1)[0]] == ["b"]
    assert [one.label for one in choose_options(found, [found[0]], 5.0, union=1)[0]] == ["a"], "a trusted model decides"
    assert [one.label for one in choose_options(found, [], 0.0, {"a": 1.0}, union=1)[0]] == ["a"], "so does the memory"
    ranked = [choose_options(found, [], 0.0, rank=rank, union=1)[0][0].answers for rank in range(4)]
    assert ranked == [("y",), ("x",), ("y",), ("y",)], "samples differ as long as there is another answer"


def test_a_divided_belief_gives_both_answers() -> None:
    found = [Option((("a", 1),), "a", ("x",), 1.0), Option((("b", 1),), "b", ("y",), 0.9)]
    both, expected = choose_options(found, [], 0.0)
    assert [one.label for one in both] == ["a", "b"] and expected == pytest.approx(2 / 3)
    assert [one.label for one in choose_options(found, [found[1]], 5.0)[0]] == ["b"], "not where one is believed"


@given(options)
def test_a_union_never_promises_less_than_a_single_path(found: list[Option]) -> None:
    chosen, expected = choose_options(found, [], 0.0)
    assert expected >= choose_options(found, [], 0.0, union=1)[1] - 1e-12 and 1 <= len(chosen) <= 3
    given_together = {answer for one in chosen for answer in one.answers}
    chances = compute_beliefs(found, [], 0.0)
    assert expected == pytest.approx(
        sum(p * strict_f1(given_together, two.answers) for p, two in zip(chances, found, strict=True))
    )


def test_memory_shares_are_a_distribution_without_the_question_itself() -> None:
    memory = Memory([Example("1", "red fox", "A"), Example("2", "red hen", "B"), Example("3", "blue whale", "C")], None)
    shares = memory.recall("9", "a red fox", ["nobody"]).shares
    assert sum(shares.values()) == pytest.approx(1) and shares["A"] > shares["B"] > shares["C"]
    assert set(memory.recall("1", "a red fox", ["nobody"]).shares) == {"B", "C"}
    assert Memory([], None).recall("9", "x", []) == ({}, 0) and Memory([], None).recall("9", "x", []).nearness == 0


class OneAxis:
    """An encoder of texts `number`, whose cosine is that number."""

    def labels(self, texts: list[str]) -> npt.NDArray[np.float32]:
        return np.array([float(text) for text in texts], dtype=np.float32)

    def similarities(self, query: str, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return vectors


@pytest.mark.parametrize(("cosine", "known"), [(0.5, 0.0), (0.8, 0.0), (0.9, 0.5), (1.0, 1.0)])
def test_a_student_counts_as_far_as_the_question_is_like_its_lessons(cosine: float, known: float) -> None:
    lessons: Any = Memory([Example("1", str(cosine), "A"), Example("2", "0.1", "B")], OneAxis())  # type: ignore[arg-type]
    familiarity = lessons.recall("9", "?", ["nobody"]).familiarity
    assert familiarity == pytest.approx(known, abs=1e-6)
    found = [Option((("a", 1),), "a", ("x",), 0.0), Option((("b", 1),), "b", ("y",), 0.0)]
    first, second = compute_beliefs(found, [], 1.0, likelihood={"a": -1.0, "b": -5.0}, familiarity=familiarity)
    assert math.log(first / second) == pytest.approx(4 * known, abs=1e-6)
    first, second = compute_beliefs(found, [found[0]], 3.0, familiarity=familiarity)
    assert math.log(first / second) == pytest.approx(3 * known, abs=1e-6)


def test_what_nobody_can_compare_has_no_familiarity() -> None:
    """Without an encoder, or without lessons, a likelihood has its fixed weight."""
    assert Memory([Example("1", "red fox", "A")], None).recall("9", "red fox", ["nobody"]).familiarity is None
    assert asyncio.run(MemorySearch(None, 0, asyncio.Lock()).recall("9", "red fox", [])).familiarity is None
    found = [Option((("a", 1),), "a", ("x",), 0.0), Option((("b", 1),), "b", ("y",), 0.0)]
    first, second = compute_beliefs(found, [], 1.0, likelihood={"a": -1.0, "b": -5.0})
    assert math.log(first / second) == pytest.approx(4 * LIKELIHOOD)


def test_memory_gives_the_nearest_last_and_never_the_question_itself() -> None:
    memory = Memory([Example(str(n), text, text) for n, text in enumerate(["red fox", "red hen", "blue whale"])], None)
    assert [example.id for example in memory.nearest("9", "a red fox", ["nobody"], 2)] == ["1", "0"]
    assert [example.id for example in memory.nearest("0", "a red fox", ["nobody"], 1)] == ["1"]
    assert Memory([], None).nearest("9", "a red fox", [], 2) == []
