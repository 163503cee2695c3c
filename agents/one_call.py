"""The one-call form of a student: retrieved relation paths in, the chosen path and its answers out.

Verified traces are distilled into this form (`distill/data/forms.py`), so a student meets at evaluation exactly the
prompt it was trained on. Related forms: RoG (arXiv 2310.01061) plans a path and then reads it in two
calls; GNN-RAG (arXiv 2405.20139) verbalises candidate paths for one reading call.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agentkd.agents.base import AgentContext, chat_messages
from agentkd.agents.option import PREVIEW, Option, collect_evidence, make_proof, match_options, union_answers
from agentkd.matching import split_prediction
from agentkd.prompts import render
from agentkd.proof import Proof
from agentkd.trace import Draft, Message, Step, Verdict

if TYPE_CHECKING:
    from agentkd.tasks.question import Question

MAX_TOKENS = 128  # a path and PREVIEW names
FORM = re.compile(r"\s*path:(?P<path>[^\n]*)\n\s*answers:\s*(?P<answers>.*)", re.IGNORECASE | re.DOTALL)


class OneCall:
    """The agent of one call; the path that it names is looked up and becomes the evidence."""

    name = "one-call"

    def __init__(self, context: AgentContext) -> None:
        self.context = context

    async def solve(self, question: Question, sample: int) -> Draft:
        context = self.context
        topics, options, survey = await context.retrieval.survey(question)
        messages = prompt_messages(question.question, json.loads(survey.output))
        reply = await context.model.chat(
            messages, max_tokens=MAX_TOKENS, temperature=context.settings.temperature, sample=sample
        )
        label, answers = parse_reply(reply.text)
        named = match_options(label, options)
        facts = [fact for option in named for fact in collect_evidence(context.kb, topics, option, answers)]
        step = Step(
            kind="read",
            messages=tuple(messages),
            output=reply.text,
            evidence=tuple(dict.fromkeys(facts)),
            verdict=check_reply(named, answers),
        )
        return Draft(
            steps=(survey, step),
            answers=tuple(answers),
            usage=reply.usage,
            provenance=(make_proof(named, topics) if named else Proof(topics=tuple(topics))).record(),
        )


def prompt_messages(question: str, survey: Mapping[str, Any]) -> list[Message]:
    """Write the messages for a question and the record of its survey."""
    user = render("one_call/user", question=question, topics=survey["topics"], candidates=survey["candidates"])
    return chat_messages(render("one_call/system"), user)


def write_target(label: str, answers: tuple[str, ...]) -> str:
    """Write the target of a student: the path, then the answers that its prompt shows."""
    return render("one_call/target", label=label, answers=answers[:PREVIEW])


def parse_reply(text: str) -> tuple[str, list[str]]:
    """Read the path's label and the distinct answers.

    A reply in another form is all answers, one per line."""
    form = FORM.match(text)
    label, body = (form["path"].strip(), form["answers"]) if form else ("", text)
    answers = dict.fromkeys(line for line in split_prediction(body) if line != "…")
    return label, list(answers)


def check_reply(named: Sequence[Option], answers: list[str]) -> Verdict:
    """Check that an answer is at the end of a path that the model named.

    The reason lists strangers, answers that are not; the ladder (`verify.check_draft`) refuses the draft for them."""
    if not named:
        return Verdict(ok=False, rung="none", reason="the reply names none of the paths it was shown")
    strangers = [answer for answer in answers if answer not in union_answers(named)]
    reason = f"not at the end of the path: {', '.join(strangers[:3])}" if strangers else ""
    if len(strangers) == len(answers):
        return Verdict(ok=False, rung="none", reason=reason or "no answer")
    return Verdict(ok=True, rung="endpoint", reason=reason)
