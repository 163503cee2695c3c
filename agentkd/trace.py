"""The trace: one record of everything an agent did for one item, with the evidence of each step.

KD-CoT's rounds and a Kaggle agent's stages are the same record, so one trainer learns from both. Records are
frozen; `Trace.hash` is the SHA-256 of the content (everything but the hash itself and `usage`, whose timings
differ from run to run), so that a trace can be recognised, deduplicated and checked after a copy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


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


Evidence = Annotated[Triple | StageTest | Score, Field(discriminator="type")]


class Verdict(Frozen):
    """The decision of a check; `rung` names the highest rung of the ladder that was passed (see `verify.py`)."""

    ok: bool
    rung: str
    reason: str = ""


class Message(Frozen):
    """A chat message in the OpenAI form."""

    role: Literal["system", "user", "assistant"]
    content: str


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

    A step without messages was made by code, not by a model (a retrieval, a fallback)."""

    kind: str
    messages: tuple[Message, ...] = ()
    output: str = ""
    evidence: tuple[Evidence, ...] = ()
    verdict: Verdict | None = None
    reward: float | None = None


class Draft(Frozen):
    """The result of an agent: steps and answers. It has no field for gold."""

    steps: tuple[Step, ...]
    answers: tuple[str, ...]
    usage: Usage = Usage()
    provenance: dict[str, Any] = {}

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
        content = self.model_dump(mode="json", exclude={"hash", "usage"})
        return content_hash(content)


def content_hash(value: Any) -> str:
    """Return the SHA-256 (hex) of a JSON value in canonical form: sorted keys, no blanks, UTF-8."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
