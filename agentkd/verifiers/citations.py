"""Citations against documents: each quoted span of an answer is found, word for word, in what it cites.

Two texts are compared without case, in one encoding (NFKC), with one kind of quotation mark and dash, and with each run
of white space as one blank; punctuation and every word count. `…` or `...` inside a quotation leaves words out: its
parts must follow each other in one document. `[2]` after a quotation names the document, by number from 1 or by its id.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from agentkd.errors import UserError
from agentkd.trace import Check
from agentkd.verifiers.contract import Item

DOCUMENTS = ("documents", "contexts", "context", "passages")  # the fields of an item that may hold them
_QUOTED = re.compile(r"[\"“„«](?P<text>[^\"“”„«»]+)[\"”“»](?:\s*[\[(](?P<source>[^\])\n]{1,60})[\])])?")
_MARKS = str.maketrans(
    dict.fromkeys("\u2018\u2019\u201a\u2032\u02bc\u00b4`", "'")
    | dict.fromkeys("\u201c\u201d\u201e\u2033\u00ab\u00bb", '"')
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-")
    | {"\xad": ""}
)


def normalise(text: str) -> str:
    """The text as it is compared: see the head of this file."""
    text = unicodedata.normalize("NFKC", text.translate(_MARKS)).translate(_MARKS)
    return " ".join(text.casefold().split())


def read_documents(item: Item) -> dict[str, str]:
    """Read the documents of an item by id: a text, a list of texts or of objects with `text`, or a mapping of texts.

    UserError where there is none."""
    value: Any = next((item[key] for key in DOCUMENTS if item.get(key)), None)
    if isinstance(value, str):
        value = [value]
    rows = list(value.items()) if isinstance(value, Mapping) else list(enumerate(value or (), 1))
    found: dict[str, str] = {}
    for number, (key, row) in enumerate(rows, 1):
        text = row.get("text", row.get("content")) if isinstance(row, Mapping) else row
        if not isinstance(text, str):
            raise UserError(f"item {str(item.get('id', ''))[:60]!r}: document {number} is no text")
        found[str(row.get("id", key)) if isinstance(row, Mapping) else str(key)] = normalise(text)
    if not found:
        raise UserError(
            f"item {str(item.get('id', ''))[:60]!r} has no documents: give one of the fields {', '.join(DOCUMENTS)}"
        )
    return found


class Citations:
    """Check that all quotations of the answer, `least` of them or more, are found in the documents."""

    name = "citations"

    def __init__(self, least: int = 1) -> None:
        self.least = least

    def __call__(self, item: Item, answer: str) -> Check:
        documents = read_documents(item)
        quotations = [(match["text"].strip(), match["source"]) for match in _QUOTED.finditer(answer)]
        quotations = [(text, source) for text, source in quotations if text]
        if len(quotations) < self.least:
            detail = f"{len(quotations)} quotations, {self.least} are wanted"
            return Check(name=self.name, passed=False, detail=detail)
        for text, source in quotations:
            if source is not None and source in documents:
                if not is_quoted(text, documents[source]):
                    return Check(name=self.name, passed=False, detail=f"{text[:80]!r} is not in document {source}")
            elif not any(is_quoted(text, document) for document in documents.values()):
                return Check(name=self.name, passed=False, detail=f"{text[:80]!r} is in no document")
        return Check(name=self.name, passed=True, detail=f"{len(quotations)} quotations found")


def is_quoted(quotation: str, document: str) -> bool:
    """Whether the parts of a quotation follow each other in a normalised document."""
    place = 0
    parts = [part.strip(" .,;") for part in re.split(r"\[?(?:…|\.\.\.)\]?", quotation)]
    for part in map(normalise, filter(None, parts)):
        place = document.find(part, place)
        if place < 0:
            return False
        place += len(part)
    return any(parts)
