"""The forms in which a student learns from a trace and is asked at evaluation.

- `path`: the question goes in, relation paths come out (RoG's planning, arXiv 2310.01061): `agents/path_writer.py`
- `one-call`: retrieved paths with their answers go in, the chosen path and its answers come out: `agents/one_call.py`
- `agent`: the conversations of an agent of the user, with its tools (`conversations.py`)
- `dialogue`: KD-CoT's rounds with their evidence, as a conversation (arXiv 2308.13259, figure 2): `agents/dialogue.py`

A trace is enough for each of them: it records all that was asked, of a model or the knowledge base, and all answers.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import Field

from agentkd.agents import dialogue, one_call, path_writer
from agentkd.agents.option import AND
from agentkd.agents.survey import proven_label, read_survey
from agentkd.distill.data.conversations import find_conversations
from agentkd.proof import Proof
from agentkd.trace import Frozen, Message, Trace


class Example(Frozen):
    """A training example: the text that the student reads, and the target that it is to write.

    `prompt` is a text to continue, or a chat whose assistant turns, if there are any, are learned too, but for those
    among its first `given` messages. `rejected` are targets that were refused for this question, the most plausible
    first. `turn` is the target as a whole message, where it may call tools, and `tools` are the schemas of those that
    it may call. `id` and `trace` (its hash) say where the example comes from."""

    id: str
    trace: str
    prompt: str | tuple[Message, ...]
    target: str
    rejected: tuple[str, ...] = ()
    turn: Message | None = Field(default=None, exclude_if=lambda turn: turn is None)
    tools: tuple[dict[str, Any], ...] = Field(default=(), exclude_if=operator.not_)
    given: int = Field(default=0, exclude_if=operator.not_)

    @property
    def reply(self) -> Message:
        """The target as the assistant's message."""
        return self.turn or Message(role="assistant", content=self.target)

    @property
    def target_text(self) -> str:
        """The target as the student writes it: after a text, a JSON string, which servers can enforce by grammar."""
        return json.dumps(self.target, ensure_ascii=False) if isinstance(self.prompt, str) else self.target


def path_examples(trace: Trace) -> list[Example]:
    """One example per path whose answers were given together, and per surveyed path with exactly the answers of a
    proven one, because the knowledge base proves it as well."""
    survey, label = read_survey(trace), proven_label(trace)
    if survey is None or label is None:
        return []
    labels = dict.fromkeys(label.split(AND))
    if len(labels) == 1:
        labels |= dict.fromkeys(shown["label"] for shown in survey["candidates"] if same_answers(shown, trace.answers))
    text = path_writer.prompt_text(trace.question, Proof.of(trace).topics)
    return [Example(id=trace.id, trace=trace.hash, prompt=text, target=target) for target in labels]


def same_answers(shown: Mapping[str, Any], answers: Sequence[str]) -> bool:
    """Whether a surveyed path leads to these answers, as far as its preview shows."""
    return shown["total"] == len(answers) and set(shown["preview"]) - {"…"} <= set(answers)


def one_call_examples(trace: Trace) -> list[Example]:
    """One example, or none if the survey does not show the proven path: the student could not read it in its prompt."""
    survey, label = read_survey(trace), proven_label(trace)
    if survey is None or label is None:
        return []
    prompt = tuple(one_call.prompt_messages(trace.question, survey))
    return [Example(id=trace.id, trace=trace.hash, prompt=prompt, target=one_call.write_target(label, trace.answers))]


def dialogue_examples(trace: Trace) -> list[Example]:
    """One example, or none: the whole conversation, whose last turn is the target."""
    survey, label = read_survey(trace), proven_label(trace)
    if survey is None or label is None:
        return []
    *before, last = dialogue.teaching_messages(trace.question, survey, label, trace.answers)
    return [Example(id=trace.id, trace=trace.hash, prompt=tuple(before), target=last.content)]


def agent_examples(trace: Trace) -> list[Example]:
    """One example per conversation of the agent with its model."""
    return [
        Example(
            id=trace.id,
            trace=trace.hash,
            prompt=tuple(each.said[:-1]),
            target=each.said[-1].content,
            turn=each.said[-1],
            tools=tuple(each.tools),
            given=each.given,
        )
        for each in find_conversations(trace)
    ]


FORMS: dict[str, Callable[[Trace], list[Example]]] = {
    "path": path_examples,
    "one-call": one_call_examples,
    "dialogue": dialogue_examples,
    "agent": agent_examples,
}
AGENTS = {"path": "path-writer", "one-call": "one-call", "dialogue": "dialogue"}
