"""Conjunctions: pairs of paths out of two topics that share endpoints.

A question that names two entities mostly asks for what is related to both ("Which film with this character did that
director make?"). Paths are retrieved out of each topic. Two paths that share an endpoint are a candidate, with the
shared endpoints as answers; that they share any is itself strong evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

from agentkd.retrievers import constraints
from agentkd.retrievers.constraints import Constraint
from agentkd.retrievers.graph import Graph
from agentkd.retrievers.path_retriever import PathRetriever
from agentkd.retrievers.relation_path import RelationPath

EACH = 12  # paths out of each topic

Join = tuple[str, RelationPath]
"""A topic and the path out of it."""


class Conjunction(NamedTuple):
    """Two joins and their shared endpoints; `score` is the sum of their logits, as of independent evidence."""

    joins: tuple[Join, Join]
    label: str
    answers: tuple[str, ...]
    score: float


def find_endpoints(
    kb: Graph, starts: Sequence[str], path: RelationPath, joins: Sequence[Join], constraint: Constraint | None = None
) -> list[str]:
    """Execute a derivation: where the joins meet, or else the starts; from there the path; the constraint.

    Empty for neither joins nor path.
    """
    if joins:
        met = [kb.follow([topic], way) for topic, way in joins]
        starts = [name for name in met[0] if all(name in others for others in map(set, met[1:]))]
    ends = kb.follow(starts, path) if path or not joins else list(starts)
    return constraints.apply_constraint(kb, ends, constraint) if constraint else ends


def find_conjunctions(
    kb: Graph, retriever: PathRetriever, query: str, topics: Sequence[str], hops: int
) -> list[Conjunction]:
    """Return all conjunctions of two topics, best first; the query comes without the topics' names."""
    ways = {
        topic: [(way, set(kb.follow([topic], way.path))) for way in retriever.paths(query, [topic], EACH, hops)]
        for topic in dict.fromkeys(topics)
    }
    found = []
    for one, other in combinations(ways, 2):
        for left, ends in ways[one]:
            for right, others in ways[other]:
                if common := ends & others:
                    answers = tuple(name for name in kb.follow([one], left.path) if name in common)
                    label = f"{left.label} ({one}) and {right.label} ({other})"
                    joins = (one, left.path), (other, right.path)
                    found.append(Conjunction(joins, label, answers, left.score + right.score))
    return sorted(found, key=lambda item: -item.score)
