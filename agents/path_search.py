"""The search for relation paths around a question's topics, with caches that all samples share."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from agentkd.agents.option import Option
from agentkd.agents.survey import survey_step
from agentkd.matching import find_name
from agentkd.retrievers.bm25 import score_texts
from agentkd.retrievers.constraints import Constraint, find_constraint
from agentkd.retrievers.graph import Graph
from agentkd.retrievers.joins import find_conjunctions
from agentkd.retrievers.path_retriever import mask_topics
from agentkd.trace import Step

if TYPE_CHECKING:
    from agentkd.retrievers.path_retriever import PathRetriever
    from agentkd.tasks.question import Question


@dataclass(frozen=True)
class PathSearch:
    """A search for the best `count` relation paths of at most `hops` edges, ranked and executed.

    `lock` is shared with the memory: encoders and their caches are not thread-safe."""

    kb: Graph
    retriever: PathRetriever
    count: int
    hops: int
    lock: asyncio.Lock
    found: dict[tuple[str, tuple[str, ...], int, bool], list[Option]] = field(default_factory=dict)
    narrowed: dict[tuple[str, tuple[str, ...]], tuple[Constraint, list[str]] | None] = field(default_factory=dict)

    async def options(
        self, query: str, anchors: Sequence[str], hops: int | None = None, *, topics: bool = False
    ) -> list[Option]:
        """The best relation paths out of the anchors for a query, executed.

        Anchors that are a question's `topics` are joined where they can be; else a path may start at any of them. The
        ranking is cached, because each sample of a question asks for it."""
        asked = query, tuple(anchors), hops or self.hops, topics and len(anchors) > 1
        async with self.lock:
            if asked not in self.found:
                self.found[asked] = await asyncio.to_thread(self._search, *asked)
            return list(self.found[asked])

    def search(self, query: str, topics: Sequence[str]) -> list[Option]:
        """The best relation paths out of a question's topics, executed; for one caller at a time, without a cache."""
        return self._search(query, topics, self.hops, len(topics) > 1)

    def _search(self, query: str, anchors: Sequence[str], hops: int, several: bool) -> list[Option]:
        if several and (
            pairs := find_conjunctions(self.kb, self.retriever, mask_topics(query, anchors), anchors, hops)
        ):
            return [Option((), pair.label, pair.answers, pair.score, pair.joins) for pair in pairs[: self.count]]
        found = self.retriever.paths(query, anchors, self.count, hops)
        executed = ((item, tuple(self.kb.follow(anchors, item.path))) for item in found)
        return [Option(item.path, item.label, ends, item.score) for item, ends in executed if ends]

    async def constrain(self, question: str, anchors: Sequence[str], options: Sequence[Option]) -> list[Option]:
        """Narrow the options by the constraint that the question's words put on their answers.

        Options that it does not narrow stay as they are (`retrievers/constraints.py`)."""
        query = mask_topics(question, anchors)
        async with self.lock:
            return await asyncio.to_thread(lambda: [self._constrain(query, option) for option in options])

    def _constrain(self, query: str, option: Option) -> Option:
        encoder = getattr(self.retriever, "encoder", None)

        def rank(labels: Sequence[str]) -> Sequence[float]:
            scores = (
                score_texts(query, labels) if encoder is None else encoder.similarities(query, encoder.labels(labels))
            )
            return [float(score) for score in scores]

        asked = query, option.answers  # survey and first reading ask the same, and so does each sample
        if asked not in self.narrowed:
            self.narrowed[asked] = find_constraint(self.kb, query, option.answers, rank)
        found = self.narrowed[asked]
        return option if found is None else replace(option, constraint=found[0], answers=tuple(found[1]))

    async def survey(self, question: Question) -> tuple[list[str], list[Option], Step]:
        """A question's topics, the constrained options around them, and the step that records both."""
        topics = self.topics(question)
        options = await self.options(question.question, topics, topics=True)
        options = await self.constrain(question.question, topics, options)
        return topics, options, survey_step(options, topics)

    async def look_up(self, question: str, anchors: Sequence[str], label: str) -> list[Option]:
        """The constrained option of a label, whatever its rank; none where the KB has no such path."""
        async with self.lock:
            found = await asyncio.to_thread(self._look_up, anchors, label)
        return await self.constrain(question, anchors, found)

    def _look_up(self, anchors: Sequence[str], label: str) -> list[Option]:
        paths = {self.kb.label(path): path for path in self.kb.relation_paths(anchors, self.hops)}
        found = find_name(label, paths)
        ends = tuple(self.kb.follow(anchors, paths[found])) if found else ()
        return [Option(paths[found], label, ends)] if found and ends else []

    def topics(self, question: Question) -> list[str]:
        """The question's topic entities as the KB spells them; unknown ones are left out."""
        return [name for text in question.topic_entities if (name := self.kb.find(text)) is not None]
