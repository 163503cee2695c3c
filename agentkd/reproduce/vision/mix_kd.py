"""MIX-KD on small images: where mixup belongs in distillation, and what divides the logits.

Objective of the paper's arms: .1 CE + .9 KL, logits divided by their standard deviation; of the others .1 CE + .9 T² KL
at T = 4. Mixed inputs go to teacher and student alike.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from agentkd.methods.logits import kd, soft_label_loss
from agentkd.methods.mixkd import draw_mix, mix, mixkd_loss
from agentkd.reproduce.beds.digits import Split
from agentkd.reproduce.beds.images import make_images
from agentkd.reproduce.fit import Plan, accuracy, fit
from agentkd.reproduce.nets.small import make_cnn

ARMS = {
    "scratch": "labels alone",
    "kd": "plain teacher, T = 4, no mixup",
    "kd, mixup teacher": "as kd, but the teacher was trained with full mixup",
    "std": "plain teacher, logits divided by their standard deviation, no mixup",
    "std, full mixup": "as std, inputs of the student mixed",
    "std, partial mixup": "as std, 90 % of the inputs drawn to stay pure: the paper's method",
}
CLASSES, PURE, TEMPERATURE = 10, 0.9, 4.0
TEACHER, STUDENT = 16, 4  # channels


class Setting(NamedTuple):
    """An arm: which teacher, the share of pure inputs (None: no mixup), and whether logits are divided by their std."""

    teacher: str | None
    pure: float | None
    std: bool = False


SETTINGS = {
    "scratch": Setting(None, None),
    "kd": Setting("plain", None),
    "kd, mixup teacher": Setting("mixup", None),
    "std": Setting("plain", None, True),
    "std, full mixup": Setting("plain", 0.0, True),
    "std, partial mixup": Setting("plain", PURE, True),
}


def one(arm: str, seed: int, quick: bool, bed: str = "digits") -> dict[str, float]:
    """Train a student; percent correct on the test images, of its teacher, too."""
    setting, data = SETTINGS[arm], make_images(bed, seed)
    teacher = make_teacher(setting.teacher, bed, seed, quick) if setting.teacher else None
    student = train(setting, data, teacher, STUDENT, make_plan(seed, quick))
    metrics = {bed: accuracy(student, data.x_test, data.y_test)}
    if teacher:
        metrics["teacher"] = accuracy(teacher, data.x_test, data.y_test)
    return metrics


def make_plan(seed: int, quick: bool) -> Plan:
    return Plan(epochs=2 if quick else 25, lr=5e-3, seed=seed)


@cache
def make_teacher(kind: str, bed: str, seed: int, quick: bool) -> nn.Module:
    """A seed's teacher, trained on labels: `plain`, or on full mixup."""
    setting = Setting(None, 0.0 if kind == "mixup" else None)
    return train(setting, make_images(bed, seed), None, TEACHER, make_plan(seed, quick)).requires_grad_(False)


def train(setting: Setting, data: Split, teacher: nn.Module | None, width: int, plan: Plan) -> nn.Module:
    """Train a CNN of `width` channels by a setting."""
    torch.manual_seed(plan.seed)
    model, generator = make_cnn(1, CLASSES, width=width), torch.Generator().manual_seed(plan.seed)

    def loss(x: Tensor, y: Tensor) -> Tensor:
        targets = one_hot(y, CLASSES).float()
        if setting.pure is not None:
            how = draw_mix(len(x), pure=setting.pure, generator=generator)
            x, targets = mix(x, how), mix(targets, how)
        logits = model(x)
        if teacher is None:
            return soft_label_loss(logits, targets)
        if setting.std:
            return mixkd_loss(logits, teacher(x), targets).total
        return 0.1 * soft_label_loss(logits, targets) + 0.9 * kd(logits, teacher(x), TEMPERATURE)

    fit([model], data[:2], loss, plan)
    return model
