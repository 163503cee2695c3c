"""Turn a dataset into what a stage trains on, and check it before anything is written: student, teachers, token ids."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import compress
from typing import Any

from agentkd.distill import processes
from agentkd.distill.checkpoints import keep_freed_memory
from agentkd.distill.data.dataset import Dataset
from agentkd.distill.data.forms import Example
from agentkd.distill.data.private_tokens import mark_private
from agentkd.distill.data.teacher_scores import check_vocabularies, load_teacher
from agentkd.distill.data.tokens import Row, TrainingData, tokenise
from agentkd.distill.data.turns import fit_conversations
from agentkd.distill.loading import open_for_training
from agentkd.distill.method import load_function
from agentkd.distill.resolve import Stage
from agentkd.distill.student import (
    Model,
    Student,
    check_checkpointing,
    check_embedding,
    check_head,
    find_model,
)
from agentkd.errors import UserError
from agentkd.inference.model_folder import context_length, open_tokenizer, refuse_pickles
from agentkd.pretrained import load_settings
from agentkd.runs.progress import say


def find_teachers(stage: Stage) -> tuple[Model, ...]:
    """The stage's teachers with their folders."""
    return tuple(find_model(name, trust=stage.config.trust_remote_code) for name in stage.teachers)


def check_later_stages(stages: Sequence[Stage]) -> None:
    """Raise UserError if a later stage could not use its models, before the first one is trained for it."""
    if len(stages) > 1:
        load_libraries()
        student = open_for_training(stages[0].student, stages[0].config)
        for stage in stages[1:]:
            teachers = find_teachers(stage)
            check_models(stage, student, teachers)
            processes.on_rank_0(partial(check_weights, stage, student, teachers))


def check_models(stage: Stage, student: Student, teachers: Sequence[Model]) -> None:
    """Raise UserError if a teacher is unusable, or does not fit the student, or if a method that makes logits by hand
    does not know how a model makes them."""
    if stage.makes_logits:
        check_head(student.settings, trust=student.trust)
    if stage.config.mixup and processes.world_size() > 1:
        raise UserError("mixup= runs in one process: start it without a launcher, or leave mixup= out")
    if stage.config.grad_checkpointing:
        check_checkpointing(student)
    for teacher in teachers:
        refuse_pickles(teacher.folder)
        settings = load_settings(teacher.folder, trust=teacher.trust)
        tokenizer = open_tokenizer(teacher.folder, teacher.name, trust=teacher.trust)
        check_embedding(f"the teacher {teacher.name}", settings, tokenizer)
        if stage.method.same_vocabulary or stage.config.paraphrase == "hard":
            check_vocabularies(student.tokenizer, tokenizer, teacher.name)
        if stage.method.signal:
            check_head(settings, trust=teacher.trust)


def check_weights(stage: Stage, student: Student, teachers: Sequence[Model]) -> None:
    """Raise UserError if the trainer of a method would read a model wrongly. Each model is loaded for it, one after
    another."""
    if stage.method.check:
        check = load_function(stage.method.check)
        for model in (Model(student.name, student.folder, student.trust), *teachers):
            check(load_teacher(model), student.tokenizer.pad_token_id)
    if stage.config.mixup:
        from agentkd.distill.lessons.mixup import check_embeddings

        check_embeddings(load_teacher(Model(student.name, student.folder, student.trust)))


def load_libraries() -> None:
    """Import what trains, without its bars and warnings. Raises UserError where a package is missing."""
    keep_freed_memory()  # before torch allocates its first block
    try:
        import datasets.utils.logging
        import transformers
        import trl  # noqa: F401  the heaviest, and the one that is most often missing
    except ImportError as error:
        raise UserError(f"distill needs {error.name}: pip install 'agentkd[train]'") from None

    datasets.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def tokenise_all(dataset: Dataset, tokenizer: Any) -> tuple[list[Example], list[Row]]:
    """The examples that the student's template can write, and their token ids. Raises UserError where there is none."""
    if dataset.form == "agent":
        pairs = fit_conversations(dataset.examples, tokenizer)
        return [example for example, _ in pairs], [row for _, row in pairs]
    return dataset.examples, [tokenise(example, tokenizer) for example in dataset.examples]


def prepare_data(stage: Stage, teachers: Sequence[Model], dataset: Dataset) -> TrainingData:
    """Open the student, tokenise for it and make the method's inputs. Raises UserError where something is wrong with
    student, teachers or examples."""
    load_libraries()
    student = open_for_training(stage.student, stage.config)
    limit = stage.config.max_length or context_length(student.settings.get_text_config()) or sys.maxsize
    whole, every = tokenise_all(dataset, student.tokenizer)
    fits = [len(row["input_ids"]) <= limit for row in every]
    rows, examples = list(compress(every, fits)), list(compress(whole, fits))
    if not rows:
        raise UserError(f"all {len(every)} examples are longer than {limit} tokens: raise max_length=…")
    if len(rows) < len(every):
        say(f"{len(every) - len(rows)} examples are longer than {limit} tokens and were left out")
    if stage.method.signal and os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() == "true":
        raise UserError(
            f"--method {stage.config.method} does not run on DeepSpeed: launch it with recipes/accelerate/fsdp2.yaml"
        )
    check_models(stage, student, teachers)
    private = None
    if stage.config.privacy:
        rows, private = mark_private(examples, rows, student.tokenizer, stage.config)
    inputs = load_function(stage.method.inputs)(stage, student.tokenizer, examples, rows)
    _, measured = (
        tokenise_all(replace(dataset, examples=dataset.held_out), student.tokenizer) if dataset.held_out else ([], [])
    )
    held_out = [row for row in measured if len(row["input_ids"]) <= limit]
    if dataset.held_out and not held_out:
        raise UserError(f"all held-out examples are longer than {limit} tokens: raise max_length=… or eval_fraction=…")
    if dataset.held_out and processes.world_size() > 1:
        raise UserError("eval_fraction is for a run of one process: launch it without accelerate, or leave it out")
    return TrainingData(student, tuple(teachers), examples, rows, inputs, private, held_out)
