"""Objectives on features of the same shape, after a translator or a projector has brought them together.

| objective | source | reduction |
|---|---|---|
| `factors` (FT) | Kim, Park and Kwak, NeurIPS 2018, arXiv 1802.04977, equation 4 | mean |
| `boundaries` (AB) | Heo et al., AAAI 2019, arXiv 1811.03233, equation 5 | sum, divided by B |
| `information` (VID) | Ahn et al., CVPR 2019, arXiv 1904.05835, equations 4 and 5 | mean |
| `simple_recipe` (SRD) | Miles and Mikolajczyk, AAAI 2024, arXiv 2303.11098, section 3 | log of a sum, and a KL |
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.linalg import vector_norm
from torch.nn.functional import normalize

from agentkd.errors import UserError
from agentkd.methods.divergences import check_features
from agentkd.methods.logits import kd

LEAST_VARIANCE = 1e-5


def factors(student: Tensor, teacher: Tensor, p: float = 1.0) -> Tensor:
    """Factor transfer: the distance of flattened factors of L2 norm 1.

    p = 1: the mean of |difference| over all entries; else the L_p norm of each sample, mean over the batch."""
    check_features(student, teacher, "factors")
    apart = normalize(student.flatten(1)) - normalize(teacher.flatten(1))
    return apart.abs().mean() if p == 1 else vector_norm(apart, ord=p, dim=-1).mean()


def boundaries(student: Tensor, teacher: Tensor, margin: float = 1.0) -> Tensor:
    """Activation boundaries: student activations on the wrong side of the teacher's boundary, squared, with a margin.

    (s + m)² where the teacher is off (t <= 0) and s > -m; (s - m)² where it is on and s <= m. Before the ReLU."""
    check_features(student, teacher, "activations")
    off = ((student > -margin) & (teacher <= 0)) * (student + margin).square()
    on = ((student <= margin) & (teacher > 0)) * (student - margin).square()
    return (off + on).sum() / len(student)


def information(mean: Tensor, variance: Tensor, teacher: Tensor) -> Tensor:
    """Variational information: the mean of ((mean - t)² / variance + log variance) / 2, without the constant.

    `mean` is the student's regression of the teacher's features; `variance` broadcasts against it."""
    check_features(mean, teacher, "features")
    if not bool((variance > 0).all()):
        raise UserError(
            f"a variance is {float(variance.detach().min())}: give numbers above 0 (`channel_variance` makes them)"
        )
    return 0.5 * ((mean - teacher).square() / variance + variance.log()).mean()


def channel_variance(log_scale_C: Tensor, eps: float = LEAST_VARIANCE) -> Tensor:
    """The learned variance of each channel, [1, C, 1, 1]: log(1 + exp(log_scale)) + eps.

    Official start: log(exp(5 - eps) - 1), a variance of 5."""
    return torch.logaddexp(log_scale_C, torch.zeros_like(log_scale_C)).reshape(1, -1, 1, 1) + eps


def simple_recipe(
    student: Tensor,
    teacher: Tensor,
    student_logits_BC: Tensor,
    teacher_logits_BC: Tensor,
    *,
    exponent: float = 4.0,
    temperature: float = 1.0,
) -> Tensor:
    """2 log(sum |f_s - f_t|^exponent) + KL(p || q) at T, without T².

    The student's logits are those of the teacher's classifier on the student's projected features. At equal features
    the official code gives -inf; here the sum is at least the smallest normal number."""
    check_features(student, teacher, "features")
    apart = (student - teacher).abs().pow(exponent).sum().clamp_min(torch.finfo(student.dtype).tiny)
    return 2.0 * apart.log() + kd(student_logits_BC, teacher_logits_BC, temperature, scale=False)
