"""A family of little classification tasks: points from a mixture of Gaussians, with a teacher and a student for each.

Tasks differ in what decides whether a teacher helps, and which method: classes, dimensions, how far classes lie apart,
how many labelled points the student has, how many of its labels are wrong, and whether the teacher saw more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

CLUSTERS = 3  # of a class
TEST, MANY = 2000, 2000  # points to test on, and of a teacher that saw more


@dataclass(frozen=True)
class Task:
    """What a task is like. `noise` is the share of training labels that are drawn at random."""

    number: int
    classes: int
    dimensions: int
    spread: float
    points: int
    noise: float
    teacher_saw_more: bool
    student_width: int


class Points(NamedTuple):
    """The student's points and labels, the teacher's, and those to test on, whose labels are right."""

    x: Tensor
    y: Tensor
    x_teacher: Tensor
    y_teacher: Tensor
    x_test: Tensor
    y_test: Tensor


def draw_tasks(seed: int, count: int) -> list[Task]:
    """The tasks of a seed."""
    rng = np.random.default_rng(seed)
    return [
        Task(
            number=number,
            classes=int(rng.choice([3, 6, 10])),
            dimensions=int(rng.choice([6, 12])),
            spread=float(rng.choice([0.5, 0.8])),
            points=int(rng.choice([100, 200, 400])),
            noise=float(rng.choice([0.0, 0.2, 0.4])),
            teacher_saw_more=bool(rng.choice([False, True])),
            student_width=int(rng.choice([8, 32])),
        )
        for number in range(count)
    ]


def make_points(task: Task, seed: int) -> Points:
    """The points of a task. A teacher that saw no more learns from the student's own points and labels."""
    rng = np.random.default_rng([seed, task.number])
    centres_KD = rng.normal(size=(task.classes * CLUSTERS, task.dimensions))

    def draw(count: int) -> tuple[Tensor, Tensor]:
        picks = rng.integers(len(centres_KD), size=count)
        x = centres_KD[picks] + task.spread * rng.normal(size=(count, task.dimensions))
        return torch.tensor(x, dtype=torch.float32), torch.tensor(picks % task.classes)

    x, y = draw(task.points)
    wrong = torch.from_numpy(rng.random(task.points) < task.noise)
    y = torch.where(wrong, torch.from_numpy(rng.integers(task.classes, size=task.points)), y)
    x_teacher, y_teacher = draw(MANY) if task.teacher_saw_more else (x, y)
    return Points(x, y, x_teacher, y_teacher, *draw(TEST))
