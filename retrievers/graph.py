"""Graph: the interface of a knowledge base, in memory or behind an endpoint."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Protocol

from agentkd.errors import UserError
from agentkd.retrievers.kb import MAX_NODES, KnowledgeBase
from agentkd.retrievers.lookup import Match
from agentkd.retrievers.relation_path import RelationPath, Triple


class Graph(Protocol):
    """A knowledge base: `KnowledgeBase` explains each method. `sha256` identifies the content, or the endpoint."""

    sha256: str

    def __contains__(self, entity: object) -> bool: ...
    def find(self, text: str) -> str | None: ...
    def match(self, text: str) -> Match | None: ...
    def describe(self) -> list[str]: ...
    def cite(self, fact: Triple) -> str: ...
    def is_cvt(self, entity: str) -> bool: ...
    def has(self, head: str, relation: str, tail: str) -> bool: ...
    def label(self, path: RelationPath) -> str: ...
    def follow(self, starts: Iterable[str], path: RelationPath) -> list[str]: ...
    def evidence(
        self, starts: Iterable[str], path: RelationPath, ends: Collection[str] | None = None
    ) -> list[Triple]: ...
    def relation_paths(
        self, topics: Iterable[str], max_hops: int, *, max_nodes: int = MAX_NODES
    ) -> dict[RelationPath, int]: ...


def require_in_memory(kb: Graph, what: str) -> KnowledgeBase:
    """Return the knowledge base where it can be read as a whole. Raises UserError for an endpoint."""
    if not isinstance(kb, KnowledgeBase):
        raise UserError(f"{what} reads the whole knowledge base: give a file as --kb, not an endpoint")
    return kb
