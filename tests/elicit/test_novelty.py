"""Near repeats of questions."""

from __future__ import annotations

import pytest

from agentkd.elicit.novelty import Novelty, rouge_l


@pytest.mark.parametrize(
    ("first", "second", "value"),
    [("a b c", "a b c", 1.0), ("a b c d", "a x c", 4 / 7), ("a b", "b a", 0.5), ("a", "b", 0.0), ("", "", 0.0)],
)
def test_rouge_l_is_the_f1_of_the_longest_common_subsequence(first: str, second: str, value: float) -> None:
    assert rouge_l(first.split(), second.split()) == pytest.approx(value)
    assert rouge_l(second.split(), first.split()) == pytest.approx(value)


def test_a_question_with_another_topic_is_a_repeat_and_with_other_words_is_none() -> None:
    known = Novelty(0.7)
    known.add("What is the capital of Japan?", ["Japan"])
    assert known.repeats("what is the capital of Peru", ["Peru"])
    assert known.repeats("What, then, is the capital of Peru?", ["Peru"])
    assert not known.repeats("Which money do people use in Peru?", ["Peru"])
