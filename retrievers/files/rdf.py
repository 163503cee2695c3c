"""RDF in its usual spellings, read by pyoxigraph: facts by name, with labels and other names.

A node is called by its label (rdfs:label, skos:prefLabel, schema:name), in English where there is one, else without a
language, else the first; without a label by the end of its IRI. skos:altLabel and schema:alternateName are aliases. Of
a value in several languages the English one is kept; what is left out is counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from agentkd.errors import UserError
from agentkd.matching import clean_name
from agentkd.retrievers.files.naming import Names, end_of_iri, relation_of_iri, shorten
from agentkd.retrievers.files.rows import Reading, Row

if TYPE_CHECKING:
    import pyoxigraph

ENDINGS = {
    ".nt": "N_TRIPLES",
    ".ntriples": "N_TRIPLES",
    ".nq": "N_QUADS",
    ".ttl": "TURTLE",
    ".turtle": "TURTLE",
    ".trig": "TRIG",
    ".n3": "N3",
    ".rdf": "RDF_XML",
    ".owl": "RDF_XML",
    ".xml": "RDF_XML",
    ".jsonld": "JSON_LD",
}
_SCHEMA = ("http://schema.org/", "https://schema.org/")
LABELS = {
    "http://www.w3.org/2000/01/rdf-schema#label",
    "http://www.w3.org/2004/02/skos/core#prefLabel",
    *(f"{schema}name" for schema in _SCHEMA),
}
ALIASES = {"http://www.w3.org/2004/02/skos/core#altLabel", *(f"{schema}alternateName" for schema in _SCHEMA)}


def read_rdf(file: Path, text: str, syntax: str, reading: Reading) -> Iterator[Row]:
    """Yield the facts of an RDF file; `syntax` is a value of ENDINGS. Raises UserError with file and line."""
    triples: list[Fact] = []
    labels: dict[str, tuple[int, str]] = {}
    others: list[tuple[str, str]] = []
    for fact in read_terms(file, text, syntax):
        node, predicate, value = fact
        if predicate in LABELS and isinstance(value, Value):
            if node not in labels or _rank(value.language) < labels[node][0]:
                labels[node] = _rank(value.language), clean_name(value.text)
        elif predicate in ALIASES and isinstance(value, Value):
            others.append((node, clean_name(value.text)))
        else:
            triples.append(fact)
    nodes, relations = Names(), Names()
    known: dict[str, str] = {}

    def name(node: str) -> str:
        if node not in known:
            known[node] = nodes.name(node, labels.get(node, (0, ""))[1] or end_of(node), end_of(node))
        return known[node]

    for head, predicate, value in _best_language(triples, reading):
        told = labels.get(predicate, (0, ""))[1] or relation_of_iri(predicate)
        start, relation = name(head), relations.name(predicate, told, end_of(predicate))
        tail = clean_name(value.text) if isinstance(value, Value) else name(value)
        if tail:  # an empty text says nothing
            spelt = [f"<{part}>" if ":" in part and part[:2] != "_:" else part for part in (head, predicate)]
            last = json.dumps(value.text, ensure_ascii=False) if isinstance(value, Value) else f"<{value}>"
            yield reading.row(file, 1, (start, relation, tail), raw=" ".join([*spelt, last]))
    reading.aliases += [(alias, known[node]) for node, alias in others if node in known]
    reading.aliases += [(end, called) for node, called in known.items() if (end := end_of(node)) != called]
    reading.notes += nodes.note()


class Value(NamedTuple):
    """A literal."""

    text: str
    language: str


Fact = tuple[str, str, str | Value]
"""Nodes are IRIs, or blank nodes numbered in the order of their mention: parsers name them at random."""


def read_terms(file: Path, text: str, syntax: str) -> Iterator[Fact]:
    """Yield the triples of a text, parsed by pyoxigraph. Raises UserError with file and line."""
    blank: dict[str, str] = {}

    def read(term: Any) -> str | Value:
        if hasattr(term, "datatype"):
            return Value(term.value, term.language or "")
        if not hasattr(term, "value"):
            raise UserError(f"{file}: holds a triple within a triple, which is not read; leave it out")
        return blank.setdefault(term.value, f"_:b{len(blank)}") if str(term).startswith("_:") else str(term.value)

    for quad in _parse(file, text, syntax):
        yield str(read(quad.subject)), str(quad.predicate.value), read(quad.object)


def end_of(node: str) -> str:
    """Return the end of a node's IRI; a blank node, which is no answer, stays."""
    if node.startswith("_:"):
        return node
    return shorten(node) if shorten(node) != node else end_of_iri(node)


def _parse(file: Path, text: str, syntax: str) -> Iterator[pyoxigraph.Quad]:
    try:
        import pyoxigraph
    except ImportError as error:
        raise UserError(f"{file}: reading RDF needs pyoxigraph; pip install 'agentkd[rdf]'") from error
    try:
        yield from pyoxigraph.parse(
            text, getattr(pyoxigraph.RdfFormat, syntax), base_iri=f"file:///{file.name.replace(' ', '%20')}"
        )
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        reason = " ".join(str(error).split())[:200]
        if "remote contexts" in reason:
            reason = "its @context is an address, which is not fetched; write the context into the file"
        name = syntax.replace("_", "-").lower()
        raise UserError(f"{file}{line}: not {name}: {reason}; mend the line, or name the file by its form") from error


def _rank(language: str) -> int:
    tag = language.lower()
    return 0 if tag == "en" else 1 if tag.startswith("en-") else 2 if not tag else 3


def _best_language(facts: list[Fact], reading: Reading) -> list[Fact]:
    """Leave out values in other languages where there is one in English, or without a language."""
    ranks: dict[tuple[str, str], int] = {}
    for head, relation, tail in facts:
        if isinstance(tail, Value):
            ranks[head, relation] = min(ranks.get((head, relation), 3), _rank(tail.language))
    dropped: Counter[str] = Counter()
    kept = []
    for fact in facts:
        tail = fact[2]
        if isinstance(tail, Value) and _rank(tail.language) == 3 > ranks[fact[:2]]:
            dropped[tail.language] += 1
        else:
            kept.append(fact)
    if dropped:
        tags = ", ".join(tag for tag, _ in dropped.most_common(3))
        reading.notes.append(f"{dropped.total():,} values in other languages ({tags}) are left out beside English ones")
    return kept
