"""Which entities of a knowledge base a question names: the longest names and aliases in it, each of one entity alone.

The words of a question are looked up as `lookup.py` does, the longest runs first; a run inside a longer one does not
count. Words with capitals come before words in small letters: "capital" in "the capital of France" may be an entity,
too. Of small letters alone, the longest run counts, proper names first. A name of several entities is not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from agentkd.errors import UserError
from agentkd.retrievers.bm25 import STOPWORDS
from agentkd.retrievers.graph import Graph
from agentkd.retrievers.kb import KnowledgeBase

WORDS = 16  # of the longest name that is looked for
SEARCHED = 3  # words whose nearest names are looked for where nothing is found
NEAREST = 4
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\s\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
_EDGES = " \t.,;:!?\"'()[]{}“”\u2018’«»…¿¡"
_SIGNS = (".", "+", "#", "@")  # that begin a name: .fr, +33
_ARTICLES = (" the", " a", " an")
_OWNER = re.compile(r"['’]s?$")


class Mention(NamedTuple):
    """A run of a question's words and the entity that it names; None where it names several."""

    text: str
    name: str | None
    start: int
    end: int

    @property
    def as_spelt(self) -> bool:
        """Whether the words stand there letter by letter as the knowledge base spells the name."""
        return self.text == self.name

    @property
    def capital(self) -> bool:
        """Whether the writer marks it as a name: by capitals, but for those that begin a sentence, or by a sign."""
        if self.text.startswith(_SIGNS):
            return True
        return self.text != self.text.lower() and (self.start > 0 or self.as_spelt)


class TopicUnknown(UserError):
    """A question names no entity of the knowledge base, or one of several. `what` is the line without its remedy."""

    def __init__(self, what: str, remedy: str = "name it with --topic") -> None:
        super().__init__(f"{what}: {remedy}")
        self.what = what


def find_topics(kb: Graph, question: str) -> list[str]:
    """The entities that a question names, in its order. Raises TopicUnknown where there is none, or which is open."""
    if not isinstance(kb, KnowledgeBase):
        raise TopicUnknown("an endpoint's names cannot be searched for those of a question")
    found = list(find_mentions(kb, question))
    known = [mention for mention in found if mention.name is not None]
    chosen = [mention for mention in known if mention.capital] or sorted(known, key=_weight)[-1:]
    if chosen:
        return list(dict.fromkeys(str(mention.name) for mention in chosen))
    if found:
        several = max(found, key=_weight).text
        raise TopicUnknown(f"{several!r} means several entities{_tell_near(kb, [several])}")
    words = [word.strip(_EDGES) for word in _WORD.findall(question)]
    telling = sorted((word for word in words if _tells(word)), key=lambda word: (word == word.lower(), -len(word)))
    raise TopicUnknown(f"no name of the knowledge base is in {question[:80]!r}{_tell_near(kb, telling[:SEARCHED])}")


def find_topic(kb: Graph, text: str) -> str:
    """The entity that a user names. Raises TopicUnknown, with the nearest names, for one that is not there."""
    name = kb.find(text)
    if name is not None:
        return name
    near = _tell_near(kb, [text]) if isinstance(kb, KnowledgeBase) else ""
    several = isinstance(kb, KnowledgeBase) and kb.lookup.is_ambiguous(text)
    raise TopicUnknown(f"{text[:80]!r} {'means several entities' if several else 'is not in the knowledge base'}{near}")


def find_mentions(kb: KnowledgeBase, question: str) -> Iterator[Mention]:
    """The longest runs of words that name an entity, from left to right; those inside a longer one are left out.

    Runs that name several entities come last, and only those beside the others."""
    words = [(match.start(), match.end()) for match in _WORD.finditer(question)]
    taken = [False] * len(words)
    found: list[Mention] = []
    several: list[tuple[int, int, Mention]] = []
    for length in range(min(WORDS, len(words)), 0, -1):
        for first in range(len(words) - length + 1):
            last = first + length
            if any(taken[first:last]):
                continue
            mention = _look_up(kb, question, words[first][0], words[last - 1][1])
            if mention is not None and mention.name is None:
                several.append((first, last, mention))
            elif mention is not None:
                taken[first:last] = [True] * length
                found.append(mention)
    yield from sorted(found, key=lambda mention: mention.start)
    yield from (mention for first, last, mention in several if not any(taken[first:last]))


def _look_up(kb: KnowledgeBase, question: str, start: int, end: int) -> Mention | None:
    """The entity named by a run of characters: as it is, without marks at its ends, or without an owner's s."""
    raw = question[start:end]
    bare = raw.strip(_EDGES)
    several = None
    for text in dict.fromkeys([raw, raw.rstrip(_EDGES), bare, _OWNER.sub("", bare)]):
        if text not in kb and text.lower().endswith(_ARTICLES):  # "film The" is no film
            continue
        title = text in kb and text != text.lower() and start > 0
        if not (title or _tells(text)):
            continue
        at = start + raw.index(text)
        if (match := kb.lookup.match(text)) is not None:
            if kb.is_named(match.name):
                return Mention(text, match.name, at, at + len(text))
        elif several is None and kb.lookup.is_ambiguous(text):
            several = Mention(text, None, at, at + len(text))
    return several


def _tells(text: str) -> bool:
    """Whether a run of words can name something: not all of them are function words, single letters or punctuation."""
    words = re.findall(r"\w+", text.lower())
    if text.startswith(_SIGNS):
        return bool(words)
    return any(word not in STOPWORDS and (len(word) > 1 or not word.isascii() or word.isdigit()) for word in words)


def _weight(mention: Mention) -> tuple[bool, int]:
    """Of words in small letters the longest that stands for a proper name counts, else the longest."""
    return mention.name != (mention.name or "").lower(), len(mention.text)


def _tell_near(kb: KnowledgeBase, texts: list[str]) -> str:
    """The names that are most like some texts, as part of a line."""
    near = list(dict.fromkeys(name for text in texts for name in kb.lookup.nearest(text)))[:NEAREST]
    return f" (nearest: {', '.join(repr(name[:60]) for name in near)})" if near else ""
