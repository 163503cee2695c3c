"""Solve image competitions with a small convolutional network, trained on augmented images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from agentkd.agents.agent_k.solvers.cross_fit import Problem, SolverRun, cross_fit, make_problems
from agentkd.agents.agent_k.solvers.image import LARGEST, load_images
from agentkd.agents.agent_k.solvers.torch_training import (
    FoldBudgets,
    TrainingOptions,
    predict_network,
    require_torch,
    train_network,
)
from agentkd.agents.agent_k.workspace.arrays import CompetitionData

if TYPE_CHECKING:
    import torch
    from torch import nn

Array = npt.NDArray[Any]
SMALLEST = 16  # pixels per side: smaller images are scaled up, so that two poolings leave something
BATCH = 64


def solve_cnn(data: CompetitionData, run: SolverRun) -> tuple[Array, Array]:
    """Solver: a convolutional network on pixels.

    `params`: epochs (30), width (16), flip (false, since mirrored letters differ), views (4) at prediction, lr (4e-3).
    A time budget shortens all folds' training equally. Raises UserError without torch."""
    require_torch("cnn")
    import torch

    x = torch.from_numpy(load_images(data, int(run.params.get("size", LARGEST))))
    if max(x.shape[2:]) < SMALLEST:
        scale = SMALLEST / max(x.shape[2:])
        x = torch.nn.functional.interpolate(x, scale_factor=scale, mode="bilinear")
    x = (x - x.mean(dim=(0, 2, 3), keepdim=True)) / x.std(dim=(0, 2, 3), keepdim=True).clamp_min(1e-6)
    budgets = FoldBudgets(data, len(make_problems(data.setup, data.y)), run)
    width, epochs, views = (int(run.params.get(k, v)) for k, v in (("width", 16), ("epochs", 30), ("views", 4)))
    flip = bool(run.params.get("flip", False))
    rate = float(run.params.get("lr", 4e-3))
    options = TrainingOptions(epochs, rate, weight_decay=0.02, batch=BATCH, label_smoothing=0.05)

    def learn(problem: Problem, rows: Array, rest: Array, seed: int) -> Array:
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        moves = torch.Generator().manual_seed(seed)
        model = _network(x.shape[1], problem.width, width)
        middle, spread = train_network(
            model,
            lambda part: _augment(x[part], moves, flip),
            problem,
            rows,
            options,
            seed=seed,
            seconds=budgets.take(),
        )
        total = predict_network(model, lambda part: x[part], problem, rest)
        for _ in range(views - 1):
            total += predict_network(model, lambda part: _augment(x[part], moves, flip, 0.5), problem, rest)
        return total / views * spread + middle

    return cross_fit(data, learn, run)


def _network(channels: int, outputs: int, width: int) -> nn.Module:
    from torch import nn

    def block(a: int, b: int) -> list[nn.Module]:
        return [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True)]

    return nn.Sequential(
        *block(channels, width),
        *block(width, width),
        nn.MaxPool2d(2),
        *block(width, 2 * width),
        *block(2 * width, 2 * width),
        nn.MaxPool2d(2),
        *block(2 * width, 4 * width),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(16 * width, outputs),
    )


def _augment(x: torch.Tensor, generator: torch.Generator, flip: bool, much: float = 1.0) -> torch.Tensor:
    """Turn each image by up to 12 degrees, zoom by up to 12 % and shift by up to 10 %, all times `much`."""
    import torch
    from torch.nn import functional

    u = (torch.rand(5, len(x), generator=generator) * 2 - 1) * much
    angle, zoom = u[0] * 0.21, 1 + u[1] * 0.12
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    mirror = torch.where(u[4] > 0, 1.0, -1.0) if flip else torch.ones(len(x))
    theta = torch.stack([cos * mirror, -sin, u[2] * 0.2, sin * mirror, cos, u[3] * 0.2], dim=1).view(-1, 2, 3)
    grid = functional.affine_grid(theta, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
