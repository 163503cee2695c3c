"""`--method logits`: the student learns a teacher's distribution over next tokens, and the trace's own token.

loss = nll x NLL(trace) + (1 - nll) x divergence(teacher, student), in nats per target token (Hinton et al., arXiv
1503.02531, section 2, at temperature 1). The teacher's side comes from its scoring pass (`data/teacher_scores.py`); the
student's logits exist for some tokens at a time (`losses.chunked_loss`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from agentkd.distill.data.teacher_scores import Softening, load_scores, target_seeds
from agentkd.distill.data.tokens import TrainingData, pad_rows
from agentkd.distill.lessons.teacher_signal import (
    BatchLoss,
    LossOptions,
    TeacherSignal,
    Terms,
    chunked_loss,
    read_loss_options,
)
from agentkd.distill.resolve import Stage
from agentkd.inference.head import Head
from agentkd.methods import divergences

TokenLoss = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def make_signal(stage: Stage, data: TrainingData, folder: Path) -> TeacherSignal:
    """Score the rows with the teacher, whose vocabulary `prepare_data` has compared, and learn its distribution."""
    softening = read_softening(stage)
    scores = load_scores(data.teachers[0], data.student.tokenizer, data.rows, folder, stage.config.top_k, softening)

    def top_k(row: int) -> tuple[Tensor, Tensor]:
        ids, log_p = scores.top_k_of(row)
        return torch.from_numpy(ids), torch.from_numpy(log_p)

    collator = TopKCollator(top_k, data.student.tokenizer.pad_token_id)
    return TeacherSignal(batch_loss(read_loss_options(stage)), collator, {})


def read_softening(stage: Stage) -> Softening | None:
    """How the teacher is softened at private tokens, if it is."""
    config = stage.config
    return Softening(config.private_tau, config.private_noise) if config.privacy == "swing" else None


class TopKCollator:
    """Right-padded `input_ids`, `labels`, `attention_mask` [B, L], and for the N target tokens of the batch, row after
    row, `teacher_ids`, `teacher_log_p` [N, M] and `public` [N]: 1, or 0 for a private token.

    `top_k` gives a row's teacher ids and log-probabilities [T, M]. Rows of different M are filled up with the id -1,
    which is no token."""

    def __init__(self, top_k: Callable[[int], tuple[Tensor, Tensor]], pad: int) -> None:
        self.top_k, self.pad = top_k, pad

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        ids, log_p = zip(*(self.top_k(row["row"]) for row in rows), strict=True)
        width = max(part.shape[-1] for part in ids)
        fill = torch.nn.functional.pad
        return {
            **pad_rows(rows, self.pad),
            "teacher_ids": torch.cat([fill(part, (0, width - part.shape[-1]), value=-1) for part in ids]),
            "teacher_log_p": torch.cat([fill(part, (0, width - part.shape[-1])) for part in log_p]),
            "public": torch.tensor([float(not seed) for row in rows for seed in target_seeds(row)]),
        }


def batch_loss(options: LossOptions) -> BatchLoss:
    """The loss of a batch of `TopKCollator`."""

    def loss(hidden: Tensor, head: Head, labels: Tensor, inputs: dict[str, Tensor], terms: Terms) -> Tensor:
        weight = inputs.get("weight", torch.ones_like(inputs["public"]))
        aligned = labels, inputs["teacher_ids"], inputs["teacher_log_p"], inputs["public"], weight
        return chunked_loss(token_loss(options, terms), hidden, head, *aligned)

    return loss


def token_loss(options: LossOptions, terms: Terms) -> TokenLoss:
    """The loss of each token from the student's logits [C, V]. The sums of its terms are added to `terms`.

    A private token has no NLL: a hard label teaches the secret that the softened teacher keeps. The weight is that of a
    token in a mix, 1 elsewhere."""

    def loss(
        logits_CV: Tensor, labels_C: Tensor, ids_CK: Tensor, log_p_CK: Tensor, public_C: Tensor, weight_C: Tensor
    ) -> Tensor:
        log_q = logits_CV.log_softmax(-1)
        nll = -log_q.gather(-1, labels_C[:, None])[:, 0] * public_C * weight_C
        divergence = options.divergence(*divergences.restrict_to_top_k(log_p_CK, ids_CK, log_q, options.rest))
        divergence = divergence * weight_C
        terms["nll"].append(nll.detach().sum())
        terms["divergence"].append(divergence.detach().sum())
        return options.nll * nll + (1.0 - options.nll) * divergence

    return loss
