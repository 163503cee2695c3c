"""The parts that all path retrievers share: protocol, candidates, the masking of topics and the count of hops."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from agentkd.retrievers.graph import Graph
from agentkd.retrievers.relation_path import RelationPath

Scores = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A relation path worth following; `label` is for a model to read, `score` is a logit within one query."""

    path: RelationPath
    label: str
    score: float
    endpoints: int


class PathRetriever(Protocol):
    """Finds the relation paths out of some topics that answer a query."""

    def paths(self, query: str, topics: Sequence[str], k: int, max_hops: int) -> list[Candidate]:
        """Return the k best paths of at most `max_hops` edges, best first; none where no topic is in the KB."""
        ...


def mask_topics(query: str, topics: Sequence[str]) -> str:
    """Return the query without the names of its topics.

    The names say nothing about the relation asked for, and pull in labels that share their words. Where no name
    occurs as it is, the words of the names are dropped one by one.
    """
    text = query
    for topic in sorted(topics, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(topic)}(?!\w)", " ", text, flags=re.IGNORECASE)
    if text == query:
        words = {word for topic in topics for word in re.findall(r"\w+", topic.lower())}
        text = " ".join(word for word in text.split() if re.sub(r"\W", "", word.lower()) not in words)
    return " ".join(text.split()) if re.search(r"\w", text) else query


def count_named_hops(paths: Sequence[RelationPath]) -> Scores:
    """Count the named nodes between start and end of each path, given all paths out of the same topics.

    A prefix that is itself a path ends in named entities; one that is not leads to unnamed nodes only.
    """
    known = set(paths)
    return np.array([sum(path[:cut] in known for cut in range(1, len(path))) for path in paths], dtype=np.float32)


def top_candidates(kb: Graph, found: dict[RelationPath, int], scores: Scores, k: int) -> list[Candidate]:
    """Return the k candidates of the highest score; ties go to fewer edges, then to fewer endpoints."""
    paths, counts = list(found), np.array(list(found.values()))
    edges = np.array([len(path) for path in paths])
    order = np.lexsort((counts, edges, -scores))[:k]
    return [Candidate(paths[i], kb.label(paths[i]), float(scores[i]), int(counts[i])) for i in order]
