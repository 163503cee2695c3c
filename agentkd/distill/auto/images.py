"""`--method auto` for images: folds of the training images, a teacher for each, and the search over them."""

from __future__ import annotations

import copy
from pathlib import Path
from random import Random
from typing import Any

from agentkd.config import ImagesConfig
from agentkd.distill.auto.advice import recommend
from agentkd.distill.auto.choice import budget_of, require_budget, say_choice
from agentkd.distill.auto.search import Bed, rows_of, say_plan, search
from agentkd.distill.auto.trials import FOLDS, STEPS, Step, Trial
from agentkd.distill.images.classifier import Classifier, open_classifier
from agentkd.distill.images.data import ImageSet, Item
from agentkd.distill.images.facts import candidate_of, make_row, measure_facts
from agentkd.distill.images.methods import IMAGE_METHODS
from agentkd.distill.images.pixels import Pixels
from agentkd.distill.images.plan import time_step
from agentkd.distill.images.run import (
    distill_images,
    fit_teacher,
    open_pair,
    pixels_of,
    read_all,
    resolve,
    teach,
    tune_teacher,
)
from agentkd.errors import UserError
from agentkd.recommend.space import Space
from agentkd.recommend.table import Candidate, Row, Values, as_values, remember
from agentkd.runs.progress import say
from agentkd.runs.read import is_complete, read_metrics
from agentkd.runs.store import RunDirectory

SEARCH = "search"  # the folder of the trials in the student's


def distill_images_auto(config: ImagesConfig) -> dict[str, Any]:
    """Choose by trials on the training images, then train the choice on all of them; returns its metrics.

    The held-out images are not looked at before the choice is made."""
    base = resolve_auto(config)
    folder = Path(str(base.out)) / SEARCH
    images = read_all(base)
    pair = open_pair(base, images)
    recorded = base.model_copy(update={"method": "auto"})
    with RunDirectory(folder, "distill-auto", recorded, {"hash_data": images.hash}) as run:
        if is_complete(folder):
            found = read_metrics(folder)
            say(f"{folder} is complete: {found['method']} was chosen")
        else:
            bed = make_bed(base, images, pair, folder)
            found = search(bed, budget_of(base), folder, base.seed)
            run.finish(found)
            remember(rows_of(bed, folder))
    say_choice(found)
    result = distill_images(with_candidate(base, Candidate(found["method"], found["options"])))
    return {**result, "search": found}


def resolve_auto(config: ImagesConfig) -> ImagesConfig:
    """The config with a directory and the default method. Raises UserError without a budget."""
    require_budget(config)
    default = ImagesConfig.model_fields["method"].default
    out = config.out or str(resolve(config.model_copy(update={"method": default})).out).removesuffix(default) + "auto"
    return resolve(config.model_copy(update={"method": default, "out": out}))


def plan_images_auto(config: ImagesConfig) -> dict[str, Any]:
    """Print what would be tried first, and how many trainings fit into the budget, by the time of real steps."""
    base = resolve_auto(config)
    images = read_all(base)
    pair = open_pair(base, images)
    bed = make_bed(base, images, pair, Path(str(base.out)) / SEARCH)
    train = pixels_of(images, pair)
    step = time_step(base, train, pair[1])
    return say_plan(bed, budget_of(base), str(base.out), step * -(-len(train) // base.batch), base.seed)


def recommend_images(config: ImagesConfig) -> dict[str, Any]:
    """What the table of distillations lets one expect of each method on these images with this pair."""
    base = resolve(config.model_copy(update={"out": "nowhere"}))
    images = read_all(base)
    return recommend(make_bed(base, images, open_pair(base, images), Path("nowhere")), base.seed)


def with_candidate(config: ImagesConfig, candidate: Candidate) -> ImagesConfig:
    """The config of a candidate's training."""
    budget = {"budget_hours": None, "budget_passes": None}
    return config.model_copy(update={"method": candidate.method, **candidate.options, **budget})


def make_space(config: ImagesConfig) -> Space:
    """The options of all methods. Those that the user has given stay as they are."""
    names = {name for method in IMAGE_METHODS.values() for name in method.ranges}
    return Space(
        {name: method.ranges for name, method in IMAGE_METHODS.items()},
        as_values({name: getattr(config, name) for name in names}),
        frozenset(config.model_fields_set & names),
    )


def make_bed(config: ImagesConfig, images: ImageSet, pair: tuple[Classifier, Classifier], folder: Path) -> Bed:
    """What the search is told."""
    folds = Folds(config, images, pair, folder)
    return Bed(
        kind="images",
        space=make_space(config),
        default=candidate_of(config),
        facts=folds.facts,
        epochs=config.epochs,
        train=folds.train,
        row=folds.row,
    )


class Folds:
    """The training images in parts, one of which is held out at a time. A teacher that must be fitted first is fitted
    on the others."""

    def __init__(
        self, config: ImagesConfig, images: ImageSet, pair: tuple[Classifier, Classifier], folder: Path
    ) -> None:
        self.config, self.images, self.pair, self.folder = config, images, pair, folder
        self.parts = [split(images, fold, config.seed) for fold in range(FOLDS)]
        self._ready: dict[int, tuple[Classifier, Pixels]] = {}
        self.facts = self._measure()

    def _measure(self) -> Values:
        from agentkd.distill.images.fit import ask

        teacher = self.pair[0]
        taught = ask(teacher, pixels_of(self.images, self.pair)) if teacher.fitted else None
        return measure_facts(self.config, self.images, self.pair, taught)

    def ready(self, fold: int) -> tuple[Classifier, Pixels]:
        """The teacher of a fold and the images that it teaches."""
        if fold not in self._ready:
            part, teacher = self.parts[fold], self.pair[0]
            pixels = pixels_of(part, self.pair)
            own = self.config.model_copy(update={"out": str(self.folder / f"fold-{fold}")})
            if not teacher.fitted:
                fresh = open_pair(self.config, part)[0]
                teacher = fit_teacher(own, part, pixels, fresh, {})
            self._ready[fold] = teacher, pixels
        return self._ready[fold]

    def train(self, candidate: Candidate, step: Step, folder: Path) -> float:
        """Train a student without the step's fold; percent correct on it."""
        from transformers.utils.logging import disable_progress_bar

        from agentkd.distill.images.fit import ask

        disable_progress_bar()
        part = self.parts[step.fold]
        teacher, pixels = self.ready(step.fold)
        epochs = self.config.epochs * step.share
        config = with_candidate(self.config, candidate).model_copy(update={"out": str(folder), "epochs": epochs})
        if IMAGE_METHODS[candidate.method].tunes:
            own = copy.deepcopy(teacher)  # the others learn from the teacher as it is
            own.model.requires_grad_(True)
            teacher, _ = tune_teacher(config, part, pixels, own)
        trust = config.trust_remote_code
        student = open_classifier(str(config.student), part.classes, seed=config.seed, trust=trust)
        student, _ = teach(config, part, pixels, (teacher, student))
        answers: list[int] = ask(student, Pixels(part.test, student.shape, part.decoded)).argmax(-1).tolist()
        return 100.0 * sum(a == item.label for a, item in zip(answers, part.test, strict=True)) / len(part.test)

    def row(self, trial: Trial) -> Row:
        """A trial for the table."""
        facts = {**self.facts, "examples": float(len(self.parts[0].train))}
        fold = STEPS[trial.step].fold
        earned = {"score": trial.reward, "seconds": trial.seconds}
        return make_row(self.config, self.images, facts, trial.candidate, fold=fold, **earned)


def split(images: ImageSet, fold: int, seed: int) -> ImageSet:
    """The training images without a fold, and the fold as what is held out: every FOLDS-th image of each class, in an
    order drawn by the seed. A class of one image is not held out."""
    train: list[Item] = []
    held: list[Item] = []
    for label in range(len(images.classes)):
        own = [item for item in images.train if item.label == label]
        Random(f"{seed} folds {label}").shuffle(own)
        held += own[fold::FOLDS] if len(own) > 1 else []
        train += [item for place, item in enumerate(own) if place % FOLDS != fold or len(own) == 1]
    if not held:
        raise UserError("no class has two training images: --method auto holds some out, give more")
    return ImageSet(images.classes, tuple(train), tuple(held), f"{images.hash} fold {fold}", images.decoded)
