"""Reads off an English question what kind of answer it asks for: who, when, how many, or a noun ("which films").

The expected answer type of question answering (Li and Roth, COLING 2002), by rules over the words around which, what,
who, when, where and how. Where the rules are not sure they say nothing. Other languages have no rules here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import yaml

WHO, WHEN, WHERE, HOW_MANY = "who", "when", "where", "how many"
_WORDS: dict[str, str] = yaml.safe_load(Path(__file__).with_name("words.yaml").read_text(encoding="utf-8"))


def read_words(name: str) -> frozenset[str]:
    """Read one of the lists in words.yaml."""
    return frozenset(_WORDS[name].split())


DATES = read_words("dates")
_AUXILIARIES = read_words("auxiliaries")
_ENDS = _AUXILIARIES | read_words("ends")
_DETERMINERS = read_words("determiners")
_MEASURES = read_words("measures")
_NAMES_OF = read_words("names_of")
_KINDS_OF = read_words("kinds_of")
_ORDERS = read_words("orders")
_PAST = read_words("past")


class Asked(NamedTuple):
    """The kind of answer that a question asks for.

    `kind` is WHO, WHEN, WHERE, HOW_MANY or a noun in the singular, empty where it is not known; `words` are those of
    the question."""

    kind: str = ""
    words: str = ""


def read_asked(question: str, topics: tuple[str, ...] = ()) -> Asked:
    """Read the kind of answer that a question about some topics asks for."""
    words = split_words(mark_topics(question, topics))
    for place, word in enumerate(words):
        rest = words[place + 1 :]
        if word in ("who", "whom", "whose"):
            return Asked(WHO, word)
        if word in (WHEN, WHERE):
            return Asked(word, word)
        if word == "how":
            return Asked(HOW_MANY, f"how {rest[0]}") if rest and rest[0] in _MEASURES else Asked()
        if word in ("which", "what"):
            if not rest or rest[0] not in _AUXILIARIES:
                return _read_noun(rest, word, bare=True)
            return _read_noun(rest[1:], "", bare=False) if rest[1:2] in (["the"], ["all"]) else Asked()
    if words and words[0] in _ORDERS:
        while words[1:2] in (["me"], ["us"]):
            del words[1]
        return _read_noun(words[1:], "", bare=False)
    if words and words[0] in ("the", "all"):
        return _read_noun(words, "", bare=False)
    return Asked()


def _read_noun(words: list[str], before: str, *, bare: bool) -> Asked:
    """Read the noun that a phrase is about. In a `bare` phrase ("which …") a verb may follow it without a border."""
    phrase: list[str] = []
    after = ""
    for word in words:
        if word == "of" and phrase and phrase[-1] in _NAMES_OF | _KINDS_OF:
            if phrase[-1] in _KINDS_OF:
                return Asked()
            phrase = []
        elif word in _ENDS or word == TOPIC:
            after = word
            break
        elif word in _DETERMINERS:
            if phrase:
                break
        else:
            phrase.append(word)
    if bare and after not in _AUXILIARIES:
        phrase = _without_verb(phrase)
    while not bare and len(phrase) > 1 and is_past(phrase[-1]):  # "the language spoken in …"
        phrase.pop()
    if not phrase or not phrase[-1].isalpha():
        return Asked()
    return Asked(singular(phrase[-1]), " ".join(filter(None, [before, *phrase])))


def _without_verb(phrase: list[str]) -> list[str]:
    """Cut a verb off: "actors appear", "publisher released", "company makes", "scientists won"."""
    if len(phrase) < 2:
        return phrase
    for place, word in enumerate(phrase[:-1]):
        if singular(word) != word:
            return phrase[: place + 1]
    last = phrase[-1]
    return phrase[:-1] if is_past(last) or singular(last) != last else phrase


def is_past(word: str) -> bool:
    """Whether a word looks like a past form: `written`, `directed`."""
    return word.endswith("ed") or word in _PAST


TOPIC = "#"  # the place of a topic's name in a question


def mark_topics(question: str, topics: tuple[str, ...]) -> str:
    """The question with TOPIC in place of its topics' names."""
    for topic in sorted(topics, key=len, reverse=True):
        question = re.sub(rf"(?<!\w){re.escape(topic)}(?!\w)", f" {TOPIC} ", question, flags=re.IGNORECASE)
    return question


def split_words(text: str) -> list[str]:
    """The words of a text in small letters, and the marks of topics."""
    return re.findall(rf"[\w-]+|{TOPIC}", text.lower().replace("what's", "what is").replace("'s", " "))


def singular(word: str) -> str:
    """The singular of a regular English noun."""
    if word in ("movies", "series", "species", "news"):
        return word.removesuffix("s") if word == "movies" else word
    for ending, instead in (("ies", "y"), ("ches", "ch"), ("shes", "sh"), ("sses", "ss"), ("xes", "x")):
        if word.endswith(ending) and len(word) > 4:
            return word[: -len(ending)] + instead
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3 else word
