"""The best relation path, executed, without a model: the control that every agent has to beat.

Sample k follows the path of rank k, so `--samples` explores the ranking. The retriever learns from what the knowledge
base and gold say about each path (`agentkd/distill/feedback.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentkd.agents.base import AgentContext
from agentkd.agents.option import make_proof, prove
from agentkd.agents.survey import survey_step
from agentkd.proof import Proof
from agentkd.trace import Draft

if TYPE_CHECKING:
    from agentkd.tasks.question import Question


class TopPath:
    """The agent that follows the path of rank `sample`."""

    name = "top-path"

    def __init__(self, context: AgentContext) -> None:
        self.context = context

    async def solve(self, question: Question, sample: int) -> Draft:
        context = self.context
        topics = context.retrieval.topics(question)
        options = await context.retrieval.options(question.question, topics, topics=True)
        survey = survey_step(options, topics)
        if sample >= len(options):
            return Draft(steps=(survey,), answers=(), provenance=Proof(path=None, topics=tuple(topics)).record())
        option = options[sample]
        step = prove(context.kb, topics, option)
        return Draft(steps=(survey, step), answers=option.answers, provenance=make_proof([option], topics).record())
