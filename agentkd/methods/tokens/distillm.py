"""DistiLLM and DistiLLM-2: skew divergences of sequences (Ko et al., arXiv 2402.03898 and 2503.07067).

Claim: mixing a little of the other distribution into the target keeps gradients small and training fast; forward skew
on the teacher's answers with reverse skew on the student's works better than either.

    forward: KL(p || a p + (1 - a) q)        reverse: KL(q || (1 - a) p + a q), the q in the mixture is constant

Logits and labels as the model has them: they are shifted here. The mean is over the unmasked tokens of each SEQUENCE.
DistiLLM-2's adaptive a (equation 8), with c an anchor and g the gap of mean probabilities, is
clip(1 - (1 - a) c / (g + 1e-5), 0.01, a), through which the gradient flows; with the published defaults it never runs.
In KDFlow's reverse skew the gradient flows through the mixture: that is `divergences.skew_reverse_kl`.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from agentkd.errors import UserError
from agentkd.methods.divergences import (
    check_shapes,
    forward_kl,
    jsd,
    log_mixture,
    log_probs,
    reverse_kl,
)
from agentkd.methods.tokens.masked import IGNORED, sequence_mean

ALPHA = 0.1
LEAST_ALPHA = 0.01
GKD_WEIGHT = 0.9


class SequenceLoss(NamedTuple):
    """Of each sequence [B]: the mean log-probability of its labels in both models, and the two divergences."""

    student_logp: Tensor
    teacher_logp: Tensor
    forward: Tensor
    reverse: Tensor


def sequence_divergences(
    student_BLV: Tensor,
    teacher_BLV: Tensor,
    labels_BL: Tensor,
    *,
    kind: str = "skew",
    anchors: tuple[float | None, float | None] = (None, None),
    alpha: float = ALPHA,
) -> SequenceLoss:
    """Both divergences of each sequence.

    `kind`: `skew`; `kl` (forward and reverse KL); `gkd` (the JSD with 0.9 on the teacher, twice). `anchors` are the
    statistics c of the forward and of the reverse term; None keeps `alpha`."""
    check_shapes(student_BLV, teacher_BLV)
    targets = labels_BL[:, 1:]
    mask = targets != IGNORED
    log_q, log_p = log_probs(student_BLV[:, :-1]), log_probs(teacher_BLV[:, :-1])
    picked = targets.clamp_min(0)[..., None]
    own, other = (sequence_mean(log_x.gather(-1, picked)[..., 0], mask) for log_x in (log_q, log_p))
    if kind == "kl":
        forward, reverse = forward_kl(log_p, log_q), reverse_kl(log_p, log_q)
    elif kind == "gkd":
        forward = reverse = jsd(log_p, log_q, GKD_WEIGHT)
    elif kind == "skew":
        gap = other.exp() - own.exp()
        weights = [_adaptive(alpha, anchor, sign * gap) for anchor, sign in zip(anchors, (1.0, -1.0), strict=True)]
        forward = forward_kl(log_p, log_mixture(log_p, log_q, weights[0]))
        reverse = forward_kl(log_q, log_mixture(log_q.detach(), log_p, weights[1]))
    else:
        raise UserError(f"kind is {kind!r}: choose skew, kl or gkd")
    return SequenceLoss(own, other, sequence_mean(forward, mask), sequence_mean(reverse, mask))


def _adaptive(alpha: float, anchor: float | None, gap_B: Tensor) -> float | Tensor:
    if anchor is None:
        return alpha
    return (1.0 - (1.0 - alpha) * anchor / (gap_B + 1e-5)).clamp(LEAST_ALPHA, alpha)[:, None, None]


def contrastive_loss(chosen: SequenceLoss, rejected: SequenceLoss, reverse_weight: float = 1.0) -> Tensor:
    """DistiLLM-2: (2 - b) · forward on the teacher's answers + b · reverse on the student's, one value a pair [B]."""
    return (2.0 - reverse_weight) * chosen.forward + reverse_weight * rejected.reverse
