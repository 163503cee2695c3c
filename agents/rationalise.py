"""`rationalise=true`: a second chance, hinted by gold, for questions that no sample has proven.

KD-CoT (arXiv 2308.13259, section 3.3) hints the answer when it collects rationales; the word is from STaR (arXiv
2203.14465).

Gold is used only to choose: of all paths around the topic, the one whose full endpoint set fits gold best, if it fits
well enough. The path is shown among the candidates that retrieval found, and is proven like any other. The trace
says `rationalised` in its provenance, so that it can be left out (`agentkd distill rationalised=false`). No hint is
written into any text that a student could learn from.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from agentkd.agents.base import AgentContext
from agentkd.agents.option import Option, make_proof, prove
from agentkd.agents.survey import survey_step
from agentkd.matching import strict_f1
from agentkd.proof import Proof
from agentkd.retrievers.joins import find_conjunctions, find_endpoints
from agentkd.tasks.question import Question
from agentkd.trace import Draft

MIN_F1 = 0.5  # strict, against gold: a path below it meets an answer by chance
EXECUTED = 200  # paths that are executed: those whose endpoint counts are nearest to gold's


class Rationaliser:
    """An agent that knows gold: it may make training traces, and is never evaluated."""

    name = "rationalise"

    def __init__(self, context: AgentContext, gold: Mapping[str, Sequence[str]]) -> None:
        self.context, self.gold = context, gold

    async def solve(self, question: Question, sample: int) -> Draft:
        context, topics = self.context, self.context.retrieval.topics(question)
        options = await context.retrieval.options(question.question, topics, topics=True)
        option = await asyncio.to_thread(self.best_fit, question, topics, options)
        if option is None:
            provenance = Proof(topics=tuple(topics)).record()
            return Draft(steps=(survey_step(options, topics),), answers=(), provenance=provenance)
        if all((option.path, option.joins) != (other.path, other.joins) for other in options):
            options = [*options[: context.settings.paths - 1], option]
        step = prove(context.kb, topics, option)
        provenance = make_proof([option], topics, rationalised=True).record()
        return Draft(steps=(survey_step(options, topics), step), answers=option.answers, provenance=provenance)

    def best_fit(self, question: Question, topics: Sequence[str], options: Sequence[Option]) -> Option | None:
        """The path or conjunction that fits gold best; of equal ones the shortest, then the highest in rank."""
        context, gold = self.context, self.gold[question.id]
        sizes = context.kb.relation_paths(topics, context.settings.hops)
        near = sorted(sizes, key=lambda path: (abs(sizes[path] - len(gold)), len(path), path))[:EXECUTED]
        found = [*options, *(Option(path, context.kb.label(path), ()) for path in near)]
        if len(topics) > 1:
            pairs = find_conjunctions(
                context.kb, context.retrieval.retriever, question.question, topics, context.settings.hops
            )
            found += [Option((), pair.label, (), pair.score, pair.joins) for pair in pairs]
        best, highest = None, MIN_F1
        for option in found:
            ends = tuple(find_endpoints(context.kb, topics, option.path, option.joins))
            fit = strict_f1(ends, gold)
            if fit > highest or (best is None and fit == highest):
                best, highest = Option(option.path, option.label, ends, option.logit, option.joins), fit
        return best
