"""What the table of distillations keeps of a run of images: facts before training, and rows after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agentkd.config import ImagesConfig
from agentkd.distill.images.classifier import Classifier
from agentkd.distill.images.data import ImageSet
from agentkd.distill.images.methods import IMAGE_METHODS
from agentkd.recommend.table import Candidate, Row, Value, place_row

if TYPE_CHECKING:
    from torch import Tensor


def measure_facts(
    config: ImagesConfig, images: ImageSet, pair: tuple[Classifier, Classifier], taught_NC: Tensor | None
) -> dict[str, Value]:
    """Sizes of the task and of teacher and student, and how the teacher answers the training images.

    `taught_NC` are its logits of them; None for a teacher that is not fitted yet."""
    teacher, student = pair
    facts: dict[str, Value] = {
        "classes": float(len(images.classes)),
        "examples": float(len(images.train)),
        "side": float(max(student.size)),
        "channels": float(student.channels),
        "epochs": config.epochs,
        "batch": float(config.batch),
        "teacher parameters": float(teacher.model.num_parameters()),
        "student parameters": float(student.model.num_parameters()),
        "teacher family": str(teacher.model.config.model_type),
        "student family": str(student.model.config.model_type),
    }
    if taught_NC is not None:
        right = [number == item.label for number, item in zip(taught_NC.argmax(-1).tolist(), images.train, strict=True)]
        facts["teacher agrees"] = sum(right) / len(right)
        facts["teacher is sure"] = float(taught_NC.softmax(-1).amax(-1).mean())
    return facts


def candidate_of(config: ImagesConfig) -> Candidate:
    """The method of a config with the options that belong to it."""
    return Candidate(config.method, {name: getattr(config, name) for name in IMAGE_METHODS[config.method].ranges})


def labels_alone(config: ImagesConfig) -> Candidate:
    """The same student without a teacher: kd at weight 0."""
    return Candidate("kd", {**candidate_of(config.model_copy(update={"method": "kd"})).options, "alpha": 0.0})


def make_rows(
    config: ImagesConfig, images: ImageSet, facts: Mapping[str, Value], metrics: Mapping[str, Any]
) -> list[Row]:
    """Two rows of a finished run: the student's, and its baseline's."""
    accuracy = {row["name"]: row["accuracy"] for row in metrics["rows"]}
    seconds = {name: phase["seconds"] for name, phase in metrics["phases"].items()}
    return [
        make_row(config, images, facts, candidate, score=accuracy[name], seconds=seconds[name])
        for name, candidate in (("student", candidate_of(config)), ("baseline", labels_alone(config)))
    ]


def make_row(
    config: ImagesConfig,
    images: ImageSet,
    facts: Mapping[str, Value],
    candidate: Candidate,
    *,
    score: float,
    seconds: float,
    fold: int | None = None,
) -> Row:
    """A row of the table; `fold` is the part of the training images that a trial was scored on."""
    return Row(
        kind="images",
        **place_row(images.hash, facts, fold),
        method=candidate.method,
        options=dict(candidate.options),
        seed=config.seed,
        score=score,
        seconds=seconds,
    )
