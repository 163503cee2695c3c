"""Feedback: the student drafts, the teacher judges and corrects (arXiv 2402.13116, section 3.1.5).

Sample 0 of a question is the student's draft. A proven one is judged by the teacher, who sees question, facts and
answers. Where the draft is not proven, or refused, sample 1 is the teacher's own trace. It must differ from the draft.
A refused draft and its correction are the pair that `distill --method preference` learns from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentkd.agents.judge import JudgedAgent
from agentkd.elicit.desk import Desk, Elicited, NotedAgent, student_agent
from agentkd.matching import strict_set
from agentkd.runs.read import read_traces
from agentkd.trace import Draft, Step, Verdict

if TYPE_CHECKING:
    from agentkd.agents.base import Agent
    from agentkd.tasks.question import Question

DRAFT, CORRECTION = 0, 1  # sample numbers


@dataclass(frozen=True)
class Corrector:
    """An agent that must not repeat the answers that were refused, by question id."""

    agent: Agent
    refused: Mapping[str, Sequence[str]]

    @property
    def name(self) -> str:
        return self.agent.name

    async def solve(self, question: Question, sample: int) -> Draft:
        draft = await self.agent.solve(question, sample)
        if strict_set(draft.answers) != strict_set(self.refused[question.id]) or not draft.answers:
            return draft
        verdict = Verdict(ok=False, rung="complete", reason="the correction repeats the refused draft")
        return draft.model_copy(update={"steps": (*draft.steps, Step(kind="judge", verdict=verdict))})


async def give_feedback(desk: Desk) -> Elicited:
    """Collect a judged draft for each question, and a correction for each that did not stand."""
    config, student = desk.config, str(desk.config.student)
    notes = {question.id: {"elicited": "feedback", "drafted_by": student} for question in desk.questions}
    judge = desk.world.context(desk.teacher, config.agent)
    drafts = [(question, DRAFT) for question in desk.questions]
    drafting = JudgedAgent(desk.agent(student_agent(config), desk.student), judge)
    await desk.collect(drafts, NotedAgent(drafting, notes), desk.student, "drafts")
    found = {trace.id: trace for trace in read_traces(desk.run.path) if trace.sample == DRAFT}
    wrong = [question for question in desk.questions if question.id in found and not found[question.id].verified]
    corrections = [(question, CORRECTION) for question in wrong]
    correcting = Corrector(desk.agent(config.agent, desk.teacher), {q.id: found[q.id].answers for q in wrong})
    judged = NotedAgent(JudgedAgent(correcting, judge), notes)
    await desk.collect(corrections, judged, desk.teacher, "corrections")
    return Elicited([*drafts, *corrections])
