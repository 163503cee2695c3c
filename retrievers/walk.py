"""Walks over a knowledge base's arrays: the nodes along a path, its triples, and all paths out of some nodes.

Nodes, steps and triples are the numbers of `kb_index.Index`; step 2 r is relation r forward, 2 r + 1 backward.
The rule is MetaQA's: the start nodes are taken out of every frontier from the second hop on, so that the siblings of X
do not include X.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from agentkd.retrievers.kb_index import Bools, Index, Ints

Steps = tuple[int, ...]
MAX_EDGES = 2_000_000  # walked per hop


def expand_ranges(low: Ints, high: Ints) -> Ints:
    """Return all integers of the ranges [low[i], high[i]), concatenated."""
    counts = high - low
    if not counts.size or not counts.sum():
        return np.empty(0, dtype=np.int64)
    return np.repeat(low - np.cumsum(counts) + counts, counts) + np.arange(counts.sum(), dtype=np.int64)


def find_edge_ranges(index: Index, nodes: Ints, step: int) -> tuple[Ints, Ints]:
    """Return the range [low, high) of the edges of a step out of each node."""
    key = nodes * (2 * len(index.relations)) + step
    return np.searchsorted(index.edge_key, key, "left"), np.searchsorted(index.edge_key, key, "right")


def walk_frontiers(index: Index, start: Ints, steps: Sequence[int]) -> list[Ints]:
    """Return the nodes reached after 0, 1, … steps; fewer than steps + 1 lists where the walk breaks off."""
    frontiers = [start]
    for hop, step in enumerate(steps, start=1):
        reached = np.unique(index.edge_target[expand_ranges(*find_edge_ranges(index, frontiers[-1], step))])
        frontiers.append(np.setdiff1d(reached, start, assume_unique=True) if hop > 1 else reached)
        if not frontiers[-1].size:
            break
    return frontiers


def trace_triples(index: Index, frontiers: Sequence[Ints], steps: Sequence[int], ends: Ints) -> list[int]:
    """Return the triples on a walk along the frontiers to one of the ends, hop by hop, without repeats."""
    hops: list[Ints] = []
    wanted = ends
    for nodes, step in zip(frontiers[-2::-1], steps[::-1], strict=True):
        low, high = find_edge_ranges(index, nodes, step)
        edges = expand_ranges(low, high)
        source = np.repeat(nodes, high - low)
        kept = np.isin(index.edge_target[edges], wanted)
        hops.append(index.edge_triple[edges[kept]])
        wanted = np.unique(source[kept])
    return list(dict.fromkeys(int(number) for hop in reversed(hops) for number in hop))


class Level(NamedTuple):
    """All paths of one length with the nodes that they reach: P paths and N (path, node) pairs, sorted by path."""

    paths: list[Steps]
    last_step: Ints
    """(P,)"""
    parent: Ints
    """(P,): the path of the level before that each one extends"""
    owner: Ints
    """(N,): the path of each pair"""
    node: Ints
    """(N,)"""


def search_paths(index: Index, start: Ints, max_hops: int, max_nodes: int) -> list[tuple[Steps, int]]:
    """Return all paths of 1 to `max_hops` steps out of the start nodes, with their number of named endpoints.

    `KnowledgeBase.relation_paths` tells which paths are left out."""
    none = np.full(1, -1, dtype=np.int64)
    level = Level([()], none, none, np.zeros(len(start), dtype=np.int64), start)
    before: Level | None = None
    # The wrapped sum of its nodes' random codes identifies a set of endpoints.
    codes = np.random.default_rng(0).integers(0, 2**63, len(index.named)) if index.loose.size else None
    found: dict[tuple[Steps, int], tuple[Steps, int]] = {}
    for hop in range(1, max_hops + 1):
        following = extend_paths(index, level, start, max_nodes if hop > 1 else None)
        if following is None:
            break
        if hop > 2 and before is not None:  # at hop 2 a step back leads to the start alone, which is gone already
            following = drop_steps_back(level, before, following, len(index.named))
        before, level = level, following
        paths, owner, node = level.paths, level.owner, level.node
        named = index.named[node]
        endpoints = np.bincount(owner[named], minlength=len(paths))
        sums = np.zeros(len(paths), dtype=np.int64)
        if codes is not None:
            np.add.at(sums, owner[named], codes[node[named]])
        for path, count, code in zip(paths, endpoints.tolist(), sums.tolist(), strict=True):
            if not count:
                continue
            relations = tuple(step // 2 for step in path)
            twin = (relations, code) if codes is not None else (path, 0)
            if twin not in found or count_backward(path) < count_backward(found[twin][0]):
                found[twin] = (path, count)
    return list(found.values())


def count_backward(path: Steps) -> int:
    """Count the steps from tail to head."""
    return sum(step % 2 for step in path)


def extend_paths(index: Index, level: Level, start: Ints, max_nodes: int | None) -> Level | None:
    """Return the level of all one-step extensions, or None where there is none.

    Paths of more than `max_nodes` nodes are not extended; the smallest frontiers come first, up to MAX_EDGES edges.
    `max_nodes` is None at the first hop: there everything is extended, and may lead back to the start."""
    paths, owner, node = level.paths, level.owner, level.node
    low, high = index.first_edge[node], index.first_edge[node + 1]
    kept: Bools = np.ones(len(node), dtype=np.bool_)
    if max_nodes is not None:
        size = np.bincount(owner, minlength=len(paths))
        cost = np.bincount(owner, weights=high - low, minlength=len(paths))
        order = np.lexsort((cost, size))
        affordable = np.empty(len(paths), dtype=np.bool_)
        affordable[order] = np.cumsum(cost[order]) <= MAX_EDGES
        kept = ((size <= max_nodes) & affordable)[owner]
    edges = expand_ranges(low[kept], high[kept])
    n_steps, n_nodes = 2 * len(index.relations), len(index.named)
    target = index.edge_target[edges]
    group = np.repeat(owner[kept], (high - low)[kept]) * n_steps + index.edge_step[edges]
    if max_nodes is not None:
        elsewhere = ~np.isin(target, start)
        target, group = target[elsewhere], group[elsewhere]
    if not target.size:
        return None
    group, reached = np.divmod(np.unique(group * n_nodes + target), n_nodes)
    groups, new_owner = np.unique(group, return_inverse=True)
    parent, step = np.divmod(groups, n_steps)
    extended = [(*paths[p], s) for p, s in zip(parent.tolist(), step.tolist(), strict=True)]
    return Level(extended, step, parent, new_owner, reached)


def drop_steps_back(level: Level, before: Level, following: Level, n_nodes: int) -> Level:
    """Return the following level without paths whose last step goes straight back and reaches no new node."""
    parent, owner = following.parent, following.owner
    back = following.last_step == (level.last_step[parent] ^ 1)
    seen = np.isin(level.parent[parent][owner] * n_nodes + following.node, before.owner * n_nodes + before.node)
    fresh = np.bincount(owner, weights=~seen, minlength=len(parent)) > 0
    alive = fresh | ~back
    kept, renumber = alive[owner], np.cumsum(alive) - 1
    paths = [path for path, lives in zip(following.paths, alive, strict=True) if lives]
    return Level(paths, following.last_step[alive], parent[alive], renumber[owner[kept]], following.node[kept])
