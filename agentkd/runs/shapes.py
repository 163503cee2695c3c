"""The fields of config.yaml and metrics.json that commands read, checked where a directory is read.

A directory may come from anybody, from another version, or from a damaged disk: what is missing or of another kind is
told in one line, before anything is made of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic checks it, and needs this one before Python 3.12

from agentkd.config import (
    ClientsConfig,
    DistillConfig,
    ElicitConfig,
    FeedbackConfig,
    GenerateConfig,
    ImagesConfig,
    ImportConfig,
    KaggleConfig,
    StageConfig,
    TextsConfig,
    VerifyConfig,
)
from agentkd.errors import UserError

Count = Annotated[int, Field(ge=0, le=10**15)]
Number = Annotated[float, Field(ge=-1e30, le=1e30)] | None
Measure = Annotated[float, Field(ge=-1e30, le=1e30)]

CONFIGS: Mapping[str, type[StageConfig]] = {
    "generate": GenerateConfig,
    "answers": GenerateConfig,
    "elicit": ElicitConfig,
    "import": ImportConfig,
    "distill": DistillConfig,
    "distill-images": ImagesConfig,
    "distill-texts": TextsConfig,
    "distill-clients": ClientsConfig,
    "feedback": FeedbackConfig,
    "kaggle": KaggleConfig,
    "verify": VerifyConfig,
}
OF_QUESTIONS = ("task", "split", "agent", "teacher", "samples", "limit", "seed")  # that a report needs of a config


class RunFigures(TypedDict):
    """Of `generate`."""

    questions: Count
    traces: Count
    verified: Count
    questions_with_verified: Count
    rungs: dict[str, Count]
    calls: Measure
    tokens: Measure
    unchecked: NotRequired[Count]
    doubtful: NotRequired[Count]


class Row(TypedDict):
    """A system's scores by one matcher."""

    name: str
    matcher: str
    hit: Measure
    hits1: Measure
    precision: Measure
    recall: Measure
    f1: Measure
    f1_low: Measure
    f1_high: Measure
    em: Measure
    faithful: Number
    calls: Number
    tokens: Number
    seconds: Number
    read_by: NotRequired[str | None]


class Difference(TypedDict):
    """A paired difference of F1."""

    name: str
    minus: str
    matcher: str
    f1: Measure
    f1_low: Measure
    f1_high: Measure


class EvaluationFigures(TypedDict):
    """Of `eval`."""

    task: str | None
    split: NotRequired[str | None]
    n: Count
    rows: list[Row]
    differences: list[Difference]
    below_untrained: NotRequired[list[Difference]]
    note: NotRequired[str | None]


class StudentFigures(TypedDict):
    """Of `distill`."""

    examples: Count
    steps: Count
    seconds: Measure
    loss_first: Number
    loss_last: Number
    losses: list[float]  # not finite where training has diverged
    tokens_per_second: NotRequired[Measure]


class Accuracy(TypedDict):
    """An accuracy, or a difference of two, with its interval."""

    accuracy: Measure
    low: Measure
    high: Measure


class NamedAccuracy(Accuracy):
    """An accuracy of one of the models: `alone` is a client's own, without the others."""

    name: Literal["student", "baseline", "teacher", "alone"]


class AccuracyDifference(Accuracy):
    """A difference of accuracies."""

    minus: str


class ClientFigures(TypedDict):
    """Of one client of `distill --task clients`."""

    model: str
    examples: Count
    held_out: Count
    student: Measure
    alone: Measure
    difference: AccuracyDifference


class ImageFigures(TypedDict):
    """Of `distill` of images."""

    rows: list[NamedAccuracy]
    differences: list[AccuracyDifference]
    parameters: dict[str, Count]
    losses: NotRequired[list[float]]
    per_client: NotRequired[dict[str, ClientFigures]]


class TextFigures(TypedDict):
    """Of `distill` of texts."""

    documents: Count
    held_out: Count
    tokens: Count
    held_out_before: Measure
    held_out_after: Measure
    bytes_per_token: Measure
    losses: NotRequired[list[float]]


class RetrieverFigures(TypedDict):
    """Of `feedback`."""

    held_out: Count
    f1_before: Measure
    f1_after: Measure
    f1_gain: Measure
    f1_gain_low: Measure
    f1_gain_high: Measure


class CandidateFigures(TypedDict):
    """A candidate of a competition, with a score or an error."""

    author: str
    score: NotRequired[Measure]
    folds: NotRequired[list[Number]]
    error: NotRequired[str]
    seconds: NotRequired[Number]


class SentFigures(TypedDict):
    """A file that was sent."""

    hash: str
    file: str
    ref: Count | None
    status: str
    public: Number
    private: Number
    error: str


class Confusion(TypedDict):
    """Counts of rows by true class, then by predicted class."""

    classes: list[str]
    rows: list[list[Count]]


class QualityFigures(TypedDict):
    """What a score is made of; nothing where the model wrote the metric."""

    constant: NotRequired[Measure | None]
    folds: NotRequired[list[Measure | None]]
    confusion: NotRequired[Confusion]
    errors: NotRequired[dict[str, list[Measure]]]


class ColumnImportance(TypedDict):
    """How much worse the score is where a column is shuffled."""

    name: str
    loss: Measure
    spread: Measure


class ImportanceFigures(TypedDict):
    """Which columns matter to a stand-in for the solution; nothing where it was not asked."""

    metric: NotRequired[str]
    score: NotRequired[Measure]
    rows: NotRequired[list[Count]]
    columns: NotRequired[list[ColumnImportance]]
    of: NotRequired[Count]


class ColumnFigures(TypedDict):
    """What a column holds, and how training and test rows differ in it."""

    name: str
    kind: str
    missing: list[Measure]
    distinct: Count
    holds: str
    drift: Measure
    unseen: Measure


class TargetFigures(TypedDict):
    """The counts of a target's classes, or the spread of its values."""

    name: str
    classes: NotRequired[list[list[str | int]]]
    of: NotRequired[Count]
    quantiles: NotRequired[list[Measure]]
    counts: NotRequired[list[Count]]
    known: NotRequired[Count]
    edges: NotRequired[list[Measure]]


class ProfileFigures(TypedDict):
    """A look at the data; nothing where there was no time for it."""

    rows: NotRequired[list[Count]]
    columns: NotRequired[list[ColumnFigures]]
    of: NotRequired[Count]
    repeated: NotRequired[Count]
    targets: NotRequired[list[TargetFigures]]


class CompetitionFigures(TypedDict):
    """Of `kaggle run`."""

    title: str
    task: str
    metric: str
    lower_is_better: bool
    score: Measure
    best: str
    blend: dict[str, Any]
    candidates: dict[str, CandidateFigures]
    accepted: dict[str, str]
    sent_back: dict[str, Count]
    sandbox: str
    silent: str
    seconds: Measure
    model_seconds: Measure
    submissions: list[SentFigures]
    quality: NotRequired[QualityFigures]
    profile: NotRequired[ProfileFigures]
    importance: NotRequired[ImportanceFigures]
    max_hours: NotRequired[Measure]
    limit: NotRequired[Count | None]
    settled: NotRequired[dict[str, str]]
    data: NotRequired[str]
    said: NotRequired[list[str]]
    tokens: NotRequired[Count]


def check_shape(values: Any, shape: Any, source: object, remedy: str) -> dict[str, Any]:
    """Return the values as they are. UserError where they lack a field of the shape, or hold one of another kind."""
    try:
        TypeAdapter(shape).validate_python(values, strict=True)  # "3" is no number; an integer is a float
    except ValidationError as error:
        raise UserError(f"{source} is damaged ({first_fault(error)}): {remedy}") from None
    found: dict[str, Any] = values
    return found


def check_config(values: Mapping[str, Any], source: object, needed: Sequence[str]) -> dict[str, Any]:
    """Return the values, with those that a config of the stage has read as it reads them.

    UserError for a value that no config has, and where one of the `needed` is missing."""
    remedy = "remove the directory, or restore the file"
    if lacking := [name for name in needed if name not in values]:
        raise UserError(f"{source} is damaged (it has no {lacking[0]}): {remedy}")
    stage = values.get("stage")
    kind = CONFIGS.get(stage) if isinstance(stage, str) else None
    if kind is None:
        return dict(values)
    known = {name: value for name, value in values.items() if name in kind.model_fields}
    # A config takes passwords out of addresses and remembers them, which is not for those of a stranger.
    own = {name: value for name, value in known.items() if not (isinstance(value, str) and "://" in value)}
    try:
        read = kind.model_validate(own).model_dump(mode="json")
    except ValidationError as error:
        raise UserError(f"{source} is damaged ({first_fault(error)}): {remedy}") from None
    return {name: read[name] if name in own else value for name, value in values.items()}


def first_fault(error: ValidationError) -> str:
    """The first fault of a record in a few words."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where[:80] or 'it'}: {first['msg'].lower()[:160]}"
