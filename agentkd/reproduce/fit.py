"""The one training loop, and predictions in batches. All randomness comes from the plan's seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from agentkd.errors import WorldError

Loss = Callable[..., Tensor]  # takes the rows of a batch, one tensor each, and returns a scalar


@dataclass(frozen=True)
class Plan:
    """How to train: AdamW, or SGD with momentum .9, over `epochs` passes with a cosine schedule to 0."""

    epochs: int
    batch: int = 64
    lr: float = 2e-3
    weight_decay: float = 0.0
    sgd: bool = False
    seed: int = 0


def fit(modules: Sequence[nn.Module], data: Sequence[Tensor], loss: Loss, plan: Plan) -> list[float]:
    """Train `modules` on `loss(*rows of data)` and return the mean loss of each epoch.

    `data` are tensors of one length; each batch is the same rows of all of them, so that inputs, labels and cached
    teacher outputs stay together. The last incomplete batch of an epoch is left out. Modules are in train mode
    meanwhile and in eval mode afterwards. Raises WorldError when the loss is not finite."""
    parameters = [parameter for module in modules for parameter in module.parameters() if parameter.requires_grad]
    steps = plan.epochs * (len(data[0]) // plan.batch)
    optimiser: torch.optim.Optimizer = (
        torch.optim.SGD(parameters, plan.lr, momentum=0.9, weight_decay=plan.weight_decay)
        if plan.sgd
        else torch.optim.AdamW(parameters, plan.lr, weight_decay=plan.weight_decay)
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(1, steps))
    for module in modules:
        module.train()
    curve = []
    for epoch, rows in enumerate(epochs(len(data[0]), plan)):
        total = 0.0
        for picks in rows:
            value = loss(*(tensor[picks] for tensor in data))
            optimiser.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            total += value.item()
        curve.append(total / max(1, len(rows)))
        if not math.isfinite(curve[-1]):
            raise WorldError(f"the loss is {curve[-1]} in epoch {epoch + 1}: lower the learning rate ({plan.lr})")
    for module in modules:
        module.eval()
    return curve


def epochs(count: int, plan: Plan) -> Iterator[list[Tensor]]:
    """Yield the batches of each epoch: shuffled row numbers, full batches only."""
    if count < plan.batch:
        raise WorldError(f"{count} examples do not fill a batch of {plan.batch}: take a smaller batch")
    generator = torch.Generator().manual_seed(plan.seed)
    for _ in range(plan.epochs):
        order = torch.randperm(count, generator=generator)
        yield list(torch.split(order[: count // plan.batch * plan.batch], plan.batch))


@torch.no_grad()
def predict(model: nn.Module, inputs: Tensor, batch: int = 512) -> Tensor:
    """The outputs of a model in eval mode, without gradients."""
    model.eval()
    return torch.cat([model(rows) for rows in torch.split(inputs, batch)])


def accuracy(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Percent of inputs whose highest logit is the label's."""
    return float((predict(model, inputs).argmax(-1) == labels).double().mean() * 100)
