"""MIX-KD on signals and on digits: where mixup belongs in distillation, and what divides the logits.

Objective of the paper's arms: .1 CE + .9 KL, logits divided by their standard deviation; of the others .1 CE + .9 T² KL
at T = 4. Mixed inputs go to teacher and student alike.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from agentkd.methods.logits import kd, soft_label_loss
from agentkd.methods.mixkd import draw_mix, mix, mixkd_loss
from agentkd.reproduce.beds.digits import Split, make_digits
from agentkd.reproduce.beds.signals import make_signals
from agentkd.reproduce.fit import Plan, accuracy, fit
from agentkd.reproduce.nets.small import make_cnn, make_signal_cnn

ARMS = {
    "scratch": "labels alone",
    "kd": "plain teacher, T = 4, no mixup",
    "kd, mixup teacher": "as kd, but the teacher was trained with full mixup",
    "std": "plain teacher, logits divided by their standard deviation, no mixup",
    "std, full mixup": "as std, inputs of the student mixed",
    "std, partial mixup": "as std, 90 % of the inputs drawn to stay pure: the paper's method",
}
CLASSES, PURE, TEMPERATURE = 10, 0.9, 4.0


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


class Bed(NamedTuple):
    """Data by seed, makers of teacher and student, and epochs in full and in quick form."""

    data: Callable[[int], Split]
    teacher: Callable[[], nn.Module]
    student: Callable[[], nn.Module]
    epochs: tuple[int, int]


BEDS = {
    "signals": Bed(
        make_signals,
        lambda: make_signal_cnn(1, CLASSES, width=32),
        lambda: make_signal_cnn(1, CLASSES, width=8),
        (20, 2),
    ),
    "digits": Bed(make_digits, lambda: make_cnn(1, CLASSES, width=24), lambda: make_cnn(1, CLASSES, width=4), (30, 2)),
}


def one(arm: str, seed: int, quick: bool) -> dict[str, float]:
    """Train a student on each bed; percent correct on its test set."""
    metrics = {}
    for name, bed in BEDS.items():
        setting = SETTINGS[arm]
        data = read_bed(name, seed)
        student = train(setting, name, seed, quick, bed.student)
        metrics[name] = accuracy(student, data.x_test, data.y_test)
        if setting.teacher:
            teacher = make_teacher(name, seed, quick, setting.teacher)
            metrics[f"teacher, {name}"] = accuracy(teacher, data.x_test, data.y_test)
    return metrics


@cache
def read_bed(name: str, seed: int) -> Split:
    """The data of a bed."""
    return BEDS[name].data(seed)


@cache
def make_teacher(name: str, seed: int, quick: bool, kind: str) -> nn.Module:
    """The teacher of a bed, trained on labels: `plain`, or on full mixup."""
    setting = Setting(None, 0.0 if kind == "mixup" else None)
    return train(setting, name, seed, quick, BEDS[name].teacher).requires_grad_(False)


def train(setting: Setting, name: str, seed: int, quick: bool, make: Callable[[], nn.Module]) -> nn.Module:
    """Train a network by a setting."""
    bed, data = BEDS[name], read_bed(name, seed)
    teacher = make_teacher(name, seed, quick, setting.teacher) if setting.teacher else None
    torch.manual_seed(seed)
    model, generator = make(), torch.Generator().manual_seed(seed)

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

    fit([model], data[:2], loss, Plan(epochs=bed.epochs[quick], lr=5e-3, seed=seed))
    return model
