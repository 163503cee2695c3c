"""OFA-KD on small images: do stages in logit space help a student whose teacher is of another family?

On digits a CNN teaches a ViT, for a short time and for a long one, and a ViT teaches a CNN. On MNIST a CNN teaches an
MLP, short and long, and a ViT, and a mixer teaches a CNN. The control `kd` has the same loss without the stages: with
eps = 1 it is plain distillation on logits at T = 1. Projectors are dropped after the training. The linear CKA of the
last features of teacher and student stands beside the accuracy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from agentkd.methods.hooks import Outputs, pool
from agentkd.methods.metrics.cka import linear_cka_of_features
from agentkd.methods.ofa import OfaWeights, ofa_loss
from agentkd.reproduce.beds.digits import Split
from agentkd.reproduce.beds.images import make_images
from agentkd.reproduce.fit import Plan, accuracy, fit, predict
from agentkd.reproduce.nets.staged import (
    PATHS,
    STAGES,
    LogitHead,
    make_staged_cnn,
    make_staged_mixer,
    make_staged_mlp,
    make_staged_vit,
)

ARMS = {
    "scratch": "labels alone",
    "kd": "labels and the teacher's logits at T = 1",
    "fitnet": "as kd, and the last features, projected, follow the teacher's",
    "ofa 0.1": "as kd, and each of three stages with weight 0.1, eps = 1",
    "ofa 0.3": "as kd, and each stage with weight 0.3",
    "ofa 1": "as kd, and each stage with weight 1, as in the official scripts, eps = 1",
}
WEIGHTS = {"kd": 0.0, "fitnet": 0.0, "ofa 0.1": 0.1, "ofa 0.3": 0.3, "ofa 1": 1.0}
CLASSES, TRAIN, QUICK, LAST = 10, 600, 256, PATHS[-1]  # QUICK: images for training, and for testing


class Pair(NamedTuple):
    """The teacher's name, the maker of the student, and the student's epochs."""

    teacher: str
    student: Callable[[], nn.Module]
    epochs: int


TEACHERS: dict[str, Callable[[], nn.Module]] = {
    "cnn": lambda: make_staged_cnn(CLASSES, 16),
    "vit": lambda: make_staged_vit(CLASSES, 32),
    "mixer": lambda: make_staged_mixer(CLASSES, 32),
}
BEDS = {
    "digits": {
        "short": Pair("cnn", lambda: make_staged_vit(CLASSES, 16), 15),
        "long": Pair("cnn", lambda: make_staged_vit(CLASSES, 16), 50),
        "to cnn": Pair("vit", lambda: make_staged_cnn(CLASSES, 3), 25),
    },
    "mnist": {
        "to mlp, short": Pair("cnn", lambda: _mlp(24), 15),
        "to mlp, long": Pair("cnn", lambda: _mlp(24), 60),
        "to vit": Pair("cnn", lambda: make_staged_vit(CLASSES, 16, side=14), 25),
        "mixer to cnn": Pair("mixer", lambda: make_staged_cnn(CLASSES, 3), 40),
    },
}


def _mlp(width: int) -> nn.Module:
    return make_staged_mlp(CLASSES, width, inputs=14 * 14)


@cache
def prepare(bed: str, kind: str, seed: int, quick: bool) -> tuple[Split, nn.Module]:
    """Images, 600 of them for training, and a teacher that has seen all."""
    torch.manual_seed(seed)
    data, teacher = make_images(bed, seed), TEACHERS[kind]()
    if quick:
        data = Split(*(part[:QUICK] for part in data))
    plan = Plan(epochs=1 if quick else 20, lr=2e-3, seed=seed)
    fit([teacher], data[:2], lambda x, y: cross_entropy(teacher(x), y), plan)
    return data._replace(x_train=data.x_train[:TRAIN], y_train=data.y_train[:TRAIN]), teacher.requires_grad_(False)


def one(arm: str, seed: int, quick: bool, bed: str = "digits") -> dict[str, float]:
    """Percent correct and CKA of each pair."""
    metrics = {}
    for name in BEDS[bed]:
        data, teacher = prepare(bed, BEDS[bed][name].teacher, seed, quick)
        student = train_student(arm, bed, name, seed, quick)
        metrics[name] = accuracy(student, data.x_test, data.y_test)
        metrics[f"CKA, {name}"] = compare_features(student, teacher, data.x_test)
        metrics[f"teacher, {name}"] = accuracy(teacher, data.x_test, data.y_test)
    return metrics


def train_student(arm: str, bed: str, name: str, seed: int, quick: bool) -> nn.Module:
    """The student of an arm and a pair."""
    data, teacher = prepare(bed, BEDS[bed][name].teacher, seed, quick)
    torch.manual_seed(seed)
    student = BEDS[bed][name].student()
    targets, guide = predict(teacher, data.x_train), last_features(teacher, data.x_train)
    with Outputs(student, PATHS) as outputs, torch.no_grad():
        student(data.x_train[:2])
    heads = nn.ModuleList([LogitHead(outputs[path], CLASSES) for path in PATHS])
    projector = nn.Linear(pool(outputs[LAST]).shape[-1], guide.shape[-1])
    eps = [1.0] * (STAGES + 1)
    weights = OfaWeights(stages=WEIGHTS.get(arm, 0.0))

    def loss(x: Tensor, y: Tensor, z: Tensor, features: Tensor) -> Tensor:
        if arm == "scratch":
            return cross_entropy(student(x), y)
        with Outputs(student, PATHS) as seen:
            logits = student(x)
        exits = [head(seen[path]) for head, path in zip(heads, PATHS, strict=True)] if weights.stages else []
        total = ofa_loss(logits, exits, z, y, eps=eps[-len(exits) - 1 :], weights=weights).total
        return total + mse_loss(projector(pool(seen[LAST])), features) if arm == "fitnet" else total

    epochs = 1 if quick else BEDS[bed][name].epochs
    fit([student, heads, projector], (*data[:2], targets, guide), loss, Plan(epochs=epochs, lr=2e-3, seed=seed))
    return student


@torch.no_grad()
def last_features(model: nn.Module, x: Tensor) -> Tensor:
    """The features of the last stage, averaged over places [N, D]."""
    model.eval()
    with Outputs(model, [LAST]) as outputs:
        model(x)
    return pool(outputs[LAST])


def compare_features(student: nn.Module, teacher: nn.Module, x: Tensor) -> float:
    """The linear CKA of the last features."""
    return float(linear_cka_of_features(last_features(student, x), last_features(teacher, x)))
