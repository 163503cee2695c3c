"""OFA-KD: one for all (Hao et al., NeurIPS 2023, arXiv 2310.19444).

Claim: a teacher of another family (CNN, transformer, MLP) helps, if the student's stages are projected into logit space
and the target's share grows where the teacher is unsure.

With y the label and p, q at temperature T (without T²), each head's loss is (section 3.3, equation 6)

    - sum over i of [(p_i + 1[i = y])^eps - 1[i = y]] log q_i, mean over the batch.

eps = 1 is plain KD, as a soft cross-entropy. The paper raises only the target's term; the official code, and so this,
raises every p_i. Here log q is a log-softmax, where the official logarithm of a softmax overflows. The total is
w_gt CE + w_kd loss(final logits) + w_ofa sum over stages of loss(stage's head); the official weights are all 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import one_hot

from agentkd.errors import UserError
from agentkd.methods.divergences import check_shapes, log_probs
from agentkd.methods.logits import check_labels, label_loss


class OfaLoss(NamedTuple):
    """The weighted terms."""

    labels: Tensor
    logits: Tensor
    stages: Tensor

    @property
    def total(self) -> Tensor:
        return self.labels + self.logits + self.stages


class OfaWeights(NamedTuple):
    """The weights of labels, final logits and stages. Four stages of weight 1 swamp a small student: try 0.1 to 0.3."""

    labels: float = 1.0
    logits: float = 1.0
    stages: float = 1.0


def adaptive_target_loss(
    student_BC: Tensor, teacher_BC: Tensor, labels_B: Tensor, eps: float = 1.0, temperature: float = 1.0
) -> Tensor:
    """The loss of one head; official eps: 1 on CIFAR-100, 1.5 on ImageNet."""
    check_shapes(student_BC, teacher_BC)
    check_labels(labels_B, student_BC.shape[-1])
    target = one_hot(labels_B, student_BC.shape[-1]).to(student_BC.dtype)
    weights = (log_probs(teacher_BC, temperature).exp() + target).pow(eps) - target
    return -(weights * log_probs(student_BC, temperature)).sum(-1).mean()


def ofa_loss(
    student_BC: Tensor,
    heads_SBC: Sequence[Tensor] | Tensor,
    teacher_BC: Tensor,
    labels_B: Tensor,
    *,
    eps: Sequence[float],
    weights: OfaWeights = OfaWeights(),  # noqa: B008
    temperature: float = 1.0,
) -> OfaLoss:
    """All terms. `eps` has one number for each stage's head, and a last one for the final logits."""
    heads = list(heads_SBC)
    if len(eps) != len(heads) + 1:
        raise UserError(f"{len(eps)} values of eps for {len(heads)} stages: give one a stage, and one for the logits")
    stages = student_BC.new_zeros(())
    for head_BC, power in zip(heads, eps, strict=False):
        stages = stages + adaptive_target_loss(head_BC, teacher_BC, labels_B, power, temperature)
    return OfaLoss(
        weights.labels * label_loss(student_BC, labels_B),
        weights.logits * adaptive_target_loss(student_BC, teacher_BC, labels_B, eps[-1], temperature),
        weights.stages * stages,
    )
