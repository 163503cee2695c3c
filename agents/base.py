"""What the agents share: their surroundings, and the survey of what the knowledge base offers around a topic."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from agentkd.matching import strict_key
from agentkd.retrievers.bm25 import bm25_scores, mask_topics
from agentkd.retrievers.constraints import Constraint, constrain
from agentkd.retrievers.graph import Graph
from agentkd.retrievers.joins import Join, join
from agentkd.retrievers.kb import Path
from agentkd.trace import Draft, Message, Step, Trace, Triple
from agentkd.verify import check_step

if TYPE_CHECKING:
    from agentkd.agents.memory import Example, Memory
    from agentkd.retrievers.bm25 import BM25Passages, PathRetriever
    from agentkd.tasks.task import Question
    from agentkd.teacher.chat import Chat

PREVIEW = 10  # answers of a path that a model is shown; a student can write no more than it saw
AND = " + "  # between the labels of paths whose answers are given together
EVIDENCE = 200  # triples kept as evidence for one step: a hub's answers would fill the store


@dataclass(frozen=True)
class Surroundings:
    """All that an agent may use. There is no gold in it."""

    kb: Graph
    retriever: PathRetriever
    model: Chat
    paths: int = 5
    hops: int = 2
    rounds: int = 4
    trust: float = 1.0
    votes: int = 1
    reader: str = "complete"
    constrain: str = "kb"
    memory: Memory | None = None
    examples: int = 6
    temperature: float = 0.0
    passages: BM25Passages | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # encoders and their caches are not thread-safe
    found: dict[tuple[str, tuple[str, ...], int, bool], list[Option]] = field(default_factory=dict)
    narrowed: dict[tuple[str, tuple[str, ...]], tuple[Constraint, list[str]] | None] = field(default_factory=dict)

    async def options(
        self, query: str, anchors: Sequence[str], hops: int | None = None, *, topics: bool = False
    ) -> list[Option]:
        """The best relation paths out of the anchors for a query, executed; of `hops` edges at most. Anchors that are
        a question's `topics` are joined where they can be, else a path may start at any of them. The ranking is kept,
        because each sample of a question asks for it."""
        asked = query, tuple(anchors), hops or self.hops, topics and len(anchors) > 1
        async with self.lock:
            if asked not in self.found:
                self.found[asked] = await asyncio.to_thread(self._search, *asked)
            return list(self.found[asked])

    def _search(self, query: str, anchors: Sequence[str], hops: int, several: bool) -> list[Option]:
        if several and (pairs := join(self.kb, self.retriever, mask_topics(query, anchors), anchors, hops)):
            return [Option((), pair.label, pair.answers, pair.score, pair.joins) for pair in pairs[: self.paths]]
        found = self.retriever.paths(query, anchors, self.paths, hops)
        executed = ((item, tuple(self.kb.follow(anchors, item.path))) for item in found)
        return [Option(item.path, item.label, ends, item.score) for item, ends in executed if ends]

    async def constrained(self, question: str, anchors: Sequence[str], options: Sequence[Option]) -> list[Option]:
        """The options with the constraint that the question's words put on their answers (`retrievers/constraints.py`);
        those that it does not narrow stay as they are."""
        query = mask_topics(question, anchors)
        async with self.lock:
            return await asyncio.to_thread(lambda: [self._constrain(query, option) for option in options])

    def _constrain(self, query: str, option: Option) -> Option:
        encoder = getattr(self.retriever, "encoder", None)

        def rank(labels: Sequence[str]) -> Sequence[float]:
            scores = (
                bm25_scores(query, labels) if encoder is None else encoder.similarities(query, encoder.labels(labels))
            )
            return [float(score) for score in scores]

        asked = query, option.answers  # survey and first reading ask the same, and so does each sample
        if asked not in self.narrowed:
            self.narrowed[asked] = constrain(self.kb, query, option.answers, rank)
        found = self.narrowed[asked]
        return option if found is None else replace(option, constraint=found[0], answers=tuple(found[1]))

    async def opened(self, question: Question) -> tuple[list[str], list[Option], Step]:
        """What a question begins with: its topics, the paths around them with its constraints, and their record."""
        topics = self.topics(question)
        options = await self.options(question.question, topics, topics=True)
        options = await self.constrained(question.question, topics, options)
        return topics, options, survey_step(options, topics)

    async def similar(self, id: str, question: str, topics: Sequence[str]) -> list[Example]:
        """Worked examples for a question, the most similar last."""
        if self.memory is None or not self.examples:
            return []
        async with self.lock:
            return await asyncio.to_thread(self.memory.nearest, id, question, topics, self.examples)

    async def remembered(self, id: str, question: str, topics: Sequence[str]) -> dict[str, float]:
        """The shares of labels among the questions that are like this one."""
        if self.memory is None:
            return {}
        async with self.lock:
            return await asyncio.to_thread(self.memory.shares, id, question, topics)

    async def named(self, question: str, anchors: Sequence[str], label: str) -> list[Option]:
        """The option of a label, wherever the retriever ranks it; none where the KB has no such path here."""
        async with self.lock:
            found = await asyncio.to_thread(self._named, anchors, label)
        return await self.constrained(question, anchors, found)

    def _named(self, anchors: Sequence[str], label: str) -> list[Option]:
        paths = self.kb.relation_paths(anchors, self.hops)
        path = next((path for path in paths if strict_key(self.kb.label(path)) == strict_key(label)), None)
        ends = tuple(self.kb.follow(anchors, path)) if path else ()
        return [Option(path, label, ends)] if path and ends else []

    def evidence(self, anchors: Sequence[str], option: Option, ends: Sequence[str]) -> tuple[Triple, ...]:
        """The KB facts on the walks from the anchors to `ends`, at most EVIDENCE of them."""
        walks = option.joins or [(anchors, option.path)]
        facts = [
            fact
            for start, path in walks
            for fact in self.kb.evidence([start] if isinstance(start, str) else start, path, ends)[
                : EVIDENCE // len(walks)
            ]
        ]
        if option.constraint is not None:
            facts += self.kb.evidence(ends, option.constraint.way)[: EVIDENCE // 2]
        return tuple(Triple(head=head, relation=relation, tail=tail, source="kb") for head, relation, tail in facts)

    def topics(self, question: Question) -> list[str]:
        """The question's topic entities as the KB spells them; unknown ones are left out."""
        return [name for text in question.topic_entities if (name := self.kb.find(text)) is not None]


@dataclass(frozen=True)
class Option:
    """A relation path, or a conjunction of several (`joins`), with all that it leads to, as far as it meets the
    `constraint`; `logit` is what the retriever thinks of it."""

    path: Path
    label: str
    answers: tuple[str, ...]
    logit: float = 0.0
    joins: tuple[Join, ...] = ()
    constraint: Constraint | None = None

    @property
    def preview(self) -> list[str]:
        return previewed(self.answers)

    def record(self) -> dict[str, Any]:
        shown = {"label": self.label, "preview": self.preview, "total": len(self.answers)}
        return {"path": self.path, "joins": self.joins, "constraint": self.constraint, **shown}

    @property
    def parts(self) -> tuple[Path, tuple[Join, ...], Constraint | None]:
        """What leads to the answers."""
        return self.path, self.joins, self.constraint


def proof(options: Sequence[Option], topics: Sequence[str]) -> dict[str, Any]:
    """What a verifier needs to execute it again; part of a trace's provenance. Several options, whose answers are
    given together, are the first and `others`."""
    first, *others = options
    path, joins, constraint = first.parts
    found: dict[str, Any] = {"path": path, "joins": joins, "constraint": constraint, "topics": topics}
    return {**found, "others": [other.parts for other in others]} if others else found


def prove(around: Surroundings, starts: Sequence[str], option: Option) -> Step:
    """The option's answers with their evidence and the verdict on it."""
    evidence = around.evidence(starts, option, option.answers)
    path, joins, constraint = option.parts
    verdict = check_step(around.kb, starts, path, joins, option.answers, evidence, constraint)
    return Step(kind="answer", output="\n".join(option.answers), evidence=evidence, verdict=verdict)


def previewed(answers: Sequence[str]) -> list[str]:
    """The answers as a model is shown them: the first of many."""
    return [*answers[:PREVIEW], *(["…"] if len(answers) > PREVIEW else [])]


def united(options: Sequence[Option]) -> tuple[str, ...]:
    """The answers of several options together, each once."""
    return tuple(dict.fromkeys(answer for option in options for answer in option.answers))


class Agent(Protocol):
    """A question in, a draft with evidence out."""

    name: str

    async def solve(self, question: Question, sample: int) -> Draft: ...


def survey_step(options: Sequence[Option], topics: Sequence[str]) -> Step:
    """What retrieval found for the whole question. The student's prompt is made from this record, so a trace is
    enough to train on, without the KB."""
    record = {"topics": list(topics), "candidates": [option.record() for option in options]}
    return Step(kind="survey", output=json.dumps(record, ensure_ascii=False))


def surveyed(trace: Trace) -> dict[str, Any] | None:
    """The record that `survey_step` made."""
    return next((json.loads(step.output) for step in trace.steps if step.kind == "survey"), None)


def proven_label(trace: Trace) -> str | None:
    """The label of a verified trace's proof as its survey shows it; None where it is not shown or nothing is proven."""
    return followed_label(trace) if trace.verified else None


def followed_label(trace: Trace) -> str | None:
    """The same for any trace that follows one of the surveyed paths or conjunctions, or several (their labels are
    joined by AND), verified or not."""
    survey = surveyed(trace)
    given = trace.provenance
    first = [given.get("path") or [], given.get("joins") or [], given.get("constraint")]
    if survey is None or first == [[], [], None]:
        return None
    shown = [(c["label"], [c["path"], c.get("joins", []), c.get("constraint")]) for c in survey["candidates"]]
    proofs = json.loads(json.dumps([first, *given.get("others", [])]))
    labels = [next((label for label, candidate in shown if candidate == proof), None) for proof in proofs]
    return None if None in labels else AND.join(filter(None, labels))


def reward(trace: Trace) -> float:
    """Strict F1 against gold, joined after the trace was closed; without gold 1 for what is verified."""
    given = next((step.reward for step in reversed(trace.steps) if step.kind == "gold"), None)
    return float(trace.verified) if given is None else given


def chat_messages(system: str, *turns: str) -> list[Message]:
    """A system line and turns that alternate between user and assistant, the user first."""
    roles = ("user", "assistant")
    return [
        Message(role="system", content=system),
        *(Message(role=roles[number % 2], content=turn) for number, turn in enumerate(turns)),
    ]


def match_options(text: str, options: Sequence[Option]) -> list[Option]:
    """The options whose labels the model wrote, joined by AND; none where one is unknown."""
    found = [match_option(label, options) for label in text.split(AND)]
    known = [option for option in found if option is not None]
    return list(dict.fromkeys(known)) if len(known) == len(found) else []


def match_option(text: str, options: Sequence[Option]) -> Option | None:
    """The option whose label the model wrote, compared without case and punctuation."""
    key = strict_key(text.strip().strip('"'))
    return next((option for option in options if strict_key(option.label) == key), None)
