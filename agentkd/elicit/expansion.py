"""Expansion: from a few questions the teacher writes new ones, and answers them (arXiv 2402.13116, section 3.1.2).

As in Self-Instruct (arXiv 2212.10560) it sees some of the task's questions, drawn for each new one. The topic is drawn
from the knowledge base, beside that of a shown question, so that the answer can be proven.
"""

from __future__ import annotations

import random

from agentkd.elicit.desk import Desk, Elicited, NotedAgent
from agentkd.elicit.writing import Ask, Shot, draw_topic, write_questions
from agentkd.errors import UserError


async def expand(desk: Desk) -> Elicited:
    """Let the teacher write `count` questions, and answer those that are new."""
    written = await write_questions(desk, [make_ask(desk, number) for number in range(desk.config.count)])
    if written is None:
        return Elicited([], unfinished=True)
    wanted = [(item.item, sample) for sample in range(desk.config.samples) for item in written]
    agent = NotedAgent(
        desk.agent(desk.config.agent, desk.teacher),
        {item.id: item.notes for item in written},
        {item.id: item.usage for item in written},
    )
    await desk.collect(wanted, agent, desk.teacher, "answers")
    return Elicited(wanted)


def make_ask(desk: Desk, number: int) -> Ask:
    """The request for question `number`: its examples and its topic are drawn by seed and number alone."""
    config, rng = desk.config, random.Random(f"expansion {desk.config.seed} {number}")
    known = [question for question in desk.questions if question.topic_entities]
    if not known:
        raise UserError(f"no question of split {config.split} has a topic: expansion needs some to begin with")
    shown = rng.sample(known, min(config.shots, len(known)))
    return Ask(
        id=f"expansion-{number:06d}",
        topic=draw_topic(desk.world.kb, shown[-1].topic_entities[0], rng),
        shots=[Shot(question.topic_entities[0], question.question) for question in shown],
        notes={"elicited": "expansion", "shown": [question.id for question in shown]},
    )
