"""`distill --task vision-language --plan`: sizes and steps, and the time of real steps, of which nothing is kept."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from agentkd.config import VisionLanguageConfig
from agentkd.distill.plan import format_duration, step_timer
from agentkd.distill.vision_language.questions import QuestionSet
from agentkd.distill.vision_language.reader import Reader
from agentkd.distill.vision_language.run import open_pair, read_data, resolve
from agentkd.distill.vision_language.stages import Stage, list_stages
from agentkd.runs.interrupt import Interrupt
from agentkd.runs.progress import say

STEPS = 3  # the first one warms up


def plan_vision_language(config: VisionLanguageConfig) -> dict[str, Any]:
    """Print what the run would take. Raises UserError as the run itself would."""
    config = resolve(config)
    questions = read_data(config)
    teacher, student = open_pair(config, questions)
    say(f"plan of {config.out}: {config.method} · teacher {config.teacher_model} · student {config.student}")
    sizes = {name: reader.model.num_parameters() for name, reader in (("teacher", teacher), ("student", student))}
    say(f"model    teacher {sizes['teacher']:,} and student {sizes['student']:,} parameters")
    say(f"data     {len(questions.train):,} training and {len(questions.test):,} held-out questions")
    a_pass = -(-len(questions.train) // config.batch)
    steps: dict[str, int] = {}
    measured: dict[tuple[Any, ...], float] = {}
    total = 0.0
    for stage in (stage for part in list_stages(config, fresh=_fresh(teacher, student)) for stage in part):
        label = stage.folder.replace("stages/", "student/") if stage.folder != "." else "student/dft"
        kind = (stage.model, stage.trained, stage.distilled)
        if kind not in measured:
            measured[kind] = time_step(config, questions, stage, (teacher, student))
        steps[label] = round(a_pass * stage.epochs)
        total += steps[label] * measured[kind]
        say(
            f"steps    {steps[label]:,} of {config.batch} questions for {label}, {measured[kind]:.3f} s each (measured)"
        )
    say(f"time     {format_duration(total)}, without the held-out questions")
    return {
        "out": config.out,
        "examples": len(questions.train),
        "held_out": len(questions.test),
        "parameters": sizes,
        "steps": steps,
        "seconds": round(total, 1),
    }


def _fresh(teacher: Reader, student: Reader) -> dict[str, bool]:
    return {"teacher": teacher.fresh, "student": student.fresh}


def time_step(config: VisionLanguageConfig, questions: QuestionSet, stage: Stage, pair: tuple[Reader, Reader]) -> float:
    """Seconds of a step of a stage."""
    from agentkd.distill.images.fit import make_trainer
    from agentkd.distill.vision_language.batches import Batches
    from agentkd.distill.vision_language.lessons import Answering

    teacher, student = pair
    learner, helper = (teacher if stage.model == "teacher" else student), (teacher if stage.distilled else None)
    data = Batches(questions.train, learner, helper)
    timer = step_timer()
    with TemporaryDirectory(prefix="agentkd-plan-") as folder:
        epochs = STEPS * config.batch / len(data)  # at least STEPS steps
        lesson = Answering(learner, stage.trained, helper)
        trainer = make_trainer(
            lesson, data, Path(folder), config, epochs=epochs, lr=stage.lr, interrupt=Interrupt(lambda: None)
        )
        trainer.add_callback(timer)
        trainer.train()
    seconds = timer.seconds[1:]
    return float(sorted(seconds)[len(seconds) // 2])
