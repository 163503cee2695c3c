"""HARD on small images: a student that sees centred images only learns its teacher's invariance to shifts.

The teacher, a CNN, is trained on images shifted by up to three pixels. The student, an MLP, knows nothing of shifts.
The affine augmentor has six parameters, of which shifts are two, and is not told which of them the teacher ignores.
`random-same` spreads HARD's final strength, in pixels that the image moves, evenly over the six: what it lacks is the
direction, which HARD learns. `random latent` does so with the directions of a VAE's code. Mixing has one parameter, its
strength, and so no such control.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from agentkd.methods.hard import (
    augmentor_learns,
    augmentor_loss,
    divergence,
    mix_pairs,
    move_latent,
    sample_affine,
    warp_affine,
)
from agentkd.reproduce.beds.digits import Split
from agentkd.reproduce.beds.images import make_images
from agentkd.reproduce.fit import Plan, accuracy, fit
from agentkd.reproduce.nets.small import make_cnn, make_mlp
from agentkd.reproduce.nets.vae import Vae

ARMS = {
    "scratch": "labels of centred images",
    "kd": "teacher on centred images",
    "random-start": "kd on random affine maps of the strength at which HARD starts",
    "random-same": "kd on random affine maps of the strength at which HARD ends, spread evenly",
    "hard": "kd on learned affine maps",
    "hard, mixing": "kd on pairs mixed with a learned strength",
    "random latent": "kd on images whose VAE code is moved at random as far as in the next arm, spread evenly",
    "hard, latent": "kd on images whose VAE code is moved in learned directions",
    "oracle": "kd on shifts of up to three pixels: the test's own",
}
BORDER, SHIFT = {"digits": 3, "mnist": 1}, 3  # pixels
TEMPERATURE, KEEP, START, LEARNING_RATE = 2.0, 0.3, 0.05, 0.03
LIMIT = torch.tensor([0.4, 0.4, 0.5, 0.4, 0.4, 0.4])  # of each affine parameter and of its standard deviation
MOVES = torch.tensor([1, 1, 2 / 3, 2 / 3, 2 / 3, 1 / 3]).sqrt()  # root mean square over the image, in half widths
MIXED, CODE, CODE_LIMIT = 0.5, 8, 2.0  # largest weight of the other image; the code's size, and how far it is moved
LOW, HIGH = 0.35, 0.5  # the student's loss at which the augmentor begins to learn, and at which it rests
STUDENT_STEPS, TEACHER_STEPS, QUICK, VAE_STEPS = 1440, 540, 12, 1000  # quick: a part in QUICK, 2 QUICK or QUICK²

Change = Callable[[Tensor, Tensor, torch.Generator], Tensor]  # of images, by log standard deviations


class Augmentor(NamedTuple):
    """A family of augmentations: the limits of its parameters and of their standard deviations, and what it does."""

    limit: Tensor
    change: Change

    def start(self) -> Tensor:
        return torch.full((len(self.limit),), START).log()


@cache
def prepare(bed: str, seed: int, quick: bool) -> tuple[Split, nn.Module]:
    """The images and the teacher of a seed; all arms share them."""
    torch.manual_seed(seed)
    data = make_images(bed, seed, border=BORDER[bed])
    teacher = make_cnn(1, 10, width=16, stages=3)
    generator = torch.Generator().manual_seed(seed)

    def loss(x: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(teacher(shift(x, generator)), y)

    fit([teacher], data[:2], loss, make_plan(data, TEACHER_STEPS // (QUICK if quick else 1), seed, lr=5e-3))
    return data, teacher.requires_grad_(False)


def make_plan(data: Split, steps: int, seed: int, lr: float = 2e-3) -> Plan:
    """About as many steps on any bed, and one epoch or more."""
    return Plan(epochs=max(1, steps // (len(data.x_train) // Plan(1).batch)), lr=lr, seed=seed)


@cache
def make_augmentor(kind: str, bed: str, seed: int, quick: bool) -> Augmentor:
    """Affine maps, mixing, or the code of a VAE that is trained on the centred images."""
    if kind == "affine":
        return Augmentor(LIMIT, lambda x, log_std, random: warp_affine(x, draw(log_std, len(x), random)))
    if kind == "mixing":
        return Augmentor(torch.tensor([MIXED]), blend)
    data, _ = prepare(bed, seed, quick)
    torch.manual_seed(seed)
    vae, generator = Vae(data.x_train.shape[-1], CODE), torch.Generator().manual_seed(seed)
    plan = make_plan(data, VAE_STEPS // (QUICK**2 if quick else 1), seed)
    fit([vae], data[:1], lambda x: vae.loss(x, generator), plan)
    vae.requires_grad_(False)

    def move(x: Tensor, log_std: Tensor, random: torch.Generator) -> Tensor:
        code = vae.encode(x)
        moved = move_latent(code, log_std, torch.randn(len(x), CODE, generator=random), CODE_LIMIT)
        return x + vae.decode(moved) - vae.decode(code)  # no noise, no change: what the VAE cannot draw stays

    return Augmentor(torch.full((CODE,), CODE_LIMIT), move)


def one(arm: str, seed: int, quick: bool, bed: str = "digits") -> dict[str, float]:
    """Train a student; percent correct on centred and shifted test images, and the strength of the random maps."""
    data, teacher = prepare(bed, seed, quick)
    kind = {"mixing": "mixing", "latent": "latent"}.get(arm.split()[-1], "affine")
    augmentor = make_augmentor(kind, bed, seed, quick)
    log_std = augmentor.start()
    if arm.startswith("hard"):
        student, log_std = train_hard(kind, bed, seed, quick)
    else:
        if arm == "random-same":
            strength = (train_hard(kind, bed, seed, quick)[1].exp() * MOVES).square().mean().sqrt()
            log_std = (strength / MOVES).log()
        elif arm == "random latent":
            log_std = train_hard(kind, bed, seed, quick)[1].exp().square().mean().sqrt().log().expand(CODE)
        student = train_plain(arm, augmentor, log_std, bed, seed, quick)
    shifted = shift(data.x_test, torch.Generator().manual_seed(seed + 1))
    metrics = {
        "shifted": accuracy(student, shifted, data.y_test),
        "centred": accuracy(student, data.x_test, data.y_test),
        "teacher shifted": accuracy(teacher, shifted, data.y_test),
    }
    if arm in ("random-start", "random-same", "hard"):
        side = data.x_train.shape[-1]
        metrics["strength in pixels"] = float((log_std.exp() * MOVES).square().sum().sqrt() * side / 2)
    return metrics


def make_student(data: Split, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return make_mlp(data.x_train[0].numel(), (128, 128), 10)


def train_plain(
    arm: str, augmentor: Augmentor, log_std: Tensor, bed: str, seed: int, quick: bool
) -> nn.Module:  # fmt: skip
    """A student of labels, or of the teacher on images that are changed at random."""
    data, teacher = prepare(bed, seed, quick)
    student, plan = make_student(data, seed), make_plan(data, STUDENT_STEPS // (2 * QUICK if quick else 1), seed)
    generator = torch.Generator().manual_seed(seed)
    if arm == "scratch":
        fit([student], data[:2], lambda x, y: cross_entropy(student(x), y), plan)
        return student

    def loss(x: Tensor) -> Tensor:
        if arm == "oracle":
            x = shift(x, generator)
        elif arm != "kd":
            x = augmentor.change(x, log_std, generator)
        return divergence(student(x), teacher(x), TEMPERATURE)

    fit([student], data[:1], loss, plan)
    return student


@cache
def train_hard(kind: str, bed: str, seed: int, quick: bool) -> tuple[nn.Module, Tensor]:
    """Train student and augmentor in turn; return the student and the augmentor's log standard deviations."""
    data, teacher = prepare(bed, seed, quick)
    augmentor = make_augmentor(kind, bed, seed, quick)
    student, plan = make_student(data, seed), make_plan(data, STUDENT_STEPS // (2 * QUICK if quick else 1), seed)
    log_std = augmentor.start().requires_grad_()
    optimiser = torch.optim.Adam([log_std], LEARNING_RATE)
    generator = torch.Generator().manual_seed(seed)
    learning = False

    def loss(x: Tensor) -> Tensor:
        nonlocal learning
        if learning:
            optimiser.zero_grad()
            seen = augmentor.change(x, log_std, generator)
            objective = augmentor_loss(student(seen), teacher(seen), teacher(x), keep=KEEP, temperature=TEMPERATURE)
            objective.backward(inputs=[log_std])  # type: ignore[no-untyped-call]
            optimiser.step()
            with torch.no_grad():
                log_std.clamp_(max=augmentor.limit.log())
        with torch.no_grad():
            seen = augmentor.change(x, log_std, generator)
            target = teacher(seen)
        value = divergence(student(seen), target, TEMPERATURE)
        learning = augmentor_learns(learning, value.item(), LOW, HIGH)
        return value

    fit([student], data[:1], loss, plan)
    return student, log_std.detach()


def blend(x: Tensor, log_std: Tensor, random: torch.Generator) -> Tensor:
    """Mix each image with another of its batch; the other's weight is half normal, at most MIXED."""
    weight = (log_std.exp() * torch.randn(len(x), generator=random).abs()).clamp(max=MIXED)
    return mix_pairs(x, x[torch.randperm(len(x), generator=random)], weight)


def draw(log_std: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Parameters of `count` random affine maps."""
    return sample_affine(log_std, torch.randn(count, 6, generator=generator), LIMIT)


def shift(x: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each image by whole pixels, up to SHIFT in each direction."""
    pixels = torch.randint(-SHIFT, SHIFT + 1, (len(x), 2), generator=generator)
    return warp_affine(x, torch.cat([pixels * 2 / x.shape[-1], torch.zeros(len(x), 4)], -1))
