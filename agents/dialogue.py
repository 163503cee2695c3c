"""The dialogue form of a student: KD-CoT's Action, Answer, Finish as a conversation of two calls.

The form is that of arXiv 2308.13259, figure 2. The student asks the knowledge base for a path, sees the answers at its
end, and finishes with those it chooses. The paper's sub-questions are relation paths here, because a path can be
executed and proven.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agentkd.agents.base import AgentContext, chat_messages
from agentkd.agents.one_call import check_reply
from agentkd.agents.option import PREVIEW, collect_evidence, make_proof, match_options, preview_answers, union_answers
from agentkd.matching import split_prediction
from agentkd.prompts import render
from agentkd.proof import Proof
from agentkd.trace import Draft, Message, Step, Usage, Verdict

if TYPE_CHECKING:
    from agentkd.tasks.question import Question

MAX_TOKENS = 128
ACTION = re.compile(r"Action:\s*(Path|Finish)\[(?P<input>.*)\]", re.DOTALL)


class Dialogue:
    """The agent of two calls; a path that the KB lacks ends the conversation without an answer."""

    name = "dialogue"

    def __init__(self, context: AgentContext) -> None:
        self.context = context

    async def solve(self, question: Question, sample: int) -> Draft:
        context = self.context
        topics, options, survey = await context.retrieval.survey(question)
        opening = opening_messages(question.question, topics)
        first, usage = await self._ask(opening, sample)
        label = parse_action(first)
        named = match_options(label, options) or await context.retrieval.look_up(question.question, topics, label)
        if not named:
            verdict = Verdict(ok=False, rung="none", reason=f"not in the knowledge base: {label[:80]}")
            step = Step(kind="plan", messages=tuple(opening), output=first, verdict=verdict)
            missing = Proof(path=None, topics=tuple(topics), in_kb=False)
            return Draft(steps=(survey, step), answers=(), usage=usage, provenance=missing.record())
        shown = evidence_messages(opening, first, label, union_answers(named))
        second, more = await self._ask(shown, sample)
        answers = list(dict.fromkeys(line for line in split_prediction(parse_action(second)) if line != "…"))
        facts = [fact for option in named for fact in collect_evidence(context.kb, topics, option, answers)]
        step = Step(
            kind="read",
            messages=tuple(shown),
            output=second,
            evidence=tuple(dict.fromkeys(facts)),
            verdict=check_reply(named, answers),
        )
        plan = Step(kind="plan", messages=tuple(opening), output=first)
        provenance = make_proof(named, topics, in_kb=True).record()
        return Draft(steps=(survey, plan, step), answers=tuple(answers), usage=usage + more, provenance=provenance)

    async def _ask(self, messages: Sequence[Message], sample: int) -> tuple[str, Usage]:
        context = self.context
        reply = await context.model.chat(
            messages, max_tokens=MAX_TOKENS, temperature=context.settings.temperature, sample=sample
        )
        return reply.text, reply.usage


def opening_messages(question: str, topics: Sequence[str]) -> list[Message]:
    """Write the conversation up to the first action."""
    return chat_messages(render("dialogue/system"), render("dialogue/question", question=question, topics=topics))


def evidence_messages(opening: Sequence[Message], first: str, label: str, answers: Sequence[str]) -> list[Message]:
    """Write the conversation up to the second action, with at most PREVIEW of the path's answers."""
    evidence = render("dialogue/evidence", label=label, preview=preview_answers(answers))
    return [*opening, Message(role="assistant", content=first), Message(role="user", content=evidence)]


def teaching_messages(question: str, survey: Mapping[str, Any], label: str, answers: Sequence[str]) -> list[Message]:
    """Write the whole conversation, as a student is taught it."""
    shown = evidence_messages(opening_messages(question, survey["topics"]), f"Action: Path[{label}]", label, answers)
    given = "\n".join(answers[:PREVIEW])
    return [*shown, Message(role="assistant", content=f"Action: Finish[{given}]")]


def parse_action(text: str) -> str:
    """Read the brackets of an action; a reply in another form is taken as it is."""
    found = ACTION.search(text)
    return (found["input"] if found else text).strip()
