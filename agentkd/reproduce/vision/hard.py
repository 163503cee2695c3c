"""HARD on digits: a student that sees centred images only learns its teacher's invariance to shifts.

The teacher, a CNN, is trained on images shifted by up to three pixels. The student, an MLP, knows nothing of shifts.
The augmentor has six affine parameters, of which shifts are two, and is not told which of them the teacher ignores.
`random-same` spreads HARD's final strength, in pixels that the image moves, evenly over the six: what it lacks is the
direction, which HARD learns.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from agentkd.methods.hard import augmentor_learns, augmentor_loss, divergence, sample_affine, warp_affine
from agentkd.reproduce.beds.digits import Split, make_digits
from agentkd.reproduce.fit import Plan, accuracy, fit
from agentkd.reproduce.nets.small import make_cnn, make_mlp

ARMS = {
    "scratch": "labels of centred images",
    "kd": "teacher on centred images",
    "random-start": "kd on random affine maps of the strength at which HARD starts",
    "random-same": "kd on random affine maps of the strength at which HARD ends, spread evenly",
    "hard": "kd on learned affine maps",
    "oracle": "kd on shifts of up to three pixels: the test's own",
}
SIDE, SHIFT = 14, 3  # pixels
TEMPERATURE, KEEP, START, LEARNING_RATE = 2.0, 0.3, 0.05, 0.03
LIMIT = torch.tensor([0.4, 0.4, 0.5, 0.4, 0.4, 0.4])  # of each parameter and of its standard deviation
MOVES = torch.tensor([1, 1, 2 / 3, 2 / 3, 2 / 3, 1 / 3]).sqrt()  # root mean square over the image, in half widths
LOW, HIGH = 0.35, 0.5  # the student's loss at which the augmentor begins to learn, and at which it rests


@cache
def prepare(seed: int, quick: bool) -> tuple[Split, nn.Module]:
    """The images and the teacher of a seed; all arms share them."""
    torch.manual_seed(seed)
    data = make_digits(seed, border=(SIDE - 8) // 2)
    teacher = make_cnn(1, 10, width=16, stages=3)
    generator = torch.Generator().manual_seed(seed)

    def loss(x: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(teacher(shift(x, generator)), y)

    fit([teacher], data[:2], loss, Plan(epochs=6 if quick else 30, lr=5e-3, seed=seed))
    return data, teacher.requires_grad_(False)


def one(arm: str, seed: int, quick: bool) -> dict[str, float]:
    """Train a student; percent correct on centred and shifted test images, and the strength of the random maps."""
    data, teacher = prepare(seed, quick)
    torch.manual_seed(seed)
    student = make_mlp(SIDE * SIDE, (128, 128), 10)
    plan = Plan(epochs=8 if quick else 80, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    log_std = torch.full((6,), START).log()
    if arm == "hard":
        log_std = train_hard(student, teacher, data, plan)
    elif arm == "scratch":
        fit([student], data[:2], lambda x, y: cross_entropy(student(x), y), plan)
    else:
        if arm == "random-same":
            strength = (find_strength(seed, quick) * MOVES).square().mean().sqrt()
            log_std = (strength / MOVES).log()
        change: dict[str, Callable[[Tensor], Tensor]] = {"kd": lambda x: x, "oracle": lambda x: shift(x, generator)}
        augment: Callable[[Tensor], Tensor] = change.get(
            arm, lambda x: warp_affine(x, draw(log_std, len(x), generator))
        )

        def loss(x: Tensor) -> Tensor:
            seen = augment(x)
            return divergence(student(seen), teacher(seen), TEMPERATURE)

        fit([student], data[:1], loss, plan)
    shifted = shift(data.x_test, torch.Generator().manual_seed(seed + 1))
    metrics = {
        "shifted": accuracy(student, shifted, data.y_test),
        "centred": accuracy(student, data.x_test, data.y_test),
        "teacher shifted": accuracy(teacher, shifted, data.y_test),
    }
    if arm in ("random-start", "random-same", "hard"):
        metrics["strength in pixels"] = float((log_std.exp() * MOVES).square().sum().sqrt() * SIDE / 2)
    return metrics


def train_hard(student: nn.Module, teacher: nn.Module, data: Split, plan: Plan) -> Tensor:
    """Train student and augmentor in turn; return the augmentor's log standard deviations [6]."""
    log_std = torch.full((6,), START).log().requires_grad_()
    optimiser = torch.optim.Adam([log_std], LEARNING_RATE)
    generator = torch.Generator().manual_seed(plan.seed)
    learning = False

    def loss(x: Tensor) -> Tensor:
        nonlocal learning
        if learning:
            optimiser.zero_grad()
            seen = warp_affine(x, draw(log_std, len(x), generator))
            objective = augmentor_loss(student(seen), teacher(seen), teacher(x), keep=KEEP, temperature=TEMPERATURE)
            objective.backward(inputs=[log_std])  # type: ignore[no-untyped-call]
            optimiser.step()
            with torch.no_grad():
                log_std.clamp_(max=LIMIT.log())
        with torch.no_grad():
            seen = warp_affine(x, draw(log_std, len(x), generator))
            target = teacher(seen)
        value = divergence(student(seen), target, TEMPERATURE)
        learning = augmentor_learns(learning, value.item(), LOW, HIGH)
        return value

    fit([student], data[:1], loss, plan)
    return log_std.detach()


@cache
def find_strength(seed: int, quick: bool) -> Tensor:
    """The standard deviations [6] at which HARD ends with this seed."""
    data, teacher = prepare(seed, quick)
    torch.manual_seed(seed)
    student = make_mlp(SIDE * SIDE, (128, 128), 10)
    return train_hard(student, teacher, data, Plan(epochs=8 if quick else 80, seed=seed)).exp()


def draw(log_std: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Parameters of `count` random affine maps."""
    return sample_affine(log_std, torch.randn(count, 6, generator=generator), LIMIT)


def shift(x: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each image by whole pixels, up to SHIFT in each direction."""
    pixels = torch.randint(-SHIFT, SHIFT + 1, (len(x), 2), generator=generator)
    return warp_affine(x, torch.cat([pixels * 2 / SIDE, torch.zeros(len(x), 4)], -1))
