"""A network for tables: numbers as waves, and several networks in one.

Numbers go through sines of learned frequencies (Gorishniy et al. 2022, "On embeddings for numerical features"); the
members of the ensemble share all weights but a scale of the inputs and the last layer (TabM-mini, Gorishniy et al.
2025)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.solve.cv import Problem, Run, cross_fit, problems
from agentkd.agents.agent_k.solve.data import Data
from agentkd.agents.agent_k.solve.features import Table, one_hot
from agentkd.agents.agent_k.solve.fused import supervised, table_of
from agentkd.agents.agent_k.solve.networks import Shares, need_torch, predict, train

if TYPE_CHECKING:
    from torch import nn

Array = npt.NDArray[Any]
WAVES, EMBEDDED = 12, 6


def mlp_cv(data: Data, run: Run) -> tuple[Array, Array]:
    """`params`: epochs, width (128), members (8), lr, waves' spread sigma. A budget shortens all folds equally."""
    need_torch("mlp")
    import torch

    table = table_of(data)
    shares = Shares(data, len(problems(data.setup, data.y)), run)
    epochs = int(run.params.get("epochs", np.clip(200_000 // data.n_train, 12, 80)))

    def learn(problem: Problem, rows: Array, rest: Array, seed: int) -> Array:
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        numbers, flags = prepared(table, problem, rows, seed)
        x, z = torch.from_numpy(numbers.astype(np.float32)), torch.from_numpy(flags.astype(np.float32))
        model = _network(x.shape[1], z.shape[1], problem.width, run.params)
        middle, spread = train(
            model, lambda part: torch.cat([x[part], z[part]], dim=1), problem, rows, epochs=epochs, batch=128,
            smoothing=0.0, rate=float(run.params.get("lr", 3e-3)), decay=0.02, seed=seed, seconds=shares.take(),
        )  # fmt: skip
        return predict(model, lambda part: torch.cat([x[part], z[part]], dim=1), problem, rest) * spread + middle

    return cross_fit(data, learn, run)


def prepared(table: Table, problem: Problem, train: Array, seed: int) -> tuple[Array, Array]:
    """Numbers of few levels or many as normal quantiles (ranks among the training rows), and flags."""
    from scipy.special import ndtri

    x = np.hstack([table.numbers, supervised(table, problem, train, seed)])
    out, marks = [], []
    for column in x.T:
        there = np.isfinite(column)
        known = np.sort(column[train][there[train]])
        if len(known) == 0 or known[0] == known[-1]:
            continue
        low, high = np.searchsorted(known, column, "left"), np.searchsorted(known, column, "right")
        rank = (low + high) / (2 * len(known))
        normal = ndtri(np.clip(rank, 0.5 / len(known), 1 - 0.5 / len(known)))
        linear = np.clip((column - known.mean()) / known.std(), -3, 3)
        out.append(np.where(there, (normal + linear) / 2, 0.0))
        if not there[train].all():
            marks.append(~there)
    flags = np.column_stack(marks).astype(np.float64) if marks else np.zeros((len(x), 0))
    numbers = np.column_stack(out) if out else np.zeros((len(x), 0))
    return numbers, np.hstack([flags, one_hot(table.categories, train)])


def _network(numbers: int, flags: int, outputs: int, params: dict[str, Any]) -> nn.Module:
    import torch
    from torch import nn

    width, members = int(params.get("width", 128)), int(params.get("members", 8))
    sigma = float(params.get("sigma", 0.15))

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.waves = nn.Parameter(torch.randn(numbers, WAVES) * sigma)
            self.mix = nn.Parameter(torch.randn(numbers, 2 * WAVES + 1, EMBEDDED) / (2 * WAVES) ** 0.5)
            self.shift = nn.Parameter(torch.zeros(numbers, EMBEDDED))
            inside = numbers * EMBEDDED + flags
            self.scale = nn.Parameter(torch.randint(0, 2, (members, inside)) * 2.0 - 1)
            self.body = nn.Sequential(nn.Linear(inside, width), nn.ReLU(), nn.Dropout(0.15), nn.Linear(width, width),
                                      nn.ReLU(), nn.Dropout(0.15))  # fmt: skip
            self.head = nn.Parameter(torch.randn(members, width, outputs) / width**0.5)
            self.bias = nn.Parameter(torch.zeros(members, outputs))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            value, flag = x[:, :numbers], x[:, numbers:]
            angle = 2 * torch.pi * value[:, :, None] * self.waves
            wave = torch.cat([angle.sin(), angle.cos(), value[:, :, None]], dim=2)
            embedded = torch.relu(torch.einsum("bnw,nwe->bne", wave, self.mix) + self.shift)
            inside = torch.cat([embedded.flatten(1), flag], dim=1)
            hidden = self.body(inside[:, None, :] * self.scale)
            return torch.einsum("bmw,mwo->bmo", hidden, self.head) + self.bias

    return Network()
