"""The results of a run: candidates with their scores or errors, the best one, the blend.

The checkpointer and metrics.json keep plain dicts; stages read and write them as these records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import StringConstraints
from typing_extensions import TypedDict

from agentkd.agents.agent_k.contract import Setup
from agentkd.trace import Frozen

CODE, MODEL = "code", "model"  # the author of what a stage accepted


# A name in a folder of the workspace; a checkpoint may come from anybody.
PlainName = Annotated[str, StringConstraints(pattern=r"^[^/\x00]*[^/\x00.][^/\x00]*$")]


class CandidateRun(Frozen):
    """A candidate that was run."""

    author: str  # CODE or MODEL
    folder: PlainName  # below workspace/candidates
    basis: str  # only scores of one basis may be compared: the maps, and the metric's code if the model wrote one
    kind: str


class Scored(CandidateRun):
    """A candidate with valid predictions."""

    score: float  # of all out-of-fold predictions
    folds: tuple[float | None, ...]  # by fold, None where a fold has no score; () where it was not scored by fold
    seconds: float


class Failed(CandidateRun):
    """A candidate without valid predictions."""

    error: str
    seconds: float | None = None  # None: its code did not end well


class Best(Frozen):
    """The best candidate whose file is valid: that file is in submission.csv."""

    name: str
    score: float
    file: PlainName  # in workspace/submissions
    form: str  # the folder of the code that wrote it, "" for the generic form


class BlendRecord(TypedDict):
    kind: str
    weights: dict[str, float]
    score: float
    thresholds: list[float] | None  # that decide labels


Result = Scored | Failed


def read_result(values: Mapping[str, Any]) -> Result:
    return Failed.model_validate(values) if "error" in values else Scored.model_validate(values)


def read_results(state: Mapping[str, Any]) -> dict[str, Result]:
    """The candidates of a state, in the order in which they were run."""
    return {name: read_result(values) for name, values in state.get("candidates", {}).items()}


def dump_result(result: Result) -> dict[str, Any]:
    values = result.model_dump(exclude_none=True)
    return values | {"folds": list(result.folds)} if isinstance(result, Scored) else values


def dump_results(results: Mapping[str, Result]) -> dict[str, dict[str, Any]]:
    return {name: dump_result(result) for name, result in results.items()}


def read_best(state: Mapping[str, Any]) -> Best | None:
    values = state.get("best")
    return Best.model_validate(values) if values else None


def dump_best(best: Best | None) -> dict[str, Any]:
    return best.model_dump() if best else {}


def is_better(setup: Setup, score: float, other: float | None) -> bool:
    return other is None or (score < other if setup.lower_is_better else score > other)


def gain(setup: Setup, score: float, other: float) -> float:
    """How much better `score` is than `other`: positive for better, whatever the direction."""
    return other - score if setup.lower_is_better else score - other


def first_score(results: Mapping[str, Result]) -> float | None:
    """The score that gains are counted from: that of the first candidate with one."""
    return next((result.score for result in results.values() if isinstance(result, Scored)), None)
