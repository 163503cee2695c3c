"""Records: a question as an agent sees it, and its gold answers apart."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import BaseModel, ConfigDict


class Question(BaseModel):
    """An item as an agent may see it, and nothing else; topics are names as in the KB."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    question: str
    topic_entities: tuple[str, ...]


class Parse(BaseModel):
    """One annotated reading of a WebQSP question. `good`: marked Good and Complete, so it counts officially."""

    model_config = ConfigDict(frozen=True)

    good: bool
    answers: tuple[str, ...]
    """Names, or the literal where an answer has no name."""
    arguments: tuple[str, ...]
    """The same answers as Freebase ids and literals."""


class Gold(BaseModel):
    """All right answers of one question, and what is known of the way to them.

    `proof` is the facts (head, relation, tail) that lead to the answers, as the question's makers state them.
    `hops` and `type` are for reports. They are part of the gold because a type often spells out the gold path (geo,
    MetaQA).
    """

    model_config = ConfigDict(frozen=True)

    answers: tuple[str, ...]
    parses: tuple[Parse, ...] = ()
    hops: int | None = None
    type: str | None = None
    proof: tuple[tuple[str, str, str], ...] = ()


class Row(NamedTuple):
    """One item of a split; `gold` is None where the file states no answer."""

    split: str
    question: Question
    gold: Gold | None
