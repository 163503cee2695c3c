"""The trainings of a run in order: LLaVA-KD's three stages, and the same steps without a teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from agentkd.config import VisionLanguageConfig
from agentkd.distill.vision_language.questions import QuestionSet
from agentkd.distill.vision_language.reader import Reader, open_reader
from agentkd.runs.progress import say

PARTS = ("projector", "language", "tower")


class Stage(NamedTuple):
    """A training: its folder below the run's, its passes and learning rate, what learns, and whether a teacher helps.

    `model` says who is trained: the student, or the teacher itself."""

    name: str
    folder: str
    epochs: float
    lr: float
    trained: tuple[str, ...]
    distilled: bool = False
    model: str = "student"


def list_stages(config: VisionLanguageConfig, *, fresh: dict[str, bool]) -> list[list[Stage]]:
    """The stages of the teacher (where it is tuned), of the baseline and of the student. `fresh` says of teacher and
    student whether they begin with fresh weights."""
    tower = ("tower",) if config.image_tower == "trained" or (config.image_tower == "auto" and fresh["student"]) else ()
    first, later = ("projector", *tower), ("projector", "language", *tower)
    tuned = PARTS if fresh["teacher"] or config.image_tower == "trained" else PARTS[:2]
    rest = config.sft_epochs + config.dft_epochs
    teacher = [Stage("tuning", "teacher", config.teacher_epochs, config.lr, tuned, model="teacher")]
    baseline = [
        Stage("pt", "baseline/pt", config.dpt_epochs, config.projector_lr, first),
        Stage("sft", "baseline", rest, config.lr, later),
    ]
    student = [
        Stage("dpt", "stages/dpt", config.dpt_epochs, config.projector_lr, first, distilled=True),
        Stage("sft", "stages/sft", config.sft_epochs, config.lr, later),
        Stage("dft", ".", config.dft_epochs, config.lr, later, distilled=True),
    ]
    return [*([teacher] if config.teacher_epochs else []), baseline, student]


def train_stages(
    config: VisionLanguageConfig, questions: QuestionSet, stages: list[Stage], learner: Reader, teacher: Reader
) -> tuple[Reader, dict[str, Any]]:
    """Train what is not trained yet, each stage from the weights of the one before. Returns the trained model, read
    from its folder, and steps, seconds and losses by stage."""
    from agentkd.distill.images.fit import fit, read_fit
    from agentkd.distill.vision_language.batches import Batches
    from agentkd.distill.vision_language.lessons import Answering

    facts: dict[str, Any] = {}
    for stage in stages:
        folder = Path(str(config.out)) / stage.folder
        found = read_fit(folder)
        if found is None:
            helper = teacher if stage.distilled else None
            data = Batches(questions.train, learner, helper)
            say(f"{folder}: {stage.name}, {stage.epochs:g} epochs of {-(-len(data) // config.batch)} steps")
            lesson = Answering(learner, stage.trained, helper)
            found = fit(lesson, data, folder, config, stage.epochs, stage.lr)
        facts[stage.name] = found
        learner = open_reader(str(folder), seed=config.seed, trust=config.trust_remote_code)
    return learner, facts
