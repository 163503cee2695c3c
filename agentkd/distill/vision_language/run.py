"""`agentkd distill --task vision-language`, in a straight line: read → teacher → baseline → student → compare → card.

The directory is the student's: an ordinary transformers one, with its processor. `teacher/` (where it was tuned) and
`baseline/`, the same student trained on the answers alone for the same steps, lie inside. Each stage is trained once:
what is whole is kept, and the same command goes on from checkpoints.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agentkd.config import VisionLanguageConfig, require_options, slug
from agentkd.distill.checkpoints import check_trackers
from agentkd.distill.images.classifier import find_classifier
from agentkd.distill.vision_language.publish import publish, remove_stages
from agentkd.distill.vision_language.questions import QuestionSet, read_questions
from agentkd.distill.vision_language.reader import Reader, check_kind, check_pair, open_reader
from agentkd.distill.vision_language.stages import list_stages, train_stages
from agentkd.errors import UserError
from agentkd.pretrained import load_settings
from agentkd.runs.progress import say
from agentkd.runs.read import is_complete, read_metrics
from agentkd.runs.store import RunDirectory


def resolve(config: VisionLanguageConfig) -> VisionLanguageConfig:
    """The config with a directory. Raises UserError for what is missing or unknown."""
    check_trackers(config.log)
    require_options(
        "vision-language",
        ("--data", config.data, "JSON lines of image, question and answer"),
        ("--teacher-model", config.teacher_model, "a folder, a hub name or a config.json"),
        ("--student", config.student, "a folder, a hub name or a config.json"),
    )
    for model in (str(config.teacher_model), str(config.student)):  # before the images are read, which takes longer
        check_kind(model, load_settings(find_classifier(model), trust=config.trust_remote_code))
    out = config.out or f"students/{slug(Path(str(config.data)).resolve().stem)}-{config.method}"
    return config.model_copy(update={"out": out})


def distill_vision_language(config: VisionLanguageConfig) -> dict[str, Any]:
    """Train and compare; returns the metrics. Raises UserError for wrong input before a directory is made."""
    config = resolve(config)
    folder = Path(str(config.out))
    questions = read_data(config)
    teacher, student = open_pair(config, questions)
    say(
        f"{config.method} · teacher {config.teacher_model} · student {config.student} · {len(questions.train)} "
        f"training and {len(questions.test)} held-out questions → {folder}"
    )
    with RunDirectory(folder, "distill-vision-language", config, {"hash_data": questions.hash}) as run:
        if is_complete(folder):
            say(f"{folder} is complete: nothing to do")
            remove_stages(folder)
            return {"out": str(folder), **read_metrics(folder)}
        metrics = train_all(config, questions, teacher, student)
        publish(config, metrics, run)
    return {"out": str(folder), **metrics}


def read_data(config: VisionLanguageConfig) -> QuestionSet:
    """The questions that a config names."""
    images = Path(config.images).expanduser() if config.images else None
    return read_questions(Path(str(config.data)).expanduser(), images, held_out=config.held_out, seed=config.seed)


def open_pair(config: VisionLanguageConfig, questions: QuestionSet) -> tuple[Reader, Reader]:
    """Teacher and student, which read alike. A student without a processor takes the teacher's."""
    seed, trust = config.seed, config.trust_remote_code
    teacher = open_reader(str(config.teacher_model), seed=seed, trust=trust)
    if teacher.fresh and not config.teacher_epochs:
        raise UserError(f"{config.teacher_model} has no weights: give teacher_epochs= to train it first, or a model")
    student = open_reader(str(config.student), seed=seed, trust=trust, processor=teacher.processor)
    check_pair(teacher, student, (*questions.train, *questions.test))
    return teacher, student


def train_all(config: VisionLanguageConfig, questions: QuestionSet, teacher: Reader, student: Reader) -> dict[str, Any]:
    """Train what is not trained yet, ask all three the held-out questions, and compare."""
    from transformers.utils.logging import disable_progress_bar

    from agentkd.distill.vision_language.answers import answer_all, compare_answers

    disable_progress_bar()
    *tuning, baseline_stages, stages = list_stages(config, fresh={"teacher": teacher.fresh, "student": student.fresh})
    facts: dict[str, dict[str, Any]] = {}
    if tuning:
        teacher, facts["teacher"] = train_stages(config, questions, tuning[0], teacher, teacher)
    for value in teacher.model.parameters():
        value.requires_grad_(False)
    teacher.model.eval()
    again = open_reader(
        str(config.student), seed=config.seed, trust=config.trust_remote_code, processor=teacher.processor
    )
    baseline, facts["baseline"] = train_stages(config, questions, baseline_stages, again, teacher)
    student, facts["student"] = train_stages(config, questions, stages, student, teacher)
    models = {"student": student, "baseline": baseline, "teacher": teacher}
    answers = {name: answer_all(reader, questions.test, config.batch) for name, reader in models.items()}
    return {
        "examples": len(questions.train),
        "parameters": {name: models[name].model.num_parameters() for name in ("student", "teacher")},
        "phases": {
            name: {stage: {key: found[key] for key in ("steps", "seconds")} for stage, found in parts.items()}
            for name, parts in facts.items()
        },
        "losses": [loss for found in facts["student"].values() for loss in found["losses"]],
        "seconds": round(sum(found["seconds"] for parts in facts.values() for found in parts.values()), 1),
        **compare_answers(questions.test, answers, Path(str(config.out))),
    }
