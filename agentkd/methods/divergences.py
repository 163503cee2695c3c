"""Divergences between a teacher's and a student's next-token distributions.

p is the teacher, q the student, everywhere. Divergences take log-probabilities [..., V], give nats per token [...], and
are differentiable in both arguments. Sources:

- generalised JSD: Agarwal et al., On-Policy Distillation of Language Models (GKD), arXiv 2306.13649, section 2
- skew divergences: Ko et al., DistiLLM, arXiv 2402.03898, section 3.1; DistiLLM-2, arXiv 2503.07067, section 3
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from agentkd.errors import UserError

Divergence = Callable[[Tensor, Tensor], Tensor]
LEAST_LOG = -1e30
"""The logarithm of a probability of 0, where a finite number is wanted: 0 times it is 0, and nothing becomes NaN."""
_NOTHING = -30.0  # log of a mass too small to change a float32 sum, and which no divergence turns into NaN
_TINY = 1e-7  # the least probability of the rest of a vocabulary: about float32's step below 1


def log_probs(logits: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """Log-probabilities of logits [..., V] at a temperature (a number, or a tensor that broadcasts against the logits).

    A logit of -inf is an outcome that cannot occur: it gets `LEAST_LOG`, so that divergences stay finite. Raises
    UserError for a temperature that is not positive and for logits that are NaN or +inf."""
    if logits.shape[-1] == 0:
        raise UserError(f"logits of shape {list(logits.shape)} have no class: give at least one")
    cool = torch.as_tensor(temperature, dtype=logits.dtype, device=logits.device)
    coldest = float(cool.min()) if cool.numel() else 1.0
    if not coldest > 0.0:
        raise UserError(f"temperature is {coldest}: give a number above 0")
    if coldest < 1.0:  # the largest logit becomes 0 before the division, so that no temperature overflows it
        logits = logits - logits.detach().amax(-1, keepdim=True).clamp_min(torch.finfo(logits.dtype).min)
    log_p = (logits if isinstance(temperature, float | int) and temperature == 1 else logits / cool).log_softmax(-1)
    if not log_p.numel():
        return log_p
    least = float(log_p.detach().amin())
    if math.isnan(least):
        raise UserError(
            "logits are NaN or +inf, or -inf alone in a row, which has no possible class then: look for an overflow or "
            "a division by zero in the model"
        )
    floor = max(LEAST_LOG, torch.finfo(logits.dtype).min)
    return log_p.clamp_min(floor) if least < floor else log_p


def check_shapes(student: Tensor, teacher: Tensor, what: str = "logits") -> None:
    """Raise UserError where two tensors that are compared entry by entry differ in shape."""
    if student.shape != teacher.shape:
        raise UserError(
            f"{what} of student and teacher are {list(student.shape)} and {list(teacher.shape)}: "
            "they are compared entry by entry, so give the same shape (a projector brings them together)"
        )


def check_finite(what: str, *tensors: Tensor) -> None:
    """Raise UserError for a NaN or an infinity: no objective on features survives one."""
    for tensor in tensors:
        if not bool(tensor.isfinite().all()):
            raise UserError(f"{what} are NaN or infinite: look for an overflow or a division by zero in the network")


def check_features(student: Tensor, teacher: Tensor, what: str = "features") -> None:
    """`check_shapes` and `check_finite`."""
    check_shapes(student, teacher, what)
    check_finite(what, student, teacher)


def forward_kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q), mode-covering."""
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def reverse_kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(q || p), mode-seeking."""
    return forward_kl(log_q, log_p)


def soft_cross_entropy(log_p: Tensor, log_q: Tensor) -> Tensor:
    """- sum p log q: KL(p || q) plus the entropy of p, so it is not 0 at p = q. Its gradient in q is that of the KL."""
    return -(log_p.exp() * log_q).sum(-1)


def total_variation(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Half the L1 distance, between 0 and 1."""
    return 0.5 * (log_p.exp() - log_q.exp()).abs().sum(-1)


def log_mixture(log_a: Tensor, log_b: Tensor, weight: float | Tensor) -> Tensor:
    """log(weight a + (1 - weight) b), for 0 <= weight <= 1; a tensor of weights broadcasts, and is neither 0 nor 1."""
    if isinstance(weight, Tensor):
        return torch.logaddexp(log_a + weight.log(), log_b + (-weight).log1p())
    if weight in (0.0, 1.0):
        return log_a if weight else log_b
    return torch.logaddexp(log_a + math.log(weight), log_b + math.log1p(-weight))


def jsd(log_p: Tensor, log_q: Tensor, beta: float = 0.5) -> Tensor:
    """beta KL(p || m) + (1 - beta) KL(q || m) with m = beta p + (1 - beta) q (GKD, equation 1).

    As in GKD and TRL, beta = 0 means KL(p || q) and beta = 1 means KL(q || p): the limits of the expression divided by
    beta and by 1 - beta; the expression itself would be 0. Raises ValueError for a beta outside [0, 1].
    """
    if not 0.0 <= beta <= 1.0:
        raise ValueError(f"beta is {beta}: give a number from 0 (forward KL) to 1 (reverse KL)")
    if beta == 0.0:
        return forward_kl(log_p, log_q)
    if beta == 1.0:
        return reverse_kl(log_p, log_q)
    log_m = log_mixture(log_p, log_q, beta)
    return beta * forward_kl(log_p, log_m) + (1.0 - beta) * forward_kl(log_q, log_m)


def skew_forward_kl(log_p: Tensor, log_q: Tensor, alpha: float = 0.1) -> Tensor:
    """KL(p || alpha p + (1 - alpha) q) (DistiLLM, equation 4); 0 <= alpha < 1, at 0 the forward KL."""
    return forward_kl(log_p, log_mixture(log_p, log_q, alpha) if alpha else log_q)


def skew_reverse_kl(log_p: Tensor, log_q: Tensor, alpha: float = 0.1) -> Tensor:
    """KL(q || (1 - alpha) p + alpha q) (DistiLLM, equation 4); 0 <= alpha < 1, at 0 the reverse KL."""
    return forward_kl(log_q, log_mixture(log_q, log_p, alpha) if alpha else log_p)


def find_divergence(name: str, *, beta: float = 0.5, alpha: float = 0.1) -> Divergence:
    """Find a divergence by name: `forward`, `reverse`, `jsd`, `skew` or `skew-reverse`; ValueError for another."""
    table: dict[str, Divergence] = {
        "forward": forward_kl,
        "reverse": reverse_kl,
        "jsd": partial(jsd, beta=beta),
        "skew": partial(skew_forward_kl, alpha=alpha),
        "skew-reverse": partial(skew_reverse_kl, alpha=alpha),
    }
    if name not in table:
        raise ValueError(f"unknown divergence {name!r}: choose one of {', '.join(table)}")
    return table[name]


def restrict_to_top_k(
    log_p_NK: Tensor, ids_NK: Tensor, log_q_NV: Tensor, rest: str, *, least: float = _TINY
) -> tuple[Tensor, Tensor]:
    """Restrict both distributions to the teacher's K likeliest tokens.

    `rest` says what becomes of the missing mass; the choice changes the loss and its gradient:

    - `bucket`: all other tokens are one more outcome, [N, K + 1]. The student learns how much mass to leave to them,
      and is free in how to divide it.
    - `renormalise`: both are conditioned on the K tokens, [N, K]. The student may leave any mass to the others.

    The bucket has at least the mass `least`. An id of -1 is no token: both sides get the same negligible mass there,
    which no divergence sees.
    """
    known = ids_NK >= 0
    log_q_NK = log_q_NV.gather(-1, ids_NK.clamp_min(0)).masked_fill(~known, _NOTHING)
    log_p_NK = log_p_NK.masked_fill(~known, _NOTHING)
    if rest == "renormalise":
        return log_p_NK.log_softmax(-1), log_q_NK.log_softmax(-1)
    if rest != "bucket":
        raise ValueError(f"rest is {rest!r}: choose bucket or renormalise")

    def with_rest(log_x_NK: Tensor) -> Tensor:
        left = (1.0 - log_x_NK.exp().sum(-1, keepdim=True)).clamp_min(least)
        return torch.cat([log_x_NK, left.log()], dim=-1)

    return with_rest(log_p_NK), with_rest(log_q_NK)
