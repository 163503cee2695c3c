"""What a knowledge base can answer of a task's questions, told before the first of them is asked.

A question none of whose topics is known finds no path, and gold that is no name of the knowledge base never verifies: a
count, a yes or no, a computed value. Both are said with the first case; where it is all of them, the run is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from agentkd.errors import UserError
from agentkd.retrievers.graph import Graph
from agentkd.retrievers.kb import KnowledgeBase
from agentkd.tasks.question import Question
from agentkd.tasks.task import Task
from agentkd.tasks.tool_task import ToolTask

SHOWN = 60  # characters of a name or question in a line
_VALUE = re.compile(r"(?:true|false|yes|no|[-+]?[\d.,]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Coverage:
    """Counts of questions, and the lines that tell them; `lines` is empty where nothing is missing."""

    questions: int
    without_topic: int
    read_loosely: int
    unreachable_gold: int
    lines: tuple[str, ...]

    def record(self) -> dict[str, int]:
        """The counts, for a run's metrics."""
        names = ("without_topic", "read_loosely", "unreachable_gold")
        return {name: getattr(self, name) for name in names}


def check_coverage(
    task: Task, split: str, questions: Sequence[Question], *, verify: bool, topics: bool = True
) -> Coverage:
    """Count the questions that the knowledge base cannot answer.

    Raises UserError where it is all of them: for want of `topics`, or, where answers are to be verified, of gold."""
    if isinstance(task, ToolTask):
        return Coverage(len(questions), 0, 0, 0, ())
    kb = task.knowledge_base()
    missing = task.unresolved(split)
    lost = [question for question in questions if len(missing.get(question.id, ())) == len(question.topic_entities)]
    where = str(task.kb_path or "the knowledge base")
    lines = []
    if lost:
        what = _tell_topic(kb, lost[0])
        if len(lost) == len(questions) and topics:
            raise UserError(
                f"none of the {len(lost):,} questions has a topic in {where} ({what}): name the topics as it does, or "
                "give their other names with --aliases FILE"
            )
        lines.append(f"of {len(questions):,} questions {len(lost):,} have no topic in the knowledge base ({what})")
    loose = {text: name for q in questions for text, name in task.read_loosely(split).get(q.id, {}).items()}
    if loose:
        text, name = next(iter(loose.items()))
        lines.append(f"{len(loose):,} topics are read as another spelling of a name (first: {text!r} as {name!r})")
    hopeless = _unreachable(task, split, questions) if isinstance(kb, KnowledgeBase) else []
    if isinstance(kb, KnowledgeBase) and hopeless:
        asked, answers = hopeless[0]
        what = _tell_gold(kb, asked, answers)
        if any(_VALUE.fullmatch(answer) for _, some in hopeless for answer in some):
            what += "; counts, yes or no, and computed values have no answer form"
        if verify and len(hopeless) == sum(q.id in task.gold(split) for q in questions):
            raise UserError(f"no path in {where} can end in the gold of any question, so none would verify: {what}")
        lines.append(f"of {len(questions):,} questions {len(hopeless):,} have gold that never verifies: {what}")
    return Coverage(len(questions), len(lost), len(loose), len(hopeless), tuple(lines))


def _unreachable(task: Task, split: str, questions: Sequence[Question]) -> list[tuple[Question, tuple[str, ...]]]:
    """The questions with gold of which no answer would be a strict hit, and their answers."""
    kb, gold = task.knowledge_base(), task.gold(split)
    assert isinstance(kb, KnowledgeBase)
    known = [(question, gold[question.id].answers) for question in questions if question.id in gold]
    return [(question, answers) for question, answers in known if not any(map(kb.lookup.answers, answers))]


def _tell_topic(kb: Graph, question: Question) -> str:
    if not question.topic_entities:
        return f"first: {question.question[:SHOWN]!r} names none"
    topic = question.topic_entities[0]
    return f"first: {topic[:SHOWN]!r}{_tell_nearest(kb, topic)}"


def _tell_gold(kb: KnowledgeBase, question: Question, answers: Sequence[str]) -> str:
    if not answers:
        return f"first: {question.question[:SHOWN]!r} has no answer"
    return f"first: {answers[0][:SHOWN]!r} for {question.question[:SHOWN]!r}{_tell_nearest(kb, answers[0])}"


def _tell_nearest(kb: Graph, text: str) -> str:
    """The names that are most like a text, else the first ones, so that their form is seen."""
    if not isinstance(kb, KnowledgeBase):
        return ""
    if near := kb.lookup.nearest(text):
        return f"; nearest: {', '.join(repr(name[:SHOWN]) for name in near)}"
    some = [name for name in kb.entities[:20] if kb.is_named(name)][:2]
    return f"; the knowledge base has {', '.join(repr(name[:SHOWN]) for name in some)}, …"
