"""A teacher known only at its K likeliest tokens, at a temperature (in the manner of DistillKit).

`missing` says what the rest of the teacher's mass is:

- `zero`: nothing. The teacher is renormalised over the K tokens, the student keeps its whole softmax (a loss that
  conditions BOTH on the K tokens is another one: `divergences.restrict_to_top_k`, `renormalise`)
- `symmetric_uniform`: one more outcome on both sides (`restrict_to_top_k`, `bucket`)

Stored log-probabilities are brought to T by p^(1/T), the missing mass as one outcome; `values` may also be logits
(`log_target=False`), whose missing mass is unknown, so only with `zero`. Losses sum over tokens; DistillKit's classes
multiply by T² and divide by the number of tokens afterwards.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agentkd.errors import UserError
from agentkd.methods.divergences import LEAST_LOG, Divergence, log_probs, restrict_to_top_k

LEAST = 1e-8


def sparse_loss(
    divergence: Divergence,
    student_BSV: Tensor,
    ids_BSK: Tensor,
    values_BSK: Tensor,
    *,
    missing: str = "zero",
    temperature: float = 1.0,
    log_target: bool = True,
) -> Tensor:
    """A divergence [B, S] between the teacher's K tokens and the student's logits."""
    if missing not in ("zero", "symmetric_uniform"):
        raise UserError(f"missing is {missing!r}: choose zero or symmetric_uniform")
    if missing == "symmetric_uniform" and not log_target:
        raise UserError("logits do not tell the mass that is missing: take missing=zero, or store log-probabilities")
    log_q = log_probs(student_BSV, temperature)
    if missing == "zero":
        log_p = log_probs(values_BSK, temperature)
        log_q_K = log_q.gather(-1, ids_BSK)
        rest = (1.0 - log_q_K.exp().sum(-1, keepdim=True)).clamp_min(LEAST)
        nothing = torch.full_like(rest, LEAST_LOG)
        return divergence(torch.cat([log_p, nothing], -1), torch.cat([log_q_K, rest.log()], -1))
    log_p = values_BSK
    if temperature != 1.0:
        rest = (1.0 - log_p.exp().sum(-1, keepdim=True)).clamp_min(0.0)
        with_rest = torch.cat([log_p, rest.log().clamp_min(LEAST_LOG)], -1)
        log_p = log_probs(with_rest, temperature)[..., :-1]
    return divergence(*restrict_to_top_k(log_p, ids_BSK, log_q, "bucket", least=LEAST))


def sum_of_tokens(values_BS: Tensor, mask_BS: Tensor | None = None) -> Tensor:
    """The sum over the tokens that count."""
    return values_BS.sum() if mask_BS is None else torch.where(mask_BS, values_BS, 0.0).sum()
