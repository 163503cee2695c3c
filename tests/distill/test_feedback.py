"""The retriever learns from proven paths: a real run, a tiny encoder, real training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentkd.config import FeedbackConfig, GenerateConfig
from agentkd.distill.feedback import LOWEST, PathRewards, collect_rewards, make_table, train_retriever
from agentkd.errors import UserError
from agentkd.generate import generate
from agentkd.retrievers import make_retriever
from agentkd.retrievers.kb import KnowledgeBase
from agentkd.runs.read import read_traces
from agentkd.tasks.load import load_task


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "paths"
    generate(
        GenerateConfig(agent="top-path", retriever="bm25", limit=60, samples=4, paths=4, temperature=0, out=str(out))
    )
    return out


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One random layer with the tokenizer of all-MiniLM-L6-v2."""
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import AutoTokenizer, BertConfig, BertModel

    from agentkd.retrievers.dense import find_encoder

    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = AutoTokenizer.from_pretrained(find_encoder())
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=len(tokenizer), **shape)).save_pretrained(folder / "bert")
    tokenizer.save_pretrained(folder / "bert")
    SentenceTransformer(str(folder / "bert")).save(str(folder / "st"), create_model_card=False)
    return folder / "st"


def test_traces_say_what_a_path_was_worth(run: Path) -> None:
    traces = list(read_traces(run))
    tried = collect_rewards(traces)
    assert len(tried) == 60 and all(1 <= len(item.rewards) <= 4 for item in tried.values())
    for trace in traces:
        if trace.verified:
            assert max(tried[trace.id].rewards.values()) >= trace.steps[-1].reward > 0
    assert not any(topic in item.query for item in tried.values() for topic in item.topics)


def test_rows_hold_every_tried_path_and_fill_up_with_others() -> None:
    kb = load_task("geo").knowledge_base()
    item = PathRewards(
        "the capital of", ("France",), {"country capital": 1.0, "country continent": 0.5, "city country": 0.0}
    )
    table = make_table([item], kb, candidates=8, hops=1, seed=0)
    labels = [table[f"path_{n}"][0] for n in range(8)]
    assert labels[:2] == ["country capital", "country continent"] and len(set(labels)) == 8
    assert table["label"][0][0] == 0.0 and table["label"][0][1] == pytest.approx(-1.386, abs=1e-3)
    assert table["label"][0][2:] == [LOWEST] * 6
    tiny = KnowledgeBase.from_triples([("France", "capital", "Paris")])
    assert (
        make_table([PathRewards("q", ("France",), {"capital": 1.0})], tiny, candidates=8, hops=1, seed=0)["query"] == []
    )


@pytest.mark.whole
def test_a_retriever_is_trained_used_and_not_trained_twice(run: Path, encoder: Path, tmp_path: Path) -> None:
    out = tmp_path / "retriever"
    settings = {
        "traces": str(run),
        "base": str(encoder),
        "candidates": 6,
        "precision": "fp32",
        "out": str(out),
        "reranker": True,
    }
    short = train_retriever(
        FeedbackConfig.model_validate({**settings, "epochs": 1, "lr": 1e-9, "out": str(tmp_path / "s")})
    )
    config = FeedbackConfig.model_validate({**settings, "epochs": 30, "lr": 3e-3})
    metrics = train_retriever(config)
    assert metrics["held_out"] == 6 and metrics["loss"] < 0.8 * short["loss"]
    assert train_retriever(config)["seconds"] == metrics["seconds"], "complete: read, not trained again"
    kb = load_task("geo").knowledge_base()
    found = make_retriever(str(out), kb).paths("What is the capital of France?", ["France"], 3, 1)
    assert len(found) == 3 and found[0].score >= found[1].score >= found[2].score
    assert json.loads((out / "manifest.json").read_text()) == {"shards": {}}
    check_reranker(out, tmp_path)


def check_reranker(out: Path, tmp_path: Path) -> None:
    """The agent reads what the reranker ranks, the control does not, and a run knows whose ranking it was."""
    from agentkd.retrievers.reranker import RerankedPaths, Reranker
    from agentkd.teacher.chat import NoTeacher
    from agentkd.world import TaskWorld

    world = TaskWorld.load(GenerateConfig(retriever=str(out), teacher="none"))
    assert isinstance(world.context(NoTeacher(), "kd-cot").retrieval.retriever, RerankedPaths)
    assert not isinstance(world.context(NoTeacher(), "top-path").retrieval.retriever, RerankedPaths)
    found = world.reranked.paths("What is the capital of France?", ["France"], 20, 1)
    plain = world.retriever.paths("What is the capital of France?", ["France"], 20, 1)
    assert {one.path for one in found} == {one.path for one in plain}
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    config = GenerateConfig(agent="kd-cot", retriever=str(out), teacher="none", limit=4, out=str(tmp_path / "run"))
    assert generate(config)["traces"] == 4
    known = world.identity["hash_reranker"]
    (out / "reranker" / "mix.json").write_text('{"ranking": 1, "reranker": 0}')
    assert world.identity["hash_reranker"] != known
    with pytest.raises(UserError, match="hash_reranker"):
        generate(config.model_copy(update={"limit": 5}))
    off = TaskWorld.load(GenerateConfig(retriever=str(out), rerank=False))
    assert "hash_reranker" not in off.identity and off.reranked is off.retriever
    (out / "reranker" / "mix.json").write_text('{"ranking": -1}')
    with pytest.raises(UserError, match=r"mix\.json does not hold two weights"):
        Reranker(out / "reranker")
    with pytest.raises(UserError, match="retriever bm25 has no reranker"):
        _ = TaskWorld.load(GenerateConfig(retriever="bm25", rerank=True)).identity


def test_a_run_that_was_stopped_goes_on_with_the_reranker(
    run: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agentkd.distill import feedback

    config = FeedbackConfig(
        traces=str(run), base=str(encoder), candidates=4, epochs=1, reranker=True, out=str(tmp_path / "out")
    )
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(feedback, "train_reranker", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        train_retriever(config)
    monkeypatch.setattr(feedback, "train_encoder", None)  # would be called only to train it again
    metrics = train_retriever(config)
    assert metrics["examples"] and metrics["reranker_mix"]


def test_the_weights_follow_who_knows() -> None:
    from agentkd.distill.rerank import fit_mix, make_lists

    items = [
        PathRewards("q", (), {"a": float(n % 2), "b": 1.0 - n % 2}, {"a": ("x", "y", "z", "w"), "b": ("v",)})
        for n in range(20)
    ]
    right = [{label: 2 * value for label, value in item.rewards.items()} for item in items]
    blind = [{"a": 1.0, "b": 0.0} for _ in items]
    one, other = fit_mix(items, right, blind), fit_mix(items, blind, right)
    assert one.reranker < one.ranking / 10 and other.ranking < other.reranker / 10
    unproven = [PathRewards("q", (), {"a": 0.0, "b": 0.0})]
    assert fit_mix(unproven, right[:1], blind[:1]) == fit_mix([], [], [])
    table = make_lists([*items, PathRewards("lone", (), {"a": 1.0})], 2, 0)
    assert len(table["query"]) == 20 and {text for texts in table["docs"] for text in texts} == {"a: x, y, z", "b: v"}
    proven = [texts[labels.index(0.0)][0] for texts, labels in zip(table["docs"], table["labels"], strict=True)]
    assert proven == ["b", "a"] * 10


def test_too_little_and_no_retriever_are_named(run: Path, tmp_path: Path) -> None:
    config = GenerateConfig(agent="top-path", retriever="bm25", limit=3, out=str(tmp_path / "few"))
    generate(config)
    with pytest.raises(UserError, match=r"questions with a proven path in .*few, 10 are needed"):
        train_retriever(FeedbackConfig(traces=str(tmp_path / "few"), out=str(tmp_path / "r")))
    with pytest.raises(UserError, match="holds no retriever"):
        make_retriever(str(run), load_task("geo").knowledge_base())


def test_each_text_is_encoded_once_and_the_loss_stays(encoder: Path) -> None:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.losses import DistillKLDivLoss
    from sentence_transformers.util import pairwise_cos_sim

    from agentkd.distill.list_loss import ListLoss

    model = SentenceTransformer(str(encoder)).eval()
    columns = [["who", "where is it"], ["born in", "capital"], ["a much longer label > of two steps", "born in"]]
    labels = torch.tensor([[0.0, LOWEST], [LOWEST, -1.0]])
    old = DistillKLDivLoss(model, similarity_fct=lambda query, path: 20 * pairwise_cos_sim(query, path))
    values = []
    for loss in (old, ListLoss(model, 20)):
        value = loss([dict(model.preprocess(texts)) for texts in columns], labels)
        model.zero_grad()
        value.backward()
        values.append((value.item(), sum(float(w.grad.abs().sum()) for w in model.parameters() if w.grad is not None)))
    assert values[1] == pytest.approx(values[0], rel=1e-4)
