"""A judge above the chain of evidence: do the proven facts answer the question?

A knowledge base proves that the answers are at the end of a chain, not that the chain fits the question. The judge sees
the question, the facts and the answers of proven drafts, never the reasoning that led to them. It can refuse a trace,
and can never verify one that is not proven.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentkd.agents.base import Agent, AgentContext, chat_messages
from agentkd.agents.option import preview_answers
from agentkd.prompts import render
from agentkd.trace import Draft, Step, Verdict
from agentkd.verify import check_draft

if TYPE_CHECKING:
    from agentkd.tasks.question import Question

TOKENS = 8
FACTS = 30


class JudgedAgent:
    """An agent whose proven drafts are judged; the verdict is a last step."""

    def __init__(self, agent: Agent, context: AgentContext) -> None:
        self.agent, self.context, self.name = agent, context, agent.name

    async def solve(self, question: Question, sample: int) -> Draft:
        draft = await self.agent.solve(question, sample)
        if not check_draft(self.context.kb, draft).ok:
            return draft
        asked = {
            "question": question.question,
            "facts": draft.triples[:FACTS],
            "answers": preview_answers(draft.answers),
        }
        messages = chat_messages(render("judge/system"), render("judge/user", **asked))
        reply = await self.context.model.chat(
            messages, max_tokens=TOKENS, schema={"enum": ["yes", "no"]}, sample=sample
        )
        ok = reply.text.strip().strip('"').lower().startswith("yes")
        verdict = Verdict(ok=ok, rung="judge" if ok else "complete", reason="" if ok else "refused by the judge")
        step = Step(kind="judge", messages=tuple(messages), output=reply.text, verdict=verdict)
        return draft.model_copy(update={"steps": (*draft.steps, step), "usage": draft.usage + reply.usage})
