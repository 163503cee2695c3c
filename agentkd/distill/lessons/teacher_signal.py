"""The result of a scoring pass: a loss over a batch, the collator that feeds it, and a trainer with that loss."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from agentkd.distill import losses
from agentkd.distill.data.tokens import IGNORED
from agentkd.distill.resolve import Stage
from agentkd.inference.head import Head
from agentkd.methods import divergences

Terms = dict[str, list[Tensor]]
BatchLoss = Callable[[Tensor, Head, Tensor, dict[str, Tensor], Terms], Tensor]
"""Gives a batch's summed loss from hidden states [N, D], head and labels [N] of its N target tokens, and the
collator's batch. It adds the sums of the loss's terms to the last argument."""


Reader = Callable[[Any, Any, Head, dict[str, Tensor]], "Targets"]
"""Makes a batch's targets from the trainer, the model, which may be a wrapper, its head and the collator's batch."""


class TeacherSignal(NamedTuple):
    """The teachers' scores of the training rows as training takes them: the loss that learns them, the collator that
    feeds the loss, and facts for metrics.json."""

    loss: BatchLoss
    collator: Any
    facts: dict[str, Any]


class LossOptions(NamedTuple):
    """The options of a token's loss: nll x NLL(trace) + (1 - nll) x divergence(teacher, student). `rest` says what
    becomes of the teacher's mass beyond its top K."""

    divergence: divergences.Divergence
    rest: str
    nll: float


def read_loss_options(stage: Stage) -> LossOptions:
    """Read a stage's LossOptions."""
    config = stage.config
    divergence = divergences.find_divergence(stage.divergence, beta=config.beta, alpha=config.alpha)
    return LossOptions(divergence, config.rest, config.nll)


def chunked_loss(
    loss: Callable[..., Tensor],
    hidden: Tensor,
    head: Head,
    *aligned: Tensor,
    chunk: int | None = None,
    whole: bool = False,
) -> Tensor:
    """`losses.chunked_loss` for the logits that a model's head makes of its hidden states."""

    def each(product: Tensor, *rows: Tensor) -> Tensor:
        return loss(head.finish(product), *rows)

    return losses.chunked_loss(each, hidden, head.weight, *aligned, bias=head.bias, chunk=chunk, whole=whole)


class Targets(NamedTuple):
    """What a batch's loss is made of: hidden states [N, D] and labels [N] of N target tokens, and the collator's batch,
    whose tensors of target tokens are in the same order."""

    hidden: Tensor
    labels: Tensor
    inputs: dict[str, Tensor]


def read_targets(trainer: Any, model: Any, head: Head, inputs: dict[str, Tensor]) -> Targets:
    """The batch as it is."""
    read = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    # Through the wrapped model's own forward, or DDP would not share gradients.
    states = head.states(model, **read, use_cache=False)
    targets = inputs["labels"][:, 1:]
    learned = targets != IGNORED
    return Targets(states[:, :-1][learned], targets[learned], inputs)


def with_batch_loss(trainer: Any, batch_loss: BatchLoss, read: Reader = read_targets) -> Any:
    """The trainer class with this loss of what `read` makes of a batch. It logs terms as means per target token."""

    class Trainer(trainer):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            self.terms: dict[str, float] = defaultdict(float)
            super().__init__(*args, **options)
            self.head = Head.of(self.model)

        def compute_loss(
            self, model: Any, inputs: dict[str, Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            head = replace(self.head, layer=self.accelerator.unwrap_model(model).get_output_embeddings())
            found = read(self, model, head, inputs)
            sums: Terms = defaultdict(list)
            total = batch_loss(found.hidden, head, found.labels, found.inputs, sums)
            tokens = int((inputs["labels"][:, 1:] != IGNORED).sum())
            for name, parts in {**sums, "tokens": [torch.tensor(float(tokens))]}.items():
                self.terms[name] += float(torch.stack(parts).sum())
            loss = total / (tokens if num_items_in_batch is None else num_items_in_batch)
            if num_items_in_batch is not None and self.args.average_tokens_across_devices:
                loss = loss * self.accelerator.num_processes  # the count is of all processes, and DDP takes the mean
            return (loss, None) if return_outputs else loss

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
