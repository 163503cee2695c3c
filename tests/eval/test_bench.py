"""`agentkd bench retrieval`: its figures against a naive reading, and its place on the command line."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from agentkd.eval.bench.truth.retrieval import bench_retrieval, score_passages, score_paths
from agentkd.retrievers.bm25 import BM25Paths
from agentkd.retrievers.kb import KnowledgeBase
from agentkd.tasks.question import Question

KB = KnowledgeBase.from_triples(
    [("Ann", "child", "Bob"), ("Ann", "child", "Cleo"), ("Ann", "city", "Oslo"), ("Eve", "child", "Dan")]
)
ASKED = [
    Question(id="1", question="child of Ann", topic_entities=("Ann",)),
    Question(id="2", question="child of Eve", topic_entities=("Eve",)),
    Question(id="3", question="child of Nobody", topic_entities=("Nobody",)),
]


def test_paths_are_scored_by_what_they_lead_to() -> None:
    gold = {"1": ("Bob",), "2": ("Zoe",), "3": ("Bob",)}
    row, first = score_paths("bm25", ASKED, gold, KB, BM25Paths(KB), 1)
    assert first == pytest.approx([100 * 2 / 3, 0, 0])
    assert row["f1@1"] == pytest.approx(200 / 9) and row["hit@5"] == pytest.approx(100 / 3) and row["p50_ms"] > 0


def test_passages_are_hit_by_substring_at_each_depth() -> None:
    texts = [f"passage {n}" for n in range(30)]
    texts[0], texts[7] = "…Oslo…", "ZOË was here"
    gold = {"1": ("oslo", "zoë"), "2": ("nowhere",), "3": ("passage 20",)}
    row = score_passages("any", ASKED, gold, lambda question, topics: texts)
    assert [row[f"hit@{k}"] for k in (1, 5, 20, 100)] == pytest.approx([100 / 3, 100 / 3, 100 / 3, 200 / 3])
    assert [row[f"recall@{k}"] for k in (1, 5, 20, 100)] == pytest.approx([50 / 3, 50 / 3, 100 / 3, 200 / 3])


def test_retrievers_are_compared_in_pairs() -> None:
    argv = [sys.executable, "-m", "agentkd", "bench", "retrieval", "--limit", "6", "--retriever", "bm25,bm25", "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    assert report["task"] == "geo" and report["n"] == 6 and [row["name"] for row in report["paths"]] == ["bm25", "bm25"]
    assert report["differences"][0]["f1"] == 0 and len(report["passages"]) == 3
    same = bench_retrieval("geo", data=None, kb=None, split=None, retrievers="bm25", limit=6, seed=0)
    assert same["paths"][0]["f1@1"] == report["paths"][0]["f1@1"]
