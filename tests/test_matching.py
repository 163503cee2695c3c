"""The text rules: deleted and kept characters, and names that are equal."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkd.matching import normalize, split_prediction, strict_hits, strict_key, strict_set


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("The U.S.A.", "usa"),
        ("  A  tale\tof the   Two Cities ", "tale of two cities"),
        ("Coca-Cola", "cocacola"),
        ("theatre another and", "theatre another and"),  # only whole words are articles
        ("a's", "as"),  # punctuation goes before the articles do, as in the source
        ("<pad> Paris", "pad paris"),  # the source's <pad> step never fires
        ("Beyoncé", "beyoncé"),
        ("L\u2019Aquila", "l\u2019aquila"),  # only ASCII punctuation
        ("The A!", ""),
    ],
)
def test_normalize(text: str, wanted: str) -> None:
    assert normalize(text) == wanted


@given(st.text())
def test_normalize_leaves_no_punctuation_no_articles_and_single_spaces(text: str) -> None:
    words = normalize(text).split(" ")
    assert not {"a", "an", "the"} & set(words)
    assert not set(string.punctuation) & set("".join(words))
    assert words == [""] or all(words)


@given(st.text(alphabet="aAnt heT.!é\n$"))
def test_normalize_and_strict_key_are_stable(text: str) -> None:
    assert normalize(normalize(text)) == normalize(text)
    assert strict_key(strict_key(text)) == strict_key(text)


def test_names_of_articles_and_punctuation_stay_apart() -> None:
    assert strict_key("$") == "$"
    assert strict_key("The  The") == "the the"
    assert strict_key("$") != strict_key("!!!")
    assert strict_key(" \t") == ""


def test_split_prediction_drops_blank_lines_and_keeps_order_and_duplicates() -> None:
    assert split_prediction("\n Paris \r\n\n \nRome, Italy\nParis\n") == ["Paris", "Rome, Italy", "Paris"]
    assert split_prediction(" \n\t\n") == []


def test_split_prediction_splits_at_newlines_only() -> None:
    assert split_prediction("one\u2028line\x0bstill") == ["one\u2028line\x0bstill"]


def test_strict_set_merges_spellings_and_drops_blanks() -> None:
    assert strict_set(["The Beatles", "beatles!", "", "  ", "Wings"]) == {"beatles", "wings"}


def test_strict_hits_keeps_the_predicted_order_and_first_spelling() -> None:
    assert strict_hits(["rome", "PARIS", "Oslo", "Paris", ""], ["Paris", "Rome", ""]) == ["rome", "PARIS"]
    assert strict_hits(["Paris, France"], ["Paris"]) == []


@given(st.lists(st.text(max_size=4)), st.lists(st.text(max_size=4)))
def test_strict_hits_are_the_intersection(predicted: list[str], answers: list[str]) -> None:
    hits = strict_hits(predicted, answers)
    assert strict_set(hits) == strict_set(predicted) & strict_set(answers)
    assert len(hits) == len(strict_set(hits))
