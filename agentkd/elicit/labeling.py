"""Labeling: the teacher answers questions that are there (arXiv 2402.13116, section 3.1.1).

The instruction and the worked examples are the agent's; a label is a trace with its evidence. Questions of one text are
labelled once.
"""

from __future__ import annotations

from collections import Counter

from agentkd.elicit.desk import Desk, Elicited, NotedAgent
from agentkd.matching import strict_key

REPEATED = "question asked before"


async def label(desk: Desk) -> Elicited:
    """Let the teacher answer each distinct question `samples` times."""
    first = {strict_key(question.question): question for question in reversed(desk.questions)}
    questions = [question for question in desk.questions if first[strict_key(question.question)] is question]
    wanted = [(question, sample) for sample in range(desk.config.samples) for question in questions]
    agent = desk.agent(desk.config.agent, desk.teacher)
    noted = NotedAgent(agent, {question.id: {"elicited": "labeling"} for question in questions})
    await desk.collect(wanted, noted, desk.teacher, "labels")
    return Elicited(wanted, +Counter({REPEATED: len(desk.questions) - len(questions)}))
