"""MIX-KD: understanding the role of mixup in distillation (Choi et al., WACV 2023, arXiv 2211.03946).

Claims: a teacher trained with mixup teaches worse; mixup helps the student, in moderation: a part of the batch stays
pure (partial mixup), and each row of logits is divided by its standard deviation instead of a temperature.

With z / std(z) per row, the unbiased standard deviation over classes (section 4.3), no centring and no T²:

    gamma · CE(z_s / std_s, y_mixed) + alpha · KL(softmax(z_t / std_t) || softmax(z_s / std_s))

The gradient flows through std_s. Departures of the official code that are kept: both members of a pair come from
permutations of their own, so that a sample can meet itself; the pure ones are drawn with replacement, so that "90 %"
leaves about 59 % of distinct samples pure. A row of equal logits has no standard deviation: it is left as it is
(uniform at any temperature), where the official code gives NaN.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from agentkd.errors import UserError
from agentkd.methods.divergences import check_finite
from agentkd.methods.logits import kd, soft_label_loss


class Mix(NamedTuple):
    """How a batch is mixed: two permutations [B] and the weight of the first member [B]."""

    first: Tensor
    second: Tensor
    weight: Tensor


class MixKdLoss(NamedTuple):
    """The weighted terms."""

    labels: Tensor
    teacher: Tensor

    @property
    def total(self) -> Tensor:
        return self.labels + self.teacher


def draw_mix(batch: int, *, pure: float = 0.0, concentration: float = 1.0, generator: torch.Generator) -> Mix:
    """Draw a mix: weights from Beta(a, a), and int(pure · B) indices, with replacement, that stay pure."""
    if not 0.0 <= pure <= 1.0:
        raise UserError(f"the pure share is {pure}: give a number from 0 (full mixup) to 1 (none)")
    if concentration <= 0.0:
        raise UserError(f"the concentration of mixup is {concentration}: give a number above 0")
    shape = torch.full((batch,), concentration, dtype=torch.float64)
    one, other = (torch._standard_gamma(shape, generator=generator) for _ in range(2))
    weight = (one / (one + other).clamp_min(torch.finfo(torch.float64).tiny)).float()
    weight[torch.randint(batch, (int(batch * pure),), generator=generator)] = 1.0
    first, second = (torch.randperm(batch, generator=generator) for _ in range(2))
    return Mix(first, second, weight)


def mix(values: Tensor, how: Mix) -> Tensor:
    """Mix the rows of images [B, …], embeddings or one-hot labels [B, C]: w x_first + (1 - w) x_second."""
    weight = how.weight.to(values).reshape(-1, *[1] * (values.dim() - 1))
    return weight * values[how.first] + (1.0 - weight) * values[how.second]


def by_deviation(logits_BC: Tensor) -> Tensor:
    """z / std(z) of each row; a row of (all but) equal logits, or of one class, is left as it is."""
    check_finite("logits", logits_BC)
    if logits_BC.shape[-1] < 2:
        return logits_BC
    deviation = logits_BC.std(-1, keepdim=True)
    noise = 16 * torch.finfo(logits_BC.dtype).eps * logits_BC.detach().abs().amax(-1, keepdim=True)
    return logits_BC / torch.where(deviation > noise, deviation, torch.ones_like(deviation))


def mixkd_loss(
    student_BC: Tensor, teacher_BC: Tensor, targets_BC: Tensor, *, gamma: float = 0.1, alpha: float = 0.9
) -> MixKdLoss:
    """Both terms, with the mixed soft labels [B, C]."""
    student, teacher = by_deviation(student_BC), by_deviation(teacher_BC)
    return MixKdLoss(gamma * soft_label_loss(student, targets_BC), alpha * kd(student, teacher, 1.0))
