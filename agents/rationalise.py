"""`rationalise=true`: a second chance, hinted by gold, for questions that no sample has proven (KD-CoT, section 3.3,
hints the answer when it collects rationales; the word is STaR's, arXiv 2203.14465).

Gold is used here and only to choose: of all paths around the topic the one whose full endpoint set fits gold best, if
it fits well enough. It is shown among the candidates that retrieval had found by itself, it is proven like any other,
and the trace says `rationalised` in its provenance, so that whoever does not want it can leave it out
(`agentkd distill rationalised=false`). No hint is written into any text that a student could learn from.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from agentkd.agents.base import AgentContext
from agentkd.agents.option import Option, proof, prove
from agentkd.agents.survey import survey_step
from agentkd.matching import strict_f1
from agentkd.retrievers.joins import endpoints, join
from agentkd.tasks.task import Question
from agentkd.trace import Draft

GOOD = 0.5  # strict F1: below it a path rather happens to pass by an answer
TRIED = 200  # paths whose size is nearest to gold's are executed


class Rationalise:
    """Looks like an agent, and knows gold: it may make training traces and never be evaluated."""

    name = "rationalise"

    def __init__(self, context: AgentContext, gold: Mapping[str, Sequence[str]]) -> None:
        self.context, self.gold = context, gold

    async def solve(self, question: Question, sample: int) -> Draft:
        context, topics = self.context, self.context.retrieval.topics(question)
        options = await context.retrieval.options(question.question, topics, topics=True)
        option = await asyncio.to_thread(self.best, question, topics, options)
        if option is None:
            return Draft(steps=(survey_step(options, topics),), answers=(), provenance={"topics": topics})
        if all((option.path, option.joins) != (other.path, other.joins) for other in options):
            options = [*options[: context.settings.paths - 1], option]
        step = prove(context.kb, topics, option)
        provenance = {**proof([option], topics), "rationalised": True}
        return Draft(steps=(survey_step(options, topics), step), answers=option.answers, provenance=provenance)

    def best(self, question: Question, topics: Sequence[str], options: Sequence[Option]) -> Option | None:
        """The path or conjunction that fits gold best; of equal ones the shortest, then what retrieval prefers."""
        context, gold = self.context, self.gold[question.id]
        sizes = context.kb.relation_paths(topics, context.settings.hops)
        near = sorted(sizes, key=lambda path: (abs(sizes[path] - len(gold)), len(path), path))[:TRIED]
        found = [*options, *(Option(path, context.kb.label(path), ()) for path in near)]
        if len(topics) > 1:
            pairs = join(context.kb, context.retrieval.retriever, question.question, topics, context.settings.hops)
            found += [Option((), pair.label, (), pair.score, pair.joins) for pair in pairs]
        best, highest = None, GOOD
        for option in found:
            ends = tuple(endpoints(context.kb, topics, option.path, option.joins))
            fit = strict_f1(ends, gold)
            if fit > highest or (best is None and fit == highest):
                best, highest = Option(option.path, option.label, ends, option.logit, option.joins), fit
        return best
