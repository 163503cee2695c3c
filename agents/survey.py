"""The survey, a step that records what retrieval found, and the readers of finished traces.

A student's prompt is made from the survey, so a trace is enough to train on, without the knowledge base.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NotRequired

from pydantic import TypeAdapter
from typing_extensions import TypedDict  # pydantic checks it, and needs this one before Python 3.12

from agentkd.agents.option import AND, Option
from agentkd.errors import UserError
from agentkd.proof import Derivation, Proof
from agentkd.trace import Step, Trace


def survey_step(options: Sequence[Option], topics: Sequence[str]) -> Step:
    """Record the topics and the options around them as a step."""
    record = {"topics": list(topics), "candidates": [option.record() for option in options]}
    return Step(kind="survey", output=json.dumps(record, ensure_ascii=False))


class Shown(TypedDict):
    """A surveyed option, as `Option.record` gives it."""

    label: str
    preview: list[str]
    total: int
    path: Any
    joins: NotRequired[Any]
    constraint: NotRequired[Any]


class Survey(TypedDict):
    """The record that `survey_step` makes."""

    topics: list[str]
    candidates: list[Shown]


def read_survey(trace: Trace) -> dict[str, Any] | None:
    """The `Survey` of a trace; None for an agent without one. UserError for a record of another shape."""
    step = next((step for step in trace.steps if step.kind == "survey"), None)
    if step is None:
        return None
    try:
        found: dict[str, Any] = json.loads(step.output)
        _SURVEY.validate_python(found)
        for shown in found["candidates"]:
            read_derivation(shown)
    except (TypeError, ValueError, LookupError, RecursionError) as error:
        raise UserError(
            f"the trace of {trace.id[:80]!r} has no survey that can be read ({type(error).__name__}): "
            f"remove its line, or generate again"
        ) from error
    return found


_SURVEY = TypeAdapter(Survey)


def read_derivation(shown: Mapping[str, Any]) -> Derivation:
    """The derivation of a surveyed option."""
    return Derivation.read([shown["path"], shown.get("joins"), shown.get("constraint")])


def surveyed_derivations(trace: Trace) -> list[Derivation]:
    """The derivations that a trace's survey shows, best first; none for an agent without a survey."""
    survey = read_survey(trace) or {"candidates": []}
    return list(map(read_derivation, survey["candidates"]))


def proven_label(trace: Trace) -> str | None:
    """The survey's label of a verified trace's proof; None where it is not shown, or not verified."""
    return followed_label(trace) if trace.verified else None


def followed_label(trace: Trace) -> str | None:
    """The survey's label of a trace's proof, verified or not; None where the survey does not show it.

    The labels of several paths, whose answers are given together, are joined by AND."""
    survey = read_survey(trace)
    proof = Proof.of(trace)
    if survey is None or proof.first == Derivation():
        return None
    labels_of: dict[Derivation, str] = {}
    for shown in survey["candidates"]:
        labels_of.setdefault(read_derivation(shown), shown["label"])
    labels = [labels_of.get(each) for each in (proof.first, *proof.others)]
    return None if None in labels else AND.join(filter(None, labels))


def trace_reward(trace: Trace) -> float:
    """Strict F1 against gold; without gold 1 for a verified trace, else 0."""
    given = next((step.reward for step in reversed(trace.steps) if step.kind == "gold"), None)
    return float(trace.verified) if given is None else given
