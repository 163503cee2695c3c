"""Checks whether the answers of a proven trace are of the kind that its question asks for. They see no gold.

- several kinds: two of the answers have no relation in common
- no date, no number, a date: when, how many, who or where is asked, and the answers are of another form
- another kind: the knowledge base calls other entities by the noun that is asked for
- a kind with another name: it has no name for what is asked for; the answers are of a kind that it has a name for, or
  that simple questions ask for with another noun; and a shorter path, or another one of one step, leads to entities
  without a name (mutual exclusivity: a new word means a thing that has none yet; Markman and Wachtel, Cognitive
  Psychology 1988)
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from agentkd.doubts.asked import DATES, HOW_MANY, WHEN, WHERE, WHO, Asked, mark_topics, read_asked, read_words
from agentkd.doubts.kinds import SAME, Kinds, cosine, known_entities
from agentkd.proof import Derivation, Proof
from agentkd.retrievers.graph import Graph
from agentkd.retrievers.joins import find_endpoints
from agentkd.retrievers.kb import KnowledgeBase
from agentkd.retrievers.relation_path import RelationPath
from agentkd.trace import Trace

MIXED = "answers of several kinds together"
SECOND = " (second choice)"
FIRST = 5  # answers of a who-question that stand for persons
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_DATE = re.compile(rf"\b\d{{4}}\b|\b({_MONTHS})\w*\b.*\d|\d.*\b({_MONTHS})\w*\b", re.IGNORECASE)
_BARE_DATE = re.compile(r"\d{1,4}([-/.]\d{1,2}){0,2}(T.*)?")
_NUMBER = re.compile(r"\d")
_PERSONS = read_words("persons")
_AGENT = re.compile(r"(er|or|ist|ian|ant|ent|man|woman|ess|eer)$")  # actor, writer, scientist, musician


class Proven:
    """A proven trace with what the checks look at."""

    def __init__(self, trace: Trace, kb: Graph) -> None:
        self.trace, self.proof = trace, Proof.of(trace)
        self.wording = " ".join(mark_topics(trace.question, self.proof.topics).split())
        self.asked: Asked = read_asked(trace.question, self.proof.topics)
        self.path = label_proof(kb, self.proof) + (SECOND if self.proof.second_choice else "")
        self.answers = known_entities(kb, trace.answers) if isinstance(kb, KnowledgeBase) else list(trace.answers)


def is_checked(trace: Trace) -> bool:
    """Whether gold was known for a trace's question."""
    return any(step.kind == "gold" for step in trace.steps)


class Checks:
    """The checks of a run's traces. An endpoint's knowledge base is not asked: only the form of answers is checked."""

    def __init__(self, proven: Sequence[Proven], kb: Graph) -> None:
        self.kb = kb
        words = {item.asked.kind for item in proven} - {"", WHO, WHEN, WHERE, HOW_MANY}
        self.kinds = Kinds(kb, words) if isinstance(kb, KnowledgeBase) and proven else None
        self.persons = self._find_persons(proven)
        self.owners: dict[str, Any] = {}
        self.owners = self._find_owners(proven)

    def _find_persons(self, proven: Sequence[Proven]) -> list[Any]:
        """The kinds of answers that who-questions get, one for each path."""
        if self.kinds is None:
            return []
        by_path: dict[str, list[str]] = defaultdict(list)
        for item in proven:
            if item.asked.kind == WHO and not mostly(_BARE_DATE.fullmatch, item.answers):
                by_path[item.path] += item.answers[:FIRST]
        return [self.kinds.vector(some) for some in by_path.values() if some and not self.kinds.are_mixed(some)]

    def _find_owners(self, proven: Sequence[Proven]) -> dict[str, Any]:
        """For each noun, the kind of the answers that simple questions for it get: those of one step, not doubted."""
        if self.kinds is None:
            return {}
        found: dict[str, list[str]] = defaultdict(list)
        for item in proven:
            simple = len(item.proof.path or ()) == 1 and not item.proof.others
            if simple and item.asked.kind in self.kinds.nouns and not self._doubt(item.asked, item.proof, item.answers):
                found[item.asked.kind] += item.answers[:FIRST]
        return {noun: self.kinds.vector(answers) for noun, answers in found.items()}

    def doubt(self, items: Sequence[Proven]) -> str:
        """Why the answers of a group may not be what was asked for: what holds for most of its traces."""
        reasons = Counter(reason for item in items if (reason := self._doubt(item.asked, item.proof, item.answers)))
        reason, count = reasons.most_common(1)[0] if reasons else ("", 0)
        return reason if 2 * count > len(items) else ""

    def _doubt(self, asked: Asked, proof: Proof, answers: Sequence[str]) -> str:
        if not answers:
            return ""
        if self.kinds is not None and self.kinds.are_mixed(answers):
            return MIXED
        if asked.kind == WHEN or asked.kind in DATES:
            if not mostly(_DATE.search, answers):
                return f"asks for a date ({asked.words}); the answers are none"
        elif asked.kind == HOW_MANY:
            if not mostly(_NUMBER.search, answers):
                return f"asks for a number ({asked.words}); the answers are none"
        elif asked.kind in (WHO, WHERE):
            if mostly(_BARE_DATE.fullmatch, answers):
                return f"asks {asked.words}; the answers are dates or numbers"
            if asked.kind == WHO and self.kinds is not None:
                known = [noun for noun in self.kinds.known_as(answers) if not is_person(noun)]
                return f"asks {asked.words}; the answers are known as “{known[0]}”" if known else ""
        elif asked.kind and (told := self._find_other_name(asked, proof, answers)):
            return f"asks “{asked.words}”; the answers are known as “{told}”"
        return ""

    def _find_other_name(self, asked: Asked, proof: Proof, answers: Sequence[str]) -> str:
        """What the knowledge base calls answers that are not what the noun means; empty where they may be."""
        noun, plural = asked.kind, not asked.words.endswith(asked.kind)
        if self.kinds is None:
            return ""
        called = self.kinds.are_called(noun, answers)
        if called is None and plural and mostly(_BARE_DATE.fullmatch, answers):
            return "a date or number"
        if called is not None:
            return "" if called else self.kinds.name_kind(answers) or "something else"
        told = self._name(answers, noun) or (self._find_owner(answers, noun) if len(proof.path or ()) > 1 else "")
        return told if told and any(not self._name(ends, noun) for _, ends in self._shorter(proof)) else ""

    def _name(self, entities: Sequence[str], noun: str) -> str:
        """The word for most of some entities: the knowledge base's own, or `who` for what who-questions lead to."""
        if not entities or self.kinds is None:
            return "nothing"
        if told := self.kinds.name_kind(entities):
            return told
        if is_person(noun):
            return ""
        vector = self.kinds.vector(entities)
        return WHO if any(cosine(vector, one) > SAME for one in self.persons) else ""

    def _find_owner(self, entities: Sequence[str], noun: str) -> str:
        """Another noun with which simple questions ask for entities of this kind; empty where the noun itself does."""
        if self.kinds is None:
            return ""
        vector = self.kinds.vector(entities)
        owners = [other for other, kind in self.owners.items() if cosine(vector, kind) > SAME]
        return "" if noun in owners else next(iter(owners), "")

    def _shorter(self, proof: Proof) -> Iterable[tuple[RelationPath, list[str]]]:
        """The beginnings of a path with their ends; for a path of one step, the other steps out of the topics."""
        topics, path = proof.topics, proof.path or ()
        if proof.joins or not isinstance(self.kb, KnowledgeBase):
            return
        if len(path) > 1:
            paths = [path[:cut] for cut in range(1, len(path))]
        else:
            paths = [(step,) for step in sorted({s for t in topics for s in self.kb.steps(t)} - set(path))]
        yield from ((one, self.kb.follow(topics, one)) for one in paths)

    def choose_again(self, item: Proven, surveyed: Sequence[Derivation]) -> RelationPath | None:
        """Choose a path whose answers these checks do not doubt, in place of a doubted trace's; None where none is.

        Of answers of several kinds, only the trace's own paths are considered, and just one may fit. Else these are the
        beginnings of its path and what its survey shows; the fewest steps win, then the place in this order."""
        if not isinstance(self.kb, KnowledgeBase):
            return None
        own = [item.proof.first, *item.proof.others]
        beginnings = [Derivation(item.proof.first.path[:cut]) for cut in range(1, len(item.proof.first.path))]
        mixed = self.kinds is not None and self.kinds.are_mixed(item.answers)
        fitting = []
        for each in own if mixed else [*beginnings, *(one for one in surveyed if one not in own)]:
            if each.path and not each.joins and each.constraint is None:
                ends = known_entities(self.kb, find_endpoints(self.kb, item.proof.topics, *each))
                proof = Proof.model_validate({**each._asdict(), "topics": item.proof.topics})
                if ends and not self._doubt(item.asked, proof, ends):
                    fitting.append(each.path)
        return None if mixed and len(set(fitting)) > 1 else min(fitting, key=len, default=None)


def is_person(noun: str) -> bool:
    """Whether one asks with "who" for what a noun means."""
    return noun in _PERSONS or _AGENT.search(noun) is not None


def mostly(test: Any, texts: Sequence[str]) -> bool:
    """Whether a test holds for more than half of some texts."""
    return 2 * sum(bool(test(text.strip())) for text in texts) > len(texts)


def label_proof(kb: Graph, proof: Proof) -> str:
    """Write a proof's paths as text, those whose answers are given together joined by `+`."""
    return " + ".join(label_derivation(kb, each) for each in (proof.first, *proof.others)) or "no path"


def label_derivation(kb: Graph, derivation: Derivation) -> str:
    ways = [way for _, way in derivation.joins] or [derivation.path]
    text = " and ".join(kb.label(way) for way in ways if way)
    return f"{text}, {derivation.constraint.op}" if derivation.constraint else text
