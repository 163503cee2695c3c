"""Adaptive KL, and losses on the order of the teacher's tokens (in the manner of KDFlow and DistillKit).

- `adaptive_kl`: Wu et al., Rethinking KL Divergence for LLMs, COLING 2025, arXiv 2404.02657, equation 11: the head and
  the tail of the teacher decide how much forward and how much reverse KL there is
- `hinge_ranking`, `logistic_ranking`: every pair of the teacher's tokens, of which one is likelier
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from agentkd.methods.divergences import check_finite, forward_kl, log_probs, reverse_kl

TIE = 1e-8  # probabilities that differ by no more are equal; it stands in the denominator, too, as in DistillKit


def adaptive_kl(log_p: Tensor, log_q: Tensor, tail: float = 0.5) -> Tensor:
    """g_head / (g_head + g_tail) KL(p || q) + g_tail / (g_head + g_tail) KL(q || p), nats per token [...].

    The tail are the teacher's least likely tokens while their cumulative mass is at most `tail`; g is the L1 distance
    of the two there, without a gradient. Equal distributions: 0, where KDFlow gives NaN."""
    with torch.no_grad():
        p, order = log_p.exp().sort(dim=-1)
        apart = (p - log_q.exp().gather(-1, order)).abs()
        in_tail = p.cumsum(-1) <= tail
        g_tail, g_head = (apart * in_tail).sum(-1), (apart * ~in_tail).sum(-1)
        total = g_head + g_tail
        share = torch.where(total > 0, g_head / total.clamp_min(torch.finfo(p.dtype).tiny), 0.5)
    return share * forward_kl(log_p, log_q) + (1.0 - share) * reverse_kl(log_p, log_q)


def top1_cross_entropy(log_p: Tensor, log_q: Tensor) -> Tensor:
    """- p_max log q at the teacher's likeliest token [...]."""
    best, place = log_p.max(-1, keepdim=True)
    return -(best.exp() * log_q.gather(-1, place))[..., 0]


def hinge_ranking(
    student_BSV: Tensor,
    ids_BSK: Tensor,
    log_p_BSK: Tensor,
    *,
    margin: float | None = None,
    mask_BS: Tensor | None = None,
) -> Tensor:
    """The mean over pairs (k, l) with p_k > p_l of max(0, margin - (q_k - q_l)); the margin is p_k - p_l where None."""
    p = log_p_BSK.exp()
    q = log_probs(student_BSV).gather(-1, ids_BSK).exp()
    wanted = _pairs(p) if margin is None else torch.full_like(_pairs(p), margin)
    return _mean_of_ordered(p, (wanted - _pairs(q)).clamp_min(0.0), mask_BS)


def logistic_ranking(
    student_BSV: Tensor, ids_BSK: Tensor, log_p_BSK: Tensor, *, mask_BS: Tensor | None = None
) -> Tensor:
    """The mean over pairs (k, l) with p_k > p_l of log(1 + exp(-(z_k - z_l))), z the student's logits."""
    logits = student_BSV.gather(-1, ids_BSK)
    check_finite("logits", logits)
    return _mean_of_ordered(log_p_BSK.exp(), softplus(-_pairs(logits)), mask_BS)


def _pairs(values_K: Tensor) -> Tensor:
    return values_K[..., :, None] - values_K[..., None, :]


def _mean_of_ordered(p_BSK: Tensor, values_BSKK: Tensor, mask_BS: Tensor | None) -> Tensor:
    """Over pairs of tokens that the teacher gives any mass, at the places that count; none: 0."""
    known = p_BSK > TIE
    ordered = (_pairs(p_BSK) > TIE) & known[..., :, None] & known[..., None, :]
    if mask_BS is not None:
        ordered = ordered & mask_BS[..., None, None]
    return torch.where(ordered, values_BSKK, 0.0).sum() / (ordered.sum() + TIE)
