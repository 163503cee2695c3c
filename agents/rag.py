"""Retrieval-augmented generation in one call, a baseline: BM25 passages in, answers out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentkd.agents.base import AgentContext, chat_messages
from agentkd.agents.option import EVIDENCE
from agentkd.matching import split_prediction, strict_key, strict_set
from agentkd.prompts import render
from agentkd.proof import Proof
from agentkd.trace import Draft, Step, Triple

if TYPE_CHECKING:
    from agentkd.tasks.question import Question

MAX_TOKENS = 128


class RAG:
    """The agent that reads the best passages once; its evidence is their facts that name an answer."""

    name = "rag"

    def __init__(self, context: AgentContext) -> None:
        if context.passages is None:
            raise ValueError("rag needs a passage index")
        self.context, self.passages = context, context.passages

    async def solve(self, question: Question, sample: int) -> Draft:
        context = self.context
        found = self.passages.search(question.question, context.settings.paths)
        messages = chat_messages(
            render("rag/system"),
            render("rag/user", question=question.question, passages=[text for _, text, _ in found]),
        )
        reply = await context.model.chat(
            messages, max_tokens=MAX_TOKENS, temperature=context.settings.temperature, sample=sample
        )
        answers = list(dict.fromkeys(split_prediction(reply.text)))
        names = strict_set(answers)
        facts = [
            Triple(head=head, relation=relation, tail=tail, source=f"passage:{entity}")
            for entity, text, _ in found
            for head, relation, tail in self.passages.triples(entity, text)
            if strict_key(head) in names or strict_key(tail) in names
        ]
        step = Step(kind="read", messages=tuple(messages), output=reply.text, evidence=tuple(facts[:EVIDENCE]))
        return Draft(
            steps=(step,),
            answers=tuple(answers),
            usage=reply.usage,
            provenance=Proof(topics=tuple(context.retrieval.topics(question))).record(),
        )
