"""`--method mcmi`: a teacher is tuned to say more about a token than which one comes next, for `logits` to learn from.

MCMI (Ye et al., ICLR 2024, arXiv 2401.08732; `methods/mcmi.py`) for a language model, per target token:

    CE - weight x KL(P || Q_y),   Q_y the mean of P over the target tokens of a batch that are the same token y

Departures: the classes are the tokens of the vocabulary, of which a corpus has many, so Q_y is the mean of the batch
at hand instead of that of the training data. A token that occurs once in a batch has no CMI. The gradient takes Q_y as
given, which changes nothing: at the mean, that of KL in Q is constant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from agentkd.distill.data.tokens import TrainingData, pad_rows
from agentkd.distill.lessons import sft
from agentkd.distill.lessons.teacher_signal import BatchLoss, TeacherSignal, Terms, chunked_loss
from agentkd.distill.resolve import Stage
from agentkd.inference.head import Head
from agentkd.methods.divergences import forward_kl
from agentkd.methods.mcmi import class_means


def make_trainer(
    stage: Stage,
    data: TrainingData,
    arguments: Mapping[str, Any],
    parts: Mapping[str, Any],
    signal: TeacherSignal | None,
) -> Any:
    """The trainer of `sft` with this loss."""
    pad = data.student.tokenizer.pad_token_id
    own = TeacherSignal(batch_loss(float(stage.config.cmi_weight or 0.0)), partial(pad_rows, pad=pad), {})
    return sft.make_trainer(stage, data, arguments, parts, own)


def batch_loss(weight: float) -> BatchLoss:
    """The loss of a batch. Its tokens are sorted, so that a class is together where logits are made in parts."""

    def loss(hidden: Tensor, head: Head, labels: Tensor, inputs: dict[str, Tensor], terms: Terms) -> Tensor:
        order = labels.argsort(stable=True)
        return chunked_loss(token_loss(weight, terms), hidden[order], head, labels[order], whole=True)

    return loss


def token_loss(weight: float, terms: Terms) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of each token from logits [C, V] and labels [C]; classes are counted within these. The sums of its terms
    are added to `terms`."""

    def loss(logits_CV: Tensor, labels_C: Tensor) -> Tensor:
        classes, place = labels_C.unique(return_inverse=True)  # type: ignore[no-untyped-call]
        log_p = logits_CV.log_softmax(-1)
        nll = -log_p.gather(-1, labels_C[:, None])[:, 0]
        means_CV = class_means(logits_CV.detach(), place, len(classes))[place]
        cmi = forward_kl(log_p, means_CV.clamp_min(torch.finfo(means_CV.dtype).tiny).log())
        terms["nll"].append(nll.detach().sum())
        terms["cmi"].append(cmi.detach().sum())
        return nll - weight * cmi

    return loss
