"""AutoDistiller on a family of little tasks: each task is left out, and a configuration is recommended for it.

Every task is distilled with every configuration; the recommender (`agentkd.recommend`) sees the results of the other
tasks, and of the one that is left out what is known before training: its sizes, and how the teacher answers the
training points. Regret is in points of accuracy below the task's best configuration.
"""

from __future__ import annotations

from functools import cache
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from agentkd.methods.features.relations import pkt
from agentkd.methods.logits import dist, dkd, kd_with_labels, label_loss, logit_standardisation_with_labels
from agentkd.methods.mixkd import draw_mix, mix, mixkd_loss
from agentkd.recommend.predict import Recommender, best_on_average
from agentkd.recommend.table import Candidate, Row, name_candidate
from agentkd.reproduce.beds.family import Points, Task, draw_tasks, make_points
from agentkd.reproduce.fit import Plan, fit, predict
from agentkd.reproduce.nets.small import make_mlp
from agentkd.reproduce.nets.stacked import StackedMlp

ARMS = {
    "recommended": "the configuration that the recommender expects most of",
    "recommended, 3": "the best of its first three",
    "best on average": "the configuration with the best mean over the other tasks",
    "random": "the mean over all configurations",
    "random, 3": "the best of three at random, on average",
    "no teacher": "labels alone",
    "shuffled": "the recommender, fitted on results that were shuffled within each task",
}
TASKS, REPEATS, TEACHER = 8, 2, (64, 64)
OF_BATCHES = ("dist", "pkt")  # their losses compare the samples of one student's batch
CONFIGURATIONS: tuple[Candidate, ...] = (
    Candidate("kd", {"alpha": 0.0}),
    *(Candidate("kd", {"alpha": alpha, "temperature": t}) for alpha in (0.5, 1.0) for t in (1.0, 4.0)),
    *(Candidate("dkd", {"temperature": t}) for t in (1.0, 4.0)),
    *(Candidate("dist", {"temperature": t}) for t in (1.0, 4.0)),
    *(Candidate("logit-std", {"alpha": alpha, "temperature": 2.0}) for alpha in (0.5, 0.9)),
    *(Candidate("mix-kd", {"pure": pure}) for pure in (0.9, 0.0)),
    Candidate("pkt", {}),
)


def one(arm: str, seed: int, quick: bool) -> dict[str, float]:
    """Points of regret of an arm's choice, the mean over tasks that are left out one after another."""
    rows = make_table(seed, quick)
    return {"regret": fmean(regret(arm, task, seed, quick) for task in sorted({row.task for row in rows}))}


def regret(arm: str, task: str, seed: int, quick: bool) -> float:
    """Points below the best configuration of one task."""
    rows = make_table(seed, quick)
    own = {name_candidate(Candidate(row.method, row.options)): row for row in rows if row.task == task}
    scores = {name: float(row.score or 0.0) for name, row in own.items()}
    others = [row for row in rows if row.task != task]
    ranked = sorted(scores.values(), reverse=True)
    if arm == "no teacher":
        return ranked[0] - scores[name_candidate(CONFIGURATIONS[0])]
    if arm == "random":
        return ranked[0] - fmean(ranked)
    if arm == "random, 3":
        return ranked[0] - expected_best(ranked, 3)
    if arm == "best on average":
        return ranked[0] - scores[name_candidate(best_on_average(others, CONFIGURATIONS))]
    order = rank(task, seed, quick, arm == "shuffled")
    return ranked[0] - max(scores[name] for name in order[: 3 if arm == "recommended, 3" else 1])


@cache
def rank(task: str, seed: int, quick: bool, shuffled: bool) -> list[str]:
    """The names of the configurations, the one that is expected to be best first, by the other tasks' rows."""
    rows = make_table(seed, quick)
    others = [row for row in rows if row.task != task]
    facts = next(row.facts for row in rows if row.task == task)
    expected = Recommender(shuffle(others, seed) if shuffled else others, seed).expect(facts, CONFIGURATIONS)
    return [name_candidate(each.candidate) for each in expected]


def expected_best(ranked: list[float], count: int) -> float:
    """The mean of the best of `count` values drawn without repetition; `ranked` falls."""
    left, total, value = 1.0, len(ranked), 0.0
    for place, score in enumerate(ranked):
        first = left * min(1.0, count / (total - place))  # none of the better ones is drawn, and this one is
        value, left = value + first * score, left - first
    return value


def shuffle(rows: list[Row], seed: int) -> list[Row]:
    """The same rows, scores permuted within each task: nothing can be learned from them."""
    rng = np.random.default_rng(seed)
    found = []
    for task in sorted({row.task for row in rows}):
        own = [row for row in rows if row.task == task]
        order = rng.permutation(len(own))
        found += [row.model_copy(update={"score": own[place].score}) for row, place in zip(own, order, strict=True)]
    return found


@cache
def make_table(seed: int, quick: bool) -> tuple[Row, ...]:
    """Every task of a seed, distilled with every configuration."""
    rows = []
    for task in draw_tasks(seed, 4 if quick else TASKS):
        points = make_points(task, seed)
        teacher = train_teacher(task, points, seed, quick)
        taught = predict(teacher, points.x)
        facts = measure(task, teacher, taught, points)
        for method, options in CONFIGURATIONS:
            score = train_students(task, points, teacher, taught, Candidate(method, options), seed, quick)
            name = f"task {task.number}"
            rows.append(
                Row(
                    kind="questions", task=name, group=name, part="held-out", facts=facts, method=method,
                    options=dict(options), seed=seed, score=score, seconds=0.0, date="",
                )
            )  # fmt: skip
    return tuple(rows)


def train_teacher(task: Task, points: Points, seed: int, quick: bool) -> nn.Module:
    torch.manual_seed(seed)
    teacher = make_mlp(task.dimensions, TEACHER, task.classes)
    plan = Plan(
        epochs=steps_as_epochs(60 if quick else 200, len(points.x_teacher)), lr=3e-3, weight_decay=1e-3, seed=seed
    )
    fit([teacher], points[2:4], lambda x, y: cross_entropy(teacher(x), y), plan)
    return teacher.requires_grad_(False)


def steps_as_epochs(steps: int, points: int) -> int:
    """Passes over the points that are about so many steps of 64."""
    return max(1, round(steps / (points // 64)))


def measure(task: Task, teacher: nn.Module, taught: Tensor, points: Points) -> dict[str, Any]:
    """What is known before a student is trained."""
    return {
        "classes": float(task.classes),
        "dimensions": float(task.dimensions),
        "examples": float(task.points),
        "student width": float(task.student_width),
        "teacher agrees": float((taught.argmax(-1) == points.y).double().mean()),
        "teacher is sure": float(taught.softmax(-1).amax(-1).mean()),
    }


def train_students(
    task: Task, points: Points, teacher: nn.Module, taught: Tensor, chosen: Candidate, seed: int, quick: bool
) -> float:
    """Percent correct on the test points, the mean of REPEATS students that differ in their first weights."""
    torch.manual_seed(seed)
    students = StackedMlp(REPEATS, task.dimensions, task.student_width, task.classes)
    generator = torch.Generator().manual_seed(seed)
    plan = Plan(epochs=steps_as_epochs(30 if quick else 100, task.points), lr=5e-3, seed=seed)

    def loss(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        targets = one_hot(y, task.classes).float()
        if chosen.method == "mix-kd":
            how = draw_mix(len(x), pure=float(chosen.options["pure"]), generator=generator)
            x, targets = mix(x, how), mix(targets, how)
            z = teacher(x)
        logits_BRC = students(x[:, None].expand(-1, REPEATS, -1))
        if chosen.method in OF_BATCHES:
            return torch.stack([objective(chosen, logits, z, y, targets) for logits in logits_BRC.unbind(1)]).sum()
        z, y, targets = (tensor.repeat_interleave(REPEATS, 0) for tensor in (z, y, targets))
        return REPEATS * objective(chosen, logits_BRC.flatten(0, 1), z, y, targets)

    fit([students], [points.x, points.y, taught], loss, plan)
    answers = predict(students, points.x_test[:, None].expand(-1, REPEATS, -1)).argmax(-1)
    return float((answers == points.y_test[:, None]).double().mean() * 100)


def objective(chosen: Candidate, logits: Tensor, taught: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """The loss of one student."""
    method, options = chosen
    temperature, alpha = float(options.get("temperature", 1.0)), float(options.get("alpha", 0.5))
    if method == "kd":
        return kd_with_labels(logits, taught, labels, temperature, 1 - alpha)
    if method == "logit-std":
        return logit_standardisation_with_labels(logits, taught, labels, temperature, 1 - alpha)
    if method == "mix-kd":
        return mixkd_loss(logits, taught, targets).total
    others = {"dkd": lambda: dkd(logits, taught, labels, temperature=temperature),
              "dist": lambda: dist(logits, taught, temperature=temperature),
              "pkt": lambda: pkt(logits, taught)}  # fmt: skip
    return label_loss(logits, labels) + others[method]()
