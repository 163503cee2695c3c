"""Near repeats among questions: the filter of Self-Instruct (Wang et al., ACL 2023, arXiv 2212.10560, section 2.2).

A question that is like one that is there already, by ROUGE-L (Lin 2004, F1 of the longest common subsequence of words),
teaches little. Names of topics are taken out before: a student that writes paths does not see them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from agentkd.retrievers.path_retriever import mask_topics

Words = tuple[str, ...]


def rouge_l(first: Sequence[str], second: Sequence[str]) -> float:
    """The F1 of the longest common subsequence of two texts' words, 0 to 1; 0 where one has no word."""
    lengths = [0] * (len(second) + 1)
    for word in first:
        before = 0
        for place, other in enumerate(second, 1):
            above = lengths[place]
            lengths[place] = before + 1 if word == other else max(above, lengths[place - 1])
            before = above
    return 2 * lengths[-1] / ((len(first) + len(second)) or 1)


class Novelty:
    """The questions that are known, and whether another one repeats one of them.

    `similar` is the ROUGE-L from which it does."""

    def __init__(self, similar: float) -> None:
        self.similar = similar
        self._known: dict[Words, Counter[str]] = {}

    def add(self, question: str, topics: Sequence[str]) -> None:
        """Make a question known."""
        words = split_words(question, topics)
        self._known[words] = Counter(words)

    def repeats(self, question: str, topics: Sequence[str]) -> bool:
        """Whether a question repeats a known one."""
        words = split_words(question, topics)
        counted = Counter(words)
        return words in self._known or any(
            rouge_l(words, other) >= self.similar for other in self._near(words, counted)
        )

    def _near(self, words: Words, counted: Counter[str]) -> Iterable[Words]:
        """The known questions that share so many words that they may be similar: a subsequence is a part of both."""
        for other, count in self._known.items():
            if 2 * (counted & count).total() >= self.similar * (len(words) + len(other)):
                yield other


def split_words(question: str, topics: Sequence[str]) -> Words:
    """The words of a question in lower case, without the names of its topics."""
    return tuple(re.findall(r"\w+", mask_topics(question, topics).lower()))
