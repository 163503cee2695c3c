"""Curation: the teacher writes questions from a topic and a path (arXiv 2402.13116, section 3.1.3).

The meta-information is the knowledge base's own: an entity, a relation path out of it, and facts along the path. The
answers are known then, the path's endpoints. A question is good if the teacher, asked it, finds the same answers again
(round-trip consistency, Alberti et al., ACL 2019, arXiv 1906.05416).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentkd.elicit.desk import Desk, Elicited, NotedAgent
from agentkd.elicit.writing import Ask, Shot, draw_topic, write_questions
from agentkd.errors import UserError
from agentkd.matching import strict_set
from agentkd.prompts import demonstrations
from agentkd.trace import Draft, Step, Triple, Verdict

if TYPE_CHECKING:
    from agentkd.agents.base import Agent
    from agentkd.tasks.question import Question

HOPS = 2  # of a path that a question is written for: a longer one is hardly what anybody asks
ENDS = 10  # answers that a path may have
FACTS = 6  # shown
DEMONSTRATIONS = "kd_cot/demonstrations"


@dataclass(frozen=True)
class RoundTrip:
    """An agent whose answers must be those of the path that a question was written for, by question id."""

    agent: Agent
    answers: Mapping[str, Sequence[str]]

    @property
    def name(self) -> str:
        return self.agent.name

    async def solve(self, question: Question, sample: int) -> Draft:
        draft = await self.agent.solve(question, sample)
        if strict_set(draft.answers) == strict_set(self.answers[question.id]):
            return draft
        reason = "the answers are not those of the path that the question was written for"
        step = Step(kind="judge", verdict=Verdict(ok=False, rung="complete", reason=reason))
        return draft.model_copy(update={"steps": (*draft.steps, step)})


async def curate(desk: Desk) -> Elicited:
    """Let the teacher write `count` questions for paths of the knowledge base, and keep those that it answers so."""
    written = await write_questions(desk, [make_ask(desk, number) for number in range(desk.config.count)])
    if written is None:
        return Elicited([], unfinished=True)
    wanted = [(item.item, sample) for sample in range(desk.config.samples) for item in written]
    known = {item.id: item.notes["answers"] for item in written}
    notes = {item.id: {name: value for name, value in item.notes.items() if name != "answers"} for item in written}
    agent = RoundTrip(desk.agent(desk.config.agent, desk.teacher), known)
    noted = NotedAgent(agent, notes, {item.id: item.usage for item in written})
    await desk.collect(wanted, noted, desk.teacher, "answers")
    return Elicited(wanted)


def make_ask(desk: Desk, number: int) -> Ask:
    """The request for question `number`: its topic, path and examples are drawn by seed and number alone."""
    config, kb, rng = desk.config, desk.world.kb, random.Random(f"curation {desk.config.seed} {number}")
    known = [question for question in desk.questions if question.topic_entities]
    if not known:
        raise UserError(f"no question of split {config.split} has a topic: curation draws topics like theirs")
    topic = draw_topic(kb, rng.choice(known).topic_entities[0], rng)
    sizes = kb.relation_paths([topic], min(HOPS, config.hops or HOPS))
    paths = sorted(path for path, size in sizes.items() if size <= ENDS) or sorted(sizes)
    if not paths:
        raise UserError(f"no relation path leads out of {topic!r}: give a knowledge base with facts on the topics")
    lengths = sorted({len(path) for path in paths})
    length = rng.choice(lengths)
    path = rng.choice([path for path in paths if len(path) == length])
    facts = kb.evidence([topic], path)[:FACTS]
    shots = [
        Shot(demo["rounds"][0]["topics"][0], demo["question"], " > ".join(done["label"] for done in demo["rounds"]))
        for demo in rng.sample(demonstrations(DEMONSTRATIONS), config.shots)
    ]
    return Ask(
        id=f"curation-{number:06d}",
        topic=topic,
        shots=shots,
        notes={"elicited": "curation", "written_for": kb.label(path), "answers": kb.follow([topic], path)},
        path=kb.label(path),
        facts=[Triple(head=head, relation=relation, tail=tail) for head, relation, tail in facts],
    )
