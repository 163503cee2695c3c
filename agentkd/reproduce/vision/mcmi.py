"""MCMI on small images: does a teacher that says more about each image teach a class that the student never sees?

Three teachers come from one network trained on labels, by as many further epochs of the same schedule: with plain
cross-entropy, with the MCMI objective, or with label smoothing. Class means are computed anew in each epoch: with those
before the fine-tuning, as in the official code, this small teacher's CMI grows without bound and its accuracy is lost.
Nothing is chosen on test images. Students learn by .1 CE + .9 T² KL at T = 4.
"""

from __future__ import annotations

import copy
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from agentkd.methods.logits import kd_with_labels
from agentkd.methods.mcmi import class_means, cmi, teacher_loss
from agentkd.reproduce.beds.digits import Split
from agentkd.reproduce.beds.images import make_images
from agentkd.reproduce.fit import Plan, accuracy, fit, predict
from agentkd.reproduce.nets.small import make_mlp
from agentkd.reproduce.nets.stacked import StackedMlp

ARMS = {
    "plain": "teacher tuned with cross-entropy, as long as the others",
    "mcmi": "teacher tuned with cross-entropy - 0.5 CMI",
    "label smoothing": "teacher tuned with labels smoothed by 0.1: the control of an unsure teacher",
}
CLASSES = 10
TUNING: dict[str, dict[str, float]] = {"plain": {}, "mcmi": {"weight": 0.5}, "label smoothing": {"smoothing": 0.1}}
SHARES = {"5 % of images": 0.05, "25 % of images": 0.25, "all images": 1.0}


@cache
def prepare(bed: str, seed: int, quick: bool) -> tuple[Split, nn.Module]:
    """The images, and the teacher before the fine-tuning."""
    torch.manual_seed(seed)
    data = make_images(bed, seed)
    teacher = make_mlp(data.x_train[0].numel(), (256, 256), CLASSES)
    plan = Plan(epochs=4 if quick else 20, seed=seed)
    fit([teacher], data[:2], lambda x, y: cross_entropy(teacher(x), y), plan)
    return data, teacher


def tune_teacher(bed: str, seed: int, quick: bool, *, weight: float = 0.0, smoothing: float = 0.0) -> nn.Module:
    """The teacher after as many epochs with a weight of the CMI, or with labels smoothed."""
    data, start = prepare(bed, seed, quick)
    teacher = copy.deepcopy(start)
    plan = Plan(epochs=4 if quick else 20, lr=0.02, sgd=True, seed=seed)
    steps, means = 0, torch.empty(0)

    def loss(x: Tensor, y: Tensor) -> Tensor:
        nonlocal steps, means
        if steps % (len(data.x_train) // plan.batch) == 0:
            with torch.no_grad():
                means = class_means(teacher(data.x_train), data.y_train, CLASSES)
        steps += 1
        if smoothing:
            return cross_entropy(teacher(x), y, label_smoothing=smoothing)
        return teacher_loss(teacher(x), y, means, weight)

    fit([teacher], data[:2], loss, plan)
    return teacher


def one(arm: str, seed: int, quick: bool, bed: str = "digits") -> dict[str, float]:
    """The teacher's CMI on test images, and percent correct of students: on a class that they never saw (the mean over
    omitting each class), and with shares of the images."""
    data, _ = prepare(bed, seed, quick)
    teacher = tune_teacher(bed, seed, quick, **TUNING[arm])
    logits = predict(teacher, data.x_train)
    means = class_means(logits, data.y_train, CLASSES)
    metrics = {
        "teacher's CMI": float(cmi(predict(teacher, data.x_test), means[data.y_test])),
        "teacher": accuracy(teacher, data.x_test, data.y_test),
    }
    found = score_omitted(data, logits, seed, quick)
    metrics |= {"omitted class": sum(found) / CLASSES, "best omitted class": max(found)}
    for name, share in SHARES.items():
        kept = torch.arange(len(data.y_train)) < share * len(data.y_train)
        metrics[name] = accuracy(train_student(data, logits, kept, seed, quick), data.x_test, data.y_test)
    return metrics


def score_omitted(data: Split, logits: Tensor, seed: int, quick: bool) -> list[float]:
    """Percent correct on each class of a student that never saw it. The ten students are trained at once."""
    torch.manual_seed(seed)
    students = StackedMlp(CLASSES, data.x_train[0].numel(), 24, CLASSES)
    kept = [(data.y_train != omitted).nonzero()[:, 0] for omitted in range(CLASSES)]
    count = min(map(len, kept))
    picks_NK = torch.stack([rows[:count] for rows in kept], 1)

    def loss(picks: Tensor) -> Tensor:
        answers = students(data.x_train[picks].flatten(2)).flatten(0, 1)
        target, labels = logits[picks].flatten(0, 1), data.y_train[picks].flatten()
        return CLASSES * kd_with_labels(answers, target, labels, temperature=4.0, alpha=0.1)

    fit([students], [picks_NK], loss, Plan(epochs=3 if quick else 50, lr=5e-3, seed=seed))
    answers = predict(students, data.x_test.flatten(2).expand(-1, CLASSES, -1)).argmax(-1)
    own = torch.arange(CLASSES)
    right = ((answers == own) & (data.y_test[:, None] == own)).sum(0) / torch.bincount(data.y_test, minlength=CLASSES)
    return [100 * share for share in right.tolist()]


def train_student(data: Split, logits: Tensor, kept: Tensor, seed: int, quick: bool) -> nn.Module:
    """A student of the rows in `kept`; the teacher's logits are computed once."""
    torch.manual_seed(seed)
    student = make_mlp(data.x_train[0].numel(), (24,), CLASSES)
    rows = [tensor[kept] for tensor in (data.x_train, data.y_train, logits)]
    steps = 40 if quick else 300
    batch = min(64, int(kept.sum()))
    plan = Plan(epochs=max(1, steps // (len(rows[0]) // batch)), batch=batch, lr=5e-3, seed=seed)
    fit([student], rows, lambda x, y, z: kd_with_labels(student(x), z, y, temperature=4.0, alpha=0.1), plan)
    return student
