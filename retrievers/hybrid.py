"""Sparse and dense retrieval together: both preselect relation paths, the encoder ranks them, BM25 breaks near-ties.

BM25 is added as a small score, because on short labels it is much the weaker ranking. It helps with names that no
encoder knows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agentkd.retrievers.bm25 import PRIOR_BM25, score_texts
from agentkd.retrievers.dense import ENCODED, PRIOR, SCALE, Encoder
from agentkd.retrievers.graph import Graph
from agentkd.retrievers.path_retriever import Candidate, count_named_hops, mask_topics, top_candidates

WEIGHT_BM25 = 0.02


class HybridPaths:
    """Ranks the first paths of both preselections by cosine + 0.02 x BM25 - 0.06 x named nodes on the way."""

    def __init__(self, kb: Graph) -> None:
        self.kb, self.encoder = kb, Encoder(kb)

    def paths(self, query: str, topics: Sequence[str], k: int, max_hops: int) -> list[Candidate]:
        """See `PathRetriever.paths`."""
        found = self.kb.relation_paths(topics, max_hops)
        if not found:
            return []
        query = mask_topics(query, topics)
        paths, hops = list(found), count_named_hops(list(found))
        labels = [self.kb.label(path) for path in paths]
        sparse = score_texts(query, labels)
        chosen = np.arange(len(paths))
        if len(paths) > (size := max(ENCODED, k)):
            rough = self.encoder.rough_similarities(query, self.kb, paths)
            by_bm25 = np.argsort(PRIOR_BM25 * hops - sparse, kind="stable")
            by_steps = np.argsort(PRIOR * hops - rough, kind="stable")
            chosen = np.array(list(dict.fromkeys(np.stack([by_steps, by_bm25], axis=1).ravel().tolist()))[:size])
        cosines = self.encoder.similarities(query, self.encoder.labels([labels[i] for i in chosen]))
        scores = cosines + WEIGHT_BM25 * sparse[chosen] - PRIOR * hops[chosen]
        return top_candidates(self.kb, {paths[i]: found[paths[i]] for i in chosen}, np.float32(SCALE) * scores, k)
