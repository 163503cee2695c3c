"""Questions that a teacher writes: asked for one by one, read, checked and deduplicated in their order.

All replies are there before the first is judged, so that what is a repeat does not depend on who answered first. The
accepted ones are in `questions.jsonl` of the run directory; the others are failures with their reason.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentkd.agents.base import chat_messages
from agentkd.answering import Job, work_off
from agentkd.elicit.desk import Desk
from agentkd.elicit.novelty import Novelty
from agentkd.errors import UserError
from agentkd.matching import normalize
from agentkd.prompts import render
from agentkd.retrievers.graph import Graph
from agentkd.retrievers.path_retriever import mask_topics
from agentkd.runs.disk import write_atomically
from agentkd.runs.untrusted import read_file_lines
from agentkd.tasks.question import Question
from agentkd.teacher.chat import Reply
from agentkd.teacher.reply import load_json, read_string
from agentkd.trace import Frozen, Usage

TOKENS = 96
LONGEST = 300  # characters of a question
TEMPERATURE = 0.8  # questions are to differ
FILE = "questions.jsonl"
SCHEMA = {
    "type": "object",
    "properties": {"question": {"type": "string"}},
    "required": ["question"],
    "additionalProperties": False,
}
EMPTY, LONG = "the reply has no question", f"the question is longer than {LONGEST} characters"
NAMELESS, REPEAT = "the question does not name its topic", "the question repeats another one"
HELD_OUT = "the question is asked at evaluation"


@dataclass(frozen=True)
class Shot:
    """An example of a question about a topic; `path` is the label of the relation path that answers it, or empty."""

    topic: str
    question: str
    path: str = ""


@dataclass(frozen=True)
class Ask:
    """A question to be written: about a topic, and for curation along a path, in the light of some facts."""

    id: str
    topic: str
    shots: Sequence[Shot]
    notes: dict[str, Any]
    path: str = ""
    facts: Sequence[Any] = ()


class Written(Frozen):
    """A question that was accepted, where it comes from, and what it has cost to write it."""

    id: str
    question: str
    topic: str
    notes: dict[str, Any]
    usage: Usage

    @property
    def item(self) -> Question:
        """The question as an agent sees it."""
        return Question(id=self.id, question=self.question, topic_entities=(self.topic,))


async def write_questions(desk: Desk, asks: Sequence[Ask]) -> list[Written] | None:
    """Let the teacher write a question for each ask, and return the accepted ones.

    None where some are not written yet: the same command goes on."""
    path = desk.run.path / FILE
    count, accepted = read_written(path)
    if count < len(asks):
        replies = await ask_all(desk, asks[count:])
        if replies is None:
            return None
        accepted += choose(desk, asks[count:], replies, accepted)
        lines = [json.dumps({"asked": len(asks)}), *(item.model_dump_json() for item in accepted)]
        write_atomically(path, "\n".join(lines) + "\n")
    ids = {ask.id for ask in asks}
    return [item for item in accepted if item.id in ids]


async def ask_all(desk: Desk, asks: Sequence[Ask]) -> dict[str, Reply] | None:
    """The teacher's replies by the id of the ask; None where some are missing. A refused one has none."""
    by_id = {ask.id: ask for ask in asks}
    replies: dict[str, Reply] = {}

    async def work(item: tuple[Question, int]) -> Reply:
        return await ask_teacher(desk, by_id[item[0].id], int(item[0].id.rpartition("-")[2]))

    def finish(item: tuple[Question, int], reply: Reply) -> tuple[Usage, bool]:
        replies[item[0].id] = reply
        return reply.usage, bool(read_question(reply.text))

    blank = [Question(id=ask.id, question="", topic_entities=(ask.topic,)) for ask in asks]
    items = [(question, 0) for question in blank if (question.id, 0) not in desk.run.done]  # refused for good before
    concurrency = desk.config.concurrency or 1
    await work_off(
        desk.run, items, Job(desk.teacher, work, finish), label="questions", unit="readable", concurrency=concurrency
    )
    lost = [ask.id for ask in asks if ask.id not in replies and (ask.id, 0) not in desk.run.done]
    return None if lost else replies


async def ask_teacher(desk: Desk, ask: Ask, number: int) -> Reply:
    """One question from the teacher: a small model continues a pattern, any other follows an instruction."""
    text = render("elicit/write", shots=ask.shots, topic=ask.topic, path=ask.path, facts=ask.facts)
    context = desk.world.context(desk.teacher, desk.config.agent)
    if context.settings.reader == "complete":
        return await desk.teacher.complete(f"{text} ", choices=(), temperature=TEMPERATURE, sample=number)
    messages = chat_messages(render("elicit/system"), text)
    return await desk.teacher.chat(messages, max_tokens=TOKENS, schema=SCHEMA, temperature=TEMPERATURE, sample=number)


def choose(desk: Desk, asks: Sequence[Ask], replies: dict[str, Reply], before: Sequence[Written]) -> list[Written]:
    """Accept the questions that can be read, name their topic, are new, and are not asked at evaluation.

    The others are recorded as failures."""
    task, novelty = desk.world.task, Novelty(desk.config.similar)
    for question in task.questions(str(desk.config.split)):
        novelty.add(question.question, question.topic_entities)
    for item in before:
        novelty.add(item.question, [item.topic])
    others = [split for split in task.splits if split != desk.config.split]
    held_out = {normalize(question.question) for split in others for question in task.questions(split)}
    accepted = []
    for ask in asks:
        if ask.id not in replies:  # refused for good, and recorded
            continue
        reply = replies[ask.id]
        text = read_question(reply.text)
        if reason := refuse(text, ask.topic, novelty, held_out):
            if (ask.id, 0) not in desk.run.done:
                desk.run.fail((ask.id, 0), reason, retry=False)
            continue
        novelty.add(text, [ask.topic])
        accepted.append(Written(id=ask.id, question=text, topic=ask.topic, notes=ask.notes, usage=reply.usage))
    return accepted


def refuse(text: str, topic: str, novelty: Novelty, held_out: set[str]) -> str:
    """Why a question is left out; empty where it is not."""
    if not text:
        return EMPTY
    if len(text) > LONGEST:
        return LONG
    if mask_topics(text, [topic]) == " ".join(text.split()):
        return NAMELESS
    if normalize(text) in held_out:
        return HELD_OUT
    return REPEAT if novelty.repeats(text, [topic]) else ""


def read_question(text: str) -> str:
    """The question in a reply: of a JSON object, a JSON string, or the first line. Empty where there is none."""
    try:
        value = load_json(text)
    except ValueError:
        value = read_string(text)
    found = value.get("question") if isinstance(value, dict) else value
    return " ".join(found.split()) if isinstance(found, str) and any(map(str.isalpha, found)) else ""


def read_written(path: Path) -> tuple[int, list[Written]]:
    """The number that was asked for, and the accepted questions; none where they are not written, or not whole."""
    try:
        first, *lines = read_file_lines(path)
        return int(json.loads(first)["asked"]), [Written.model_validate_json(line) for line in lines]
    except (OSError, ValueError, KeyError, TypeError, UserError):
        return 0, []


def draw_topic(kb: Graph, like: str, rng: random.Random) -> str:
    """Draw an entity that shares a neighbour with another one, by the same relation; the other where there is none."""
    steps = sorted(path for path in kb.relation_paths([like], 1) if len(path) == 1)
    rng.shuffle(steps)
    for ((relation, direction),) in steps:
        ends = kb.follow([like], ((relation, direction), (relation, -direction)))
        if named := sorted(end for end in ends if not kb.is_cvt(end)):
            return rng.choice(named)
    return like
