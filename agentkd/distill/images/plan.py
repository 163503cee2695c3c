"""`distill --task images --plan`: sizes and steps, and the time of real steps, of which nothing is kept."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from agentkd.config import ImagesConfig
from agentkd.distill.images.methods import IMAGE_METHODS
from agentkd.distill.images.run import open_pair, pixels_of, read_all, resolve
from agentkd.distill.plan import format_duration
from agentkd.runs.interrupt import Interrupt
from agentkd.runs.progress import say

STEPS = 4  # the first one warms up


def plan_images(config: ImagesConfig) -> dict[str, Any]:
    """Print what the run would take. Raises UserError as the run itself would."""
    config = resolve(config)
    images = read_all(config)
    teacher, student = open_pair(config, images)
    steps = -(-len(images.train) // config.batch)
    say(f"plan of {config.out}: {config.method} · teacher {config.teacher_model} · student {config.student}")
    say(
        f"model    teacher {teacher.model.num_parameters():,} and student {student.model.num_parameters():,} parameters"
    )
    say(
        f"data     {len(images.train):,} training and {len(images.test):,} held-out images of "
        f"{len(images.classes)} classes"
    )
    train = pixels_of(images, (teacher, student))
    seconds = {name: time_step(config, train, model) for name, model in (("teacher", teacher), ("student", student))}
    trainings = [("baseline", steps * config.epochs, "student"), ("student", steps * config.epochs, "student")]
    if not teacher.fitted:
        trainings.insert(0, ("teacher", steps * config.teacher_epochs, "teacher"))
    if IMAGE_METHODS[config.method].tunes:
        trainings.insert(-2, ("teacher's tuning", steps * config.cmi_epochs, "teacher"))
    total = 0.0
    for name, count, kind in trainings:
        # The teacher's forward pass is a third of a step: its backward pass would take twice as long.
        live = seconds["teacher"] / 3 if name == "student" and IMAGE_METHODS[config.method].live else 0.0
        total += count * (seconds[kind] + live)
        say(f"steps    {round(count):,} of {config.batch} images for the {name}")
    say(f"time     {format_duration(total)}: measured, {seconds['student']:.3f} s a step of the student")
    return {
        "out": config.out,
        "examples": len(images.train),
        "held_out": len(images.test),
        "classes": len(images.classes),
        "steps": {name: round(count) for name, count, _ in trainings},
        "step_seconds": {name: round(value, 4) for name, value in seconds.items()},
        "seconds": round(total, 1),
    }


def time_step(config: ImagesConfig, train: Any, model: Any) -> float:
    """Seconds of a training step on the labels."""
    from agentkd.distill.images.fit import make_trainer
    from agentkd.distill.images.lessons import Lesson
    from agentkd.distill.plan import step_timer

    timer = step_timer()
    with TemporaryDirectory(prefix="agentkd-plan-") as folder:
        epochs = STEPS * config.batch / len(train)  # at least STEPS steps
        trainer = make_trainer(
            Lesson(model), train, Path(folder), config, epochs=epochs, lr=config.lr, interrupt=Interrupt(lambda: None)
        )
        trainer.add_callback(timer)
        trainer.train()
    seconds = timer.seconds[1:]
    return float(sorted(seconds)[len(seconds) // 2])
