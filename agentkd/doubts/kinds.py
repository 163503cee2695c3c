"""Kinds of entities, read off a knowledge base that states none: entities are alike that take part in the same
relations.

A *slot* is a relation with a direction, as `KnowledgeBase.steps` gives it: (r, 1) for the heads of r, (r, -1) for its
tails. A relation's own words call the entities in some of its slots: `starred actors` its tails, `film.film.genre` its
heads (film), too.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from agentkd.doubts.asked import is_past, read_words, singular
from agentkd.retrievers.kb import KnowledgeBase
from agentkd.retrievers.relation_path import Step

Vector = Mapping[Step, float]

ENTITIES = 50  # looked at of one set
MEMBERS = 100  # entities that stand for a slot
SCANNED = 1_000_000  # triples read to find them
NAMES = 200_000  # entity names read to find a noun in them
_PREPOSITIONS = read_words("prepositions")
_EMPTY = read_words("empty")
_TYPE_RELATION = re.compile(r"\b(types?|instance of|is an?|isa)\b")


class Kinds:
    """The kinds of a knowledge base's entities, as far as some nouns name them."""

    def __init__(self, kb: KnowledgeBase, nouns: Collection[str]) -> None:
        self.kb, self.nouns = kb, frozenset(nouns)
        self.phrases = {(r, sign): name_slot(r, sign, self.nouns) for r in kb.relations for sign in (1, -1)}
        self.named: dict[str, set[Step]] = {noun: set() for noun in self.nouns}
        for slot, phrase in self.phrases.items():
            if (noun := head_noun(phrase)) in self.nouns:
                self.named[noun].add(slot)
        self.called = self._find_called()

    def vector(self, entities: Sequence[str]) -> Vector:
        """The mean slots of some entities, as a unit vector."""
        sums: Counter[Step] = Counter()
        for entity in entities[:ENTITIES]:
            steps = self.kb.steps(entity)
            sums.update({step: 1 / math.sqrt(len(steps)) for step in steps})
        length = math.sqrt(sum(value * value for value in sums.values())) or 1.0
        return {step: value / length for step, value in sums.items()}

    def are_mixed(self, entities: Sequence[str]) -> bool:
        """Whether two of the entities have no slot in common."""
        steps = [frozenset(self.kb.steps(entity)) for entity in entities[:ENTITIES]]
        return any(not one & other for place, one in enumerate(steps) for other in steps[:place])

    def are_called(self, noun: str, entities: Sequence[str]) -> bool | None:
        """Whether the knowledge base calls most of the entities by the noun; None where it does not know the noun."""
        if noun not in self.called:
            return None
        if cosine(self.vector(entities), self.called[noun]) > ALIKE:
            return True
        some = entities[:ENTITIES]
        return 2 * sum(not self.named[noun].isdisjoint(self.kb.steps(entity)) for entity in some) > len(some)

    def known_as(self, entities: Sequence[str]) -> list[str]:
        """The nouns of the questions by which the knowledge base calls entities of this kind."""
        vector = self.vector(entities)
        return [noun for noun, other in self.called.items() if cosine(vector, other) > SAME]

    def name_kind(self, entities: Sequence[str]) -> str:
        """The words by which the knowledge base calls most of the entities; empty where it has none."""
        some = entities[:ENTITIES]
        called = [{phrase for step in self.kb.steps(entity) if (phrase := self.phrases[step])} for entity in some]
        if 2 * sum(map(bool, called)) > len(some):
            return Counter(phrase for each in called for phrase in sorted(each)).most_common(1)[0][0]
        return next(iter(self.known_as(some)), "")

    def _find_called(self) -> dict[str, Vector]:
        """For each noun that the knowledge base knows, the slots of the entities that it calls so.

        By a relation's words, by a fact such as `instance of`, or by the names of a whole kind (University of …)."""
        members = self._find_members(set().union(*self.named.values()))
        found: dict[str, list[str]] = defaultdict(list)
        for slot, entities in members.items():
            found[head_noun(self.phrases[slot])] += entities
        for noun, entities in self._find_typed().items():
            found[noun] += entities
        for noun, entities in self._find_in_names(self.nouns - set(found)).items():
            found[noun] += entities
        return {noun: self.vector(spread(list(dict.fromkeys(entities)), ENTITIES)) for noun, entities in found.items()}

    def _find_members(self, slots: Collection[Step]) -> dict[Step, list[str]]:
        found: dict[Step, dict[str, None]] = {slot: {} for slot in slots}
        if not found:
            return {}
        for number, (head, relation, tail) in enumerate(self.kb.triples()):
            for slot, entity in (((relation, 1), head), ((relation, -1), tail)):
                if slot in found and len(found[slot]) < MEMBERS:
                    found[slot][entity] = None
            if number >= SCANNED:
                break
        return {slot: list(entities) for slot, entities in found.items()}

    def _find_typed(self) -> dict[str, list[str]]:
        """The entities that a fact such as (Alien, instance of, film) types by a noun."""
        typing = [relation for relation in self.kb.relations if _TYPE_RELATION.search(re.sub(r"[._]", " ", relation))]
        found: dict[str, list[str]] = defaultdict(list)
        if not typing:
            return found
        for noun in self.nouns:
            for name in (noun, noun.capitalize()):
                if name in self.kb:
                    for relation in typing:
                        found[noun] += self.kb.follow([name], ((relation, -1),))[:MEMBERS]
        return {noun: entities for noun, entities in found.items() if entities}

    def _find_in_names(self, nouns: Collection[str]) -> dict[str, list[str]]:
        """The entities whose names begin or end with a noun, where these are several, and of one kind."""
        found: dict[str, list[str]] = defaultdict(list)
        for name in self.kb.entities[:NAMES]:
            words = name.lower().split()
            if len(words) > 1:
                for word in {words[0], words[-1]} & set(nouns):
                    found[word].append(name)
        return {
            noun: names
            for noun, names in found.items()
            if len(names) >= ALIKE_NAMES and not self.are_mixed(spread(names, ENTITIES))
        }


ALIKE = 0.3  # cosine from which entities may be of one kind
SAME = 0.5  # and from which they are taken to be
ALIKE_NAMES = 5


def cosine(one: Vector, other: Vector) -> float:
    """The cosine of two unit vectors."""
    return sum(value * other.get(step, 0.0) for step, value in one.items())


def spread(items: Sequence[str], count: int) -> list[str]:
    """At most `count` items, evenly spread."""
    step = max(1, math.ceil(len(items) / count))
    return list(items[::step])


def name_slot(relation: str, sign: int, nouns: Collection[str]) -> str:
    """The words by which a relation calls its heads (`sign` 1) or its tails (-1); empty where it has none.

    Tails are called by the relation's last part: `has genre`, `film.film.genre`, `place of birth`. Heads are called by
    the part before it, as in Freebase, or by a relation that ends in a preposition, as `capital of`. What may be a verb
    (`plays for`, `treats`) counts only where the questions use the word as a noun."""
    parts = [re.sub(r"[_>-]", " ", part).lower().split() for part in relation.split("..")[-1].split(".")]
    last = [word for word in parts[-1] if word not in _EMPTY]
    by_preposition = len(last) > 1 and last[-1] in _PREPOSITIONS
    if sign == 1 and len(parts) > 1:
        return " ".join(parts[-2])
    if sign == 1:
        called = by_preposition and (last[-1] == "of" or singular(last[-2]) in nouns)
        return last[-2] if called else ""
    if by_preposition or (len(last) == 1 and singular(last[0]) != last[0] and singular(last[0]) not in nouns):
        return ""
    return " ".join(last)


def head_noun(phrase: str) -> str:
    """The noun that a phrase is about, in the singular: `record label` a label, `place of birth` a place."""
    words = phrase.partition(" of ")[0].split()
    while len(words) > 1 and is_past(words[-1]):  # `languages spoken`
        words.pop()
    return singular(words[-1]) if words else ""


def known_entities(kb: KnowledgeBase, names: Iterable[str]) -> list[str]:
    """The names as the knowledge base spells them, without those that it lacks."""
    return [found for name in names if (found := kb.find(name)) is not None]
