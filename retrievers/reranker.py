"""A reranker: a cross-encoder that reads a question, a path and the first answers of the path together.

The encoder of `dense.py` ranks labels that it has never seen beside the question, and no answers: "who" and a place do
not put it off. A cross-encoder reads both, and is far too slow for all paths of a hub, so it ranks the first POOL again
(Nogueira and Cho, arXiv 1901.04085). Its logits are added to those of the ranking, with weights that
`agentkd/distill/rerank.py` fits on held-out questions; they are in `mix.json`, beside the weights of the model.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from agentkd.errors import UserError
from agentkd.pretrained import load_cross_encoder
from agentkd.retrievers.dense import DensePaths, Encoder, hash_weights
from agentkd.retrievers.graph import Graph
from agentkd.retrievers.kb import RECENT
from agentkd.retrievers.path_retriever import Candidate, Scores, mask_topics

FOLDER = "reranker"  # inside a retriever's folder
MIX = "mix.json"
POOL = 12
SHOWN = 3  # answers; three say of what kind they are
TOKENS = 48


@dataclass(frozen=True)
class Mix:
    """The weights of the two logits in the sum that ranks."""

    ranking: float
    reranker: float

    @classmethod
    def load(cls, folder: Path) -> Mix:
        """Read the weights. Raises UserError where the file does not have them."""
        try:
            values = json.loads((folder / MIX).read_bytes())
            mix = cls(float(values["ranking"]), float(values["reranker"]))
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(f"{folder / MIX} does not hold two weights: run `agentkd feedback` again") from None
        if not (0 <= mix.ranking < 1e6 and 0 <= mix.reranker < 1e6):
            raise UserError(f"{folder / MIX} holds {mix.ranking} and {mix.reranker}: run `agentkd feedback` again")
        return mix

    def join(self, ranking: Scores, reranked: Scores) -> Scores:
        """The sum of the logits of the ranking and of the reranker."""
        return np.float32(self.ranking) * ranking + np.float32(self.reranker) * reranked


def pair_text(label: str, answers: Sequence[str]) -> str:
    """The text of a path with its first answers, as the cross-encoder reads it beside the question."""
    return f"{label}: {', '.join(answers[:SHOWN])}"


def find_reranker(retriever: Path) -> Path | None:
    """The folder of a retriever's reranker; None for a retriever without one."""
    return retriever / FOLDER if (retriever / FOLDER).is_dir() else None


def hash_reranker(folder: Path) -> str:
    """SHA-256 of a reranker's weights and mix, for the identity of a run. Raises UserError where there are none."""
    mix = Mix.load(folder)
    return f"{hash_weights(folder)}-{mix.ranking:.6g}-{mix.reranker:.6g}"


class Reranker:
    """Logits of texts beside a question; what was asked recently is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.mix = folder, Mix.load(folder)
        self._recent = lru_cache(maxsize=RECENT)(self._predict)

    @cached_property
    def _model(self) -> Any:
        return load_cross_encoder(str(self.folder), max_length=TOKENS)

    def _predict(self, query: str, texts: tuple[str, ...]) -> Scores:
        return predict(self._model, query, texts)

    def scores(self, query: str, texts: Sequence[str]) -> Scores:
        """The logit of each text, comparable within one query alone."""
        return self._recent(query, tuple(texts))


def predict(model: Any, query: str, texts: Sequence[str]) -> Scores:
    """Score texts beside a query by a cross-encoder, as logits."""
    if not texts:
        return np.zeros(0, dtype=np.float32)
    from torch.nn import Identity

    pairs = [(query, text) for text in texts]
    scores = model.predict(pairs, activation_fn=Identity(), batch_size=len(pairs), show_progress_bar=False)
    return np.asarray(scores, dtype=np.float32).reshape(-1)


class RerankedPaths:
    """A dense ranking whose first POOL candidates are executed and ranked again."""

    def __init__(self, paths: DensePaths, folder: Path) -> None:
        self.inner, self.reranker = paths, Reranker(folder)

    @property
    def kb(self) -> Graph:
        return self.inner.kb

    @property
    def encoder(self) -> Encoder:
        return self.inner.encoder

    def paths(self, query: str, topics: Sequence[str], k: int, max_hops: int) -> list[Candidate]:
        """See `PathRetriever.paths`. Candidates beyond the pool stay behind it, in the order of the ranking."""
        ranked = self.inner.paths(query, topics, max(k, POOL), max_hops)
        pool = ranked[:POOL]
        if len(pool) < 2:
            return ranked
        texts = [pair_text(one.label, list(islice(self.kb.follow(topics, one.path), SHOWN))) for one in pool]
        reranked = self.reranker.scores(mask_topics(query, topics), texts)
        worst = np.full(len(ranked) - len(pool), reranked.min(), dtype=np.float32)
        ranking = np.array([one.score for one in ranked], dtype=np.float32)
        scores = self.reranker.mix.join(ranking, np.concatenate([reranked, worst]))
        order = np.argsort(-scores, kind="stable")[:k]
        return [replace(ranked[i], score=float(scores[i])) for i in order]
