"""CompoDistill: attention of vision-language models (arXiv 2510.12184), a published relative of LLaVA-KD.

Claim: a small model's weakness in compositional questions is one of visual attention, and aligning it helps.

- logits: "logit distillation" is a soft cross-entropy (it keeps the teacher's entropy) at the label positions
  themselves, unshifted, mean over all labelled tokens of the batch, T = 1; a longer teacher's vocabulary is cut BEFORE
  the softmax
- attention: head-averaged maps among the visual tokens. An entry is kept where it is at most mean + standard deviation
  (unbiased) of its map in the student and in the teacher, and is not 0 in the teacher; kept entries are averaged over
  queries for every key; 1 - cosine over keys, summed over layers, mean over the batch

Nothing kept is 0 here, where the official code gives NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from agentkd.methods.divergences import check_features, check_shapes, log_probs, soft_cross_entropy
from agentkd.methods.tokens.masked import IGNORED, token_mean


def logit_loss(student_BSV: Tensor, teacher_BSV: Tensor, labels_BS: Tensor) -> Tensor:
    """The soft cross-entropy at labelled positions."""
    teacher_BSV = teacher_BSV[..., : student_BSV.shape[-1]]
    check_shapes(student_BSV, teacher_BSV)
    log_p = log_probs(teacher_BSV)
    return token_mean(soft_cross_entropy(log_p, log_probs(student_BSV)), labels_BS != IGNORED)


def attention_loss(student_LBNN: Tensor, teacher_LBNN: Tensor) -> Tensor:
    """The distance of the attention that each visual token receives, without the peaks."""
    check_features(student_LBNN, teacher_LBNN, "attention maps")
    kept = _below_peak(student_LBNN) & _below_peak(teacher_LBNN) & (teacher_LBNN != 0)
    own, other = ((maps * kept).sum(-2) / kept.sum(-2).clamp_min(1) for maps in (student_LBNN, teacher_LBNN))
    return (1.0 - cosine_similarity(own, other, dim=-1)).sum() / student_LBNN.shape[1]


def _below_peak(maps: Tensor) -> Tensor:
    flat = maps.detach().flatten(-2)
    spread = flat.std(-1) if flat.shape[-1] > 1 else torch.zeros_like(flat[..., 0])
    return maps <= (flat.mean(-1) + spread)[..., None, None]
