"""The knowledge base in memory: triples in, relation paths, their endpoints and their evidence out.

A knowledge base is one file of `head, relation, tail` lines; no server. Entities are integers and the edges sorted
arrays in both directions, memory-mapped (`kb_index.py`), so that a path is executed with a few binary searches.

Vocabulary: a `Step` is a relation and a direction, a `Path` a sequence of steps, its endpoints the named entities
it leads to. Unnamed nodes (Freebase's compound values, "CVT") may be passed through and are never an answer.
The execution rule is MetaQA's: the start entities are taken out of every frontier from the second hop on, so the
siblings of X do not include X. Checked on MetaQA: it gives exactly the gold set for all 29,146 development questions
of 2 and 3 hops.

A start entity that the knowledge base does not hold has no edges: nothing is raised, nothing is found.
"""

from __future__ import annotations

import hashlib
import pathlib
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache

import numpy as np

from agentkd.errors import UserError
from agentkd.matching import strict_key
from agentkd.retrievers import kb_index
from agentkd.retrievers.kb_index import Ints

Step = tuple[str, int]
"""(relation, +1) goes from head to tail, (relation, -1) from tail to head."""
Path = tuple[Step, ...]
Triple = tuple[str, str, str]

MAX_NODES = 500
RECENT = 64  # what is kept of topics and queries, for questions in flight ask about theirs again and again
_MAX_PAIRS = 2_000_000


def _expand(low: Ints, high: Ints) -> Ints:
    """All integers of the ranges [low[i], high[i]), concatenated."""
    counts = high - low
    if not counts.size or not counts.sum():
        return np.empty(0, dtype=np.int64)
    return np.repeat(low - np.cumsum(counts) + counts, counts) + np.arange(counts.sum(), dtype=np.int64)


class KnowledgeBase:
    """A set of triples, indexed both ways. Build it with `load` or `from_triples`."""

    def __init__(self, index: kb_index.Index, *, sha256: str, path: pathlib.Path | None) -> None:
        self.path, self.sha256 = path, sha256
        self._names, self._relations = index.entities, index.relations
        self._ids = {name: number for number, name in enumerate(self._names)}
        self._relation_ids = {name: number for number, name in enumerate(self._relations)}
        self._steps: list[Step] = [(name, sign) for name in self._relations for sign in (1, -1)]
        self._triples, self._named, self._first_edge = index.triples, index.named, index.first_edge
        self._edge_step, self._edge_target = index.edge_step, index.edge_target
        self._edge_triple, self._edge_key = index.edge_triple, index.edge_key
        self._has_undirected = bool(index.loose.size)
        self._aliases: dict[str, int] = {}
        self._normalized: dict[str, int] | None = None
        self._labels: list[str] | None = None
        # An agent's survey, its rounds and its samples ask about the same topics.
        self._paths_around = lru_cache(maxsize=RECENT)(self._search_paths)
        self._label = lru_cache(maxsize=1 << 16)(self._spell)

    # ---- construction ------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, path: str | pathlib.Path, *, aliases: str | pathlib.Path | None = None) -> KnowledgeBase:
        """Read a file of triples: tab-separated, or MetaQA's `head|relation|tail`; `.gz` too.

        Further columns are provenance; `;undirected` in the fourth says that the direction is unknown, and such
        a triple is matched both ways. `aliases` is a TSV of an entity and another name for it a line (either
        order: the side that the knowledge base holds is the entity). Raises UserError with file and line.
        """
        file = pathlib.Path(path)
        index, sha256 = kb_index.load(file)
        kb = cls(index, sha256=sha256, path=file)
        if aliases is not None:
            kb._read_aliases(pathlib.Path(aliases))
        return kb

    @classmethod
    def from_triples(cls, triples: Iterable[Sequence[str]]) -> KnowledgeBase:
        """Build from (head, relation, tail[, provenance]) rows; the hash is that of the rows, in their order."""
        rows = [tuple(row) for row in triples]
        digest = hashlib.sha256("\n".join("\t".join(row) for row in rows).encode()).hexdigest()
        flags = [len(row) > 3 and ";undirected" in row[3] for row in rows]
        index = kb_index.build(((r[0], r[1], r[2], f) for r, f in zip(rows, flags, strict=True)), "the knowledge base")
        return cls(index, sha256=digest, path=None)

    def shuffled(self, seed: int) -> KnowledgeBase:
        """A control: the same entities and relations, with the tails of each relation permuted, so that every fact
        looks right and none is. Directions are taken as they stand in the file."""
        rng = np.random.default_rng(seed)
        rows = self._triples.copy()
        for relation in range(len(self._relations)):
            where = np.flatnonzero(rows[:, 1] == relation)
            rows[where, 2] = rng.permutation(rows[where, 2])
        names = self._names
        return self.from_triples([(names[h], self._relations[r], names[t]) for h, r, t in rows.tolist()])

    def _read_aliases(self, file: pathlib.Path) -> None:
        for number, line in enumerate(kb_index.read_bytes(file).decode("utf-8-sig", "replace").splitlines(), start=1):
            if not line.strip():
                continue
            left, tab, right = line.partition("\t")
            right = right.split("\t")[0]
            if not (left and tab and right):
                raise UserError(f"{file}:{number}: not an alias: {line[:60]!r}; write entity<TAB>alias")
            entity, alias = (left, right) if left in self._ids else (right, left)
            if entity in self._ids:
                self._aliases.setdefault(alias, self._ids[entity])
        self._normalized = None

    # ---- names -------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """The number of distinct triples."""
        return len(self._triples)

    def __contains__(self, entity: object) -> bool:
        return entity in self._ids

    @property
    def entities(self) -> list[str]:
        """All nodes, unnamed ones included, in the order of their first mention."""
        return self._names

    @property
    def relations(self) -> list[str]:
        """All relation names, in the order of their first mention."""
        return self._relations

    def triples(self) -> Iterator[Triple]:
        """All triples as the file gives them, duplicates dropped."""
        return (self._triple(number) for number in range(len(self._triples)))

    def has(self, head: str, relation: str, tail: str) -> bool:
        """Whether the knowledge base holds this triple (either way round where its direction is unknown)."""
        start, end = self._ids.get(head), self._ids.get(tail)
        if start is None or end is None or relation not in self._relation_ids:
            return False
        low, high = self._span(np.array([start]), 2 * self._relation_ids[relation])
        return bool((self._edge_target[low[0] : high[0]] == end).any())

    def is_cvt(self, entity: str) -> bool:
        """Whether this is an unnamed node (`m.0…`, `g.1…`, `cvt.…`, `_:…`): stepped through, never an answer."""
        return kb_index.UNNAMED.fullmatch(entity) is not None

    def find(self, text: str) -> str | None:
        """The entity a user or a model means: exact name, else alias, else equal after normalisation.

        Normalised: `strict_key`, then also without accents ("Hernan Cortes"). Where several entities are alike
        then, the one with the most edges wins.
        """
        if text in self._ids:
            return text
        if text in self._aliases:
            return self._names[self._aliases[text]]
        if self._normalized is None:
            table: dict[str, int] = {}
            best_connected_first = np.argsort(-np.diff(self._first_edge), kind="stable")
            names = [(self._names[number], int(number)) for number in best_connected_first if self._named[number]]
            for spell in (strict_key, _plain):
                for name, number in [*names, *self._aliases.items()]:
                    table.setdefault(spell(name), number)
            table.pop("", None)
            self._normalized = table
        found = self._normalized.get(strict_key(text), self._normalized.get(_plain(text)))
        return None if found is None else self._names[found]

    # ---- executing paths ---------------------------------------------------------------------------------------

    def _numbers(self, entities: Iterable[str]) -> Ints:
        return np.unique(np.array([self._ids[e] for e in entities if e in self._ids], dtype=np.int64))

    def _triple(self, number: int) -> Triple:
        head, relation, tail = self._triples[number]
        return self._names[head], self._relations[relation], self._names[tail]

    def _span(self, nodes: Ints, step: int) -> tuple[Ints, Ints]:
        """The edge ranges of `step` out of each node."""
        key = nodes * len(self._steps) + step
        return np.searchsorted(self._edge_key, key, "left"), np.searchsorted(self._edge_key, key, "right")

    def _frontiers(self, starts: Iterable[str], path: Path) -> list[Ints]:
        """The nodes reached after 0, 1, … hops; shorter than the path + 1 where it breaks off."""
        start = self._numbers(starts)
        frontiers = [start]
        for hop, (relation, sign) in enumerate(path, start=1):
            number = self._relation_ids.get(relation)
            if number is None:
                break
            low, high = self._span(frontiers[-1], 2 * number + (sign < 0))
            reached = np.unique(self._edge_target[_expand(low, high)])
            frontiers.append(np.setdiff1d(reached, start, assume_unique=True) if hop > 1 else reached)
            if not frontiers[-1].size:
                break
        return frontiers

    def steps(self, entity: str) -> list[Step]:
        """The distinct steps out of an entity, in both directions."""
        number = self._ids.get(entity)
        if number is None:
            return []
        return [self._steps[s] for s in np.unique(self._edge_step[slice(*self._first_edge[number : number + 2])])]

    def follow(self, starts: Iterable[str], path: Path) -> list[str]:
        """The full set of named endpoints of a path, in the order the knowledge base first mentions them."""
        frontiers = self._frontiers(starts, path)
        if not path or len(frontiers) <= len(path):
            return []
        return [self._names[node] for node in frontiers[-1] if self._named[node]]

    def evidence(self, starts: Iterable[str], path: Path, ends: Collection[str] | None = None) -> list[Triple]:
        """Every triple that lies on a walk from a start to an endpoint (one of `ends`, where given), hop by hop.

        Triples stand in the direction of the knowledge base. Those that lead nowhere are pruned.
        """
        frontiers = self._frontiers(starts, path)
        if not path or len(frontiers) <= len(path):
            return []
        wanted = frontiers[-1][self._named[frontiers[-1]]]
        if ends is not None:
            wanted = np.intersect1d(wanted, self._numbers(ends))
        hops: list[Ints] = []
        for nodes, (relation, sign) in zip(frontiers[-2::-1], path[::-1], strict=True):
            low, high = self._span(nodes, 2 * self._relation_ids[relation] + (sign < 0))
            edges = _expand(low, high)
            source = np.repeat(nodes, high - low)
            kept = np.isin(self._edge_target[edges], wanted)
            hops.append(self._edge_triple[edges[kept]])
            wanted = np.unique(source[kept])
        numbers = dict.fromkeys(int(number) for hop in reversed(hops) for number in hop)
        return [self._triple(number) for number in numbers]

    def relation_paths(self, topics: Iterable[str], max_hops: int, *, max_nodes: int = MAX_NODES) -> dict[Path, int]:
        """All relation paths of 1 to `max_hops` edges out of the topics, with their exact number of endpoints.

        Endpoints are those of `follow(topics, path)`; a path without a named endpoint is not listed (it may pass
        through unnamed nodes, not end in them). Pruned, to stay useful and within about a second:

        - a path that reaches more than `max_nodes` nodes is listed but not extended: beyond a hub ("all films in
          English") every relation is reachable and none says anything about the topic;
        - at each hop the smallest frontiers are extended first, until 2 million edges are walked;
        - a step straight back (+r, then -r) that reaches only nodes of two hops ago is dropped;
        - paths that differ in directions alone and have the same endpoints, as unknown directions make them, are
          listed once, the one with more forward steps.
        """
        return dict(self._paths_around(tuple(topics), max_hops, max_nodes))

    def _search_paths(self, topics: tuple[str, ...], max_hops: int, max_nodes: int) -> dict[Path, int]:
        start = self._numbers(topics)
        n_nodes, n_steps = len(self._names), len(self._steps)
        code = np.random.default_rng(0).integers(0, 2**63, n_nodes) if self._has_undirected else None
        # A level is a set of paths and its (path, node) pairs, sorted by path; `before` is the level before it.
        paths: list[Path] = [()]
        node, owner = start, np.zeros(len(start), dtype=np.int64)
        last_step = parent = np.full(1, -1, dtype=np.int64)
        before: Ints | None = None
        found: dict[tuple[tuple[str, ...], int], tuple[Path, int]] = {}
        for hop in range(1, max_hops + 1):
            low, high = self._first_edge[node], self._first_edge[node + 1]
            size = np.bincount(owner, minlength=len(paths))
            cost = np.bincount(owner, weights=high - low, minlength=len(paths))
            order = np.lexsort((cost, size))
            affordable = np.empty(len(paths), dtype=np.bool_)
            affordable[order] = np.cumsum(cost[order]) <= _MAX_PAIRS
            kept = ((size <= max_nodes) & affordable)[owner] if hop > 1 else np.ones(len(node), dtype=np.bool_)
            edges = _expand(low[kept], high[kept])
            pair_owner = np.repeat(owner[kept], (high - low)[kept])
            target = self._edge_target[edges]
            group = pair_owner * n_steps + self._edge_step[edges]
            if hop > 1:
                elsewhere = ~np.isin(target, start)
                target, group = target[elsewhere], group[elsewhere]
            if not target.size:
                break
            pairs = np.unique(group * n_nodes + target)
            group, node_next = np.divmod(pairs, n_nodes)
            groups, owner_next = np.unique(group, return_inverse=True)
            parent_next, step = np.divmod(groups, n_steps)
            if hop > 2 and before is not None:  # at hop 2 such a step leads to the start alone: it is gone already
                back = step == (last_step[parent_next] ^ 1)
                seen = np.isin(parent[parent_next][owner_next] * n_nodes + node_next, before)
                fresh = np.bincount(owner_next, weights=~seen, minlength=len(groups)) > 0
                alive = fresh | ~back
                keep = alive[owner_next]
                renumber = np.cumsum(alive) - 1
                node_next, owner_next = node_next[keep], renumber[owner_next[keep]]
                parent_next, step = parent_next[alive], step[alive]
            before = owner * n_nodes + node
            paths = [paths[p] + (self._steps[s],) for p, s in zip(parent_next, step, strict=True)]
            node, owner, parent, last_step = node_next, owner_next, parent_next, step
            named = self._named[node]
            endpoints = np.bincount(owner[named], minlength=len(paths))
            mark = np.arange(len(paths), dtype=np.int64)
            if code is not None:  # the wrapped sum of random codes identifies a set of endpoints
                mark = np.zeros(len(paths), dtype=np.int64)
                np.add.at(mark, owner[named], code[node[named]])
            for path, count, key in zip(paths, endpoints.tolist(), mark.tolist(), strict=True):
                if not count:
                    continue
                if code is None:
                    found[((), len(found))] = (path, count)
                    continue
                twin = (tuple(relation for relation, _ in path), key)
                if twin not in found or sum(s for _, s in path) > sum(s for _, s in found[twin][0]):
                    found[twin] = (path, count)
        return dict(found.values())

    # ---- text --------------------------------------------------------------------------------------------------

    def label(self, path: Path) -> str:
        """Readable text of a path, distinct for distinct paths: steps joined by ' > ', 'inverse ' before a -1 step."""
        return self._label(path)

    def _spell(self, path: Path) -> str:
        if self._labels is None:
            self._labels = step_labels(self._relations)
        try:
            return " > ".join(self._labels[2 * self._relation_ids[name] + (sign < 0)] for name, sign in path)
        except KeyError as error:
            raise UserError(f"unknown relation {error}; take paths from this knowledge base") from None

    def passage(self, entity: str, max_words: int = 100, part: int = 0) -> str:
        """The facts whose head is the entity, as text: `subject relation object .` each, as DecAF and KD-CoT do.

        An unnamed object is replaced by the facts about it. A passage holds whole facts, up to `max_words` words
        (a longer fact stands alone); what does not fit goes on in the next `part`. Empty where there is none.
        """
        parts = self._parts(entity, max_words)
        return " ".join(text for text, _ in parts[part]) if part < len(parts) else ""

    def passage_triples(self, entity: str, max_words: int = 100, part: int = 0) -> list[Triple]:
        """The triples behind `passage(entity, max_words, part)`."""
        parts = self._parts(entity, max_words)
        facts = parts[part] if part < len(parts) else []
        return list(dict.fromkeys(triple for _, triples in facts for triple in triples))

    def passage_parts(self, entity: str, max_words: int = 100) -> list[list[Triple]]:
        """The triples behind each part of the entity's passage."""
        return [[triple for _, triples in part for triple in triples] for part in self._parts(entity, max_words)]

    def passages(self, max_words: int = 100) -> Iterator[tuple[str, str]]:
        """(entity, passage) of all named entities that are the head of a triple; all parts, in order."""
        for number in np.unique(self._triples[:, 0]):
            if self._named[number]:
                for facts in self._parts(self._names[number], max_words):
                    yield self._names[number], " ".join(text for text, _ in facts)

    def _outgoing(self, number: int) -> list[int]:
        """The triples whose head is this node, in the order of the file."""
        edges = slice(*self._first_edge[number : number + 2])
        triples = np.unique(self._edge_triple[edges])
        return [int(t) for t in triples[self._triples[triples, 0] == number]]

    def _parts(self, entity: str, max_words: int) -> list[list[tuple[str, list[Triple]]]]:
        """(sentence, its triples) of each fact, in groups of at most `max_words` words."""
        parts: list[list[tuple[str, list[Triple]]]] = []
        room = 0
        for text, triples in self._facts(entity):
            words = len(text.split())
            if words > room:
                parts.append([])
                room = max_words
            parts[-1].append((text, triples))
            room -= words
        return parts

    def _facts(self, entity: str) -> Iterator[tuple[str, list[Triple]]]:
        number = self._ids.get(entity)
        for outer in self._outgoing(number) if number is not None else ():
            first = self._triple(outer)
            tail = int(self._triples[outer, 2])
            inner = [] if self._named[tail] else [self._triple(t) for t in self._outgoing(tail)]
            facts = [[first, second] for second in inner if self._named[self._ids[second[2]]] and second[2] != entity]
            for triples in facts or [[first]]:
                relations = (_spaced(relation) for _, relation, _ in triples)
                yield " ".join([entity, *relations, triples[-1][2], "."]), triples


def _plain(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", strict_key(text)) if not unicodedata.combining(c))


def _spaced(relation: str) -> str:
    return " ".join(re.sub(r"[._>]", " ", relation).split())


def _short(relation: str) -> str:
    """The part of a Freebase name that reads best: `people.person.place_of_birth` -> `person place of birth`.

    Measured with the encoder on 200 WebQSP training questions: top-1 F1 43.3 with the last two parts, 38.0 with all,
    42.0 with the last alone (on geo 69.3 and, with the last alone, 59.5).
    """
    return " ".join(_spaced(".".join(part.split(".")[-2:])) for part in relation.split(".."))


def step_labels(relations: Sequence[str]) -> list[str]:
    """A text for each step, distinct: the short name, where it is taken the full one, then with a number."""
    labels: list[str] = []
    short = Counter(_short(relation) for relation in relations)
    for relation in relations:
        text = _short(relation)
        labels.append(text if text and short[text] == 1 else _spaced(relation) or "relation")
    taken: set[str] = set()
    result: list[str] = []
    for label in labels:
        text, number = label, 1
        while text in taken or f"inverse {text}" in taken:
            number += 1
            text = f"{label} ({number})"
        taken |= {text, f"inverse {text}"}
        result += [text, f"inverse {text}"]
    return result
