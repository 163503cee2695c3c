"""An executed relation path: the unit that agents choose, prove and answer with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agentkd.matching import find_name
from agentkd.proof import Derivation, Proof
from agentkd.retrievers.constraints import Constraint
from agentkd.retrievers.graph import Graph
from agentkd.retrievers.joins import Join
from agentkd.retrievers.relation_path import RelationPath
from agentkd.trace import Step, Triple
from agentkd.verify import check_step

PREVIEW = 10  # answers of a path that a model is shown; a student can write no more than it saw
AND = " + "  # between the labels of paths whose answers are given together
EVIDENCE = 200  # triples kept as evidence for one step: a hub's answers would fill the store


@dataclass(frozen=True)
class Option:
    """An executed relation path, or a conjunction of several (`joins`), with its answers.

    Only answers that meet `constraint` count. `logit` is the retriever's score."""

    path: RelationPath
    label: str
    answers: tuple[str, ...]
    logit: float = 0.0
    joins: tuple[Join, ...] = ()
    constraint: Constraint | None = None

    @property
    def preview(self) -> list[str]:
        """The answers as a model is shown them."""
        return preview_answers(self.answers)

    def record(self) -> dict[str, Any]:
        """The option as a survey keeps it."""
        shown = {"label": self.label, "preview": self.preview, "total": len(self.answers)}
        return {"path": self.path, "joins": self.joins, "constraint": self.constraint, **shown}

    @property
    def derivation(self) -> Derivation:
        """The part of a proof that leads to the answers."""
        return Derivation(self.path, self.joins, self.constraint)


def preview_answers(answers: Sequence[str]) -> list[str]:
    """The answers as a model is shown them: the first PREVIEW, and a mark where there are more."""
    return [*answers[:PREVIEW], *(["…"] if len(answers) > PREVIEW else [])]


def union_answers(options: Sequence[Option]) -> tuple[str, ...]:
    """The answers of several options together, each once."""
    return tuple(dict.fromkeys(answer for option in options for answer in option.answers))


def match_options(text: str, options: Sequence[Option]) -> list[Option]:
    """The options whose labels the model wrote, joined by AND; none where one of them is unknown."""
    found = [match_option(label, options) for label in text.split(AND)]
    known = [option for option in found if option is not None]
    return list(dict.fromkeys(known)) if len(known) == len(found) else []


def match_option(text: str, options: Sequence[Option]) -> Option | None:
    """The option whose label the model wrote; without case and punctuation where that leaves it unique."""
    by_label = {option.label: option for option in reversed(options)}
    label = find_name(text.strip().strip('"'), by_label)
    return None if label is None else by_label[label]


def make_proof(options: Sequence[Option], topics: Sequence[str], **flags: bool) -> Proof:
    """Make the proof of options whose answers are given together.

    `flags` are `in_kb`, `rationalised` and `second_choice`, where they apply."""
    first, *others = (option.derivation for option in options)
    fields = {**first._asdict(), "topics": topics, **({"others": others} if others else {}), **flags}
    return Proof.model_validate(fields)


def prove(kb: Graph, starts: Sequence[str], option: Option) -> Step:
    """Make the step that gives the option's answers, with their evidence and the verdict on it."""
    evidence = collect_evidence(kb, starts, option, option.answers)
    verdict = check_step(kb, starts, option.derivation, option.answers, evidence)
    return Step(kind="answer", output="\n".join(option.answers), evidence=evidence, verdict=verdict)


def collect_evidence(kb: Graph, starts: Sequence[str], option: Option, ends: Sequence[str]) -> tuple[Triple, ...]:
    """The facts on the walks from the starts to `ends`, about EVIDENCE of them at most."""
    walks = [([topic], path) for topic, path in option.joins] or [(list(starts), option.path)]
    facts = [fact for start, path in walks for fact in kb.evidence(start, path, ends)[: EVIDENCE // len(walks)]]
    if option.constraint is not None:
        facts += kb.evidence(ends, option.constraint.way)[: EVIDENCE // 2]
    return tuple(
        Triple(head=head, relation=relation, tail=tail, source=kb.cite((head, relation, tail)))
        for head, relation, tail in facts
    )
