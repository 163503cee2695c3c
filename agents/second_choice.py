"""A second choice for questions without gold whose proven answers are not of the kind that was asked.

Another path around the topic leads to answers that are. The path is chosen by the checks of `agentkd/doubts`, shown
among the candidates that retrieval found, and proven like any other. The trace says `second_choice` in its provenance,
so that it can be left out (`agentkd distill second_choice=false`). No model is asked.
"""

from __future__ import annotations

from collections.abc import Mapping

from agentkd.agents.base import AgentContext
from agentkd.agents.option import Option, make_proof, prove
from agentkd.agents.survey import survey_step
from agentkd.retrievers.relation_path import RelationPath
from agentkd.tasks.question import Question
from agentkd.trace import Draft


class SecondChoice:
    """An agent that is told the path to follow for each question, by question id."""

    name = "second-choice"

    def __init__(self, context: AgentContext, paths: Mapping[str, RelationPath]) -> None:
        self.context, self.paths = context, paths

    async def solve(self, question: Question, sample: int) -> Draft:
        context, path = self.context, self.paths[question.id]
        topics, options, _ = await context.retrieval.survey(question)
        option = next((one for one in options if one.path == path and not one.joins), None)
        if option is None:
            option = Option(path, context.kb.label(path), tuple(context.kb.follow(topics, path)))
            options = [*options[: context.settings.paths - 1], option]
        step = prove(context.kb, topics, option)
        provenance = make_proof([option], topics, second_choice=True).record()
        return Draft(steps=(survey_step(options, topics), step), answers=option.answers, provenance=provenance)
