"""Train a small network with PyTorch, on a schedule that ends with the time budget."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.solvers.cross_fit import Problem, SolverRun, note_cut
from agentkd.agents.agent_k.workspace.arrays import CompetitionData
from agentkd.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import nn

Array = npt.NDArray[Any]
FITTING = 0.8  # share of a fold's time; the rest is for predicting
SLACK = 0.05  # share of the schedule that the clock may be ahead before it shortens it


class FoldBudgets:
    """Seconds per fold. Each worker counts the folds that it still has to do."""

    def __init__(self, data: CompetitionData, problems: int, run: SolverRun) -> None:
        self.run = run
        self.rounds = -(-len(np.unique(data.fold)) * problems // max(1, run.workers))

    def take(self) -> float | None:
        """The seconds for the next fold, None without a budget."""
        seconds = None if self.run.budget.seconds is None else max(self.run.budget.left, 0.0) / max(1, self.rounds)
        self.rounds -= 1
        return seconds


def require_torch(kind: str) -> None:
    """Raise UserError without torch."""
    import importlib.util

    if importlib.util.find_spec("torch") is None:
        raise UserError(f"kind '{kind}' needs torch: pip install 'agentkd[train]'")


@dataclass(frozen=True)
class TrainingOptions:
    """How a network is trained."""

    epochs: int
    learning_rate: float  # at its peak
    weight_decay: float
    batch: int  # rows
    label_smoothing: float = 0.0


def train_network(
    model: nn.Module,
    inputs: Callable[[torch.Tensor], torch.Tensor],
    problem: Problem,
    rows: Array,
    options: TrainingOptions,
    *,
    seed: int,
    seconds: float | None,
) -> tuple[float, float]:
    """Train with AdamW and a learning rate that rises and falls linearly.

    `inputs` gives the model's input for row numbers; the model's output is `(B, width)`. A short budget shortens the
    whole schedule: a rate that never falls costs more than fewer steps. Returns the mean and the standard deviation by
    which values were standardised."""
    import torch
    from torch.nn import functional

    generator = torch.Generator().manual_seed(seed)
    y = problem.y[rows]
    middle, spread = (0.0, 1.0) if problem.classes else (float(y.mean()), float(y.std()) or 1.0)
    target = torch.from_numpy(y if problem.classes else ((y - middle) / spread).astype(np.float32))
    places = torch.from_numpy(rows)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
    steps = options.epochs * max(1, -(-len(rows) // options.batch))
    start, step, done, late = time.monotonic(), 0, 0.0, False
    model.train()
    while done < 1:
        for part in torch.randperm(len(rows), generator=generator).split(options.batch):
            used = (time.monotonic() - start) / (FITTING * seconds) if seconds else 0.0
            late = late or used > step / steps + SLACK
            done = max(step / steps, used if late else 0.0)
            if done >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = options.learning_rate * min(1.0, done / 0.15 + 0.02) * (1 - done)
            step += 1
            if len(part) < 2:  # batch normalisation needs two
                continue
            out = model(inputs(places[part]))
            if problem.classes:
                loss = functional.cross_entropy(out, target[part], label_smoothing=options.label_smoothing)
            else:
                loss = functional.mse_loss(out[:, 0], target[part])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    if late:
        note_cut(f"{step} of {steps} steps")
    return middle, spread


def predict_network(
    model: nn.Module, inputs: Callable[[torch.Tensor], torch.Tensor], problem: Problem, rows: Array
) -> Array:
    """Predict probabilities `(R, classes)` or standardised values `(R, 1)`."""
    import torch

    model.eval()
    parts = []
    with torch.inference_mode():
        for part in torch.from_numpy(rows).split(512):
            out = model(inputs(part))
            parts.append(out.softmax(dim=1) if problem.classes else out)
    return np.asarray(torch.cat(parts).numpy(), dtype=np.float64)
