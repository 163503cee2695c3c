"""Sparse retrieval: relation paths around topics, and passages of the whole knowledge base, ranked by BM25.

Needs bm25s alone; no model. BM25 runs with k1 = 0.9, b = 0.4 (pyserini's defaults), IDF as in Lucene. No state but
caches; not thread-safe.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property, lru_cache

import bm25s
import numpy as np

from agentkd.retrievers.graph import Graph
from agentkd.retrievers.kb import KnowledgeBase
from agentkd.retrievers.passages import MAX_WORDS, list_passage_triples, write_passages
from agentkd.retrievers.path_retriever import Candidate, Scores, count_named_hops, mask_topics, top_candidates
from agentkd.retrievers.relation_path import Triple

K1, B = 0.9, 0.4
PRIOR_BM25 = 1.0
"""Taken off a path's BM25 score for each named node on its way, or long paths would win by their many words. Unnamed
nodes cost nothing: a fact with a date is one fact."""
STOPWORDS = frozenset(
    """a an and are as at be been by can could did do does for from had has have he her hers him his how i in is it its
    me my of on or our s she that the their them they this to was we were what when where which who whom whose why will
    with would you your""".split()  # noqa: SIM905 (a list of quoted words would fill a page)
)


def split_words(text: str) -> list[str]:
    """Return lower-case words without stop words.

    Plurals and verb endings are cut ("countries" meets "country").
    """
    return [_stem(word) for word in re.findall(r"\w+", text.lower()) if word not in STOPWORDS]


def _stem(word: str) -> str:
    for suffix in ("ies", "es", "s", "ing", "ed", "y"):
        if word.endswith(suffix) and len(word) - len(suffix) > 2:
            return word[: -len(suffix)]
    return word


def score_texts(query: str, texts: Sequence[str]) -> Scores:
    """Return the BM25 score of a query against each text, with document frequencies among these texts.

    The scores are those of bm25s (a test compares them). There is no index, because only one query may ever ask for
    these texts.
    """
    words = Counter(split_words(query))
    counts = [_counts(text) for text in texts]
    lengths = np.array([sum(count.values()) for count in counts], dtype=np.float64)
    scores = np.zeros(len(texts), dtype=np.float64)
    if not lengths.any():
        return scores.astype(np.float32)
    damping = K1 * (1 - B + B * lengths / lengths.mean())
    for word, repeats in words.items():
        holders = [number for number, count in enumerate(counts) if word in count]
        frequency = np.array([counts[number][word] for number in holders], dtype=np.float64)
        idf = np.log1p((len(texts) - len(holders) + 0.5) / (len(holders) + 0.5))
        scores[holders] += repeats * idf * frequency / (frequency + damping[holders])
    return scores.astype(np.float32)


@lru_cache(maxsize=1 << 16)  # topics of a kind have the same labels around them
def _counts(text: str) -> Counter[str]:
    return Counter(split_words(text))


class BM25Paths:
    """Ranks the labels of all relation paths around the topics by BM25."""

    def __init__(self, kb: Graph) -> None:
        self.kb = kb

    def paths(self, query: str, topics: Sequence[str], k: int, max_hops: int) -> list[Candidate]:
        """See `PathRetriever.paths`."""
        found = self.kb.relation_paths(topics, max_hops)
        if not found:
            return []
        labels = [self.kb.label(path) for path in found]
        scores = score_texts(mask_topics(query, topics), labels) - PRIOR_BM25 * count_named_hops(list(found))
        return top_candidates(self.kb, found, scores, k)


class BM25Passages:
    """Ranks the passages of the whole knowledge base by BM25; the index is built at first use."""

    def __init__(self, kb: KnowledgeBase, max_words: int = MAX_WORDS) -> None:
        self.kb, self.max_words = kb, max_words

    @cached_property
    def _passages(self) -> list[tuple[str, str]]:
        return list(write_passages(self.kb, self.max_words))

    @cached_property
    def _parts(self) -> dict[tuple[str, str], int]:
        parts: dict[tuple[str, str], int] = {}
        count: dict[str, int] = {}
        for entity, text in self._passages:
            parts[entity, text] = count.get(entity, 0)
            count[entity] = parts[entity, text] + 1
        return parts

    @cached_property
    def _index(self) -> bm25s.BM25:
        index = bm25s.BM25(k1=K1, b=B)
        index.index([split_words(text) for _, text in self._passages], show_progress=False)
        return index

    def search(self, query: str, k: int) -> list[tuple[str, str, float]]:
        """The k best (entity, passage, score); passages that share no word with the query are not listed."""
        words = split_words(query)
        if not words or not self._passages:
            return []
        scores = np.asarray(self._index.get_scores(words))
        order = np.argsort(-scores, kind="stable")[:k]
        return [(*self._passages[i], float(scores[i])) for i in order if scores[i] > 0]

    def triples(self, entity: str, text: str) -> list[Triple]:
        """The triples behind a passage that `search` returned."""
        part = self._parts.get((entity, text))
        return [] if part is None else list_passage_triples(self.kb, entity, self.max_words, part)
