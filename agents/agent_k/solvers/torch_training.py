"""Training a small network with PyTorch: one schedule that ends with the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.solvers.cross_fit import Problem, SolverRun
from agentkd.agents.agent_k.workspace.arrays import CompetitionData
from agentkd.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import nn

Array = npt.NDArray[Any]
FITTING = 0.8  # of a fold's time; the rest is for predicting


class FoldBudgets:
    """A fold's part of the clock. Each worker counts the folds that it has still to do."""

    def __init__(self, data: CompetitionData, problems: int, run: SolverRun) -> None:
        self.run = run
        self.rounds = -(-len(np.unique(data.fold)) * problems // max(1, run.workers))

    def take(self) -> float | None:
        seconds = None if self.run.clock.seconds is None else max(self.run.clock.left, 0.0) / max(1, self.rounds)
        self.rounds -= 1
        return seconds


def require_torch(kind: str) -> None:
    """UserError without torch."""
    import importlib.util

    if importlib.util.find_spec("torch") is None:
        raise UserError(f"kind '{kind}' needs torch: pip install 'agentkd[train]'")


def train_network(
    model: nn.Module,
    inputs: Callable[[torch.Tensor], torch.Tensor],
    problem: Problem,
    rows: Array,
    *,
    epochs: int,
    rate: float,
    decay: float,
    batch: int,
    smoothing: float,
    seed: int,
    seconds: float | None,
) -> tuple[float, float]:
    """AdamW with a linear rise and fall of the rate. `inputs` gives the model's input for row numbers, its output is
    `(B, width)`.

    Where the clock is short the whole schedule is: a rate that never falls costs more than fewer steps. Returns the
    mean and spread that values were standardised by."""
    import torch
    from torch.nn import functional

    generator = torch.Generator().manual_seed(seed)
    y = problem.y[rows]
    middle, spread = (0.0, 1.0) if problem.classes else (float(y.mean()), float(y.std()) or 1.0)
    target = torch.from_numpy(y if problem.classes else ((y - middle) / spread).astype(np.float32))
    places = torch.from_numpy(rows)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
    steps = epochs * max(1, -(-len(rows) // batch))
    start, step, done = time.monotonic(), 0, 0.0
    model.train()
    while done < 1:
        for part in torch.randperm(len(rows), generator=generator).split(batch):
            used = (time.monotonic() - start) / (FITTING * seconds) if seconds else 0.0
            done = max(step / steps, used)
            if done >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1.0, done / 0.15 + 0.02) * (1 - done)
            step += 1
            if len(part) < 2:  # batch normalisation needs two
                continue
            out = model(inputs(places[part]))
            if problem.classes:
                loss = functional.cross_entropy(out, target[part], label_smoothing=smoothing)
            else:
                loss = functional.mse_loss(out[:, 0], target[part])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    return middle, spread


def predict_network(
    model: nn.Module, inputs: Callable[[torch.Tensor], torch.Tensor], problem: Problem, rows: Array
) -> Array:
    """Probabilities `(R, classes)` or standardised values `(R, 1)`."""
    import torch

    model.eval()
    parts = []
    with torch.inference_mode():
        for part in torch.from_numpy(rows).split(512):
            out = model(inputs(part))
            parts.append(out.softmax(dim=1) if problem.classes else out)
    return np.asarray(torch.cat(parts).numpy(), dtype=np.float64)
