"""Lower bounds of the mutual information between two networks' features, and MI-alpha.

Poole et al., On Variational Bounds of Mutual Information, ICML 2019, arXiv 1905.06922; used for distillation by
Distiller (He et al. 2021, arXiv 2109.11105, section 3.3). Scores [K, K] are f(student i, teacher j) of a learned
critic; the pairs that belong together are on the diagonal. Values are nats, to be maximised: a loss is their negative.
A batch of one has no other pair, so all but InfoNCE (which is 0 there) refuse it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from agentkd.errors import UserError
from agentkd.methods.divergences import check_finite


class Critic(nn.Module):
    """The learned part: scores [K, K] of all pairs, and TUBA's log baseline [K] of the student's side.

    Both sides' features [K, D] (of sequences the first token, or all states) are embedded to one width; a score is
    their inner product over its root."""

    def __init__(self, student_width: int, teacher_width: int, width: int = 128) -> None:
        super().__init__()
        self.student, self.teacher = (
            nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width))
            for inputs in (student_width, teacher_width)
        )
        self.baseline = nn.Sequential(nn.Linear(student_width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, student_KD: Tensor, teacher_KE: Tensor) -> tuple[Tensor, Tensor]:
        own, other = self.student(student_KD), self.teacher(teacher_KE)
        scores: Tensor = own @ other.T / math.sqrt(own.shape[-1])
        return scores, self.baseline(student_KD)[:, 0]


def infonce(scores_KK: Tensor) -> Tensor:
    """log K + the mean over i of (s_ii - logsumexp over j of s_ij) (equation 10): at most log K, low variance."""
    return math.log(len(_square(scores_KK))) + (scores_KK.diagonal() - scores_KK.logsumexp(-1)).mean()


def tuba(scores_KK: Tensor, log_baseline_K: Tensor | None = None) -> Tensor:
    """1 + the mean of s_ii - b_i, minus the mean over i ≠ j of exp(s_ij - b_i) (equation 8), log b one number a row.

    The published code changes the caller's tensor; this does not. UserError where the exponential overflows."""
    _needs_pairs(scores_KK)
    if log_baseline_K is not None:
        scores_KK = scores_KK - log_baseline_K[:, None]
    return 1.0 + scores_KK.diagonal().mean() - _mean_of_others(scores_KK)


def nwj(scores_KK: Tensor) -> Tensor:
    """TUBA with the constant baseline e (equation 9)."""
    return tuba(scores_KK - 1.0)


def interpolated(scores_KK: Tensor, log_baseline_K: Tensor, weight: float) -> Tensor:
    """MI-alpha: between TUBA's learned baseline (weight 0) and InfoNCE's (weight 1) (equation 13).

    With m_ij the log of the mean of exp(s_ik) over k ≠ j, B_ij = log(weight exp(m_ij) + (1 - weight) exp(baseline_i)):

        1 + mean over i ≠ j of (s_ii - B_ij) - mean over i ≠ j of exp(s_ij - B_ii)

    `weight` is the weight itself. Distiller's library takes the logit of it, and its docstring states the two limits
    the wrong way round."""
    count = _needs_pairs(scores_KK)
    if not 0.0 <= weight <= 1.0:
        raise UserError(f"the weight of MI-alpha is {weight}: give a number from 0 (TUBA) to 1 (InfoNCE)")
    rows = log_baseline_K[:, None].expand_as(scores_KK)
    if weight == 0.0:
        baseline_KK = rows
    else:
        baseline_KK = log_mean_of_others(scores_KK)
        if weight < 1.0:
            baseline_KK = torch.logaddexp(math.log(weight) + baseline_KK, math.log1p(-weight) + rows)
    joint = scores_KK.diagonal()[:, None] - baseline_KK
    others = (joint.sum() - joint.diagonal().sum()) / (count * (count - 1))
    return 1.0 + others - _mean_of_others(scores_KK - baseline_KK.diagonal()[:, None])


def log_mean_of_others(scores_KK: Tensor) -> Tensor:
    """At (i, j) the log of the mean of exp(s_ik) over k ≠ j: sums from both sides, so that nothing cancels."""
    edge = torch.full_like(scores_KK[:, :1], -torch.inf)
    left = torch.cat([edge, scores_KK[:, :-1].logcumsumexp(-1)], -1)
    right = torch.cat([scores_KK[:, 1:].flip(-1).logcumsumexp(-1).flip(-1), edge], -1)
    return torch.logaddexp(left, right) - math.log(len(scores_KK) - 1)


def _mean_of_others(scores_KK: Tensor) -> Tensor:
    """The mean of exp over i ≠ j."""
    own = torch.eye(len(scores_KK), dtype=torch.bool, device=scores_KK.device)
    others = scores_KK.masked_fill(own, -torch.inf)
    mean = (others.flatten().logsumexp(0) - math.log(len(own) * (len(own) - 1))).exp()
    if not bool(mean.isfinite()):
        raise UserError(
            f"exp of scores up to {float(others.detach().max()):.4g} above their baseline overflows: "
            "scale the critic down, or take InfoNCE"
        )
    return mean


def _needs_pairs(scores_KK: Tensor) -> int:
    if len(_square(scores_KK)) < 2:
        raise UserError("a batch of one has no pair that does not belong together: give at least two samples")
    return len(scores_KK)


def _square(scores_KK: Tensor) -> Tensor:
    if scores_KK.dim() != 2 or scores_KK.shape[0] != scores_KK.shape[1] or not len(scores_KK):
        raise UserError(f"scores of shape {list(scores_KK.shape)}: give a square matrix, student by teacher")
    check_finite("scores", scores_KK)
    return scores_KK
