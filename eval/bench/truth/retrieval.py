"""`agentkd bench retrieval`: how often retrievers find the answer, and how fast, on a task's questions.

Paths: the strict F1 of the first path, the best of the first 5 and 12, and the median time of a warm query (every label
has a vector by then). Passages: whether an answer is in one of the first k (Hit@k), and the share of the answers that
are (Recall@k), by KD-CoT's rule (a substring, without case and accents), which is generous to short answers.
"""

from __future__ import annotations

import statistics
import time
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkd.matching import strict_f1
from agentkd.retrievers import make_retriever
from agentkd.retrievers.bm25 import BM25Passages
from agentkd.retrievers.graph import require_in_memory
from agentkd.retrievers.guided import GuidedPassages
from agentkd.retrievers.joins import EACH
from agentkd.runs.progress import Progress
from agentkd.stats import bootstrap_interval, paired_difference
from agentkd.tasks.load import load_task
from agentkd.trace import Usage

if TYPE_CHECKING:
    from agentkd.retrievers.kb import KnowledgeBase
    from agentkd.retrievers.path_retriever import PathRetriever
    from agentkd.tasks.question import Question

DEPTHS = (1, 5, 20, 100)
FIRST = (1, 5, EACH)


def bench_retrieval(
    task_name: str,
    *,
    data: str | None,
    kb: str | None,
    split: str | None,
    retrievers: str,
    limit: int | None,
    seed: int,
) -> dict[str, Any]:
    """Return rows of each retriever, and its paired difference from the first."""
    task = load_task(task_name, data=data, kb=kb)
    split = split or task.default_split("eval")
    base, gold = require_in_memory(task.knowledge_base(), "bench retrieval"), task.gold(split)
    questions = [question for question in task.pick(split, limit, seed) if question.id in gold]
    answers = {question.id: gold[question.id].answers for question in questions}
    names = [name.strip() for name in retrievers.split(",")]
    sparse = BM25Passages(base)
    paths: list[dict[str, Any]] = []
    passages = [score_passages("bm25", questions, answers, lambda q, t: [p[1] for p in sparse.search(q, DEPTHS[-1])])]
    top: dict[str, list[float]] = {}
    for name in names:
        retriever = make_retriever(name, base)
        row, top[name] = score_paths(name, questions, answers, base, retriever, task.max_hops)
        paths.append(row)
        guided = GuidedPassages(base, retriever, sparse, task.max_hops)

        def search_guided(query: str, topics: Sequence[str], guided: GuidedPassages = guided) -> list[str]:
            return [text for _, text in guided.search(query, topics, DEPTHS[-1])]

        passages.append(score_passages(f"guided by {name}", questions, answers, search_guided))
    minus = [paired_difference(top[name], top[names[0]]) for name in names[1:]]
    return {
        "task": task.name,
        "split": split,
        "n": len(questions),
        "triples": len(base),
        "note": task.note,
        "paths": paths,
        "differences": [
            {"name": name, "minus": names[0], "f1": mean, "f1_low": low, "f1_high": high}
            for name, (mean, low, high) in zip(names[1:], minus, strict=True)
        ],
        "passages": passages,
    }


def score_paths(
    name: str,
    questions: Sequence[Question],
    answers: dict[str, tuple[str, ...]],
    kb: KnowledgeBase,
    retriever: PathRetriever,
    hops: int,
) -> tuple[dict[str, Any], list[float]]:
    """Return scores in percent and milliseconds per warm query; and each question's F1 of the first path."""
    f1: list[list[float]] = []
    with Progress(f"paths {Path(name).name}", total=len(questions), unit="with an answer") as progress:
        for question in questions:
            found = retriever.paths(question.question, question.topic_entities, EACH, hops)
            gold = answers[question.id]
            f1.append([strict_f1(kb.follow(question.topic_entities, item.path), gold) for item in found] or [0.0])
            progress.advance(Usage(), good=any(f1[-1]))
    taken = []
    for question in questions:
        start = time.perf_counter()
        retriever.paths(question.question, question.topic_entities, EACH, hops)
        taken.append(1000 * (time.perf_counter() - start))
    row: dict[str, Any] = {"name": name}
    row |= {f"f1@{k}": 100 * statistics.fmean(max(one[:k]) for one in f1) for k in FIRST}
    row |= {f"hit@{k}": 100 * statistics.fmean(any(one[:k]) for one in f1) for k in FIRST}
    first = [100 * one[0] for one in f1]
    low, high = bootstrap_interval(first)
    ranked = sorted(taken)
    row |= {
        "f1_low": low,
        "f1_high": high,
        "p50_ms": statistics.median(taken),
        "p95_ms": ranked[int(0.95 * len(taken))],
    }
    return row, first


def score_passages(
    name: str,
    questions: Sequence[Question],
    answers: dict[str, tuple[str, ...]],
    search: Callable[[str, Sequence[str]], list[str]],
) -> dict[str, Any]:
    """Return Hit and Recall in percent at each depth."""
    hits: dict[int, list[float]] = {k: [] for k in DEPTHS}
    recalls: dict[int, list[float]] = {k: [] for k in DEPTHS}
    with Progress(f"passages {name}", total=len(questions), unit="with an answer") as progress:
        for question in questions:
            texts = [normalise_text(text) for text in search(question.question, question.topic_entities)]
            wanted = [key for answer in answers[question.id] if (key := normalise_text(answer))]
            places = [
                next((n for n, text in enumerate(texts) if key in text), len(texts) + DEPTHS[-1]) for key in wanted
            ]
            for k in DEPTHS:
                inside = [place < k for place in places]
                hits[k].append(100.0 * any(inside))
                recalls[k].append(100.0 * sum(inside) / (len(inside) or 1))
            progress.advance(Usage(), good=hits[DEPTHS[-1]][-1] > 0)
    row: dict[str, Any] = {"name": name}
    row |= {f"hit@{k}": statistics.fmean(hits[k]) for k in DEPTHS}
    return row | {f"recall@{k}": statistics.fmean(recalls[k]) for k in DEPTHS}


def normalise_text(text: str) -> str:
    """Return a text in lower case, with accents as separate characters."""
    return unicodedata.normalize("NFD", text).lower().strip()


def print_retrieval(report: dict[str, Any]) -> None:
    """Print two tables."""
    from rich.table import Table

    from agentkd.runs.terminal import Terminal

    console = Terminal()
    if not console.is_terminal:
        console.width = 140
    head = f"{report['task']} {report['split']} · {report['n']} questions · {report['triples']} triples"
    for kind in ("paths", "passages"):
        columns = [name for name in report[kind][0] if name not in ("name", "f1_low", "f1_high")]
        table = Table(title=f"{kind}: {head}", title_justify="left", box=None, pad_edge=False)
        table.add_column("retriever", overflow="fold", min_width=16)
        for name in columns:
            table.add_column(name, justify="right", no_wrap=True)
        for row in report[kind]:
            table.add_row(row["name"], *(f"{row[name]:.1f}" for name in columns))
        console.print(table)
    for item in report["differences"]:
        interval = f"{item['f1']:+.1f} [{item['f1_low']:+.1f}, {item['f1_high']:+.1f}]"
        console.print(f"{item['name']} minus {item['minus']}: strict F1 of the first path {interval} (paired, 95 %)")
