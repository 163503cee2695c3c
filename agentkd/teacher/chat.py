"""The `Chat` protocol that agents talk to, its `Reply`, and a stand-in for agents without a model."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from typing import Annotated, Any, Protocol

from pydantic import BeforeValidator, Field

from agentkd.errors import UserError
from agentkd.trace import Frozen, Message, ToolCall, Usage

NO_TEACHER = "none"
COMPLETE_TOKENS = 96  # a relation path


SURROGATE = re.compile("[\ud800-\udfff]")


def replace_surrogates(text: Any) -> Any:
    """Replace lone surrogates in a text, such as half an emoji: JSON allows them, UTF-8 does not."""
    return SURROGATE.sub("\ufffd", text) if isinstance(text, str) and not text.isascii() else text


Text = Annotated[str, BeforeValidator(replace_surrogates)]


def merge_system(messages: Sequence[Message]) -> list[Message]:
    """Put the system text at the head of the first user turn, for a model that has no system role."""
    found = [message.content for message in messages if message.role == "system"]
    rest = [message for message in messages if message.role != "system"]
    first = next((place for place, message in enumerate(rest) if message.role == "user"), None)
    if first is None:
        return [Message(role="user", content="\n\n".join(found)), *rest] if found else rest
    rest[first] = Message(role="user", content="\n\n".join([*found, rest[first].content]))
    return rest


class Reply(Frozen):
    """A model's answer.

    `finish_reason` is the server's; `length` means that the answer, or one of several, was cut at `max_tokens`.
    `texts` holds all answers of a request that asked for several, `text` is the first. `reasoning` is what the model
    thought before it answered, sent apart or in <think> at the head of its text. `tool_calls` are those of the first
    answer. `log_p` holds the log-likelihood of each choice of `complete` in nats, where the model can tell."""

    texts: tuple[Text, ...] = Field(min_length=1)
    finish_reason: Text
    usage: Usage
    reasoning: Text = ""
    log_p: tuple[float, ...] = ()
    tool_calls: tuple[ToolCall, ...] = Field(default=(), exclude_if=operator.not_)

    @property
    def text(self) -> str:
        """The first answer."""
        return self.texts[0]


class Chat(Protocol):
    """A model as an agent sees it.

    `name` goes into traces and tables. A model that `weighs` gives the exact log-likelihood of each choice of
    `complete`; any other samples from the choices."""

    name: str
    weighs: bool

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        schema: dict[str, Any] | None = None,
        temperature: float = 0.0,
        sample: int = 0,
    ) -> Reply: ...

    async def complete(
        self, prompt: str, *, choices: Sequence[str], n: int = 1, temperature: float = 0.0, sample: int = 0
    ) -> Reply: ...


class NoTeacher:
    """Takes the place of a model for agents that ask none; UserError when one does."""

    name = NO_TEACHER
    weighs = False

    async def chat(self, messages: Sequence[Message], **_: Any) -> Reply:
        raise UserError("this agent asks a model: give --teacher (local, vllm:MODEL, openai:MODEL or URL#MODEL)")

    async def complete(self, prompt: str, **_: Any) -> Reply:
        return await self.chat([])
