"""MCMI: a teacher with maximum conditional mutual information (Ye et al., ICLR 2024, arXiv 2401.08732).

Claim: a teacher tuned to say more about an input than its class teaches better, most of all where the student sees few
examples of a class, or none.

With P_x the softmax at T = 1 and Q_y the mean of P_x over the training samples of class y (section 4, equations 7 to
10), in nats:

    CMI = mean over x of KL(P_x || Q_y(x)),   the teacher minimises CE - weight · CMI.

The student's distillation is unchanged (`logits.kd_with_labels`). The official code computes the class means once,
before the fine-tuning, and keeps the checkpoint of the best test accuracy, which leaks; when means are computed, and
what is chosen on what, is the caller's part. Here Q is at least the smallest normal number, and a class without samples
has a uniform row, where the official code gives infinities and NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agentkd.errors import UserError
from agentkd.methods.divergences import check_finite, forward_kl, log_probs
from agentkd.methods.logits import check_labels, label_loss


def class_means(logits_NC: Tensor, labels_N: Tensor, classes: int | None = None) -> Tensor:
    """Q [classes, C]: the mean softmax of each class's samples, rows of sum 1. A class without samples: uniform."""
    probabilities = log_probs(logits_NC).exp()
    classes = classes or probabilities.shape[-1]
    check_labels(labels_N, classes)
    sums = probabilities.new_zeros(classes, probabilities.shape[-1]).index_add(0, labels_N, probabilities)
    empty = torch.bincount(labels_N, minlength=classes) == 0
    sums = torch.where(empty[:, None], torch.ones_like(sums), sums)
    return sums / sums.sum(-1, keepdim=True)


def cmi(logits_BC: Tensor, means_BC: Tensor) -> Tensor:
    """The conditional mutual information of a batch, with the row of Q of each sample's class."""
    if logits_BC.shape != means_BC.shape:
        raise UserError(
            f"logits of shape {list(logits_BC.shape)} and class means of {list(means_BC.shape)}: give each sample the "
            "mean of its class, over the classes of the logits"
        )
    check_finite("class means", means_BC)
    log_means = means_BC.clamp_min(torch.finfo(means_BC.dtype).tiny).log()
    return forward_kl(log_probs(logits_BC), log_means).mean()


def teacher_loss(logits_BC: Tensor, labels_B: Tensor, means_CC: Tensor, weight: float = 0.25) -> Tensor:
    """CE - weight · CMI; official weights: 0.15 to 0.25. A fitted teacher may need 0.5 and more for CMI to rise."""
    return label_loss(logits_BC, labels_B) - weight * cmi(logits_BC, means_CC[labels_B])
