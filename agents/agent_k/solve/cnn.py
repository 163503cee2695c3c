"""A small convolutional network for small images, trained from scratch with shifts, turns and zooms."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.solve.cv import Problem, Run, cross_fit, problems
from agentkd.agents.agent_k.solve.data import Data
from agentkd.agents.agent_k.solve.image import LARGEST, load_images
from agentkd.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import nn

Array = npt.NDArray[Any]
SMALLEST = 16  # pixels a side: smaller images are scaled up, so that two poolings leave something
BATCH = 64


def cnn_cv(data: Data, run: Run) -> tuple[Array, Array]:
    """`params`: epochs (40), width (32), flip (false: mirrored letters are others), views (4) at prediction.

    A budget shortens the folds' training equally. UserError without torch."""
    try:
        import torch
    except ImportError:
        raise UserError("kind 'cnn' needs torch: pip install 'agentkd[train]'") from None
    x = torch.from_numpy(load_images(data, int(run.params.get("size", LARGEST))))
    if max(x.shape[2:]) < SMALLEST:
        scale = SMALLEST / max(x.shape[2:])
        x = torch.nn.functional.interpolate(x, scale_factor=scale, mode="bilinear")
    x = (x - x.mean(dim=(0, 2, 3), keepdim=True)) / x.std(dim=(0, 2, 3), keepdim=True).clamp_min(1e-6)
    jobs = len(np.unique(data.fold)) * len(problems(data.setup, data.y))
    rounds = -(-jobs // max(1, run.workers))

    def learn(problem: Problem, train: Array, rest: Array, seed: int) -> Array:
        nonlocal rounds  # each worker counts its own
        torch.set_num_threads(1)
        share = None if run.clock.seconds is None else max(run.clock.left, 0.0) / max(1, rounds)
        rounds -= 1
        return _train(x, problem, train, rest, run.params, seed, share)

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


def _train(
    x: torch.Tensor,
    problem: Problem,
    train: Array,
    rest: Array,
    params: dict[str, Any],
    seed: int,
    seconds: float | None,
) -> Array:
    import torch
    from torch.nn import functional

    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    y = problem.y[train]
    middle, spread = (0.0, 1.0) if problem.classes else (float(y.mean()), float(y.std()) or 1.0)
    target = torch.from_numpy(y if problem.classes else ((y - middle) / spread).astype(np.float32))
    model = _network(x.shape[1], problem.width, int(params.get("width", 32)))
    epochs, rate = int(params.get("epochs", 40)), float(params.get("lr", 4e-3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.02)
    flip, rows = bool(params.get("flip", False)), torch.from_numpy(train)
    steps = epochs * max(1, -(-len(train) // BATCH))
    seconds = seconds and 0.8 * seconds  # the rest is for predicting
    start, step = time.monotonic(), 0
    model.train()
    while step < steps:
        order = torch.randperm(len(train), generator=generator)
        for batch in order.split(BATCH):
            # Where the clock is short, the schedule ends with it: a rate that never falls costs more than few steps.
            done = max(step / steps, (time.monotonic() - start) / seconds if seconds else 0.0)
            if done >= 1:
                step = steps
                break
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1.0, done / 0.15 + 0.02) * (1 - done)
            if len(batch) < 2:
                continue
            out = model(_moved(x[rows[batch]], generator, flip))
            if problem.classes:
                loss = functional.cross_entropy(out, target[batch], label_smoothing=0.05)
            else:
                loss = functional.mse_loss(out[:, 0], target[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    model.eval()
    views = int(params.get("views", 4))
    with torch.inference_mode():
        total = sum(_predict(model, x[torch.from_numpy(rest)], generator, flip, problem, i > 0) for i in range(views))
    values = total / views if isinstance(total, np.ndarray) else np.zeros((len(rest), problem.width))
    return values if problem.classes else values * spread + middle


def _predict(model: Any, x: torch.Tensor, generator: Any, flip: bool, problem: Problem, move: bool) -> Array:
    import torch

    parts = [model(_moved(part, generator, flip, 0.5) if move else part) for part in x.split(256)]
    out = torch.cat(parts)
    return np.asarray((out.softmax(dim=1) if problem.classes else out).numpy(), dtype=np.float64)


def _moved(x: torch.Tensor, generator: torch.Generator, flip: bool, much: float = 1.0) -> torch.Tensor:
    """Each image turned by up to 12 degrees, zoomed by 12 % and shifted by 10 %, all times `much`."""
    import torch
    from torch.nn import functional

    u = (torch.rand(5, len(x), generator=generator) * 2 - 1) * much
    angle, zoom = u[0] * 0.21, 1 + u[1] * 0.12
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    mirror = torch.where(u[4] > 0, 1.0, -1.0) if flip else torch.ones(len(x))
    theta = torch.stack([cos * mirror, -sin, u[2] * 0.2, sin * mirror, cos, u[3] * 0.2], dim=1).view(-1, 2, 3)
    grid = functional.affine_grid(theta, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
