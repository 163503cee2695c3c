"""Traces of agents with tools as conversations: every turn that the model wrote is learned, and nothing else is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from agentkd.trace import Message, Trace


@dataclass
class Conversation:
    """What was said, with the model's turns as it wrote them. The first `given` messages are not learned, whoever
    wrote them: an agent's prompt may hold examples of an assistant's turns."""

    said: list[Message]
    given: int
    tools: list[dict[str, Any]] = field(default_factory=list)


def find_conversations(trace: Trace) -> list[Conversation]:
    """The conversations of a trace, in the order in which they began.

    A call goes on with the longest conversation whose messages its own begin with, and else begins another: an agent
    may hold several at once, or shorten one that grew too long."""
    found: list[Conversation] = []
    for step, prompt in zip(trace.steps, trace.prompts(), strict=True):
        if not prompt:
            continue
        tools = trace.tools_of(step)
        open_ones = [each for each in found if each.tools == tools and continues(prompt, each.said)]
        if open_ones:
            conversation = max(open_ones, key=lambda each: len(each.said))
            conversation.said += [*prompt[len(conversation.said) :], step.reply]
        else:
            found.append(Conversation([*prompt, step.reply], len(prompt), tools))
    return found


def continues(prompt: Sequence[Message], said: Sequence[Message]) -> bool:
    """Whether a prompt begins with all that was said. Frameworks write a call's arguments anew, and drop thoughts."""
    return len(prompt) > len(said) and all(map(same_message, prompt, said))


def same_message(one: Message, other: Message) -> bool:
    """Whether two messages say the same."""
    if (one.role, one.content.strip(), one.tool_call_id) != (other.role, other.content.strip(), other.tool_call_id):
        return False
    ours, theirs = ([(call.id, call.name, call.values) for call in each.tool_calls] for each in (one, other))
    return ours == theirs
