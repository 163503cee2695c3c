"""The generalised JSD of GKD under each of its reductions (Agarwal et al., ICLR 2024, arXiv 2306.13649, section 2).

Claim: a student learns best on its own samples, with a divergence between forward and reverse KL.

beta KL(p || m) + (1 - beta) KL(q || m) with m = beta p + (1 - beta) q; beta 0 is KL(p || q) and beta 1 is KL(q || p),
which are not the limits of the expression (these are 0). beta weighs the TEACHER, as in TRL; KDFlow and the helpers of
LLaVA-KD give their number to the student.
"""

from __future__ import annotations

from torch import Tensor

from agentkd.errors import UserError
from agentkd.methods.divergences import check_shapes, forward_kl, jsd, log_mixture, log_probs
from agentkd.methods.tokens.masked import IGNORED

LEAST = 1e-8


def generalised_jsd(
    student_BLV: Tensor,
    teacher_BLV: Tensor,
    labels_BL: Tensor | None = None,
    *,
    beta: float = 0.5,
    temperature: float = 1.0,
    reduction: str = "batchmean",
) -> Tensor:
    """GKD's loss as in TRL: `divergences.jsd` (beta weighs the teacher) at T without T², labels aligned: no shift here.

    `reduction`: `batchmean` divides by the tokens with a label, without labels by the FIRST dimension; `sum`; `mean`
    divides by tokens times vocabulary; `none` keeps [tokens, V] (without labels the shape of the logits)."""
    check_shapes(student_BLV, teacher_BLV)
    log_q, log_p = log_probs(student_BLV, temperature), log_probs(teacher_BLV, temperature)
    return reduce_jsd(log_p, log_q, labels_BL, beta=beta, reduction=reduction)


def jsd_of_parts(student_NV: Tensor, teacher_NV: Tensor, *, beta: float = 0.5) -> Tensor:
    """GOLD's JSD of parts of two distributions that need not sum to 1: at least 1e-8 each, not renormalised, so it can
    be negative. Sum over the vocabulary, mean over tokens."""
    log_q, log_p = (values.clamp_min(LEAST).log() for values in (student_NV, teacher_NV))
    return reduce_jsd(log_p, log_q, None, beta=beta, reduction="batchmean")


def reduce_jsd(log_p: Tensor, log_q: Tensor, labels_BL: Tensor | None, *, beta: float, reduction: str) -> Tensor:
    """The generalised JSD of log-probabilities under a reduction of `generalised_jsd`."""
    if labels_BL is not None:
        kept = labels_BL != IGNORED
        log_p, log_q = log_p[kept], log_q[kept]
    terms = jsd(log_p[..., None], log_q[..., None], beta)  # of each entry, its own sum
    if reduction == "none":
        return terms
    if reduction == "sum":
        return terms.sum()
    if reduction == "mean":
        return terms.sum() / max(1, terms.numel())
    if reduction == "batchmean":
        return terms.sum() / max(1, len(terms))
    raise UserError(f"reduction is {reduction!r}: choose batchmean, sum, mean or none")


def mixture_jsd(log_p: Tensor, log_q: Tensor, weight: float) -> Tensor:
    """weight KL(p || m) + (1 - weight) KL(q || m), m = weight p + (1 - weight) q, taken literally: 0 at 0 and at 1.

    KDFlow and the helpers of LLaVA-KD give their number to the student: theirs is 1 - weight."""
    if not 0.0 <= weight <= 1.0:
        raise UserError(f"the teacher's weight in the mixture is {weight}: give a number from 0 to 1")
    log_m = log_mixture(log_p, log_q, weight)
    return weight * forward_kl(log_p, log_m) + (1.0 - weight) * forward_kl(log_q, log_m)
