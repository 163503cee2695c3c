"""Divergences between a teacher's and a student's next-token distributions, and a loss that never holds all logits.

p is the teacher, q the student, everywhere. Divergences take log-probabilities [..., V], give nats per token [...], and
are differentiable in both arguments. Sources:

- generalised JSD: Agarwal et al., On-Policy Distillation of Language Models (GKD), arXiv 2306.13649, section 2
- skew divergences: Ko et al., DistiLLM, arXiv 2402.03898, section 3.1; DistiLLM-2, arXiv 2503.07067, section 3

`chunked_loss` computes any of them from hidden states, for some tokens at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

Divergence = Callable[[Tensor, Tensor], Tensor]
LOGITS = 10_000_000
"""Number of logits that exist at once: 40 MB in float32, or 65 tokens of a vocabulary of 151,936."""
IN_CACHE = 300_000
"""Number of logits that a loss sees at once on a CPU. A loss makes about ten arrays of their size; arrays of a megabyte
are still in the cache when they are read again. (A GPU wants large steps.)"""
_NOTHING = -30.0  # log of a mass too small to change a float32 sum, and which no divergence turns into NaN
_TINY = 1e-7  # the least probability of the rest of a vocabulary: about float32's step below 1


def forward_kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q), mode-covering."""
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def reverse_kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(q || p), mode-seeking."""
    return forward_kl(log_q, log_p)


def log_mixture(log_a: Tensor, log_b: Tensor, weight: float) -> Tensor:
    """log(weight a + (1 - weight) b), for 0 < weight < 1."""
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


def restrict_to_top_k(log_p_NK: Tensor, ids_NK: Tensor, log_q_NV: Tensor, rest: str) -> tuple[Tensor, Tensor]:
    """Restrict both distributions to the teacher's K likeliest tokens.

    `rest` says what becomes of the missing mass; the choice changes the loss and its gradient:

    - `bucket`: all other tokens are one more outcome, [N, K + 1]. The student learns how much mass to leave to them,
      and is free in how to divide it.
    - `renormalise`: both are conditioned on the K tokens, [N, K]. The student may leave any mass to the others.

    An id of -1 is no token: both sides get the same negligible mass there, which no divergence sees.
    """
    known = ids_NK >= 0
    log_q_NK = log_q_NV.gather(-1, ids_NK.clamp_min(0)).masked_fill(~known, _NOTHING)
    log_p_NK = log_p_NK.masked_fill(~known, _NOTHING)
    if rest == "renormalise":
        return log_p_NK.log_softmax(-1), log_q_NK.log_softmax(-1)
    if rest != "bucket":
        raise ValueError(f"rest is {rest!r}: choose bucket or renormalise")

    def with_rest(log_x_NK: Tensor) -> Tensor:
        left = (1.0 - log_x_NK.exp().sum(-1, keepdim=True)).clamp_min(_TINY)
        return torch.cat([log_x_NK, left.log()], dim=-1)

    return with_rest(log_p_NK), with_rest(log_q_NK)


class Head(NamedTuple):
    """Another model's hidden states and head, whose logits a loss needs. They get no gradient."""

    hidden_NE: Tensor
    weight_VE: Tensor


def chunked_loss(
    loss: Callable[..., Tensor],
    hidden_ND: Tensor,
    head_VD: Tensor,
    *aligned: Tensor | Head,
    bias: Tensor | None = None,
    chunk: int | None = None,
    whole: bool = False,
) -> Tensor:
    """Sum `loss(logits_RV, *aligned_R)` over N tokens, with the logits of few tokens in memory at a time.

    `loss` gives one value per token [R] from the student's float32 logits, which are the products with `head_VD`, plus
    the `bias` [V]. `aligned` are tensors of first dimension N (labels, weights, teacher scores), of which it gets the
    same rows, and heads of other models, of which it gets the float32 logits [R, V] of these rows. They get no
    gradient. Value and gradient in `hidden_ND`, `head_VD` and `bias` equal those of the dense computation. The gradient
    is computed in the forward pass, while the logits exist (the idea of Liger's fused losses, arXiv 2410.10989), so
    that nothing of size N V is ever stored.

    Logits are made for `chunk` tokens at once, by default for as many as `LOGITS` allows, because each product with the
    head reads all of it. `loss` sees fewer rows at once (`IN_CACHE`), and their gradient overwrites their logits. With
    `whole` it sees a chunk's rows together, for losses that join rows.
    """
    first = [token_tensor(item) for item in aligned]
    if any(len(tensor) != len(hidden_ND) for tensor in first):
        raise ValueError(f"{len(hidden_ND)} tokens, but aligned tensors of {[len(t) for t in first]} rows")
    chunk = chunk or max(1, LOGITS // len(head_VD))
    total: Tensor = _Chunked.apply(loss, chunk, whole, hidden_ND, head_VD, bias, *aligned)  # type: ignore[no-untyped-call]
    return total


def token_tensor(item: Tensor | Head) -> Tensor:
    """The tensor of an aligned item whose rows are tokens."""
    return item.hidden_NE if isinstance(item, Head) else item


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        loss: Callable[..., Tensor],
        chunk: int,
        whole: bool,
        hidden_ND: Tensor,
        head_VD: Tensor,
        bias_V: Tensor | None,
        *aligned: Tensor | Head,
    ) -> Tensor:
        wants_hidden, wants_head, wants_bias = ctx.needs_input_grad[3:6]
        wanted = wants_hidden or wants_head or wants_bias
        total = hidden_ND.new_zeros((), dtype=torch.float32)
        grad_hidden = torch.empty_like(hidden_ND) if wants_hidden else None
        grad_head = torch.zeros_like(head_VD) if wants_head else None
        grad_bias = torch.zeros_like(bias_V) if bias_V is not None and wants_bias else None
        for start in range(0, len(hidden_ND), chunk):
            rows = slice(start, start + chunk)
            logits = (hidden_ND[rows] @ head_VD.T).float()
            if bias_V is not None:
                logits += bias_V
            given = [
                (item.hidden_NE[rows] @ item.weight_VE.T).float() if isinstance(item, Head) else item[rows]
                for item in aligned
            ]
            total += _in_place(loss, logits, given, wanted, whole)
            grad_logits = logits.to(head_VD.dtype)
            if grad_hidden is not None:
                torch.mm(grad_logits, head_VD, out=grad_hidden[rows])
            if grad_head is not None:
                grad_head.addmm_(grad_logits.T, hidden_ND[rows])
            if grad_bias is not None:
                grad_bias += logits.sum(0)
            del logits, given, grad_logits  # before the next ones are made
        ctx.made = grad_hidden, grad_head, grad_bias
        ctx.rest = len(aligned)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (grad,) = grads
        if ctx.made is None:
            raise RuntimeError("a chunked loss goes backward once: its gradients are scaled where they stand")
        found = [made if made is None else made.mul_(grad) for made in ctx.made]
        ctx.made = None
        return (None, None, None, *found, *[None] * ctx.rest)


def _in_place(
    loss: Callable[..., Tensor], logits_CV: Tensor, aligned: Sequence[Tensor], wanted: bool, whole: bool
) -> Tensor:
    """The sum of a chunk's losses. If `wanted`, their gradient overwrites the logits."""
    total = logits_CV.new_zeros(())
    step = len(logits_CV) if whole or logits_CV.is_cuda else max(1, IN_CACHE // logits_CV.shape[1])
    for start in range(0, len(logits_CV), step):
        rows = slice(start, start + step)
        with torch.enable_grad():
            logits = logits_CV[rows].detach().requires_grad_(wanted)
            value = loss(logits, *(tensor[rows] for tensor in aligned)).sum()
        total += value.detach()
        if wanted:
            logits_CV[rows] = torch.autograd.grad(value, logits)[0]
    return total
