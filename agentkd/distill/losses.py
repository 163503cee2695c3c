"""A loss over next-token distributions that never holds all logits.

`chunked_loss` computes any loss of a token's logits from hidden states, for some tokens at a time. The divergences that
it is given are in `agentkd/methods/divergences.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

LOGITS = 10_000_000
"""Number of logits that exist at once: 40 MB in float32, or 65 tokens of a vocabulary of 151,936."""
IN_CACHE = 300_000
"""Number of logits that a loss sees at once on a CPU. A loss makes about ten arrays of their size; arrays of a megabyte
are still in the cache when they are read again. (A GPU wants large steps.)"""


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
