"""MiniLLM: reverse KL by policy gradient (Gu et al., ICLR 2024, arXiv 2306.08543), as in TRL's port.

Claim: a generative student should seek the teacher's modes (reverse KL), learned on its own samples.

Reward of a token: r_i = log p(y_i) - log q(y_i). Advantage (section 2.2, equation 5): the sum over i >= t of
gamma^i r_i, with `normalise` divided by the sum over i >= t of gamma^i m_i. The discount is of the absolute position,
as in the port (its docstring says gamma^(i - t)); without normalisation the factor does not cancel. gamma = 0: the
reward itself. Masked tokens have no reward and count 1e-4 in the length.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agentkd.methods.divergences import check_features
from agentkd.methods.tokens.masked import token_mean

MASKED_LENGTH = 1e-4


def advantages(
    student_logp_BL: Tensor, teacher_logp_BL: Tensor, mask_BL: Tensor, *, gamma: float = 0.0, normalise: bool = True
) -> Tensor:
    """The advantage of each sampled token [B, L]; log-probabilities of the sampled tokens."""
    check_features(student_logp_BL[mask_BL], teacher_logp_BL[mask_BL], "log-probabilities")
    reward = torch.where(mask_BL, teacher_logp_BL - student_logp_BL, 0.0)
    if gamma <= 0.0:
        return reward
    discount = gamma ** torch.arange(reward.shape[-1], dtype=reward.dtype, device=reward.device)
    total = _later(discount * reward)
    if not normalise:
        return total
    return total / _later(discount * torch.where(mask_BL, 1.0, MASKED_LENGTH).to(reward.dtype))


def _later(values_BL: Tensor) -> Tensor:
    """The sum of a position and all later ones."""
    return values_BL.flip(-1).cumsum(-1).flip(-1)


def single_step(student_logp_BL: Tensor, teacher_logp_BL: Tensor, mask_BL: Tensor) -> Tensor:
    """The regularising term: q (log q - log p) of the given log-probabilities, mean over the batch's tokens."""
    check_features(student_logp_BL[mask_BL], teacher_logp_BL[mask_BL], "log-probabilities")
    return token_mean(student_logp_BL.exp() * (student_logp_BL - teacher_logp_BL), mask_BL)
