"""What a question asks for: the words that say it, and silence where they do not."""

from __future__ import annotations

import pytest

from agentkd.doubts.asked import read_asked, singular


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("Who directed #?", "who"),
        ("the films of # were written by whom", "who"),
        ("When was # released?", "when"),
        ("In what year was # released?", "year"),
        ("Where was # born?", "where"),
        ("How many people live in #?", "how many"),
        ("How tall is #?", "how many"),
        ("Which films were directed by #?", "film"),
        ("Which actors appear in #?", "actor"),
        ("Which publisher released #?", "publisher"),
        ("Which company makes #?", "company"),
        ("Which scientists won the #?", "scientist"),
        ("What science fiction films did # direct?", "film"),
        ("What side effects does # have?", "effect"),
        ("What genre is #?", "genre"),
        ("What is the genre of #?", "genre"),
        ("What's the currency of #?", "currency"),
        ("What are the official languages of the Republic of #?", "language"),
        ("What is the language spoken in #?", "language"),
        ("What is the name of the river that flows through #?", "river"),
        ("Name the cities in #.", "city"),
        ("Give me all the movies of #", "movie"),
        ("the movies directed by #", "movie"),
        ("# appears in which movies", "movie"),
        ("what were the release years of the films of #", "year"),
    ],
)
def test_the_kind_of_answer(question: str, kind: str) -> None:
    assert read_asked(question.replace("#", "Blue Door"), ("Blue Door",)).kind == kind


@pytest.mark.parametrize(
    "question",
    ["What kind of music does # play?", "What does # do?", "What is # known for?", "How does # work?", "# ?", "",
     "Welche Filme drehte #?"],
)  # fmt: skip
def test_nothing_is_said_where_the_words_do_not(question: str) -> None:
    assert read_asked(question.replace("#", "Blue Door"), ("Blue Door",)).kind == ""


def test_a_topic_that_holds_such_words_is_no_question_word() -> None:
    assert read_asked("Who wrote Where the Wild Things Are?", ("Where the Wild Things Are",)).kind == "who"
    assert read_asked("Doctor Who was created by which writers?", ("Doctor Who",)) == ("writer", "which writers")


@pytest.mark.parametrize(
    ("plural", "one"), [("films", "film"), ("cities", "city"), ("movies", "movie"), ("boxes", "box"), ("bus", "bus"),
                        ("classes", "class"), ("branches", "branch"), ("genre", "genre"), ("series", "series")]
)  # fmt: skip
def test_singular(plural: str, one: str) -> None:
    assert singular(plural) == one
