"""The reranker: the first candidates in the order of both logits, the others behind them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from agentkd.errors import UserError
from agentkd.retrievers import reranker
from agentkd.retrievers.kb import KnowledgeBase
from agentkd.retrievers.path_retriever import Candidate
from agentkd.retrievers.reranker import POOL, Mix, RerankedPaths, hash_reranker, pair_text

MANY = POOL + 3
KB = KnowledgeBase.from_triples([("Anna", f"r{n}", f"name {n}") for n in range(MANY)])


class Ranking:
    """Candidates in a fixed order, with logits 100, 99, …"""

    kb = KB

    def paths(self, query: str, topics: Sequence[str], k: int, max_hops: int) -> list[Candidate]:
        return [Candidate(((f"r{n}", 1),), f"r{n}", 100.0 - n, 1) for n in range(MANY)][:k]


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RerankedPaths:
    """A reranker whose logit is the number in the answer's name."""
    (tmp_path / "mix.json").write_text('{"ranking": 0.5, "reranker": 2}')

    def predict(model: Any, query: str, texts: Sequence[str]) -> Any:
        assert query == "what of"  # without the topic's name
        return np.array([float(text.rpartition(" ")[2]) for text in texts], dtype=np.float32)

    monkeypatch.setattr(reranker, "predict", predict)
    monkeypatch.setattr(reranker, "load_cross_encoder", lambda *_, **__: None)
    return RerankedPaths(cast(Any, Ranking()), tmp_path)


@pytest.mark.parametrize("k", [1, 5, POOL, MANY])
def test_the_pool_is_ranked_by_both_and_the_rest_stays_behind(paths: RerankedPaths, k: int) -> None:
    found = paths.paths("what of Anna", ["Anna"], k, 1)
    order = [*range(POOL - 1, -1, -1), *range(POOL, MANY)]
    assert [one.label for one in found] == [f"r{n}" for n in order][:k]
    assert found[0].score == 0.5 * (100 - (POOL - 1)) + 2 * (POOL - 1)
    assert all(one.score >= other.score for one, other in pairwise(found))


def test_a_lone_path_needs_no_model(tmp_path: Path) -> None:
    (tmp_path / "mix.json").write_text('{"ranking": 1, "reranker": 1}')

    class One(Ranking):
        def paths(self, query: str, topics: Sequence[str], k: int, max_hops: int) -> list[Candidate]:
            return super().paths(query, topics, 1, max_hops)

    assert len(RerankedPaths(cast(Any, One()), tmp_path).paths("q", ["Anna"], 5, 1)) == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"ranking": 1}', '{"ranking": 1, "reranker": "x"}'])
def test_a_mix_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "mix.json").write_text(text)
    with pytest.raises(UserError, match="does not hold two weights"):
        Mix.load(tmp_path)


@pytest.mark.parametrize("text", ['{"ranking": NaN, "reranker": 1}', '{"ranking": 1, "reranker": -1}'])
def test_weights_that_rank_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "mix.json").write_text(text)
    with pytest.raises(UserError, match="run `agentkd feedback` again"):
        hash_reranker(tmp_path)


def test_a_reranker_without_weights(tmp_path: Path) -> None:
    (tmp_path / "mix.json").write_text('{"ranking": 1, "reranker": 1}')
    with pytest.raises(UserError, match=r"model\.safetensors cannot be read"):
        hash_reranker(tmp_path)


def test_the_text_of_a_path() -> None:
    assert pair_text("born in", ["a", "b", "c", "d"]) == "born in: a, b, c" and pair_text("born in", []) == "born in: "
