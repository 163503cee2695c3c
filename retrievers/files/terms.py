"""RDF terms as text: the cells that SPARQL endpoints write in TSV, and ids in tables."""

from __future__ import annotations

import re
from typing import NamedTuple

from agentkd.matching import clean_name
from agentkd.retrievers.files.naming import end_of_iri, shorten

_LITERAL = re.compile(r'"(?P<text>(?:[^"\\]|\\.)*)"(?:@(?P<tag>[\w-]+)|\^\^\S+)?', re.DOTALL)
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", re.DOTALL)
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "b": "\b", "f": "\f"}


class Term(NamedTuple):
    """A node or value: its id, its name, and the end of its id; a value has no id but its text, and no end."""

    key: str
    name: str
    end: str = ""


def parse_term(cell: str) -> Term:
    """Read an IRI in brackets, a quoted literal, a blank node, or a bare number."""
    if cell.startswith("<") and cell.endswith(">"):
        return plain(cell[1:-1], iri=True)
    if match := _LITERAL.fullmatch(cell):
        return Term(text := clean_name(_ESCAPE.sub(_unescape, match["text"])), text)
    return plain(cell)


def plain(cell: str, *, iri: bool = False) -> Term:
    """Read a cell without RDF's marks; Wikidata's IRIs are called by their Q or P."""
    if iri or shorten(cell) != cell:
        end = shorten(cell) if shorten(cell) != cell else end_of_iri(cell)
        return Term(cell, end, end)
    text = clean_name(cell)
    return Term(text, text)


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if code[0] in "uU" and len(code) > 1 else _ESCAPES.get(code, code)
