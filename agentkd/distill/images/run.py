"""`agentkd distill --task images`, in a straight line: read → teacher → baseline → student → compare → card.

The directory is the student's: an ordinary transformers one. `teacher/` (where it was fitted or tuned) and `baseline/`,
the same student trained on the labels alone for the same steps, lie inside. Each is trained once: what is whole is
kept, and the same command goes on from checkpoints.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkd.config import ImagesConfig, require_options, slug
from agentkd.distill.checkpoints import check_trackers
from agentkd.distill.images.classifier import Classifier, find_classifier, open_classifier, read_shape
from agentkd.distill.images.data import ImageSet, read_images
from agentkd.distill.images.decoded import largest
from agentkd.distill.images.facts import make_rows, measure_facts
from agentkd.distill.images.methods import IMAGE_METHODS
from agentkd.distill.images.pixels import Pixels
from agentkd.distill.images.publish import publish
from agentkd.errors import unknown_name
from agentkd.recommend.table import remember
from agentkd.runs.progress import say
from agentkd.runs.read import is_complete, read_metrics
from agentkd.runs.store import RunDirectory

if TYPE_CHECKING:
    from torch import Tensor


def resolve(config: ImagesConfig) -> ImagesConfig:
    """The config with a directory. Raises UserError for what is missing or unknown."""
    check_trackers(config.log)
    if config.method not in IMAGE_METHODS:
        raise unknown_name("method of images", config.method, IMAGE_METHODS)
    require_options(
        "images",
        ("--data", config.data, "a folder of class folders, or a CSV of image,label"),
        ("--teacher-model", config.teacher_model, "a folder, a hub name or a config.json"),
        ("--student", config.student, "a folder, a hub name or a config.json"),
    )
    for model in (config.teacher_model, config.student):
        find_classifier(str(model))  # before the images are read, which takes longer
    out = config.out or f"students/{slug(Path(str(config.data)).resolve().stem)}-{config.method}"
    return config.model_copy(update={"out": out})


def distill_images(config: ImagesConfig, before: Path | None = None) -> dict[str, Any]:
    """Train and compare; returns the metrics. `before` is the directory of the stage before, whose baseline goes on.

    Raises UserError for wrong input before a directory is made."""
    config = resolve(config)
    folder = Path(str(config.out))
    images = read_all(config)
    teacher, student = open_pair(config, images)
    say(
        f"{config.method} · teacher {config.teacher_model} · student {config.student} · {len(images.train)} training "
        f"and {len(images.test)} held-out images of {len(images.classes)} classes → {folder}"
    )
    with RunDirectory(folder, "distill-images", config, {"hash_data": images.hash}) as run:
        if is_complete(folder):
            say(f"{folder} is complete: nothing to do")
            return {"out": str(folder), **read_metrics(folder)}
        metrics = train_all(config, images, (teacher, student), before)
        publish(config, metrics, run)
        if before is None:  # a later stage starts from a student, not from the model
            remember(make_rows(config, images, metrics["facts"], metrics))
    return {"out": str(folder), **metrics}


def read_all(config: ImagesConfig) -> ImageSet:
    """The images, decoded in the shapes that teacher and student read."""
    models = (str(config.teacher_model), str(config.student))
    shapes = [read_shape(model, trust=config.trust_remote_code) for model in models]
    data = Path(str(config.data)).expanduser()
    return read_images(data, held_out=config.held_out, seed=config.seed, shapes={*shapes, largest(shapes)})


def open_pair(config: ImagesConfig, images: ImageSet) -> tuple[Classifier, Classifier]:
    """Teacher and student."""
    trust = config.trust_remote_code
    teacher = open_classifier(str(config.teacher_model), images.classes, seed=config.seed, trust=trust)
    student = open_classifier(str(config.student), images.classes, seed=config.seed, trust=trust)
    return teacher, student


def pixels_of(images: ImageSet, readers: tuple[Classifier, ...]) -> Pixels:
    """The training images, in the shape of the reader that sees most."""
    return Pixels(images.train, largest(reader.shape for reader in readers), images.decoded)


def train_all(
    config: ImagesConfig, images: ImageSet, pair: tuple[Classifier, Classifier], before: Path | None
) -> dict[str, Any]:
    """Fit what is not fitted yet, ask all three about the held-out images, and compare."""
    from transformers.utils.logging import disable_progress_bar

    from agentkd.distill.images.compare import compare
    from agentkd.distill.images.fit import ask
    from agentkd.distill.images.lessons import Lesson

    disable_progress_bar()
    folder, (teacher, student) = Path(str(config.out)), pair
    train = pixels_of(images, (teacher, student))
    parts: dict[str, Any] = {}
    teacher = fit_teacher(config, images, train, teacher, parts)
    facts = measure_facts(config, images, (teacher, student), ask(teacher, train))
    if IMAGE_METHODS[config.method].tunes:
        teacher, parts["tuning"] = tune_teacher(config, images, train, teacher)
    untaught = str(before / "baseline") if before else str(config.student)
    baseline = open_classifier(untaught, images.classes, seed=config.seed, trust=config.trust_remote_code)
    phase = Phase(config, images, train, folder / "baseline")
    baseline, parts["baseline"] = phase.train(baseline, Lesson, config.epochs)
    student, parts["student"] = teach(config, images, train, (teacher, student))
    predicted = {
        name: ask(model, Pixels(images.test, model.shape, images.decoded)).argmax(-1).tolist()
        for name, model in (("student", student), ("baseline", baseline), ("teacher", teacher))
    }
    sizes = {name: model.model.num_parameters() for name, model in (("student", student), ("teacher", teacher))}
    return {
        "classes": len(images.classes),
        "channels": student.channels,
        "examples": len(images.train),
        "parameters": sizes,
        "phases": {name: {key: facts[key] for key in ("steps", "seconds")} for name, facts in parts.items()},
        "losses": parts["student"]["losses"],
        "facts": facts,
        "seconds": round(sum(facts["seconds"] for facts in parts.values()), 1),
        **compare(images, predicted, folder),
    }


def fit_teacher(
    config: ImagesConfig, images: ImageSet, train: Pixels, teacher: Classifier, parts: dict[str, Any]
) -> Classifier:
    """The teacher, trained first where it does not know the classes; its part of the time goes into `parts`."""
    from agentkd.distill.images.lessons import Lesson

    if teacher.fitted:
        return teacher
    say(
        f"the labels of {teacher.name} are not these classes: it is fitted first, "
        f"teacher_epochs={config.teacher_epochs:g}"
    )
    phase = Phase(config, images, train, Path(str(config.out)) / "teacher")
    teacher, parts["teacher"] = phase.train(teacher, Lesson, config.teacher_epochs)
    return teacher


def teach(
    config: ImagesConfig, images: ImageSet, train: Pixels, pair: tuple[Classifier, Classifier]
) -> tuple[Classifier, dict[str, Any]]:
    """Train the student by the config's method. A teacher that the method tunes is tuned already."""
    import torch

    from agentkd.distill.images.fit import ask
    from agentkd.distill.images.lessons import make_lesson

    teacher, student = pair
    for value in teacher.model.parameters():
        value.requires_grad_(False)
    taught = None if IMAGE_METHODS[config.method].live else ask(teacher, train)
    torch.manual_seed(config.seed)
    return Phase(config, images, train, Path(str(config.out))).train(
        student, lambda learner: make_lesson(learner, teacher, train, taught, config), config.epochs
    )


class Phase:
    """One training: of a teacher, the baseline or the student, in a folder of its own."""

    def __init__(self, config: ImagesConfig, images: ImageSet, pixels: Pixels, folder: Path) -> None:
        self.config, self.images, self.pixels, self.folder = config, images, pixels, folder

    def train(
        self, learner: Classifier, lesson: Any, epochs: float, *, lr_share: float = 1.0
    ) -> tuple[Classifier, dict[str, Any]]:
        """The trained classifier, read back from its folder, and the facts of its training."""
        from agentkd.distill.images.fit import fit, read_fit

        facts = read_fit(self.folder)
        if facts is None:
            say(f"{self.folder}: {epochs:g} epochs of {-(-len(self.pixels) // self.config.batch)} steps")
            facts = fit(lesson(learner), self.pixels, self.folder, self.config, epochs, self.config.lr * lr_share)
        trust = self.config.trust_remote_code
        made = open_classifier(str(self.folder), self.images.classes, seed=self.config.seed, trust=trust)
        return made, facts


def tune_teacher(
    config: ImagesConfig, images: ImageSet, train: Pixels, teacher: Classifier
) -> tuple[Classifier, dict[str, Any]]:
    """MCMI: tune the teacher with the class means that it has before; nothing is chosen on held-out images."""
    from agentkd.distill.images.fit import ask
    from agentkd.distill.images.lessons import MutualInformation
    from agentkd.methods.mcmi import class_means, cmi

    labels = label_tensor(images)
    before = ask(teacher, train)
    means = class_means(before, labels, len(images.classes))
    phase = Phase(config, images, train, Path(str(config.out)) / "teacher-mcmi")
    tuned, facts = phase.train(
        teacher, lambda model: MutualInformation(model, means, config.cmi_weight), config.cmi_epochs, lr_share=0.5
    )
    after = ask(tuned, train)
    risen = cmi(before, means[labels]), cmi(after, class_means(after, labels, len(images.classes))[labels])
    say(f"conditional mutual information of the teacher: {risen[0]:.4f} → {risen[1]:.4f} nats")
    return tuned, facts


def label_tensor(images: ImageSet) -> Tensor:
    """The labels of the training images, [N]."""
    import torch

    return torch.tensor([item.label for item in images.train])
