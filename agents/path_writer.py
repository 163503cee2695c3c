"""The path form of a student: a question in, the relation path that answers it out.

The student writes only a path, so a call costs a few dozen tokens, and the answers are the path's full endpoint set.
With `constrain=kb` it writes inside the trie of the knowledge base's paths around the topic (graph-constrained
reasoning, arXiv 2410.13080): its likelihood of each path is computed exactly, or estimated by a server's samples. With
`constrain=none` it writes freely, and a path that the knowledge base lacks has no answer. The form comes from RoG
(arXiv 2310.01061).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agentkd.agents.base import AgentContext
from agentkd.agents.option import Option, make_proof, match_options, prove, union_answers
from agentkd.agents.reading import UNION, choose_options
from agentkd.prompts import render
from agentkd.proof import Proof
from agentkd.retrievers.path_retriever import mask_topics
from agentkd.trace import Draft, Step, Verdict

if TYPE_CHECKING:
    from agentkd.tasks.question import Question


class PathWriter:
    """The agent of one call: model and retriever decide together between executed paths.

    The memory of its context holds what the student was taught, where that is known."""

    name = "path-writer"

    def __init__(self, context: AgentContext) -> None:
        self.context = context

    async def solve(self, question: Question, sample: int) -> Draft:
        context = self.context
        topics, options, survey = await context.retrieval.survey(question)
        if not options:
            return Draft(steps=(survey,), answers=(), provenance=Proof(path=None, topics=tuple(topics)).record())
        text = prompt_text(question.question, topics)
        if context.settings.constrain == "none":
            return await self.solve_freely(question.question, topics, survey, options, text, sample)
        labels = list(dict.fromkeys(option.label for option in options))
        votes = 1 if context.model.weighs else context.settings.votes
        temperature = context.settings.temperature if votes == 1 else 1.0
        reply = await context.model.complete(text, choices=labels, n=votes, temperature=temperature, sample=sample)
        named = [option for text in reply.texts for option in match_options(text, options)]
        likelihood = dict(zip(labels, reply.log_p, strict=True)) if reply.log_p else None
        recall = await context.memory.recall(question.id, question.question, topics)
        chosen, expected = choose_options(
            options,
            named,
            context.settings.trust,
            likelihood=likelihood,
            familiarity=recall.familiarity,
            rank=sample,
            union=UNION,
        )
        step = Step(kind="read", output="\n".join(reply.texts), reward=round(expected, 4))
        steps = [prove(context.kb, topics, option) for option in chosen]
        return Draft(
            steps=(survey, step, *steps),
            answers=union_answers(chosen),
            usage=reply.usage,
            provenance=make_proof(chosen, topics, in_kb=True).record(),
        )

    async def solve_freely(
        self, question: str, topics: Sequence[str], survey: Step, options: Sequence[Option], text: str, sample: int
    ) -> Draft:
        """Let the model write any path; it is executed if the KB has it around the topic."""
        context = self.context
        reply = await context.model.complete(text, choices=(), temperature=context.settings.temperature, sample=sample)
        chosen = match_options(reply.text, options) or await context.retrieval.look_up(question, topics, reply.text)
        if not chosen:
            verdict = Verdict(ok=False, rung="none", reason=f"not in the knowledge base: {reply.text[:80]}")
            step = Step(kind="read", output=reply.text, verdict=verdict)
            missing = Proof(path=None, topics=tuple(topics), in_kb=False)
            return Draft(steps=(survey, step), answers=(), usage=reply.usage, provenance=missing.record())
        step = Step(kind="read", output=reply.text)
        return Draft(
            steps=(survey, step, *(prove(context.kb, topics, option) for option in chosen)),
            answers=union_answers(chosen),
            usage=reply.usage,
            provenance=make_proof(chosen, topics, in_kb=True).record(),
        )


def prompt_text(question: str, topics: Sequence[str]) -> str:
    """Write the text that the student continues.

    Topics' names are left out: they say nothing about the relation. It ends with a line break, so that the tokens are
    the same whether a path is joined to it or a server goes on."""
    return render("path/prompt", question=mask_topics(question, topics)) + "\n"


def read_prompt(text: str) -> str | None:
    """The question in a text of `prompt_text`; None for any other text."""
    before, _, after = prompt_text("\0", ()).partition("\0")
    if not (text.startswith(before) and text.endswith(after)):
        return None
    return text[len(before) : len(text) - len(after)]
