"""`--method logits`: the student learns a teacher's distribution over next tokens, and the trace's own token.

loss = nll x NLL(trace) + (1 - nll) x divergence(teacher, student), per target token in nats (Hinton et al., arXiv
1503.02531, section 2, at temperature 1). The teacher's side was written by `scoring.py`; the student's logits exist for
some tokens at a time (`losses.chunked`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from agentkd.config import DistillConfig
from agentkd.distill import losses
from agentkd.distill.dataset import IGNORED
from agentkd.distill.scoring import Scores, padded

Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


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


def token_loss(config: DistillConfig, terms: dict[str, list[Tensor]]) -> Loss:
    """The loss of each token from the student's logits [C, V]; the terms' sums are added to `terms`."""
    measure = losses.divergence(config.divergence, beta=config.beta, alpha=config.alpha)

    def loss(logits_CV: Tensor, labels_C: Tensor, ids_CK: Tensor, log_p_CK: Tensor) -> Tensor:
        log_q = logits_CV.log_softmax(-1)
        nll = -log_q.gather(-1, labels_C[:, None])[:, 0]
        apart = measure(*losses.on_top_k(log_p_CK, ids_CK, log_q, config.rest))
        terms["nll"].append(nll.detach().sum())
        terms["divergence"].append(apart.detach().sum())
        return config.nll * nll + (1.0 - config.nll) * apart

    return loss


def with_logits(trainer: Any, config: DistillConfig) -> Any:
    """The trainer class with this loss, fed by `Collator`. Its log holds each term, in nats a target token."""

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
            sums: dict[str, list[Tensor]] = defaultdict(list)
            aligned = targets[learned], inputs["teacher_ids"], inputs["teacher_log_p"]
            head = self.accelerator.unwrap_model(model).get_output_embeddings().weight
            total = losses.chunked(token_loss(config, sums), hidden, head, *aligned)
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
