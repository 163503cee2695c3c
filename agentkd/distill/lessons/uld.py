"""Universal Logit Distillation: compare two models of different vocabularies by their sorted probabilities.

Boizard et al., arXiv 2402.12030, section 3.2; spans of several tokens and the hybrid by GOLD (Patiño et al. 2025). How
both sides' tokens are aligned, and what is compared where, is in `cross_tokenizer.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from agentkd.distill.lessons.teacher_signal import LossOptions, Terms
from agentkd.methods import divergences

SILENT, PLAIN, HYBRID = 0, 1, 2  # the teacher's score of a token: none, ranks, or ids and ranks


def token_loss(options: LossOptions, terms: Terms, shared_V: Tensor | None = None) -> Callable[..., Tensor]:
    """The loss of each token of a chunk of whole spans from the student's logits [C, V].

    A span's loss is at its first token. `shared_V` marks the tokens that the teacher has, too (hybrid). The sums of the
    loss's terms are added to `terms`."""

    def loss(
        logits_CV: Tensor, labels: Tensor, real: Tensor, back: Tensor, kind: Tensor, p_CK: Tensor, *match: Tensor
    ) -> Tensor:
        log_q = logits_CV.log_softmax(-1)
        own = log_q.gather(-1, labels[:, None])[:, 0]
        nll = -own * real
        begin = torch.arange(len(own), device=own.device) - back
        chain = torch.zeros_like(own).index_add(0, begin, own)  # at a span's first token: of all its tokens
        total = torch.zeros_like(own)
        plain = (kind == PLAIN).nonzero()[:, 0]
        q = log_q[plain].exp().scatter(-1, labels[plain, None], chain[plain, None].exp())
        apart = uld(p_CK[plain], q, options.rest)
        terms["nll"].append(nll.detach().sum())
        terms["uld"].append(apart.detach().sum())
        total = total.index_add(0, plain, apart)
        if shared_V is not None:
            ids, log_p = match
            both = (kind == HYBRID).nonzero()[:, 0]
            by_id = options.divergence(
                *divergences.restrict_to_top_k(log_p[both], ids[both], log_q[both], options.rest)
            )
            others = uld_of_known_ranks(p_CK[both], log_q[both].exp().masked_fill(shared_V, 0.0))
            terms["divergence"].append(by_id.detach().sum())
            terms["uld"].append(others.detach().sum())
            total = total.index_add(0, both, by_id + others)
        return options.nll * nll + (1.0 - options.nll) * total

    return loss


def uld(p_NK: Tensor, q_NV: Tensor, rest: str) -> Tensor:
    """Universal Logit Distillation [N]: the L1 distance of sorted probabilities. Of the teacher's, the K largest are
    given in descending order. `rest` says what becomes of ranks beyond K (and of what leaves a merged span):

    - `bucket`: they are compared as one mass. At K = V this is the paper's loss; else it is never larger.
    - `renormalise`: both sides' K largest are made to sum to 1.
    """
    q_NK = largest_values(q_NV, p_NK.shape[-1])
    if rest == "renormalise":
        return (p_NK / p_NK.sum(-1, keepdim=True) - q_NK / q_NK.sum(-1, keepdim=True)).abs().sum(-1)
    if rest != "bucket":
        raise ValueError(f"rest is {rest!r}: choose bucket or renormalise")
    return (p_NK - q_NK).abs().sum(-1) + (p_NK.sum(-1) - q_NK.sum(-1)).abs()


def uld_of_known_ranks(p_NK: Tensor, q_NV: Tensor) -> Tensor:
    """The L1 distance [N] over the ranks with p > 0, in descending order. The hybrid's divergence compares the mass of
    all other tokens, as its rest."""
    return ((p_NK - largest_values(q_NV, p_NK.shape[-1])).abs() * (p_NK > 0)).sum(-1)


def largest_values(q_NV: Tensor, k: int) -> Tensor:
    """The k largest values of each row in descending order, padded with zeros."""
    top = q_NV.topk(min(k, q_NV.shape[-1]), dim=-1).values
    return torch.nn.functional.pad(top, (0, k - top.shape[-1]))
