"""Self-knowledge: a student learns from itself (arXiv 2402.13116, section 3.1.6).

It answers each question several times. Kept is what the knowledge base proves and, where there is gold, what gold
confirms: one round of STaR (arXiv 2203.14465) or of rejection sampling. `distill` of the run from the same student ends
the round.
"""

from __future__ import annotations

from agentkd.elicit.desk import Desk, Elicited, NotedAgent, student_agent


async def answer_alone(desk: Desk) -> Elicited:
    """Let the student answer each question `samples` times."""
    config = desk.config
    agent = desk.agent(student_agent(config), desk.student)
    notes = {question.id: {"elicited": "self-knowledge"} for question in desk.questions}
    wanted = [(question, sample) for sample in range(config.samples) for question in desk.questions]
    await desk.collect(wanted, NotedAgent(agent, notes), desk.student, "own answers")
    return Elicited(wanted)
