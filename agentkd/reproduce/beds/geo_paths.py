"""The packaged task `geo` as a choice of relation paths: a question, its candidates in BM25's order, and what is true.

A candidate is executed and climbs the ladder of checks (`agentkd/verify.py`); gold joins after that. So the teacher is
BM25, and what it says can be verified.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from agentkd.agents.option import Option, make_proof, prove
from agentkd.agents.path_search import PathSearch
from agentkd.answering import judge_draft
from agentkd.matching import strict_f1
from agentkd.retrievers.bm25 import BM25Paths
from agentkd.retrievers.path_retriever import mask_topics
from agentkd.tasks.load import load_task
from agentkd.tasks.question import Gold, Question
from agentkd.tasks.task import Task
from agentkd.trace import Draft

CANDIDATES = 12


@dataclass(frozen=True, eq=False)
class Item:
    """A question without its topics' names, and its candidates with their executed answers."""

    text: str
    topics: Sequence[str]
    options: Sequence[Option]
    gold: Gold

    def f1(self, choice: int) -> float:
        """Strict F1 of a candidate's answers, in percent."""
        return 100 * strict_f1(self.options[choice].answers, self.gold.answers)

    def verify(self, choice: int) -> bool:
        """Whether a candidate is proven by the knowledge base and confirmed by gold."""
        option, kb = self.options[choice], open_geo().knowledge_base()
        step = prove(kb, self.topics, option)
        proof = make_proof([option], self.topics).record()
        return judge_draft(kb, Draft(steps=(step,), answers=option.answers, provenance=proof), self.gold)[1].ok


@cache
def open_geo() -> Task:
    """The packaged task."""
    return load_task("geo")


@cache
def make_items(split: str, limit: int | None = None) -> list[Item]:
    """The questions of a split that have a candidate, in the order of a shuffle of their own."""
    task = open_geo()
    gold = task.gold(split)
    kb = task.knowledge_base()
    search = PathSearch(kb, BM25Paths(kb), CANDIDATES, task.max_hops, asyncio.Lock())
    return [item for question in task.pick(split, limit, 0) if (item := _make_item(search, question, gold)).options]


def _make_item(search: PathSearch, question: Question, gold: dict[str, Gold]) -> Item:
    topics = search.topics(question)
    options = search.search(question.question, topics)
    return Item(mask_topics(question.question, topics), topics, options, gold[question.id])
