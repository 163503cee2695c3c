"""What a student of images minimises: one module that holds the student and what is trained beside it.

Everything trained or random is part of the module's state or comes from torch's generator, so a checkpoint of
transformers holds it all and a resumed run equals an undisturbed one. Losses are those of `agentkd.methods`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from agentkd.config import ImagesConfig
from agentkd.distill.images.classifier import Classifier
from agentkd.distill.images.pixels import Pixels
from agentkd.methods.hard import augmentor_learns, divergence, sample_affine, warp_affine
from agentkd.methods.hooks import pool
from agentkd.methods.logits import dist, dkd, kd_with_labels, label_loss, logit_standardisation_with_labels
from agentkd.methods.mcmi import teacher_loss
from agentkd.methods.mixkd import draw_mix, mix, mixkd_loss
from agentkd.methods.ofa import OfaWeights, ofa_loss

AUGMENTOR_LR = 30.0  # times the student's
LIMITS = (0.25, 0.25, 0.35, 0.2, 0.2, 0.2)  # of an affine map, in the order of `hard.AFFINE`
FOLLOWS, LAGS = 0.15, 0.6  # nats: the augmentor learns below the first loss of the student, and rests above the second


class Lesson(nn.Module):
    """The cross-entropy alone; methods derive from it. Called with pixels [B, C, H, W] in 0..1, labels and the places
    of the images among the training images, it returns the loss in nats an image."""

    def __init__(self, student: Classifier) -> None:
        super().__init__()
        self.student = student
        self.model = student.model

    def forward(self, pixels: Tensor, labels: Tensor, place: Tensor) -> dict[str, Tensor]:
        return {"loss": label_loss(self.logits(pixels), labels)}

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """Groups of an optimizer: weight decay for matrices alone."""
        return group_parameters(self)

    def logits(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.model(pixel_values=self.student.inputs(pixels)).logits
        return logits


class MutualInformation(Lesson):
    """MCMI's teacher: CE - weight · CMI, with class means that are computed once, before the tuning."""

    def __init__(self, teacher: Classifier, means_CC: Tensor, weight: float) -> None:
        super().__init__(teacher)
        self.weight = weight
        self.register_buffer("means_CC", means_CC)

    def forward(self, pixels: Tensor, labels: Tensor, place: Tensor) -> dict[str, Tensor]:
        means_CC: Any = self.means_CC
        return {"loss": teacher_loss(self.logits(pixels), labels, means_CC, self.weight)}


class FromLogits(Lesson):
    """Methods that need no more than the teacher's logits of the clean images, which are computed once."""

    def __init__(self, student: Classifier, teacher_NC: Tensor, config: ImagesConfig) -> None:
        super().__init__(student)
        self.chosen, self.teacher_NC = config, teacher_NC

    def forward(self, pixels: Tensor, labels: Tensor, place: Tensor) -> dict[str, Tensor]:
        config, teacher = self.chosen, self.teacher_logits(place)
        logits, alpha, temperature = self.logits(pixels), config.alpha, config.temperature
        if config.method == "dkd":
            return {"loss": label_loss(logits, labels) + dkd(logits, teacher, labels, temperature=temperature)}
        if config.method == "dist":
            return {"loss": label_loss(logits, labels) + dist(logits, teacher, temperature=temperature)}
        if config.method == "logit-std":
            return {"loss": logit_standardisation_with_labels(logits, teacher, labels, temperature, 1 - alpha)}
        return {"loss": kd_with_labels(logits, teacher, labels, temperature, 1 - alpha)}

    def teacher_logits(self, place: Tensor) -> Tensor:
        return self.teacher_NC.to(place.device)[place]


class WithStages(FromLogits):
    """OFA-KD: the hidden states of four stages, pooled and projected into logit space by heads of their own.

    `pixels` are any images, from which the stages' widths are read."""

    def __init__(self, student: Classifier, teacher_NC: Tensor, config: ImagesConfig, pixels: Tensor) -> None:
        super().__init__(student, teacher_NC, config)
        with torch.no_grad():
            logits, stages = self.read_stages(pixels)
        classes = logits.shape[-1]
        self.heads = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(stage.shape[-1]), nn.Linear(stage.shape[-1], classes)) for stage in stages
        )

    def forward(self, pixels: Tensor, labels: Tensor, place: Tensor) -> dict[str, Tensor]:
        logits, stages = self.read_stages(pixels)
        heads = [head(stage) for head, stage in zip(self.heads, stages, strict=True)]
        weights = OfaWeights(stages=self.chosen.stage_weight)
        eps = [self.chosen.eps] * (len(heads) + 1)
        return {"loss": ofa_loss(logits, heads, self.teacher_logits(place), labels, eps=eps, weights=weights).total}

    def read_stages(self, pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits [B, C] and the pooled states [B, D] of the stages."""
        made = self.model(pixel_values=self.student.inputs(pixels), output_hidden_states=True)
        return made.logits, [pool(state) for state in pick_stages(made.hidden_states)]


class Mixed(Lesson):
    """MIX-KD: partial mixup of what both look at, and temperatures by standard deviation."""

    def __init__(self, student: Classifier, teacher: Classifier, config: ImagesConfig) -> None:
        super().__init__(student)
        self.chosen, self.others = config, (teacher,)  # in a tuple, or its weights would be trained and saved

    def forward(self, pixels: Tensor, labels: Tensor, place: Tensor) -> dict[str, Tensor]:
        (teacher,) = self.others
        how = draw_mix(len(pixels), pure=self.chosen.pure, generator=torch.default_generator)
        mixed = mix(pixels, how)
        with torch.no_grad():
            taught = teacher.model(pixel_values=teacher.inputs(mixed)).logits
        targets = nn.functional.one_hot(labels, taught.shape[-1]).to(taught.dtype)
        return {"loss": mixkd_loss(self.logits(mixed), taught, mix(targets, how)).total}


class Hard(Lesson):
    """HARD: an affine augmentor that is trained against the student, in the same backward pass.

    The augmentor minimises keep · change - D and the student minimises D. So the loss is D - keep · change, and the
    gradients of the augmentor are reversed; its `change` does not reach the student."""

    def __init__(self, student: Classifier, teacher: Classifier, config: ImagesConfig) -> None:
        super().__init__(student)
        self.chosen, self.others = config, (teacher,)
        self.log_std = nn.Parameter(torch.full((6,), -3.0))
        self.register_buffer("learns", torch.ones((), dtype=torch.bool))
        self.register_buffer("limits", torch.tensor(LIMITS))
        hook: Any = self.log_std.register_hook
        hook(lambda gradient: -gradient if bool(self.learns) else gradient * 0)

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        matrices, others = super().parameter_groups(lr)
        others["params"] = [value for value in others["params"] if value is not self.log_std]
        return [matrices, others, {"params": [self.log_std], "weight_decay": 0.0, "lr": AUGMENTOR_LR * lr}]

    def forward(self, pixels: Tensor, labels: Tensor, place: Tensor) -> dict[str, Tensor]:
        (teacher,) = self.others
        limits: Any = self.limits
        noise = torch.randn(len(pixels), 6).to(pixels.device)
        changed = warp_affine(pixels, sample_affine(self.log_std, noise, limits))
        taught = teacher.model(pixel_values=teacher.inputs(changed)).logits
        with torch.no_grad():
            clean = teacher.model(pixel_values=teacher.inputs(pixels)).logits
        temperature = self.chosen.temperature
        gap = divergence(self.logits(changed), taught, temperature)
        learns: Any = self.learns
        learns.fill_(augmentor_learns(bool(learns), float(gap.detach()), FOLLOWS, LAGS))
        change = divergence(taught, clean, temperature)
        labelled = label_loss(self.logits(pixels), labels)
        return {"loss": (1 - self.chosen.alpha) * labelled + self.chosen.alpha * (gap - self.chosen.keep * change)}


def group_parameters(lesson: nn.Module) -> list[dict[str, Any]]:
    """What is trained, in two groups of an optimizer: weight decay for matrices alone."""
    trained = [value for value in lesson.parameters() if value.requires_grad]
    matrices, others = ([value for value in trained if (value.dim() > 1) == is_one] for is_one in (True, False))
    return [{"params": matrices, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]


def pick_stages(states: Any, wanted: int = 4) -> list[Tensor]:
    """Four hidden states, evenly spaced, without the embeddings."""
    found = list(states)[1:] or list(states)
    count = min(wanted, len(found))
    return [found[(number + 1) * len(found) // count - 1] for number in range(count)]


def make_lesson(
    student: Classifier, teacher: Classifier, train: Pixels, teacher_NC: Tensor | None, config: ImagesConfig
) -> Lesson:
    """The lesson of a method. `teacher_NC` are the teacher's logits of the training images, where it looks at them
    only once."""
    if config.method == "mix-kd":
        return Mixed(student, teacher, config)
    if config.method == "hard":
        return Hard(student, teacher, config)
    assert teacher_NC is not None
    if config.method == "ofa":
        return WithStages(student, teacher_NC, config, next(train.batches(2))["pixels"])
    return FromLogits(student, teacher_NC, config)
