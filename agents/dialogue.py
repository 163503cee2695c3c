"""The dialogue form of a student: KD-CoT's Action, Answer, Finish as a conversation of two calls (arXiv 2308.13259).

The student asks the knowledge base for a path, is shown what the path leads to, and finishes with the answers. Sub-
questions of the paper are relation paths here, because a path can be executed and proven.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agentkd.agents.base import AgentContext, chat_messages
from agentkd.agents.one_call import judge
from agentkd.agents.option import PREVIEW, collect_evidence, match_options, preview_answers, proof, union_answers
from agentkd.matching import split_prediction
from agentkd.prompts import render
from agentkd.trace import Draft, Message, Step, Usage, Verdict

if TYPE_CHECKING:
    from agentkd.tasks.task import Question

MAX_TOKENS = 128
ACTION = re.compile(r"Action:\s*(Path|Finish)\[(?P<input>.*)\]", re.DOTALL)


class Dialogue:
    """Two calls; a path that the knowledge base does not hold ends the conversation without an answer."""

    name = "dialogue"

    def __init__(self, context: AgentContext) -> None:
        self.context = context

    async def solve(self, question: Question, sample: int) -> Draft:
        context = self.context
        topics, options, survey = await context.retrieval.survey(question)
        opening = opened(question.question, topics)
        first, usage = await self._ask(opening, sample)
        label = action(first)
        named = match_options(label, options) or await context.retrieval.look_up(question.question, topics, label)
        if not named:
            verdict = Verdict(ok=False, rung="none", reason=f"not in the knowledge base: {label[:80]}")
            step = Step(kind="plan", messages=tuple(opening), output=first, verdict=verdict)
            provenance = {"path": None, "topics": topics, "in_kb": False}
            return Draft(steps=(survey, step), answers=(), usage=usage, provenance=provenance)
        shown = answered(opening, first, label, union_answers(named))
        second, more = await self._ask(shown, sample)
        answers = list(dict.fromkeys(line for line in split_prediction(action(second)) if line != "…"))
        facts = [fact for option in named for fact in collect_evidence(context.kb, topics, option, answers)]
        step = Step(
            kind="read",
            messages=tuple(shown),
            output=second,
            evidence=tuple(dict.fromkeys(facts)),
            verdict=judge(named, answers),
        )
        plan = Step(kind="plan", messages=tuple(opening), output=first)
        provenance = {**proof(named, topics), "in_kb": True}
        return Draft(steps=(survey, plan, step), answers=tuple(answers), usage=usage + more, provenance=provenance)

    async def _ask(self, messages: Sequence[Message], sample: int) -> tuple[str, Usage]:
        context = self.context
        reply = await context.model.chat(
            messages, max_tokens=MAX_TOKENS, temperature=context.settings.temperature, sample=sample
        )
        return reply.text, reply.usage


def opened(question: str, topics: Sequence[str]) -> list[Message]:
    """The conversation up to the first action."""
    return chat_messages(render("dialogue/system"), render("dialogue/question", question=question, topics=topics))


def answered(opening: Sequence[Message], first: str, label: str, answers: Sequence[str]) -> list[Message]:
    """The conversation up to the second action: what the path leads to, PREVIEW answers of it at most."""
    evidence = render("dialogue/evidence", label=label, preview=preview_answers(answers))
    return [*opening, Message(role="assistant", content=first), Message(role="user", content=evidence)]


def conversation(question: str, survey: Mapping[str, Any], label: str, answers: Sequence[str]) -> list[Message]:
    """What a student is taught: the whole conversation."""
    shown = answered(opened(question, survey["topics"]), f"Action: Path[{label}]", label, answers)
    given = "\n".join(answers[:PREVIEW])
    return [*shown, Message(role="assistant", content=f"Action: Finish[{given}]")]


def action(text: str) -> str:
    """What stands in the brackets of an action; a reply in another form is taken as it is."""
    found = ACTION.search(text)
    return (found["input"] if found else text).strip()
