"""Feature: what the teacher knows inside, its distribution over the candidate paths (arXiv 2402.13116, section 3.1.4).

A model whose weights are here gives the exact likelihood of each path; a server is sampled, and the shares of its votes
are the distribution. It is the `feature` step of a trace. The answers are those of the likeliest path, proven like any
others. Distributions over tokens belong to training: `distill --method logits` computes and keeps them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentkd.agents.option import Option, make_proof, match_option, prove
from agentkd.elicit.desk import Desk, Elicited, NotedAgent
from agentkd.prompts import render
from agentkd.proof import Proof
from agentkd.retrievers.path_retriever import mask_topics
from agentkd.trace import Draft, Message, Step, Verdict
from agentkd.world import VOTES

if TYPE_CHECKING:
    from agentkd.agents.base import AgentContext
    from agentkd.tasks.question import Question
    from agentkd.teacher.chat import Reply


@dataclass(frozen=True)
class FeatureReader:
    """The agent that records a model's distribution over executed paths, from `votes` samples if it cannot weigh."""

    context: AgentContext
    votes: int
    name: str = "feature"

    async def solve(self, question: Question, sample: int) -> Draft:
        context = self.context
        topics, options, survey = await context.retrieval.survey(question)
        missing = Proof(path=None, topics=tuple(topics)).record()
        if not options:
            return Draft(steps=(survey,), answers=(), provenance=missing)
        examples = await context.memory.examples(question.id, question.question, topics)
        shown = mask_topics(question.question, topics)
        prompt = render("kd_cot/pattern", examples=examples, question=shown) + " "
        labels = list(dict.fromkeys(option.label for option in options))
        votes = 1 if context.model.weighs else self.votes
        reply = await context.model.complete(prompt, choices=labels, n=votes, temperature=1.0, sample=sample)
        shares = read_shares(reply, labels, options)
        read = Step(kind="feature", messages=(Message(role="user", content=prompt),), output=describe(shares, reply))
        if not shares:
            verdict = Verdict(ok=False, rung="none", reason="no vote names a path")
            step = read.model_copy(update={"verdict": verdict})
            return Draft(steps=(survey, step), answers=(), usage=reply.usage, provenance=missing)
        best = next(option for option in options if option.label == max(labels, key=lambda each: shares[each]))
        return Draft(
            steps=(survey, read, prove(context.kb, topics, best)),
            answers=best.answers,
            usage=reply.usage,
            provenance=make_proof([best], topics).record(),
        )


def read_shares(reply: Reply, labels: Sequence[str], options: Sequence[Option]) -> dict[str, float]:
    """The probability of each label; they sum to one. Empty where no vote can be read."""
    if reply.log_p:
        highest = max(reply.log_p)
        weights = [math.exp(one - highest) for one in reply.log_p]
        return {label: weight / sum(weights) for label, weight in zip(labels, weights, strict=True)}
    named = [option.label for text in reply.texts if (option := match_option(text, options))]
    return {label: named.count(label) / len(named) for label in labels} if named else {}


def describe(shares: dict[str, float], reply: Reply) -> str:
    """The record of a distribution: label and probability, and whether it was weighed or counted from votes."""
    rounded = {label: round(share, 6) for label, share in shares.items()}
    how = {"weighed": True} if reply.log_p else {"votes": len(reply.texts)}
    return json.dumps({"p": rounded, **how}, ensure_ascii=False)


async def read_features(desk: Desk) -> Elicited:
    """Record the teacher's distribution over paths for each question."""
    context = desk.world.context(desk.teacher, desk.config.agent)
    agent = FeatureReader(context, desk.config.votes or VOTES)
    noted = NotedAgent(agent, {question.id: {"elicited": "feature"} for question in desk.questions})
    wanted = [(question, sample) for sample in range(desk.config.samples) for question in desk.questions]
    await desk.collect(wanted, noted, desk.teacher, "features")
    return Elicited(wanted)
