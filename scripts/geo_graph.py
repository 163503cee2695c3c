"""The graph of the world-geography task, in which no two nodes share a name (see build_geo.py)."""

# Place names need their own apostrophes and dashes.
# ruff: noqa: RUF001

from __future__ import annotations

import re
import unicodedata


def fold(text: str) -> str:
    """Fold a name for matching: no accents, no punctuation, lower case."""
    text = unicodedata.normalize("NFKD", text.replace("’", "'"))
    text = "".join(c for c in text if not unicodedata.combining(c))
    return re.sub(r"[^a-z0-9]+", " ", text.casefold()).strip()


def ascii_form(text: str) -> str:
    """The name as typed on a keyboard without accents."""
    special = str.maketrans("łŁøØđĐıßæ’‘ʻ", "lLoOdDisa'''")
    text = unicodedata.normalize("NFKD", text.translate(special))
    return "".join(c for c in text if not unicodedata.combining(c))


class Graph:
    """The growing knowledge base: triples, the type of every node, and the country each one goes with."""

    def __init__(self) -> None:
        self.triples: set[tuple[str, str, str]] = set()
        self.kind: dict[str, str] = {}
        self.home: dict[str, str] = {}
        self._folded: dict[str, str] = {}

    def is_free(self, name: str) -> bool:
        """Whether no node has this name (or one that differs by case or accents only)."""
        return self._key(name) not in self._folded

    def node(self, name: str, kind: str, home: str = "") -> str:
        """Register a node; a name may belong to one type only."""
        if self.kind.setdefault(name, kind) != kind:
            raise ValueError(f"{name} is both {self.kind[name]} and {kind}")
        self._folded.setdefault(self._key(name), name)
        if home:
            self.home[name] = home
        return name

    def add(self, head: str, relation: str, tail: str) -> None:
        """Add one triple between registered nodes."""
        if head not in self.kind or tail not in self.kind:
            raise KeyError((head, relation, tail))
        self.triples.add((head, relation, tail))

    @staticmethod
    def _key(name: str) -> str:
        return fold(name) if name[0] not in "+." else name
