"""`--method on-policy`: the student writes, a teacher judges each token (GKD, arXiv 2306.13649, section 3).

The loss is the generalised JSD between the two models' next-token distributions over the student's own rollouts,
reverse KL by default. Generation, loss and loop are TRL's DistillationTrainer. The student must already write something
sensible (`--method sft,on-policy` trains one first), and the teacher must have its vocabulary. Other ways to learn
from rollouts are in `rollouts.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agentkd.distill.data.forms import Example
from agentkd.distill.data.teacher_scores import load_teacher
from agentkd.distill.data.tokens import IGNORED, Inputs, Row, TrainingData
from agentkd.distill.health import with_health_checks
from agentkd.distill.lessons.rollouts import RolloutLesson, find_breaks, find_targets, with_rollouts
from agentkd.distill.lessons.teacher_signal import TeacherSignal
from agentkd.distill.lessons.trl_head import refuse_unknown_head
from agentkd.distill.resolve import Stage
from agentkd.errors import UserError
from agentkd.inference.head import Head
from agentkd.inference.in_process import fit_roles
from agentkd.inference.padding import reads_padding
from agentkd.methods.divergences import find_divergence

NEVER = -100.0  # the logit of a token that the teacher does not have


def make_inputs(stage: Stage, tokenizer: Any, examples: Sequence[Example], rows: Sequence[Row]) -> Inputs:
    """Each distinct prompt once. In memory there are its tokens and those of a rollout."""
    prompts = {example.prompt: row["labels"].count(IGNORED) for example, row in zip(examples, rows, strict=True)}
    return Inputs(
        make_prompts(examples, tokenizer), [tokens + stage.config.rollout_tokens for tokens in prompts.values()]
    )


def make_prompts(examples: Sequence[Example], tokenizer: Any) -> list[dict[str, Any]]:
    """Each distinct prompt once: a text, or a chat that ends with the user's turn."""
    texts = dict.fromkeys(example.prompt for example in examples)
    return [
        {"prompt": text if isinstance(text, str) else [turn.model_dump() for turn in fit_roles(tokenizer, text)]}
        for text in texts
    ]


def make_trainer(
    stage: Stage,
    data: TrainingData,
    arguments: Mapping[str, Any],
    parts: Mapping[str, Any],
    signal: TeacherSignal | None,
) -> Any:
    """TRL's DistillationTrainer over the prompts, with the teacher in memory."""
    from trl import DistillationConfig, DistillationTrainer

    # TRL's beta: 0 is forward KL, 1 is reverse KL
    beta = {"forward": 0.0, "reverse": 1.0, "jsd": stage.config.beta}[stage.divergence]
    data.student.tokenizer.padding_side = "left"
    student, teacher = parts["model"], load_teacher(data.teachers[0])
    for model in (student, teacher):
        check_model(model, data.student.tokenizer.pad_token_id)
    size = len(student.get_output_embeddings().weight)
    fit_vocabulary(teacher, size)
    padding = sorted(set(range(size)) - set(data.student.tokenizer.get_vocab().values()))
    settings = DistillationConfig(
        **arguments,
        generation_kwargs={"suppress_tokens": padding} if padding else None,
        beta=beta,
        temperature=stage.config.rollout_temperature,
        max_completion_length=stage.config.rollout_tokens,
        shuffle_dataset=True,
    )
    kind = DistillationTrainer
    if stage.config.rollouts != "gkd":
        tokenizer = data.student.tokenizer
        lesson = RolloutLesson(
            stage.config.rollouts,
            find_divergence(stage.divergence, beta=stage.config.beta),
            stage.config.alpha,
            find_breaks(tokenizer, size),
            find_targets(data.inputs.rows, data.examples, data.rows),
            tokenizer.pad_token_id,
        )
        kind = with_rollouts(kind, lesson)
    return with_health_checks(kind)(args=settings, teacher_model=teacher, **parts)


def check_model(model: Any, pad: int) -> None:
    """Raise UserError for a student or teacher that TRL would read wrongly: its head, or prompts padded on their
    left."""
    refuse_unknown_head(model, "on-policy")
    if not reads_padding(model, pad):
        raise UserError(
            f"--method on-policy is TRL's, which pads prompts on their left, and {type(model).__name__} does not mask "
            f"padding: take --method sft or logits, or another model"
        )


def fit_vocabulary(teacher: Any, size: int) -> None:
    """Give a teacher an output layer of `size` tokens, in place, where its vocabulary is padded to another number.

    Rows beyond are cut off. A token that the teacher does not have gets next to no probability."""
    import torch

    head = Head.of(teacher)
    weight, bias = head.weight.detach(), head.bias
    if len(weight) == size:
        return
    layer = torch.nn.Linear(weight.shape[1], size, device=weight.device, dtype=weight.dtype)
    kept = min(size, len(weight))
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[:kept] = weight[:kept]
        layer.bias.fill_(NEVER / head.scale)
        layer.bias[:kept] = 0.0 if bias is None else bias[:kept]
    teacher.set_output_embeddings(layer)
    teacher.config.get_text_config().vocab_size = size
