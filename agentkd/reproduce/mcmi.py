"""MCMI on digits: does a teacher that says more about each image teach a class that the student never sees?

Three teachers come from one network trained on labels, by as many further epochs of the same schedule: with plain
cross-entropy, with the MCMI objective, or with label smoothing. Class means are those before the fine-tuning, and
nothing is chosen on test images. Students learn by .1 CE + .9 T² KL at T = 4.
"""

from __future__ import annotations

import copy
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from agentkd.methods.logits import kd_with_labels
from agentkd.methods.mcmi import class_means, cmi, teacher_loss
from agentkd.reproduce.beds.digits import Split, make_digits
from agentkd.reproduce.fit import Plan, accuracy, fit, predict
from agentkd.reproduce.nets.small import make_mlp

ARMS = {
    "plain": "teacher tuned with cross-entropy, as long as the others",
    "mcmi": "teacher tuned with cross-entropy - 0.8 CMI",
    "label smoothing": "teacher tuned with labels smoothed by 0.1: the control of an unsure teacher",
}
CLASSES, WEIGHT, SMOOTHING = 10, 0.8, 0.1
SHARES = {"5 % of images": 0.05, "10 % of images": 0.1, "25 % of images": 0.25, "all images": 1.0}


@cache
def prepare(seed: int, quick: bool) -> tuple[Split, nn.Module]:
    """The images, and the teacher before the fine-tuning."""
    torch.manual_seed(seed)
    data, teacher = make_digits(seed), make_mlp(64, (256, 256), CLASSES)
    plan = Plan(epochs=4 if quick else 20, seed=seed)
    fit([teacher], data[:2], lambda x, y: cross_entropy(teacher(x), y), plan)
    return data, teacher


def tune_teacher(arm: str, seed: int, quick: bool) -> nn.Module:
    """The teacher of an arm."""
    data, start = prepare(seed, quick)
    teacher = copy.deepcopy(start)
    means = class_means(predict(teacher, data.x_train), data.y_train, CLASSES)

    def loss(x: Tensor, y: Tensor) -> Tensor:
        if arm == "label smoothing":
            return cross_entropy(teacher(x), y, label_smoothing=SMOOTHING)
        return teacher_loss(teacher(x), y, means, WEIGHT if arm == "mcmi" else 0.0)

    fit([teacher], data[:2], loss, Plan(epochs=4 if quick else 20, lr=1e-3, seed=seed))
    return teacher


def one(arm: str, seed: int, quick: bool) -> dict[str, float]:
    """The teacher's CMI on test images, and percent correct of students: on a class that they never saw (the mean over
    omitting each class), and with shares of the images."""
    data, _ = prepare(seed, quick)
    teacher = tune_teacher(arm, seed, quick)
    logits = predict(teacher, data.x_train)
    means = class_means(logits, data.y_train, CLASSES)
    metrics = {
        "teacher's CMI": float(cmi(predict(teacher, data.x_test), means[data.y_test])),
        "teacher": accuracy(teacher, data.x_test, data.y_test),
    }
    found = []
    for omitted in range(CLASSES):
        student = train_student(data, logits, data.y_train != omitted, seed, quick)
        rows = data.y_test == omitted
        found.append(accuracy(student, data.x_test[rows], data.y_test[rows]))
    metrics |= {"omitted class": sum(found) / CLASSES, "best omitted class": max(found)}
    for name, share in SHARES.items():
        kept = torch.arange(len(data.y_train)) < share * len(data.y_train)
        metrics[name] = accuracy(train_student(data, logits, kept, seed, quick), data.x_test, data.y_test)
    return metrics


def train_student(data: Split, logits: Tensor, kept: Tensor, seed: int, quick: bool) -> nn.Module:
    """A student of the rows in `kept`; the teacher's logits are computed once."""
    torch.manual_seed(seed)
    student = make_mlp(64, (24,), CLASSES)
    rows = [tensor[kept] for tensor in (data.x_train, data.y_train, logits)]
    steps = 40 if quick else 250
    batch = min(64, int(kept.sum()))
    plan = Plan(epochs=max(1, steps // (len(rows[0]) // batch)), batch=batch, lr=5e-3, seed=seed)
    fit([student], rows, lambda x, y, z: kd_with_labels(student(x), z, y, temperature=4.0, alpha=0.1), plan)
    return student
