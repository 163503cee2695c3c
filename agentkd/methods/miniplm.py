"""MiniPLM: difference sampling for pre-training (Gu et al., ICLR 2025, arXiv 2410.17215).

Claim: documents that a large model finds much likelier than a small reference model teach a student of any family more
for the same tokens.

The score of a document is the reference's mean NLL a token minus the teacher's, in nats (equation 5); the
int(ratio · N) largest are kept, in the order of the corpus. The README writes a ratio of log-likelihoods and the paper
a log ratio of sums; the code, and so this, takes the difference of means. Among equal scores the earlier document is
kept. The official code keeps documents with a NaN score; here they are refused.

The vanilla-KD baseline is a soft cross-entropy (with the teacher's entropy), mean over the tokens of each sequence.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agentkd.errors import UserError
from agentkd.methods.divergences import check_shapes, log_probs, soft_cross_entropy
from agentkd.methods.tokens.masked import sequence_mean


def document_nll(logits_BLV: Tensor, labels_BL: Tensor, mask_BL: Tensor) -> Tensor:
    """The mean NLL a token of each document [B], labels aligned with the logits; UserError where one has no token."""
    if not bool(mask_BL.any(-1).all()):
        raise UserError("a document has no token that counts: leave empty documents out before scoring")
    nll = -log_probs(logits_BLV).gather(-1, labels_BL.clamp_min(0)[..., None])[..., 0]
    return sequence_mean(nll, mask_BL)


def difference(teacher_nll_N: Tensor, reference_nll_N: Tensor) -> Tensor:
    """The scores [N]: what the reference model lacks. UserError for numbers that are not finite."""
    check_shapes(teacher_nll_N, reference_nll_N, "mean losses")
    scores = reference_nll_N - teacher_nll_N
    bad = (~scores.isfinite()).nonzero().flatten().tolist()
    if bad:
        raise UserError(f"document {bad[0]} has the score {float(scores[bad[0]])}: leave out what a model cannot score")
    return scores


def keep_largest(scores_N: Tensor, ratio: float) -> Tensor:
    """The indices of the int(ratio · N) largest scores, ascending."""
    if not 0.0 <= ratio <= 1.0:
        raise UserError(f"the share to keep is {ratio}: give a number from 0 to 1")
    order = scores_N.sort(descending=True, stable=True).indices
    return order[: int(ratio * len(scores_N))].sort().values


def vanilla_kd(student_BLV: Tensor, teacher_BLV: Tensor, mask_BL: Tensor) -> Tensor:
    """- sum p log q, mean over the tokens of each sequence [B]. The total is (1 - ratio) · LM + ratio · this."""
    check_shapes(student_BLV, teacher_BLV)
    return sequence_mean(soft_cross_entropy(log_probs(teacher_BLV), log_probs(student_BLV)), mask_BL)


def mix_with_lm(lm: Tensor, kd: Tensor, ratio: float) -> Tensor:
    """(1 - ratio) · LM + ratio · KD."""
    return (1.0 - ratio) * lm + ratio * torch.as_tensor(kd)
