"""Passages: the facts about an entity as text, `subject relation object .` each, as in DecAF and KD-CoT.

An unnamed object is replaced by the facts about it. A passage holds whole facts, up to a number of words (a longer fact
stands alone); the rest goes into the entity's next passage, its next part.
"""

from __future__ import annotations

from collections.abc import Iterator

from agentkd.retrievers.kb import KnowledgeBase
from agentkd.retrievers.relation_path import Triple, space_relation

MAX_WORDS = 100
Fact = tuple[str, list[Triple]]
"""A sentence and the triples behind it."""


def write_passage(kb: KnowledgeBase, entity: str, max_words: int = MAX_WORDS, part: int = 0) -> str:
    """Return one part of an entity's passages; empty where there is none."""
    parts = group_facts(kb, entity, max_words)
    return join_facts(parts[part]) if part < len(parts) else ""


def write_passages(kb: KnowledgeBase, max_words: int = MAX_WORDS) -> Iterator[tuple[str, str]]:
    """Yield (entity, passage) of all named entities that are the head of a triple; all parts, in order."""
    for entity in kb.named_heads():
        for facts in group_facts(kb, entity, max_words):
            yield entity, join_facts(facts)


def list_passage_triples(kb: KnowledgeBase, entity: str, max_words: int = MAX_WORDS, part: int = 0) -> list[Triple]:
    """Return the distinct triples behind `write_passage` of the same arguments."""
    parts = group_facts(kb, entity, max_words)
    facts = parts[part] if part < len(parts) else []
    return list(dict.fromkeys(triple for _, triples in facts for triple in triples))


def group_facts(kb: KnowledgeBase, entity: str, max_words: int) -> list[list[Fact]]:
    """Return the facts about an entity in groups of at most `max_words` words."""
    parts: list[list[Fact]] = []
    room = 0
    for text, triples in list_facts(kb, entity):
        words = len(text.split())
        if words > room:
            parts.append([])
            room = max_words
        parts[-1].append((text, triples))
        room -= words
    return parts


def list_facts(kb: KnowledgeBase, entity: str) -> Iterator[Fact]:
    """Yield the facts whose head is the entity, in the order of the knowledge base."""
    for first in kb.triples_of(entity):
        inner = [] if kb.is_named(first[2]) else kb.triples_of(first[2])
        facts = [[first, second] for second in inner if kb.is_named(second[2]) and second[2] != entity]
        for triples in facts or [[first]]:
            relations = (space_relation(relation) for _, relation, _ in triples)
            yield " ".join([entity, *relations, triples[-1][2], "."]), triples


def join_facts(facts: list[Fact]) -> str:
    """Return the sentences of some facts as one text."""
    return " ".join(text for text, _ in facts)
