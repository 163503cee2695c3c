"""LLaVA-KD: distillation of vision-language models that share a vocabulary (Cai et al., ICCV 2025, arXiv 2410.16236).

Claim: distilling in pre-training, then fine-tuning, then distilling again (DPT, SFT, DFT) lifts a small model above
fine-tuning alone. Total in DPT and DFT: LM loss + answer + visual + relation, all weights 1.

- answer (MDist): KL(p || q) at T = 1 of the next-token distributions of the answer, mean over the BATCH's tokens
- visual (MDist): the same KL on the logits AT the visual positions, unshifted, mean over these positions
- relation (RDist): 1 - cosine of R_t and R_s with R = Z Zᵀ of the raw visual logits, neither centred nor normalised

The paper writes RDist on visual tokens' outputs with a weight of its own; a public copy of the authors' trainer takes
the logits and weight 1, and so does this. That code runs with one sample a device; here visual and relation of a larger
batch are the means of the samples' values. A batch without images has LM + answer only, and where student and teacher
have different numbers of answer tokens, LM only.

The helpers at the end are those of the official repository that its trainer does not use (no shift, mean over the
batch's labelled tokens): `divergences` gives the same values.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import cosine_similarity

from agentkd.errors import UserError
from agentkd.methods.divergences import check_finite, check_shapes, forward_kl, log_probs
from agentkd.methods.tokens.masked import IGNORED, token_mean


class VisionLanguageLoss(NamedTuple):
    """The terms; `visual` and `relation` are None without an image, `answer` where the answers differ in length."""

    lm: Tensor
    answer: Tensor | None = None
    visual: Tensor | None = None
    relation: Tensor | None = None

    @property
    def total(self) -> Tensor:
        total = self.lm
        for term in (self.answer, self.visual, self.relation):
            total = total if term is None else total + term
        return total


def answer_loss(
    student_BSV: Tensor, teacher_BSV: Tensor, labels: Tensor, teacher_labels: Tensor | None = None
) -> Tensor | None:
    """MDist on the answer's tokens; None where the two sides' answers differ in length. No token: 0."""
    masks = [(each[:, 1:] != IGNORED) for each in (labels, labels if teacher_labels is None else teacher_labels)]
    if int(masks[0].sum()) != int(masks[1].sum()):
        return None
    q, p = student_BSV[:, :-1][masks[0]], teacher_BSV[:, :-1][masks[1]]
    if q.shape[-1] != p.shape[-1]:
        raise UserError(
            f"the teacher has {p.shape[-1]} tokens and the student {q.shape[-1]}: llava-kd compares next tokens, so "
            "give a pair with one vocabulary"
        )
    return forward_kl(log_probs(p), log_probs(q)).sum() / max(1, len(q))


def visual_loss(student_BNV: Tensor, teacher_BNV: Tensor) -> Tensor:
    """MDist on logits at the visual positions, mean over positions and batch."""
    check_shapes(student_BNV, teacher_BNV, "visual logits")
    values = forward_kl(log_probs(teacher_BNV), log_probs(student_BNV))
    return values.sum() / max(1, values.numel())


def relation_loss(student_BND: Tensor, teacher_BND: Tensor) -> Tensor:
    """RDist, mean over the batch: 0 where one side is a multiple or a rotation of the other. Widths may differ."""
    if student_BND.shape[:2] != teacher_BND.shape[:2]:
        raise UserError(
            f"{list(student_BND.shape[:2])} visual tokens and {list(teacher_BND.shape[:2])} of the teacher: "
            "give both the same images in the same patches"
        )
    check_finite("visual logits", student_BND, teacher_BND)
    own, other = ((states @ states.mT).flatten(1) for states in (student_BND, teacher_BND))
    return (1.0 - cosine_similarity(other, own, dim=-1)).mean()


def llava_kd_loss(
    lm: Tensor,
    student_BSV: Tensor,
    teacher_BSV: Tensor,
    labels: Tensor,
    *,
    teacher_labels: Tensor | None = None,
    visual: slice | None = None,
) -> VisionLanguageLoss:
    """All terms. `visual` are the positions of the image's tokens, None without an image."""
    answer = answer_loss(student_BSV, teacher_BSV, labels, teacher_labels)
    if answer is None:
        return VisionLanguageLoss(lm)
    if visual is None:
        return VisionLanguageLoss(lm, answer)
    q, p = student_BSV[:, visual], teacher_BSV[:, visual]
    return VisionLanguageLoss(lm, answer, visual_loss(q, p), relation_loss(q, p))


def labelled_mean(values_BS: Tensor, labels_BS: Tensor) -> Tensor:
    """The mean over the batch's tokens that have a label, at their own positions."""
    return token_mean(values_BS, labels_BS != IGNORED)
