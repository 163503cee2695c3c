"""Passages around the topic: those that hold the facts of the best relation paths, alternating with BM25's.

BM25 searches the whole knowledge base by words and misses facts that are worded otherwise; a path retriever looks
around the topic and may take the wrong path. Alternating them, neither's mistakes cost more than half of the list. A
path retriever trained by `agentkd feedback` improves the passages too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from agentkd.retrievers.bm25 import BM25Passages
from agentkd.retrievers.kb import KnowledgeBase
from agentkd.retrievers.passages import group_facts, join_facts
from agentkd.retrievers.path_retriever import PathRetriever
from agentkd.retrievers.relation_path import Triple

PATHS = 20
FACTS = 100  # at most this many facts per path are looked up, since each may be in another passage


class GuidedPassages:
    """Same `search` as `BM25Passages`, around given topics."""

    def __init__(self, kb: KnowledgeBase, retriever: PathRetriever, sparse: BM25Passages, hops: int) -> None:
        self.kb, self.retriever, self.sparse, self.hops = kb, retriever, sparse, hops

    def search(self, query: str, topics: Sequence[str], k: int) -> list[tuple[str, str]]:
        """Return the k best (entity, passage)."""
        words = ((entity, text) for entity, text, _ in self.sparse.search(query, k))
        found: dict[tuple[str, str], None] = {}
        for pair in zip_longest(self.along(query, topics), words):
            found.update(dict.fromkeys(passage for passage in pair if passage is not None))
            if len(found) >= k:
                break
        return list(found)[:k]

    def along(self, query: str, topics: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Yield the passages of the best paths: first the one with most facts of each path, then the others."""
        rest: list[tuple[str, str]] = []
        for candidate in self.retriever.paths(query, topics, PATHS, self.hops):
            facts = self.kb.evidence(topics, candidate.path)[:FACTS]
            ranked = [place for place, _ in Counter(self._places(facts)).most_common()]
            yield from ranked[:1]
            rest += ranked[1:]
        yield from rest

    def _places(self, facts: Sequence[Triple]) -> Iterator[tuple[str, str]]:
        """The passage of each fact whose head has a name."""
        for fact in facts:
            if not self.kb.is_cvt(fact[0]):
                for part in group_facts(self.kb, fact[0], self.sparse.max_words):
                    if any(fact in triples for _, triples in part):
                        yield fact[0], join_facts(part)
                        break
