"""No model at all: the best relation path, executed. The control that every agent has to beat.

Sample k follows the path of rank k, so that `--samples` explores the ranking: what the knowledge base and gold then
say about each path is what the retriever learns from (`retrievers/feedback.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentkd.agents.base import Surroundings, survey_step
from agentkd.trace import Draft, Step
from agentkd.verify import check_step

if TYPE_CHECKING:
    from agentkd.tasks import Question


class TopPath:
    name = "top-path"

    def __init__(self, around: Surroundings) -> None:
        self.around = around

    async def solve(self, question: Question, sample: int) -> Draft:
        around = self.around
        topics = around.topics(question)
        options = await around.options(question.question, topics, topics=True)
        survey = survey_step(options, topics)
        if sample >= len(options):
            return Draft(steps=(survey,), answers=(), provenance={"path": None, "topics": topics})
        option = options[sample]
        evidence = around.evidence(topics, option, option.answers)
        verdict = check_step(around.kb, topics, option.path, option.joins, option.answers, evidence)
        step = Step(kind="answer", output="\n".join(option.answers), evidence=evidence, verdict=verdict)
        return Draft(steps=(survey, step), answers=option.answers, provenance=option.proof(topics))
