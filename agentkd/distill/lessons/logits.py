"""`--method logits`: the student learns a teacher's distribution over next tokens, and the trace's own token.

loss = nll x NLL(trace) + (1 - nll) x divergence(teacher, student), per target token in nats (Hinton et al., arXiv
1503.02531, section 2, at temperature 1). The teacher's side was written by `scoring.py`; the student's logits exist for
some tokens at a time (`losses.chunked`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from agentkd.config import DistillConfig
from agentkd.distill import losses
from agentkd.distill.data.dataset import IGNORED
from agentkd.distill.data.teacher_scores import Scores, padded, teacher_scores

Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
Terms = dict[str, list[Tensor]]
BatchLoss = Callable[[Tensor, Tensor, Tensor, dict[str, Tensor], Terms], Tensor]
"""A batch's summed loss from hidden states [N, D], head [V, D] and labels [N] of its N target tokens, and what the
collator gave. The sums of its terms are added to the last argument."""


class Lesson(NamedTuple):
    """What a method teaches: its loss, the collator that feeds it, and facts for metrics.json."""

    loss: BatchLoss
    collator: Any
    facts: dict[str, Any]


def prepare(config: DistillConfig, tokenizer: Any, rows: Sequence[dict[str, list[int]]], folder: Path) -> Lesson:
    """The teacher's scores over these rows, and how to learn from them. `train.prepare` has compared vocabularies."""
    scores = teacher_scores(str(config.teacher), rows, folder, config.top_k)
    return Lesson(batch_loss(config), Collator(scores, tokenizer.pad_token_id), {})


class Collator:
    """Right-padded `input_ids`, `labels`, `attention_mask` [B, L], and the teacher's `ids`, `log_p` [N, K] for the N
    target tokens of the batch, row after row."""

    def __init__(self, scores: Scores, pad: int) -> None:
        self.scores, self.pad = scores, pad

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        known = [self.scores.of(row["row"]) for row in rows]
        return {
            **padded(rows, self.pad),
            "teacher_ids": torch.cat([torch.from_numpy(ids) for ids, _ in known]),
            "teacher_log_p": torch.cat([torch.from_numpy(log_p) for _, log_p in known]),
        }


def batch_loss(config: DistillConfig) -> BatchLoss:
    """The loss of a batch that `Collator` gave."""

    def loss(hidden: Tensor, head: Tensor, labels: Tensor, inputs: dict[str, Tensor], terms: Terms) -> Tensor:
        aligned = labels, inputs["teacher_ids"], inputs["teacher_log_p"]
        return losses.chunked(token_loss(config, terms), hidden, head, *aligned)

    return loss


def token_loss(config: DistillConfig, terms: Terms) -> Loss:
    """The loss of each token from the student's logits [C, V]; the terms' sums are added to `terms`."""
    measure = losses.divergence(config.divergence or "forward", beta=config.beta, alpha=config.alpha)

    def loss(logits_CV: Tensor, labels_C: Tensor, ids_CK: Tensor, log_p_CK: Tensor) -> Tensor:
        log_q = logits_CV.log_softmax(-1)
        nll = -log_q.gather(-1, labels_C[:, None])[:, 0]
        apart = measure(*losses.on_top_k(log_p_CK, ids_CK, log_q, config.rest))
        terms["nll"].append(nll.detach().sum())
        terms["divergence"].append(apart.detach().sum())
        return config.nll * nll + (1.0 - config.nll) * apart

    return loss


def with_loss(trainer: Any, batch_loss: BatchLoss) -> Any:
    """The trainer class with this loss. Its log holds each term, a target token."""

    class Trainer(trainer):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            self.terms: dict[str, float] = defaultdict(float)
            super().__init__(*args, **options)

        def compute_loss(
            self, model: Any, inputs: dict[str, Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            # Through the wrapped model's own forward, or DDP would not share gradients; of its logits the last alone.
            states = model(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                output_hidden_states=True,
                logits_to_keep=1,
                use_cache=False,
            )
            targets = inputs["labels"][:, 1:]
            learned = targets != IGNORED
            hidden = states.hidden_states[-1][:, :-1][learned]
            sums: Terms = defaultdict(list)
            head = self.accelerator.unwrap_model(model).get_output_embeddings().weight
            total = batch_loss(hidden, head, targets[learned], inputs, sums)
            for name, parts in {**sums, "tokens": [torch.tensor(float(len(hidden)))]}.items():
                self.terms[name] += float(torch.stack(parts).sum())
            loss = total / (len(hidden) if num_items_in_batch is None else num_items_in_batch)
            if num_items_in_batch is not None and self.args.average_tokens_across_devices:
                loss = loss * self.accelerator.num_processes  # it counts every process's tokens, DDP takes the mean
            return (loss, states) if return_outputs else loss

        def log(self, logs: dict[str, float], *args: Any, **options: Any) -> None:
            if self.terms:  # sums of this process since the last step
                names = sorted(self.terms)
                sums = torch.tensor([self.terms[name] for name in names], device=self.args.device)
                total = dict(zip(names, self.accelerator.reduce(sums, "sum").tolist(), strict=True))
                tokens = total.pop("tokens")
                logs |= {name: value / tokens for name, value in total.items()}
                self.terms.clear()
            super().log(logs, *args, **options)

    return Trainer
