"""Names for ids: nodes of RDF and of tables with ids have labels, and two nodes may share one.

A node is called by its label, else by the end of its id. The first node that is mentioned keeps a name; another node of
that name is called "name (end of its id)", so that two things are never one.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Hashable

from agentkd.matching import clean_name

_WIKIDATA = re.compile(
    r"https?://www\.wikidata\.org/(?:entity|prop(?:/direct(?:-normalized)?)?|wiki)/(?:Property:)?([QPL]\d+)"
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z][a-z])")


def end_of_iri(iri: str) -> str:
    """Return the last part of an IRI as words: ".../Ridley_Scott" is "Ridley Scott"; an IRI without one stays whole."""
    last = re.split(r"[/#]", iri.rstrip("/#"))[-1]
    last = last.rsplit(":", 1)[-1] if ":" in last else last
    return clean_name(urllib.parse.unquote(last).replace("_", " ")) or iri


def relation_of_iri(iri: str) -> str:
    """Return the last part of a relation's IRI as words: ".../directedBy" is "directed by"."""
    return _CAMEL.sub(" ", end_of_iri(iri)).replace("-", " ").lower() if not _WIKIDATA.fullmatch(iri) else shorten(iri)


def shorten(text: str) -> str:
    """Return the Q42 or P57 of a Wikidata IRI; any other text stays."""
    match = _WIKIDATA.fullmatch(text)
    return match[1] if match else text


class Names:
    """Distinct names for ids, in the order in which they are asked for."""

    def __init__(self) -> None:
        self._names: dict[Hashable, str] = {}
        self._taken: dict[str, Hashable] = {}
        self.shared: list[str] = []
        """names that stand for a node whose own name was taken"""

    def __contains__(self, key: Hashable) -> bool:
        return key in self._names

    def name(self, key: Hashable, label: str, end: str) -> str:
        """Return the name of an id: `label`, else with `end`, the end of the id, behind it, else with the whole id."""
        if key not in self._names:
            choices = (label, f"{label} ({end})", f"{label} ({key})")
            name = next(choice for choice in choices if self._taken.setdefault(choice, key) == key)
            self._names[key] = name
            if name != label:
                self.shared.append(name)
        return self._names[key]

    def note(self) -> list[str]:
        """Return the line that says which names were shared."""
        if not self.shared:
            return []
        first = f"first: {self.shared[0]!r}"
        return [f"{len(self.shared):,} nodes share a name with another one and are told apart ({first})"]
