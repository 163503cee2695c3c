"""The trace: one record of everything an agent did for one item, with the evidence of each step.

KD-CoT's rounds, a Kaggle agent's stages and the calls of an agent with tools are the same record, so one trainer
learns from all. Records are frozen; `Trace.hash` is the SHA-256 of the content (everything but the hash itself and
what it cost, `usage`, whose timings differ from run to run), so that a trace can be recognised, deduplicated and
checked after a copy. A field that most records leave at its default is not written (`exclude_if`): so a trace without
tools has the same JSON, and the same hash, as before there were any.
"""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


def is_none(value: Any) -> bool:
    return value is None


class Frozen(BaseModel):
    """A record that cannot change and refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Triple(Frozen):
    """A fact of a knowledge base, in the direction in which the KB states it."""

    type: Literal["triple"] = "triple"
    head: str
    relation: str
    tail: str
    source: str = ""


class StageTest(Frozen):
    """The outcome of a unit test that a stage had to pass."""

    type: Literal["test"] = "test"
    name: str
    passed: bool
    detail: str = ""


class Score(Frozen):
    """A measured quality, for example a cross-validation score."""

    type: Literal["score"] = "score"
    metric: str
    value: float
    split: str


class ToolResult(Frozen):
    """A tool's answer to a call, which can be run again: `arguments` are the JSON text that the model wrote.

    `ok` is false where the tool failed; `result` is its error then. `id` is that of the call, where it has one."""

    type: Literal["tool"] = "tool"
    name: str
    arguments: str
    result: str
    ok: bool = True
    id: str = Field(default="", exclude_if=operator.not_)


class Check(Frozen):
    """The verdict of a user's check on an answer. `score` is its value, where it is a number."""

    type: Literal["check"] = "check"
    name: str
    passed: bool
    detail: str = ""
    score: float | None = Field(default=None, exclude_if=is_none)


Evidence = Annotated[Triple | StageTest | Score | ToolResult | Check, Field(discriminator="type")]


class Verdict(Frozen):
    """The decision of a check; `rung` names the highest rung of the ladder that was passed (see `verify.py`)."""

    ok: bool
    rung: str
    reason: str = ""


class ToolCall(Frozen):
    """A model's call of a tool. `arguments` is the text that the model wrote, JSON or not: it is never written anew."""

    id: str
    name: str
    arguments: str

    @property
    def values(self) -> Any:
        """The arguments as a value; the text itself where it is no JSON."""
        try:
            return json.loads(self.arguments or "{}")
        except (ValueError, RecursionError):
            return self.arguments


class Message(Frozen):
    """A chat message in the OpenAI form, of text alone.

    `content` is empty where a model did nothing but call tools. `name` is that of a participant or of a tool;
    `tool_call_id` says which call a message of the role `tool` answers. `reasoning` is what the model thought before
    it wrote, where it was sent apart."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str = ""
    name: str | None = Field(default=None, exclude_if=is_none)
    tool_calls: tuple[ToolCall, ...] = Field(default=(), exclude_if=operator.not_)
    tool_call_id: str | None = Field(default=None, exclude_if=is_none)
    reasoning: str | None = Field(default=None, exclude_if=is_none)


Count = Annotated[int, Field(ge=0, le=10**12)]
Amount = Annotated[float, Field(ge=0, le=1e9)]


class Usage(Frozen):
    """Calls, tokens, seconds and dollars that something cost.

    Tokens include those of cached responses; `cached` counts calls answered from disk; `seconds` is the time spent
    waiting for the model."""

    calls: Count = 0
    cached: Count = 0
    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    seconds: Amount = 0.0
    usd: Amount = 0.0

    def __add__(self, other: Usage) -> Usage:
        sums = {name: getattr(self, name) + getattr(other, name) for name in type(self).model_fields}
        return Usage.model_construct(**sums)  # the sum of many may exceed the bound of one

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    @classmethod
    def total(cls, usages: Iterable[Usage]) -> Usage:
        return sum(usages, start=cls())


class Step(Frozen):
    """One step of an agent: the messages sent to the model, its output, and the evidence and verdict on it.

    A step without messages was made by code, not by a model (a retrieval, a fallback). `output` is the text that the
    model wrote, `tool_calls` the tools that it called, in its order, and `reasoning` what it thought before.
    `tools` are the places, in the draft's `tools`, of those that it was offered. The tools' answers to the calls are
    evidence of this step, and messages of the next. `usage` is what this step cost, where it is known; the trace's
    own `usage` includes it. With `follows`, `messages` are only the new ones: before them the model was sent all that
    it was sent for the call before, and its reply to that. A long session would repeat itself at every step; the whole
    is in `Draft.prompts`."""

    kind: str
    messages: tuple[Message, ...] = ()
    output: str = ""
    evidence: tuple[Evidence, ...] = ()
    verdict: Verdict | None = None
    reward: float | None = None
    tool_calls: tuple[ToolCall, ...] = Field(default=(), exclude_if=operator.not_)
    reasoning: str | None = Field(default=None, exclude_if=is_none)
    tools: tuple[int, ...] = Field(default=(), exclude_if=operator.not_)
    usage: Usage | None = Field(default=None, exclude_if=is_none)
    follows: bool = Field(default=False, exclude_if=operator.not_)

    @property
    def reply(self) -> Message:
        """The model's output as the assistant's message."""
        return Message(role="assistant", content=self.output, tool_calls=self.tool_calls, reasoning=self.reasoning)


class Draft(Frozen):
    """The result of an agent: steps and answers. It has no field for gold.

    `tools` are the schemas of all tools that a step was offered, each once, in the form of OpenAI's `tools`
    (`{"type": "function", "function": {"name", "description", "parameters"}}`): they are the same step after step, and
    often longer than all that is said. Raises ValidationError where a step names a tool that is not there."""

    steps: tuple[Step, ...]
    answers: tuple[str, ...]
    usage: Usage = Usage()
    provenance: dict[str, Any] = {}
    tools: tuple[dict[str, Any], ...] = Field(default=(), exclude_if=operator.not_)

    @model_validator(mode="after")
    def _offers_known_tools(self) -> Self:
        known = len(self.tools)
        for step in self.steps:
            if any(not 0 <= place < known for place in step.tools):
                raise ValueError(f"a step was offered the tools {list(step.tools)}, of {known}")
        calls = [step for step in self.steps if step.messages or step.follows]
        if calls and calls[0].follows:
            raise ValueError("the first step with messages follows none")
        return self

    def prompts(self) -> list[tuple[Message, ...]]:
        """All that the model was sent, step by step; nothing for a step that code made."""
        found: list[tuple[Message, ...]] = []
        so_far: tuple[Message, ...] = ()
        for step in self.steps:
            if not step.messages and not step.follows:
                found.append(())
                continue
            prompt = (*so_far, *step.messages) if step.follows else step.messages
            found.append(prompt)
            so_far = (*prompt, step.reply)
        return found

    def tools_of(self, step: Step) -> list[dict[str, Any]]:
        """The schemas of the tools that a step was offered, in its order."""
        return [self.tools[place] for place in step.tools]

    @property
    def triples(self) -> list[Triple]:
        """The KB facts behind the steps whose verdict is positive, in order, without repeats."""
        seen: dict[Triple, None] = {}
        for step in self.steps:
            if step.verdict is None or step.verdict.ok:
                seen.update((item, None) for item in step.evidence if isinstance(item, Triple))
        return list(seen)


class Trace(Draft):
    """A closed draft with its verdict. `id` names the item, `sample` counts from 0."""

    id: str
    sample: int
    task: str
    question: str
    verified: bool
    verdict: Verdict
    teacher: str
    hash: str = ""

    @classmethod
    def close(cls, **fields: Any) -> Trace:
        """Make a trace with its content hash."""
        trace = cls(**fields)
        return trace.model_copy(update={"hash": trace.content_hash()})

    def content_hash(self) -> str:
        content = self.model_dump(mode="json", exclude={"hash": True, "usage": True, "steps": {"__all__": {"usage"}}})
        return content_hash(content)


def content_hash(value: Any) -> str:
    """Return the SHA-256 (hex) of a JSON value in canonical form: sorted keys, no blanks, UTF-8."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
