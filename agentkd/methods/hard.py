"""HARD: hard augmentations for robust distillation (Nix, Burg and Sinz 2023, arXiv 2305.14890). A reconstruction.

Claim: an augmentor that is trained to make teacher and student disagree, while the teacher keeps its answer, transfers
the teacher's invariances, also to data that the student never saw.

With p the teacher's and q the student's softmax at temperature T, and g the augmentor, two steps alternate:

    student:    min  KL(p(g(x)) || q(g(x)))
    augmentor:  max  KL(p(g(x)) || q(g(x))) - keep · KL(p(x) || p(g(x)))

The augmentor learns while the student follows it well, and rests while the student lags behind (`augmentor_learns`).
No public code was found. The form of the keeping term, as a penalty, and the affine family are our reading of the
paper's text. A large `keep` makes every augmentation collapse to none.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from agentkd.methods.logits import kd

AFFINE = ("shift x", "shift y", "rotation", "log zoom", "log aspect", "shear")


def divergence(student_BC: Tensor, teacher_BC: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(p || q) at a temperature, summed over classes, mean over the batch; without T²."""
    return kd(student_BC, teacher_BC, temperature, scale=False)


def augmentor_loss(
    student_BC: Tensor, teacher_BC: Tensor, teacher_clean_BC: Tensor, *, keep: float, temperature: float = 1.0
) -> Tensor:
    """What the augmentor minimises: minus the disagreement, plus `keep` times the change of the teacher's answer.

    Logits of student and teacher on augmented inputs, and of the teacher on clean ones."""
    change = divergence(teacher_BC, teacher_clean_BC.detach(), temperature)
    return keep * change - divergence(student_BC, teacher_BC, temperature)


def augmentor_learns(learning: bool, student_loss: float, low: float, high: float) -> bool:
    """Whether the augmentor takes the next step: from a student's loss below `low` on, until it is above `high`."""
    if low > high:
        raise ValueError(f"low={low} is above high={high}: the augmentor starts below low and rests above high")
    return student_loss < high if learning else student_loss < low


def sample_affine(log_std_6: Tensor, noise_B6: Tensor, limit_6: Tensor) -> Tensor:
    """Parameters of affine maps [B, 6], in the order of AFFINE: Gaussian, reparameterised, within ± `limit_6`.

    Shifts are in half widths of the image (as in `affine_grid`), rotation in radians. The gradient reaches
    `log_std_6`."""
    return (log_std_6.exp() * noise_B6).clamp(-limit_6, limit_6)


def warp_affine(images_BCHW: Tensor, params_B6: Tensor) -> Tensor:
    """Apply the affine maps of `sample_affine`, bilinear, with zeros outside. Zero parameters change nothing."""
    x, y, turn, zoom, aspect, shear = params_B6.unbind(-1)
    across, down = (-zoom - aspect).exp(), (-zoom + aspect).exp()
    rows = [
        torch.stack([across * turn.cos(), -down * turn.sin() + shear, -x], -1),
        torch.stack([across * turn.sin(), down * turn.cos(), -y], -1),
    ]
    grid = affine_grid(torch.stack(rows, 1), list(images_BCHW.shape), align_corners=False)
    return grid_sample(images_BCHW, grid, align_corners=False)


def move_latent(mean_BD: Tensor, log_std_D: Tensor, noise_BD: Tensor, limit: float) -> Tensor:
    """The latent augmentor: a VAE's code, moved by reparameterised Gaussian noise of at most `limit`; decode it.

    The gradient reaches `log_std_D`, one spread a direction."""
    return mean_BD + (log_std_D.exp() * noise_BD).clamp(-limit, limit)


def mix_pairs(images_BCHW: Tensor, others_BCHW: Tensor, weight_B: Tensor) -> Tensor:
    """The mixing augmentor: (1 - w) x + w x', one weight an image."""
    weight = weight_B.reshape(-1, *[1] * (images_BCHW.dim() - 1))
    return (1 - weight) * images_BCHW + weight * others_BCHW
