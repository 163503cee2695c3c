"""Chain of thought in one call, without a KB: a baseline of KD-CoT (arXiv 2308.13259, section 4)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agentkd.agents.base import AgentContext, chat_messages
from agentkd.prompts import render
from agentkd.trace import Draft, Step

if TYPE_CHECKING:
    from agentkd.tasks.question import Question

MAX_TOKENS = 128
ANSWER = re.compile(r"so the answer is:?\s*(?P<answer>[^\n]*)", re.IGNORECASE)


class CoT:
    """The agent that answers from the model's own knowledge; nothing is checked while it reasons."""

    name = "cot"

    def __init__(self, context: AgentContext) -> None:
        self.context = context

    async def solve(self, question: Question, sample: int) -> Draft:
        messages = chat_messages(render("cot/system"), render("cot/user", question=question.question))
        reply = await self.context.model.chat(
            messages, max_tokens=MAX_TOKENS, temperature=self.context.settings.temperature, sample=sample
        )
        step = Step(kind="think", messages=tuple(messages), output=reply.text)
        return Draft(steps=(step,), answers=tuple(parse_answers(reply.text)), usage=reply.usage)


def parse_answers(text: str) -> list[str]:
    """Split the answers after "So the answer is"; without these words, those in the last line."""
    found = ANSWER.search(text)
    lines = text.strip().splitlines()
    answer = found["answer"] if found else (lines[-1] if lines else "")
    return [part for part in (piece.strip(" .") for piece in answer.split(";")) if part]
