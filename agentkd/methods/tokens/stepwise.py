"""Step-wise on-policy distillation: a step after a strange one teaches less (SOD, Zhong et al. 2026, arXiv 2605.07725).

Claim: a wrong early step of an agent makes what follows nonsense, on which the teacher's judgement is worth little;
distillation that is weighed by the steps' divergence keeps what is still in line.

This is a reconstruction from the abstract: the paper weighs each step by a divergence of student and teacher on the
step's own tokens, by a formula that is not repeated here. Ours: d_k = mean over the sampled tokens of step k of
max(0, log q - log p), in nats; the weight of step k is exp(- scale · max over j < k of d_j). So the strange step itself
is taught in full, and all after it less. scale = 0 is plain on-policy distillation.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agentkd.methods.divergences import check_features


def number_steps(breaks_BL: Tensor) -> Tensor:
    """The step of each token [B, L], counted from 0; a token at which `breaks_BL` is true is the last of its step."""
    ended = breaks_BL.long().cumsum(-1)
    return ended - breaks_BL.long()


def step_weights(
    student_logp_BL: Tensor, teacher_logp_BL: Tensor, steps_BL: Tensor, mask_BL: Tensor, *, scale: float = 1.0
) -> Tensor:
    """The weight of each token [B, L] without a gradient, 1 in the first step; log-probabilities of sampled tokens."""
    check_features(student_logp_BL[mask_BL], teacher_logp_BL[mask_BL], "log-probabilities")
    with torch.no_grad():
        strange = torch.where(mask_BL, (student_logp_BL - teacher_logp_BL).clamp_min(0.0), 0.0)
        count = int(steps_BL.max()) + 1
        shape = (*steps_BL.shape[:-1], count)
        total = torch.zeros(shape, dtype=strange.dtype, device=strange.device).scatter_add(-1, steps_BL, strange)
        tokens = torch.zeros_like(total).scatter_add(-1, steps_BL, mask_BL.to(total.dtype))
        worst = (total / tokens.clamp_min(1.0)).cummax(-1).values
        before = torch.cat([torch.zeros_like(worst[..., :1]), worst[..., :-1]], -1)
        return (-scale * before).exp().gather(-1, steps_BL)
