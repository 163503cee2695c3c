"""The knowledge base in memory: triples in; entities, endpoints of relation paths and evidence out.

A knowledge base is a file of facts, or a folder (`files/`); no server. Entities are integers and the edges sorted
arrays in both directions, memory-mapped (`kb_index.py`), so that a path is followed with a few binary searches
(`walk.py`). `lookup.py` tells which entity a text means.

Vocabulary: a `Step` is a relation and a direction, a `RelationPath` a sequence of steps, its endpoints the named
entities that it leads to. Unnamed nodes (Freebase's compound values, "CVT") may be passed through and are never an
answer. The start entities are taken out of every frontier from the second hop on (MetaQA's rule), so the siblings of X
do not include X.

A start entity that the knowledge base does not hold has no edges: nothing is raised, nothing is found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from agentkd.errors import UserError
from agentkd.retrievers import kb_index
from agentkd.retrievers.files.read import read_pairs
from agentkd.retrievers.files.rows import Row
from agentkd.retrievers.kb_index import Ints
from agentkd.retrievers.lookup import Lookup, Match
from agentkd.retrievers.relation_path import RelationPath, Step, Triple, label_steps
from agentkd.retrievers.walk import find_edge_ranges, search_paths, trace_triples, walk_frontiers

MAX_NODES = 500
RECENT = 64  # topics and queries whose results are kept: questions in flight ask about theirs again and again


class KnowledgeBase:
    """A set of triples, indexed both ways. Build it with `load` or `from_triples`."""

    def __init__(self, index: kb_index.Index, *, sha256: str, path: Path | None) -> None:
        self.path, self.sha256 = path, sha256
        self._names, self._relations = index.entities, index.relations
        self._ids = {name: number for number, name in enumerate(self._names)}
        self._relation_ids = {name: number for number, name in enumerate(self._relations)}
        self._steps: list[Step] = [(name, sign) for name in self._relations for sign in (1, -1)]
        self._index, self._triples, self._named = index, index.triples, index.named
        self.lookup = Lookup(self._names, self._ids, index.named, np.diff(index.first_edge))
        self.lookup.add_aliases(zip(index.aliases, index.alias_entity.tolist(), strict=True))
        self._labels: list[str] | None = None
        self._notes = list(index.notes)
        self._paths_around = lru_cache(maxsize=RECENT)(self._search_paths)
        self._label = lru_cache(maxsize=1 << 16)(self._spell)

    # ---- construction ------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, path: str | Path, *, aliases: str | Path | None = None, columns: str | None = None) -> KnowledgeBase:
        """Read a file or folder of facts, in one of the forms of docs/tasks.md; `.gz` too.

        Names are NFC and stripped. `;undirected` in a fourth column says that the direction is unknown; such a triple
        is matched both ways. `aliases` is a table with an entity and another name for it per line (either order: the
        side that the knowledge base holds is the entity). `columns` says which columns are head, relation and tail.
        Raises UserError with file and line.
        """
        file = Path(path)
        index, sha256 = kb_index.load_index(file, columns)
        kb = cls(index, sha256=sha256, path=file)
        if aliases is not None:
            kb._read_aliases(Path(aliases))
        return kb

    @classmethod
    def from_triples(cls, triples: Iterable[Sequence[str]]) -> KnowledgeBase:
        """Build from (head, relation, tail[, provenance]) rows; the hash is that of the rows, in their order."""
        rows = [tuple(row) for row in triples]
        digest = hashlib.sha256("\n".join("\t".join(row) for row in rows).encode()).hexdigest()
        flags = [len(row) > 3 and ";undirected" in row[3] for row in rows]
        index = kb_index.index_rows(Row(r[0], r[1], r[2], f) for r, f in zip(rows, flags, strict=True))
        return cls(index, sha256=digest, path=None)

    def shuffled(self, seed: int) -> KnowledgeBase:
        """Return a control: the tails of each relation permuted, so that every fact looks right and none is.

        Directions are taken as in the file."""
        rng = np.random.default_rng(seed)
        rows = self._triples.copy()
        for relation in range(len(self._relations)):
            where = np.flatnonzero(rows[:, 1] == relation)
            rows[where, 2] = rng.permutation(rows[where, 2])
        names = self._names
        return self.from_triples([(names[h], self._relations[r], names[t]) for h, r, t in rows.tolist()])

    def _read_aliases(self, file: Path) -> None:
        """Add the aliases of a table; a pair of which neither side is known is left out."""
        known, strangers = [], []
        for left, right in read_pairs(file):
            entity, alias = (left, right) if left in self._ids else (right, left)
            if entity in self._ids:
                known.append((alias, self._ids[entity]))
            else:
                strangers.append(f"{left} | {right}")
        self.lookup.add_aliases(known)
        self._notes.append(f"{file}: {len(known):,} other names")
        if strangers:
            self._notes.append(f"{len(strangers):,} more are of no known entity (first: {strangers[0][:80]!r})")

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
        low, high = find_edge_ranges(self._index, np.array([start]), 2 * self._relation_ids[relation])
        return bool((self._index.edge_target[low[0] : high[0]] == end).any())

    def is_cvt(self, entity: str) -> bool:
        """Whether this is an unnamed node (`m.0…`, `g.1…`, `cvt.…`, `_:…`): stepped through, never an answer."""
        return kb_index.UNNAMED.fullmatch(entity) is not None

    def is_named(self, entity: str) -> bool:
        """Whether the knowledge base holds this node and it is no unnamed one."""
        return entity in self._ids and bool(self._named[self._ids[entity]])

    def find(self, text: str) -> str | None:
        """Find the entity a user or a model means; None where there is none, or more than one (`lookup.py`)."""
        match = self.lookup.match(text)
        return None if match is None else match.name

    def match(self, text: str) -> Match | None:
        """Find as `find`, and say whether the text is another spelling of the name."""
        return self.lookup.match(text)

    def describe(self) -> list[str]:
        """Return what a user should know of the file: facts, relations and names, and how it was read."""
        names = int(self._named.sum())
        first = " | ".join(self._triple(0))
        sizes = {"fact": len(self), "relation": len(self._relations), "name": names}
        sizes["unnamed node"] = len(self._names) - names
        counts = [f"{size:,} {what}{'s' * (size != 1)}" for what, size in sizes.items() if size or what == "name"]
        what = str(self.path) if self.path is not None else "knowledge base"
        lines = [f"{what}: {', '.join(counts)} (first: {first[:120]})", *self._notes]
        if self._first_is_alone():
            lines.append(
                f"no other fact has a name or the relation of the first, {first[:80]!r}: if that line is a header, "
                f"say which columns are head, relation and tail with --kb-columns"
            )
        return lines

    def _first_is_alone(self) -> bool:
        """Whether neither names nor relation of the first fact occur in another, as with a header read as a fact."""
        head, relation, tail = self._triples[0]
        rest = self._triples[1:]
        return bool(len(rest) > 1) and not ((rest[:, 1] == relation) | np.isin(rest[:, ::2], (head, tail)).any(1)).any()

    def cite(self, fact: Triple) -> str:
        """Return the source of a fact for its evidence: `kb`, and the fact as the file spells it where it differs."""
        raw = self._index.raw_triple
        if not raw.size:
            return "kb"
        head, relation, tail = fact
        low, high = find_edge_ranges(self._index, np.array([self._ids[head]]), 2 * self._relation_ids[relation])
        edges = slice(int(low[0]), int(high[0]))
        at = self._index.edge_triple[edges][self._index.edge_target[edges] == self._ids[tail]]
        place = int(np.searchsorted(raw, at[0])) if at.size else len(raw)
        if place == len(raw) or raw[place] != at[0]:
            return "kb"
        start = int(self._index.raw_end[place - 1]) if place else 0
        return f"kb: {self._index.raw_text[start : int(self._index.raw_end[place])].tobytes().decode()}"

    # ---- executing paths ---------------------------------------------------------------------------------------

    def _numbers(self, entities: Iterable[str]) -> Ints:
        return np.unique(np.array([self._ids[e] for e in entities if e in self._ids], dtype=np.int64))

    def _triple(self, number: int) -> Triple:
        head, relation, tail = self._triples[number]
        return self._names[head], self._relations[relation], self._names[tail]

    def _step_numbers(self, path: RelationPath) -> list[int]:
        """The numbers of the steps, up to the first relation that is unknown."""
        numbers: list[int] = []
        for relation, sign in path:
            if relation not in self._relation_ids:
                break
            numbers.append(2 * self._relation_ids[relation] + (sign < 0))
        return numbers

    def steps(self, entity: str) -> list[Step]:
        """Return the distinct steps out of an entity, in both directions."""
        number = self._ids.get(entity)
        if number is None:
            return []
        edges = slice(*self._index.first_edge[number : number + 2])
        return [self._steps[step] for step in np.unique(self._index.edge_step[edges])]

    def follow(self, starts: Iterable[str], path: RelationPath) -> list[str]:
        """Return all named endpoints of a path, in the order of their first mention in the knowledge base."""
        frontiers = walk_frontiers(self._index, self._numbers(starts), self._step_numbers(path))
        if not path or len(frontiers) <= len(path):
            return []
        return [self._names[node] for node in frontiers[-1] if self._named[node]]

    def evidence(self, starts: Iterable[str], path: RelationPath, ends: Collection[str] | None = None) -> list[Triple]:
        """Return every triple on a walk from a start to an endpoint (one of `ends`, where given), hop by hop.

        Triples have the direction of the knowledge base. Those that lead nowhere are left out.
        """
        steps = self._step_numbers(path)
        frontiers = walk_frontiers(self._index, self._numbers(starts), steps)
        if not path or len(frontiers) <= len(path):
            return []
        wanted = frontiers[-1][self._named[frontiers[-1]]]
        if ends is not None:
            wanted = np.intersect1d(wanted, self._numbers(ends))
        return [self._triple(number) for number in trace_triples(self._index, frontiers, steps, wanted)]

    def relation_paths(
        self, topics: Iterable[str], max_hops: int, *, max_nodes: int = MAX_NODES
    ) -> dict[RelationPath, int]:
        """Return all relation paths of 1 to `max_hops` edges out of the topics, with their number of endpoints.

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

    def _search_paths(self, topics: tuple[str, ...], max_hops: int, max_nodes: int) -> dict[RelationPath, int]:
        found = search_paths(self._index, self._numbers(topics), max_hops, max_nodes)
        return {tuple(self._steps[step] for step in path): count for path, count in found}

    def triples_of(self, entity: str) -> list[Triple]:
        """Return the triples whose head is this entity, in the order of the file."""
        number = self._ids.get(entity)
        if number is None:
            return []
        edges = slice(*self._index.first_edge[number : number + 2])
        triples = np.unique(self._index.edge_triple[edges])
        return [self._triple(int(triple)) for triple in triples[self._triples[triples, 0] == number]]

    def named_heads(self) -> Iterator[str]:
        """Return the named entities that are the head of a triple, in the order of their first mention."""
        heads = np.unique(self._triples[:, 0])
        return (self._names[number] for number in heads[self._named[heads]])

    # ---- labels ------------------------------------------------------------------------------------------------

    def label(self, path: RelationPath) -> str:
        """Return a path as distinct readable text: steps joined by ' > ', 'inverse ' before a -1 step."""
        return self._label(path)

    def _spell(self, path: RelationPath) -> str:
        if self._labels is None:
            self._labels = label_steps(self._relations)
        try:
            return " > ".join(self._labels[2 * self._relation_ids[name] + (sign < 0)] for name, sign in path)
        except KeyError as error:
            raise UserError(f"unknown relation {error}; take paths from this knowledge base") from None
